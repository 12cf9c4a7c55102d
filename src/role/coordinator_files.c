/* Workflows from files: those of a directory, looked at once a second, and the samples the demo brings
 * along. Each is put as if somebody had asked for it; what the flow says against it goes to the log. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/mem.h"
#include "ctl/config.h"
#include "role/coordinator_own.h"
#include "role/samples.h"

enum {
    LOOK_MS = 1000,
    FILES_MAX = 1000,
    FILE_BYTES_MAX = 4 << 20,
    PATH_MAX_BYTES = GATEWAY_PATH_BYTES + 300,
};

struct workflow_file {
    struct workflow_file *next;
    struct coordinator_files *files;
    char tag[FLOW_TAG_MAX + 1];
    const struct sample *sample; /* NULL: a file of the directory. */
    struct timespec changed;     /* Of what was put last. */
    off_t size;
    ino_t inode;
    bool fresh; /* To be put. */
    bool asked; /* It is under way. */
    struct bytes body;
    struct flow_ask ask;
};

struct coordinator_files {
    struct coordinator *coordinator;
    struct workflow_file *first;
    uint32_t count, asked;
    uint64_t looked_ms;
    bool settled;    /* The first look is over, and all it found answered. */
    bool unreadable; /* The log said so. */
    bool full;
};

/* ---- what became of it ---- */

static void log_loaded(const struct workflow_file *file)
{
    json_t *reply = json_loadb((const char *)file->ask.reply.data, file->ask.reply.len, 0, NULL);

    LOG(LOG_INFO, "workflow.loaded", LOG_S("tag", file->tag),
        LOG_S("from", file->sample ? "sample" : "file"),
        LOG_I("nodes", json_integer_value(json_object_get(reply, "nodes"))));
    json_decref(reply);
}

static void log_faulty(const struct workflow_file *file)
{
    json_t *reply = json_loadb((const char *)file->ask.reply.data, file->ask.reply.len, 0, NULL);
    const char *why =
        json_string_value(json_object_get(json_object_get(reply, "error"), "message"));
    uint64_t count = json_array_size(json_object_get(reply, "faults")) +
                     (uint64_t)json_integer_value(json_object_get(reply, "more"));

    LOG(LOG_ERROR, "workflow.faulty", LOG_S("file", file->tag), LOG_S("fault", why ? why : "?"),
        LOG_U("faults", count ? count : 1));
    json_decref(reply);
}

/* 5xx: the store cannot take it now, and will be asked again. */
static void put_answered(struct flow_ask *ask)
{
    struct workflow_file *file = ask->owner;

    file->asked = false;
    file->files->asked -= 1;
    if (ask->code >= 500) {
        file->fresh = true;
    } else if (ask->code >= 400) {
        log_faulty(file);
    } else {
        log_loaded(file);
    }
    bytes_fini(&ask->reply);
    if (!file->fresh) {
        bytes_fini(&file->body);
    }
}

static void ask(struct workflow_file *file, enum flow_question what, struct span body,
    void (*done)(struct flow_ask *ask))
{
    file->fresh = false;
    file->asked = true;
    file->files->asked += 1;
    file->ask = (struct flow_ask){
        .done = done,
        .owner = file,
        .what = what,
        .name = span_str(file->tag),
        .body = body,
    };
    flow_ask(file->files->coordinator->flow, &file->ask);
}

/* A sample is put where nothing is: what somebody made of it stays theirs. */
static void sample_looked_up(struct flow_ask *asked)
{
    struct workflow_file *file = asked->owner;

    file->asked = false;
    file->files->asked -= 1;
    file->fresh = asked->code >= 500;
    bytes_fini(&asked->reply);
    if (asked->code == 404) {
        ask(file, FLOW_ASK_PUT, span_of(file->sample->data, file->sample->len), put_answered);
    }
}

/* ---- looking ---- */

static struct workflow_file *file_add(struct coordinator_files *files, const char *tag)
{
    struct workflow_file *file = mem_zalloc(sizeof(*file));

    snprintf(file->tag, sizeof(file->tag), "%s", tag);
    file->files = files;
    file->next = files->first;
    files->first = file;
    files->count += 1;
    return file;
}

static struct workflow_file *file_get(struct coordinator_files *files, const char *tag)
{
    for (struct workflow_file *file = files->first; file; file = file->next) {
        if (!file->sample && strcmp(file->tag, tag) == 0) {
            return file;
        }
    }
    if (files->count >= FILES_MAX) {
        if (!files->full) {
            LOG(LOG_ERROR, "workflow.too_many", LOG_U("limit", FILES_MAX));
        }
        files->full = true;
        return NULL;
    }
    return file_add(files, tag);
}

static void log_unreadable(const char *name, int err)
{
    LOG(LOG_ERROR, "workflow.faulty", LOG_S("file", name),
        LOG_S("fault", err == -EFBIG ? "larger than 4 MiB" : strerror(-err)), LOG_U("faults", 1));
}

static int read_file(int dir, const char *name, struct bytes *out)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t got = 0;

    if (fd < 0) {
        return -errno;
    }
    out->len = 0;
    int err = 0;
    do {
        err = out->len > FILE_BYTES_MAX ? -EFBIG : bytes_reserve(out, 64 * 1024);
        got = err ? 0 : read(fd, out->data + out->len, 64 * 1024);
        err = got < 0 ? -errno : err;
        out->len += got > 0 ? (size_t)got : 0;
    } while (!err && got > 0);
    close(fd);
    return err;
}

/* A file that was moved into place, or written anew. One that is still being written is read again when it
 * has changed once more. */
static void look_at(struct coordinator_files *files, int dir, const char *name)
{
    size_t len = strlen(name);
    char tag[FLOW_TAG_MAX + 1];
    struct stat now;

    if (name[0] == '.' || len < 6 || len - 5 > FLOW_TAG_MAX ||
        strcmp(name + len - 5, ".json") != 0 || fstatat(dir, name, &now, 0) != 0 ||
        !S_ISREG(now.st_mode)) {
        return;
    }
    snprintf(tag, sizeof(tag), "%.*s", (int)(len - 5), name);
    struct workflow_file *file = file_get(files, tag);
    if (!file || file->asked ||
        (file->inode == now.st_ino && file->size == now.st_size &&
            file->changed.tv_sec == now.st_mtim.tv_sec &&
            file->changed.tv_nsec == now.st_mtim.tv_nsec)) {
        return;
    }
    file->inode = now.st_ino;
    file->size = now.st_size;
    file->changed = now.st_mtim;
    int err = read_file(dir, name, &file->body);
    if (err) {
        log_unreadable(name, err);
        bytes_fini(&file->body);
        return;
    }
    file->fresh = true;
}

static void look(struct coordinator_files *files)
{
    const char *path = files->coordinator->config->workflows;
    DIR *dir = path ? opendir(path) : NULL;

    if (!dir) {
        if (path && !files->unreadable) {
            LOG(LOG_ERROR, "workflow.unreadable", LOG_S("dir", path),
                LOG_S("error", strerror(errno)));
        }
        files->unreadable = true;
        return;
    }
    files->unreadable = false;
    for (struct dirent *entry; (entry = readdir(dir));) {
        look_at(files, dirfd(dir), entry->d_name);
    }
    closedir(dir);
}

/* ---- its life ---- */

int coordinator_files_check(const char *path, char *why, size_t why_cap)
{
    DIR *dir = path ? opendir(path) : NULL;

    if (path && !dir) {
        int err = -errno;
        snprintf(why, why_cap, "the directory of workflows, %s, cannot be read: %s", path,
            strerror(-err));
        return err;
    }
    if (dir) {
        closedir(dir);
    }
    return 0;
}

void coordinator_files_open(struct coordinator *coordinator)
{
    struct coordinator_files *files = mem_zalloc(sizeof(*files));

    files->coordinator = coordinator;
    coordinator->files = files;
    for (const struct sample *sample = samples;
         !coordinator->gateway->with->no_clients && sample->name; sample++) {
        struct workflow_file *file = file_add(files, sample->name);
        file->sample = sample;
        file->fresh = true;
    }
}

uint64_t coordinator_files_turn(struct coordinator *coordinator, uint64_t now_ms)
{
    struct coordinator_files *files = coordinator->files;
    uint64_t since = now_ms - files->looked_ms;

    files->settled = files->settled || (files->looked_ms && !files->asked);
    if (since < LOOK_MS || coordinator->draining || !coordinator->store_up) {
        return LOOK_MS - (since < LOOK_MS ? since : 0);
    }
    files->looked_ms = now_ms;
    look(files);
    for (struct workflow_file *file = files->first; file; file = file->next) {
        if (file->fresh && !file->asked && file->sample) {
            ask(file, FLOW_ASK_WORKFLOW, span_of(NULL, 0), sample_looked_up);
        } else if (file->fresh && !file->asked) {
            ask(file, FLOW_ASK_PUT, span_of(file->body.data, file->body.len), put_answered);
        }
    }
    files->settled = files->settled || !files->asked;
    return LOOK_MS;
}

bool coordinator_files_busy(const struct coordinator *coordinator)
{
    return coordinator->files->asked > 0;
}

bool coordinator_files_settled(const struct coordinator *coordinator)
{
    const struct coordinator_files *files = coordinator->files;
    return files->settled;
}

void coordinator_files_close(struct coordinator *coordinator)
{
    struct workflow_file *file = coordinator->files ? coordinator->files->first : NULL;

    while (file) {
        struct workflow_file *next = file->next;
        bytes_fini(&file->ask.reply);
        bytes_fini(&file->body);
        mem_free(file);
        file = next;
    }
    mem_free(coordinator->files);
    coordinator->files = NULL;
}
