#include "rt/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "rt/sock.h"
#include "rt/tls_own.h"

enum { RECORD_MAX = 16384 }; /* Plain bytes in one TLS record. */

/* What stands behind stream.ssl. */
struct session {
    SSL *ssl;
    struct tls *tls;
    struct tls_socket socket;
    int failed;         /* The stream is beyond use: what every further call returns. */
    uint64_t held_hash; /* Of the bytes that stream.held counts. */
    char *name;         /* The peer, for sentences. */
    char *error;        /* NULL: none so far. */
};

static void session_free(struct session *session)
{
    SSL_free(session->ssl);
    tls_unref(session->tls);
    mem_free(session->name);
    mem_free(session->error);
    mem_free(session);
}

static bool is_numeric(const char *name)
{
    uint8_t addr[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, name, addr) == 1 || inet_pton(AF_INET6, name, addr) == 1;
}

/* Whom we mean to reach: the name in the certificate, and the one asked for in the greeting. */
static bool set_server_name(struct session *session, const char *name)
{
    SSL *ssl = session->ssl;

    if (is_numeric(name)) {
        /* RFC 6066 has no addresses in SNI. */
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    }
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
}

int stream_open(struct stream *s, int fd, struct tls *tls, const char *server_name)
{
    int r = -ENOMEM;

    *s = (struct stream){.fd = fd};
    if (!tls) {
        return 0;
    }
    ERR_clear_error();
    struct session *session = mem_zalloc(sizeof(*session));
    session->socket.fd = fd;
    session->tls = tls;
    tls_ref(tls);
    session->ssl = SSL_new(tls->ctx);
    BIO *bio = tls_bio(tls, &session->socket);
    if (!session->ssl || !bio) {
        BIO_free(bio);
        goto fail;
    }
    SSL_set_bio(session->ssl, bio, bio);
    session->name = mem_strdup(server_name ? server_name : "the peer");
    if (tls->is_server) {
        SSL_set_accept_state(session->ssl);
    } else {
        SSL_set_connect_state(session->ssl);
        if (server_name && !set_server_name(session, server_name)) {
            r = -EINVAL;
            goto fail;
        }
    }
    s->ssl = session;
    return 0;

fail:
    ERR_clear_error();
    session_free(session);
    sock_close(fd);
    *s = (struct stream){.fd = -1};
    return r;
}

/* The stream is beyond use: keeps the sentence and what every further call returns. */
PRINTF_LIKE(3, 4) static int give_up(struct session *session, int code, const char *format, ...)
{
    va_list args;

    session->failed = code;
    if (!session->error) {
        session->error = mem_alloc(STREAM_ERROR_MAX);
    }
    va_start(args, format);
    vsnprintf(session->error, STREAM_ERROR_MAX, format, args);
    va_end(args);
    return code;
}

static int give_up_cut(struct session *session)
{
    return give_up(
        session, -ECONNRESET, "%s closed the connection without TLS's goodbye", session->name);
}

/* TLS itself failed; says why, in the order of what helps most. */
static int give_up_tls(struct session *session)
{
    long verify = SSL_get_verify_result(session->ssl);
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;

    if (verify != X509_V_OK && !session->tls->insecure) {
        return give_up(session, -EPROTO, "the certificate of %s was refused: %s", session->name,
            X509_verify_cert_error_string(verify));
    }
    if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
        reason == SSL_R_PACKET_LENGTH_TOO_LONG) {
        return give_up(
            session, -EPROTO, "%s does not speak TLS: %s", session->name, tls_first_reason());
    }
    return give_up(session, -EPROTO, "TLS with %s failed: %s", session->name, tls_first_reason());
}

/* Turns what OpenSSL said about a call into 0 (the peer said goodbye) or negative errno. */
static int explain(struct stream *s, int result)
{
    struct session *session = s->ssl;
    int r;

    switch (SSL_get_error(session->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return -EAGAIN;
    case SSL_ERROR_WANT_WRITE:
        s->want_write = true;
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        /* Without an error of the socket it is an end where none may be. */
        r = session->socket.error
                ? give_up(session, session->socket.error, "the connection to %s failed: %s",
                      session->name, strerror(-session->socket.error))
                : give_up_cut(session);
        break;
    default:
        /* What the socket says now may be about the alert that OpenSSL sent after the failure. */
        r = ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING
                ? give_up_cut(session)
                : give_up_tls(session);
        break;
    }
    ERR_clear_error();
    return r;
}

/* OpenSSL answers from the thread's error queue, so each call must find it empty. */
static void begin_call(struct stream *s)
{
    s->want_write = false;
    ERR_clear_error();
}

static int check_alpn(struct session *session)
{
    const struct tls *tls = session->tls;
    const unsigned char *name;
    unsigned name_len;

    if (!tls->alpn[0]) {
        return 0;
    }
    SSL_get0_alpn_selected(session->ssl, &name, &name_len);
    if (name_len == tls->alpn[0] && memcmp(name, tls->alpn + 1, name_len) == 0) {
        return 0;
    }
    return give_up(session, -EPROTO, "%s did not agree to speak %.*s over TLS", session->name,
        tls->alpn[0], (const char *)tls->alpn + 1);
}

int stream_handshake(struct stream *s)
{
    struct session *session = s->ssl;

    if (!session) {
        return 0;
    }
    if (session->failed) {
        return session->failed;
    }
    begin_call(s);
    int result = SSL_do_handshake(session->ssl);
    if (result == 1) {
        return check_alpn(session);
    }
    int r = explain(s, result);
    if (r == 0) {
        r = give_up(
            session, -ECONNRESET, "%s ended TLS in the middle of the greeting", session->name);
    }
    return r;
}

/* Reads until buf is full or nothing is left, also not inside OpenSSL, where no loop would see it.
 */
long stream_recv(struct stream *s, void *buf, size_t len)
{
    struct session *session = s->ssl;
    size_t total = 0;

    if (!session) {
        return sock_recv(s->fd, buf, len);
    }
    if (session->failed) {
        return session->failed;
    }
    while (total < len) {
        size_t n;
        begin_call(s);
        int result = SSL_read_ex(session->ssl, (char *)buf + total, len - total, &n);
        if (result != 1) {
            int r = explain(s, result);
            /* An end or a failure is told by the next call, once these bytes are delivered. */
            return total ? (long)total : r;
        }
        total += n;
    }
    return (long)total;
}

/* OpenSSL sends the record it has encrypted, whatever is offered, and counts it as the offered
 * bytes. A caller that dropped a message in between would send one stream and account for another;
 * such a stream must fail. A hash is enough to notice our own mistake. */
static uint64_t hash_held(const void *data, size_t len)
{
    static const struct hash_key key = {0x66616e6f75742d72, 0x742d73747265616d};

    return hash_bytes(&key, data, len);
}

static bool is_held(const struct stream *s, const void *data, size_t len)
{
    const struct session *session = s->ssl;

    return len >= s->held && hash_held(data, s->held) == session->held_hash;
}

long stream_send(struct stream *s, const void *data, size_t len)
{
    struct session *session = s->ssl;
    const char *rest = data;
    const char *end = rest + len;

    if (!session) {
        return sock_send(s->fd, data, len);
    }
    if (session->failed) {
        return session->failed;
    }
    if (s->held && !is_held(s, data, len)) {
        return give_up(
            session, -EPROTO, "bytes that were on their way to %s were dropped", session->name);
    }
    while (rest < end) {
        size_t n;
        size_t record = (size_t)(end - rest) < RECORD_MAX ? (size_t)(end - rest) : RECORD_MAX;
        begin_call(s);
        int result = SSL_write_ex(session->ssl, rest, record, &n);
        if (result != 1) {
            int r = explain(s, result);
            if (r == -EAGAIN) {
                s->held = (uint32_t)record;
                session->held_hash = hash_held(rest, record);
            }
            if (rest > (const char *)data) {
                return rest - (const char *)data;
            }
            return r == 0 ? -EPIPE : r;
        }
        rest += n;
        s->held = 0;
    }
    return (long)len;
}

const char *stream_error(const struct stream *s)
{
    const struct session *session = s->ssl;

    return session && session->error ? session->error : "";
}

void stream_close(struct stream *s)
{
    struct session *session = s->ssl;

    if (session) {
        if (!session->failed && SSL_is_init_finished(session->ssl)) {
            /* Our goodbye, if the socket takes it at once; nobody waits for the peer's. */
            ERR_clear_error();
            SSL_shutdown(session->ssl);
            ERR_clear_error();
        }
        session_free(session);
    }
    if (s->fd >= 0) {
        sock_close(s->fd);
    }
    *s = (struct stream){.fd = -1};
}
