/* Files, read whole: the settings and the password. */
#include "ctl/config_build.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int config_slurp(const char *path, size_t max, struct bytes *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return -errno;
    }
    int err = 0;
    while (err == 0 && out->len <= max) {
        size_t want = max + 1 - out->len < 16384 ? max + 1 - out->len : 16384;
        err = bytes_reserve(out, want);
        ssize_t got = err == 0 ? read(fd, out->data + out->len, want) : 0;
        if (got < 0 && errno != EINTR) {
            err = -errno;
        } else if (got > 0) {
            out->len += (size_t)got;
        } else if (got == 0) {
            break;
        }
    }
    close(fd);
    return err;
}

void config_read_file(struct config_build *build, const char *path)
{
    struct bytes text = {0};
    int err = config_slurp(path, CONFIG_FILE_BYTES_MAX, &text);
    if (err == -ENOMEM) {
        build->no_memory = true;
    } else if (err < 0) {
        config_fault(build, path, "cannot be read: %s", strerror(-err));
    } else {
        config_read_text(build, path, text.data ? text.data : (const uint8_t *)"", text.len);
    }
    bytes_fini(&text);
}
