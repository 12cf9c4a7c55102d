/* Sockets: the only network system calls of the program (TLS and files aside).
 *
 * Descriptors are non-blocking and close-on-exec. Results are 0 or more, or negative errno;
 * -EAGAIN means "not now". The simulated twin gives virtual descriptors.
 *
 * Addresses are text: "host:port", ":port", "[v6]:port", "unix:/path".
 */
#ifndef RT_SOCK_H
#define RT_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/attr.h"

enum { SOCK_NAME_MAX = 128 };

struct sock_listen_options {
    int backlog;              /* Pending connections; the system may lower it. */
    bool reuse_port;          /* TCP: one listener a thread, the kernel spreads. */
    uint32_t notsent_lowat;   /* Bytes; 0 leaves it. TCP_NOTSENT_LOWAT, inherited. */
    uint32_t user_timeout_ms; /* TCP_USER_TIMEOUT; 0 leaves it. Inherited. */
    uint32_t defer_accept_s;  /* TCP_DEFER_ACCEPT: accept once the peer has spoken; 0: at once. */
    uint32_t unix_mode;       /* Permissions of a unix socket, e.g. 0660; 0: by umask. */
};

/* Opens a listener. TCP_NODELAY and the options are inherited by what it accepts. A stale unix
 * socket file (nobody listens) is replaced; a living one is -EADDRINUSE. Only numeric hosts and
 * "localhost". On failure *ret_why (if not NULL) is a static phrase such as "bind". */
MUST_USE int sock_listen(const char *address, const struct sock_listen_options *options,
    int *ret_fd, const char **ret_why);

/* Gives a listener that the service manager opened the options that connections inherit. Returns 0
 * or negative errno. */
MUST_USE int sock_adopt(int listen_fd, const struct sock_listen_options *options);

/* The port a TCP listener got (useful after ":0"); 0 for unix sockets. */
uint16_t sock_local_port(int fd);

/* Gives the next waiting connection's descriptor, or -EAGAIN, -EMFILE, … */
MUST_USE int sock_accept(int listen_fd);

/* Begins to connect; the result comes as LOOP_OUT and sock_connect_result(). Numeric hosts,
 * "localhost" and unix paths only: names go through rt/resolve.h. source_ip may be NULL. */
MUST_USE int sock_connect(const char *address, const char *source_ip, int *ret_fd);

/* 0 when connected, -EAGAIN while still under way, other negative errno when it failed. */
int sock_connect_result(int fd);

/* Bytes read; 0 = the peer closed; negative errno. */
long sock_recv(int fd, void *buf, size_t len);

/* Bytes taken by the kernel; never raises SIGPIPE. */
long sock_send(int fd, const void *data, size_t len);
long sock_sendv(int fd, const struct iovec *iov, int iov_count);

/* No more will be sent; the peer sees the end after what is queued. */
void sock_shutdown_write(int fd);
void sock_close(int fd);

/* "127.0.0.1:4711" (also for a v4 peer of a listener on every address), "[::1]:4711" or "unix"; "?"
 * when the peer is gone. Always NUL-terminated. */
void sock_peer_name(int fd, char *ret_name, size_t cap);

#endif
