#include "rt/sock.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "rt/loop.h"
#include "rt/sim/world.h"

enum { PORT_FIRST = 40000 }; /* What ":0" gets. */

/* ---- Descriptors ---- */

static struct process *current(struct sim *sim)
{
    return &sim->processes[sim->process];
}

int file_open(struct sim *sim, enum file_kind kind, struct file **ret_file)
{
    struct process *process = current(sim);

    if (process->file_count >= sim->options.fd_limit || process->killed) {
        return -EMFILE;
    }
    uint32_t number = process->low;
    while (number < process->file_cap && process->files[number]) {
        number += 1;
    }
    if (number >= process->file_cap) {
        uint32_t cap = process->file_cap ? process->file_cap * 2 : 64;
        CHECK(cap < PROCESS_FDS);
        process->files = mem_realloc(process->files, cap * sizeof(*process->files));
        memset(process->files + process->file_cap, 0,
            (cap - process->file_cap) * sizeof(*process->files));
        process->file_cap = cap;
    }
    struct file *file = mem_zalloc(sizeof(*file));
    file->kind = kind;
    file->fd = (int)((sim->process + 1) * PROCESS_FDS + number);
    process->files[number] = file;
    process->file_count += 1;
    process->low = number + 1;
    *ret_file = file;
    return 0;
}

static void close_listener(struct sim *sim, struct file *listener)
{
    struct file **link = &sim->listeners;

    while (*link != listener) {
        link = &(*link)->next_listener;
    }
    *link = listener->next_listener;
    while (listener->waiting_first) {
        struct end *end = listener->waiting_first;
        listener->waiting_first = end->next_waiting;
        end_reset(end);
    }
}

void file_close(struct sim *sim, struct file *file)
{
    struct process *process = &sim->processes[file->fd / PROCESS_FDS - 1];
    uint32_t number = (uint32_t)file->fd % PROCESS_FDS;

    trace(sim, "close", (uint64_t)file->fd, 0, 0);
    loop_unwatch_file(file);
    if (file->kind == FILE_LISTENER) {
        close_listener(sim, file);
    } else if (file->kind == FILE_END) {
        end_close(file->end);
    }
    process->files[number] = NULL;
    process->file_count -= 1;
    process->low = number < process->low ? number : process->low;
    mem_free(file->watches);
    mem_free(file);
}

struct file *file_of(int fd)
{
    struct sim *sim = world();
    uint32_t process_number = (uint32_t)fd / PROCESS_FDS - 1;
    uint32_t number = (uint32_t)fd % PROCESS_FDS;

    CHECK(fd >= PROCESS_FDS && process_number < PROCESSES_MAX);
    struct process *process = &sim->processes[process_number];
    if (process->killed) {
        return NULL;
    }
    CHECK(number < process->file_cap && process->files[number]);
    return process->files[number];
}

uint32_t file_events(const struct file *file)
{
    switch (file->kind) {
    case FILE_END:
        return end_events(file->end);
    case FILE_LISTENER:
        return file->waiting_first ? LOOP_IN : 0;
    case FILE_WAKE:
        return file->wake_count ? LOOP_IN : 0;
    case FILE_SPARE:
        break;
    }
    return 0;
}

/* The end behind fd; NULL (and *ret_error) when there is none. */
static struct end *end_of(int fd)
{
    struct file *file = file_of(fd);

    if (!file) {
        return NULL;
    }
    CHECK(file->kind == FILE_END);
    return file->end;
}

/* ---- sock.h ---- */

/* Is the address taken? Listeners may share it when all of them say so. */
static bool is_taken(const struct sim *sim, const struct file *file)
{
    for (struct file *other = sim->listeners; other; other = other->next_listener) {
        bool same = other->place == file->place || (file->port && other->port == file->port &&
                                                       (file->any_host || other->any_host));
        if (same && !(other->reuse_port && file->reuse_port)) {
            return true;
        }
    }
    return false;
}

int sock_listen(const char *address, const struct sock_listen_options *options, int *ret_fd,
    const char **ret_why)
{
    struct sim *sim = world();
    struct address_text parts;
    char texts[2][ADDRESS_TEXT_MAX];
    char text[ADDRESS_TEXT_MAX];
    struct file *file;
    const char *why = "understand the address";

    int r = address_split(address, &parts);
    if (r < 0) {
        goto fail;
    }
    if (!parts.is_unix && parts.port == 0) {
        parts.port = (unsigned short)(PORT_FIRST + sim->next_port++);
    }
    bool any_host = !parts.is_unix && (!*parts.host || strcmp(parts.host, "0.0.0.0") == 0 ||
                                          strcmp(parts.host, "::") == 0);
    if (parts.is_unix) {
        snprintf(text, sizeof(text), "%s", address);
    } else {
        const char *form = strchr(parts.host, ':') ? "[%.60s]:%u" : "%.60s:%u";
        snprintf(text, sizeof(text), form, parts.host, parts.port);
    }
    if (address_known(text, texts) <= 0) {
        r = -EINVAL;
        goto fail;
    }
    why = "open a socket";
    r = file_open(sim, FILE_LISTENER, &file);
    if (r < 0) {
        goto fail;
    }
    file->place = place_of(sim, any_host ? text : texts[0]);
    file->any_host = any_host;
    file->port = parts.port;
    file->reuse_port = options->reuse_port;
    file->user_timeout_ms = options->user_timeout_ms;
    file->backlog = options->backlog > 0 ? (uint32_t)options->backlog : 1;
    bool taken = is_taken(sim, file);
    file->next_listener = sim->listeners;
    sim->listeners = file;
    if (taken) {
        why = "bind";
        r = -EADDRINUSE;
        file_close(sim, file);
        goto fail;
    }
    trace(sim, "listen", (uint64_t)file->fd, file->port, 0);
    *ret_fd = file->fd;
    return 0;

fail:
    if (ret_why) {
        *ret_why = why;
    }
    return r;
}

int sock_adopt(int listen_fd, const struct sock_listen_options *options)
{
    struct file *file = file_of(listen_fd);

    if (!file) {
        return -EBADF;
    }
    file->user_timeout_ms = options->user_timeout_ms;
    return 0;
}

uint16_t sock_local_port(int fd)
{
    struct file *file = file_of(fd);

    return file && file->kind == FILE_LISTENER ? file->port : 0;
}

int sock_accept(int listen_fd)
{
    struct sim *sim = world();
    struct file *listener = file_of(listen_fd);
    struct file *file;

    if (!listener) {
        return -EBADF;
    }
    CHECK(listener->kind == FILE_LISTENER);
    struct end *end = listener->waiting_first;
    if (!end) {
        return -EAGAIN;
    }
    int r = file_open(sim, FILE_END, &file);
    if (r < 0) {
        return r;
    }
    listener->waiting_first = end->next_waiting;
    if (!listener->waiting_first) {
        listener->waiting_last = NULL;
    }
    listener->waiting_count -= 1;
    file->end = end;
    end->file = file;
    trace(sim, "accept", (uint64_t)file->fd, end->wire->id, 0);
    return file->fd;
}

int sock_connect(const char *address, const char *source_ip, int *ret_fd)
{
    struct sim *sim = world();
    struct file *file;
    struct end *end;

    int r = file_open(sim, FILE_END, &file);
    if (r < 0) {
        return r;
    }
    r = wire_connect(sim, address, &end);
    if (r < 0) {
        file->kind = FILE_SPARE; /* Nothing behind it to close. */
        file_close(sim, file);
        return r;
    }
    if (source_ip && strncmp(address, "unix:", 5) != 0) {
        char port[8];
        snprintf(port, sizeof(port), "%.6s", strrchr(end->name, ':') + 1);
        snprintf(end->name, sizeof(end->name), "%.64s:%s", source_ip, port);
    }
    file->end = end;
    end->file = file;
    *ret_fd = file->fd;
    return 0;
}

int sock_connect_result(int fd)
{
    struct end *end = end_of(fd);

    if (!end) {
        return -EBADF;
    }
    if (end->error) {
        int error = end->error;
        end->error = 0;
        return -error;
    }
    return end->established && !end->broken ? 0 : end->broken ? -ENOTCONN : -EAGAIN;
}

long sock_recv(int fd, void *buf, size_t len)
{
    struct end *end = end_of(fd);

    return end ? end_recv(end, buf, len) : -EBADF;
}

long sock_send(int fd, const void *data, size_t len)
{
    struct end *end = end_of(fd);

    return end ? end_send(end, data, len) : -EBADF;
}

long sock_sendv(int fd, const struct iovec *iov, int iov_count)
{
    struct end *end = end_of(fd);
    size_t len = 0;

    if (!end) {
        return -EBADF;
    }
    for (int i = 0; i < iov_count; i++) {
        len += iov[i].iov_len;
    }
    uint8_t *data = mem_alloc(len + 1);
    size_t at = 0;
    for (int i = 0; i < iov_count; i++) {
        if (iov[i].iov_len) {
            memcpy(data + at, iov[i].iov_base, iov[i].iov_len);
            at += iov[i].iov_len;
        }
    }
    long n = end_send(end, data, len);
    mem_free(data);
    return n;
}

void sock_shutdown_write(int fd)
{
    struct end *end = end_of(fd);

    if (end) {
        end_shutdown(end);
    }
}

void sock_close(int fd)
{
    struct file *file = file_of(fd);

    if (file) {
        file_close(world(), file);
    }
}

void sock_peer_name(int fd, char *ret_name, size_t cap)
{
    struct end *end = end_of(fd);
    bool known = end && end->established && !end->broken;

    snprintf(ret_name, cap, "%s", known ? end->wire->ends[!end->side].name : "?");
}
