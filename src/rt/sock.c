#include "rt/sock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "rt/address.h"

/* Repeats a system call that a signal interrupted; the value is negative errno on failure. */
#define RETRY(call)                                                                                \
    ({                                                                                             \
        long result_;                                                                              \
        do {                                                                                       \
            result_ = (call);                                                                      \
        } while (result_ < 0 && errno == EINTR);                                                   \
        result_ < 0 ? -(long)errno : result_;                                                      \
    })

static int open_socket(int family)
{
    return (int)RETRY(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? 0 : -errno;
}

/* What accepted connections inherit, and when they are. */
static int set_inherited(int fd, const struct sock_listen_options *options)
{
    int r = set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);

    if (r == 0 && options->notsent_lowat) {
        r = set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, (int)options->notsent_lowat);
    }
    if (r == 0 && options->user_timeout_ms) {
        r = set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)options->user_timeout_ms);
    }
    if (r == 0 && options->defer_accept_s) {
        r = set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, (int)options->defer_accept_s);
    }
    return r;
}

/* Removes the socket file of a listener that is gone. 0 when removed, -EADDRINUSE when it lives. */
static int remove_stale(const struct sockaddr_storage *addr, socklen_t addr_len)
{
    struct sockaddr_un un;
    struct stat st;

    memcpy(&un, addr, sizeof(un));
    if (lstat(un.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode)) {
        return -EADDRINUSE; /* Not ours to remove. */
    }
    int fd = open_socket(AF_UNIX);
    if (fd < 0) {
        return fd;
    }
    int r = (int)RETRY(connect(fd, (const struct sockaddr *)&un, addr_len));
    close(fd);
    if (r != -ECONNREFUSED) {
        return -EADDRINUSE;
    }
    return unlink(un.sun_path) == 0 || errno == ENOENT ? 0 : -errno;
}

static int bind_unix(int fd, const struct sockaddr_storage *addr, socklen_t addr_len, uint32_t mode)
{
    struct sockaddr_un un;

    memcpy(&un, addr, sizeof(un));
    /* The file is born with the socket's mode (less the umask), so there is no moment in which
     * more people than allowed may connect; chmod() then adds what the umask took away. */
    if (mode && fchmod(fd, mode) != 0) {
        return -errno;
    }
    int r = (int)RETRY(bind(fd, (const struct sockaddr *)&un, addr_len));
    if (r == -EADDRINUSE) {
        r = remove_stale(addr, addr_len);
        if (r == 0) {
            r = (int)RETRY(bind(fd, (const struct sockaddr *)&un, addr_len));
        }
    }
    if (r == 0 && mode && chmod(un.sun_path, mode) != 0) {
        r = -errno;
    }
    return r;
}

static int bind_tcp(int fd, const struct sockaddr_storage *addr, socklen_t addr_len,
    const struct sock_listen_options *options, const char **ret_why)
{
    *ret_why = "set the options of a listener";
    int r = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (r == 0 && options->reuse_port) {
        r = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if (r == 0 && addr->ss_family == AF_INET6) {
        /* "::" alone means every address of both families, whatever the system's default. */
        struct sockaddr_in6 v6;
        memcpy(&v6, addr, sizeof(v6));
        r = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr));
    }
    if (r == 0) {
        r = set_inherited(fd, options);
    }
    if (r == 0) {
        *ret_why = "bind";
        r = (int)RETRY(bind(fd, (const struct sockaddr *)addr, addr_len));
    }
    return r;
}

static int listen_at(const struct sockaddr_storage *addr, socklen_t addr_len,
    const struct sock_listen_options *options, int *ret_fd, const char **ret_why)
{
    int r;

    *ret_why = "open a socket";
    int fd = open_socket(addr->ss_family);
    if (fd < 0) {
        return fd;
    }
    if (addr->ss_family == AF_UNIX) {
        *ret_why = "bind";
        r = bind_unix(fd, addr, addr_len, options->unix_mode);
    } else {
        r = bind_tcp(fd, addr, addr_len, options, ret_why);
    }
    if (r == 0) {
        *ret_why = "listen";
        r = (int)RETRY(listen(fd, options->backlog));
    }
    if (r < 0) {
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

int sock_listen(const char *address, const struct sock_listen_options *options, int *ret_fd,
    const char **ret_why)
{
    struct sockaddr_storage addr;
    socklen_t addr_len;
    const char *why = "understand the address";

    int r = address_parse(address, true, &addr, &addr_len);
    if (r == 0) {
        r = listen_at(&addr, addr_len, options, ret_fd, &why);
        if ((r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL) && *address == ':') {
            /* A machine without IPv6: every address is every v4 address. */
            char v4[16];
            snprintf(v4, sizeof(v4), "0.0.0.0%.6s", address);
            r = address_parse(v4, true, &addr, &addr_len);
            if (r == 0) {
                r = listen_at(&addr, addr_len, options, ret_fd, &why);
            }
        }
    }
    if (r < 0 && ret_why) {
        *ret_why = why;
    }
    return r;
}

int sock_adopt(int listen_fd, const struct sock_listen_options *options)
{
    struct sockaddr_storage addr = {0};
    socklen_t addr_len = sizeof(addr);

    if (getsockname(listen_fd, (struct sockaddr *)&addr, &addr_len) != 0) {
        return -errno;
    }
    return addr.ss_family == AF_UNIX ? 0 : set_inherited(listen_fd, options);
}

uint16_t sock_local_port(int fd)
{
    struct sockaddr_storage addr = {0};
    socklen_t addr_len = sizeof(addr);

    if (getsockname(fd, (struct sockaddr *)&addr, &addr_len) != 0) {
        return 0;
    }
    if (addr.ss_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, &addr, sizeof(v4));
        return ntohs(v4.sin_port);
    }
    if (addr.ss_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, &addr, sizeof(v6));
        return ntohs(v6.sin6_port);
    }
    return 0;
}

int sock_accept(int listen_fd)
{
    long fd;

    do {
        fd = RETRY(accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
    } while (fd == -ECONNABORTED); /* That one is gone; the next may be there. */
    return (int)fd;
}

int sock_connect(const char *address, const char *source_ip, int *ret_fd)
{
    struct sockaddr_storage addr;
    socklen_t addr_len;

    int r = address_parse(address, false, &addr, &addr_len);
    if (r < 0) {
        return r;
    }
    int fd = open_socket(addr.ss_family);
    if (fd < 0) {
        return fd;
    }
    if (addr.ss_family != AF_UNIX) {
        r = set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
        if (r == 0 && source_ip) {
            struct sockaddr_storage source;
            socklen_t source_len;
            /* The port is chosen at connect(), where one may serve many destinations. */
            r = set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
            if (r == 0) {
                r = address_parse_host(source_ip, 0, &source, &source_len);
            }
            if (r == 0) {
                r = (int)RETRY(bind(fd, (const struct sockaddr *)&source, source_len));
            }
        }
    }
    if (r == 0) {
        /* Not repeated after a signal: an interrupted connect() goes on by itself. */
        r = connect(fd, (const struct sockaddr *)&addr, addr_len) == 0 ? 0 : -errno;
    }
    if (r < 0 && r != -EINPROGRESS && r != -EINTR) {
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

int sock_connect_result(int fd)
{
    struct sockaddr_storage addr;
    socklen_t addr_len = sizeof(addr);
    int error = 0;
    socklen_t error_len = sizeof(error);

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_len) != 0) {
        return -errno;
    }
    if (error) {
        return -error;
    }
    if (getpeername(fd, (struct sockaddr *)&addr, &addr_len) != 0) {
        return errno == ENOTCONN ? -EAGAIN : -errno;
    }
    return 0;
}

long sock_recv(int fd, void *buf, size_t len)
{
    return RETRY(recv(fd, buf, len, 0));
}

long sock_send(int fd, const void *data, size_t len)
{
    return RETRY(send(fd, data, len, MSG_NOSIGNAL));
}

long sock_sendv(int fd, const struct iovec *iov, int iov_count)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)iov_count};

    return RETRY(sendmsg(fd, &msg, MSG_NOSIGNAL));
}

void sock_shutdown_write(int fd)
{
    /* Fails only when the connection is gone, and then nothing more will be sent either. */
    shutdown(fd, SHUT_WR);
}

void sock_close(int fd)
{
    close(fd); /* Never repeated: on Linux the descriptor is gone, also after EINTR. */
}

void sock_peer_name(int fd, char *ret_name, size_t cap)
{
    struct sockaddr_storage addr = {0};
    socklen_t addr_len = sizeof(addr);

    if (getpeername(fd, (struct sockaddr *)&addr, &addr_len) != 0) {
        addr.ss_family = AF_UNSPEC;
    }
    address_format(&addr, ret_name, cap);
}
