#include "rt/fds.h"

#include "rt/sim/world.h"

uint32_t fds_raise_limit(void)
{
    return world()->options.fd_limit;
}

/* Processes have tables of their own already, threads there are none. */
int fds_own_table(const int *keep, uint32_t keep_count)
{
    (void)keep;
    (void)keep_count;
    return 0;
}

void fds_spare_hold(struct fds_spare *spare)
{
    struct file *file;

    if (spare->fd <= 0) {
        spare->fd = file_open(world(), FILE_SPARE, &file) == 0 ? file->fd : -1;
    }
}

void fds_spare_release(struct fds_spare *spare)
{
    if (spare->fd > 0) {
        struct file *file = file_of(spare->fd);
        if (file) {
            file_close(world(), file);
        }
    }
    spare->fd = -1;
}
