#include "store/guard.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Signals are the process's, and a handler is given nothing of ours: hence statics, here only. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t install_count;
static struct sigaction former_bus, former_segv;
static _Thread_local sigjmp_buf *volatile way_out;

static void fault(int number, siginfo_t *info, void *context)
{
    (void)info;
    (void)context;
    guard_fail();
    /* Not ours: the instruction runs again, now with whoever was to know before us. */
    sigaction(number, number == SIGBUS ? &former_bus : &former_segv, NULL);
}

int guard_install(void)
{
    struct sigaction action = {
        .sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    int r = 0;

    pthread_mutex_lock(&lock);
    if (install_count == 0) {
        sigemptyset(&action.sa_mask);
        r = sigaction(SIGBUS, &action, &former_bus);
        r = r ? r : sigaction(SIGSEGV, &action, &former_segv);
    }
    if (r == 0) {
        install_count += 1;
    }
    pthread_mutex_unlock(&lock);
    return r ? -errno : 0;
}

void guard_remove(void)
{
    pthread_mutex_lock(&lock);
    install_count -= 1;
    if (install_count == 0) {
        sigaction(SIGBUS, &former_bus, NULL);
        sigaction(SIGSEGV, &former_segv, NULL);
    }
    pthread_mutex_unlock(&lock);
}

int guard_run(int (*fn)(void *arg), void *arg)
{
    sigjmp_buf here;

    /* The mask need not be kept: the handler blocks nothing. */
    if (sigsetjmp(here, 0) != 0) {
        way_out = NULL;
        return -EFAULT;
    }
    way_out = &here;
    int r = fn(arg);
    way_out = NULL;
    return r;
}

void guard_fail(void)
{
    sigjmp_buf *to = way_out;

    if (to) {
        siglongjmp(*to, 1);
    }
}
