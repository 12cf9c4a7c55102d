/* One thread a question: getaddrinfo() blocks for as long as the network pleases and cannot be
 * interrupted, and questions are rare (a link that connects).
 *
 * A question is shared by the thread that asks and the handle that waits, each with a reference;
 * the last one closes the wake descriptor and frees. So cancelling never waits: it lets go, and the
 * thread finds nobody listening when it ends, which may be after the loop is gone.
 *
 *      asking thread                   loop's thread
 *      writes the answer
 *      done = 1        (release)       told by the wake descriptor:
 *      writes wake_fd  ------------>   done == 1 (acquire), reads the answer, calls fn
 *      drops its reference             drops its reference
 *
 * The descriptor is closed by the last reference only, so the thread cannot write to a number that
 * already means something else.
 */
#include "rt/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "rt/address.h"
#include "rt/loop.h"
#include "rt/loop_own.h"

enum { ANSWERS_MAX = 16 };

struct question {
    uint32_t ref_count; /* Atomic. */
    uint32_t done;      /* Atomic: the answer below may be read. */
    int wake_fd;
    struct address_text asked;
    uint32_t count;
    char texts[ANSWERS_MAX][ADDRESS_TEXT_MAX];
    char why[ADDRESS_HOST_MAX + 128];
};

struct resolve {
    struct resolve *next, **link; /* The loop's list. */
    struct loop *loop;
    uint64_t id; /* What the loop tells. */
    struct question *question;
    resolve_fn *fn;
    void *ctx;
};

static void question_unref(struct question *question)
{
    if (__atomic_sub_fetch(&question->ref_count, 1, __ATOMIC_ACQ_REL) == 0) {
        close(question->wake_fd);
        mem_free(question);
    }
}

static void add_answer(struct question *question, const struct addrinfo *info)
{
    struct sockaddr_storage addr = {0};
    char *text = question->texts[question->count];

    if (info->ai_addrlen > sizeof(addr)) {
        return;
    }
    memcpy(&addr, info->ai_addr, info->ai_addrlen);
    address_format(&addr, text, ADDRESS_TEXT_MAX);
    for (uint32_t i = 0; i < question->count; i++) {
        if (strcmp(question->texts[i], text) == 0) {
            return;
        }
    }
    question->count += 1;
}

static void ask(struct question *question)
{
    struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV};
    struct addrinfo *infos = NULL;
    char port[8];

    snprintf(port, sizeof(port), "%u", question->asked.port);
    int r = getaddrinfo(question->asked.host, port, &hints, &infos);
    if (r != 0) {
        snprintf(question->why, sizeof(question->why), "the name %s has no address: %s",
            question->asked.host, r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
        return;
    }
    for (struct addrinfo *info = infos; info && question->count < ANSWERS_MAX;
         info = info->ai_next) {
        add_answer(question, info);
    }
    freeaddrinfo(infos);
    if (!question->count) {
        snprintf(question->why, sizeof(question->why), "the name %s has no address",
            question->asked.host);
    }
}

static void *ask_main(void *arg)
{
    struct question *question = arg;
    uint64_t one = 1;

    pthread_setname_np(pthread_self(), "resolve");
    ask(question);
    __atomic_store_n(&question->done, 1, __ATOMIC_RELEASE);
    ssize_t written;
    do {
        written = write(question->wake_fd, &one, sizeof(one));
    } while (written < 0 && errno == EINTR);
    CHECK(written == sizeof(one));
    question_unref(question);
    return NULL;
}

/* Detached: it outlives whoever asked, and all it needs is in its question. */
static int start_asking(struct question *question)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t blocked;

    int r = -pthread_attr_init(&attr);
    if (r < 0) {
        return r;
    }
    sigfillset(&blocked);
    pthread_attr_setsigmask_np(&attr, &blocked);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    __atomic_add_fetch(&question->ref_count, 1, __ATOMIC_RELAXED);
    r = -pthread_create(&thread, &attr, ask_main, question);
    if (r < 0) {
        question_unref(question);
    }
    pthread_attr_destroy(&attr);
    return r;
}

static void let_go(struct resolve *resolve)
{
    *resolve->link = resolve->next;
    if (resolve->next) {
        resolve->next->link = resolve->link;
    }
    loop_unwatch(resolve->loop, resolve->question->wake_fd);
    question_unref(resolve->question);
    mem_free(resolve);
}

/* The loop tells that some question was answered. A late event for one cancelled meanwhile finds
 * nobody with its id, or somebody new who is either not done or happy to hear it early. */
static void resolve_ready(void *ctx, uint64_t id, uint32_t events)
{
    struct loop *loop = ctx;
    const char *addresses[ANSWERS_MAX];
    struct resolve *resolve = *loop_resolves(loop);

    (void)events;
    while (resolve && resolve->id != id) {
        resolve = resolve->next;
    }
    if (!resolve || !__atomic_load_n(&resolve->question->done, __ATOMIC_ACQUIRE)) {
        return;
    }
    struct question *question = resolve->question;
    resolve_fn *fn = resolve->fn;
    void *fn_ctx = resolve->ctx;

    /* The handle dies before fn runs, which may ask again; the answer is kept for fn. */
    __atomic_add_fetch(&question->ref_count, 1, __ATOMIC_RELAXED);
    let_go(resolve);
    for (uint32_t i = 0; i < question->count; i++) {
        addresses[i] = question->texts[i];
    }
    fn(fn_ctx, addresses, question->count, question->why);
    question_unref(question);
}

/* Unlike any that is waiting: the list is in the order of asking, newest first. */
static uint64_t next_id(struct loop *loop)
{
    struct resolve *newest = *loop_resolves(loop);

    return newest ? newest->id + 1 : 0;
}

int resolve_start(struct loop *loop, uint8_t kind, const char *name_port, resolve_fn *fn, void *ctx,
    struct resolve **ret_resolve)
{
    char texts[2][ADDRESS_TEXT_MAX];
    const char *addresses[2] = {texts[0], texts[1]};

    int known = address_known(name_port, texts);
    if (known < 0) {
        return known;
    }
    *ret_resolve = NULL;
    if (known > 0) {
        fn(ctx, addresses, (size_t)known, "");
        return 0;
    }

    struct question *question = mem_zalloc(sizeof(*question));
    question->ref_count = 1;
    int r = address_split(name_port, &question->asked);
    CHECK(r == 0); /* address_known() took it apart already. */
    question->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (question->wake_fd < 0) {
        r = -errno;
        mem_free(question);
        return r;
    }
    uint64_t id = next_id(loop);
    loop_handle(loop, kind, resolve_ready, loop);
    r = loop_watch(loop, question->wake_fd, kind, id, LOOP_WATCH_IN);
    if (r == 0) {
        r = start_asking(question);
        if (r < 0) {
            loop_unwatch(loop, question->wake_fd);
        }
    }
    if (r < 0) {
        question_unref(question);
        return r;
    }
    struct resolve *resolve = mem_zalloc(sizeof(*resolve));
    struct resolve **head = loop_resolves(loop);
    *resolve = (struct resolve){.next = *head,
        .link = head,
        .loop = loop,
        .id = id,
        .question = question,
        .fn = fn,
        .ctx = ctx};
    if (resolve->next) {
        resolve->next->link = &resolve->next;
    }
    *head = resolve;
    *ret_resolve = resolve;
    return 0;
}

void resolve_cancel(struct resolve *resolve)
{
    if (resolve) {
        let_go(resolve);
    }
}
