#include "rt/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "rt/sock.h"

enum {
    ALPN_MAX = 32,
    RECORD_MAX = 16384, /* Plain bytes in one TLS record. */
};

struct tls {
    SSL_CTX *ctx;
    BIO_METHOD *bio_method;
    uint32_t ref_count; /* The owner's and one for each stream: a BIO needs its method. */
    bool is_server;
    bool insecure;
    uint8_t alpn[1 + ALPN_MAX]; /* Length and name, as on the wire; length 0: none. */
};

/* What stands behind stream.ssl. */
struct session {
    SSL *ssl;
    struct tls *tls;
    int fd;
    int sock_error;     /* The last failure of the socket under TLS, negative errno; 0: none. */
    bool eof;           /* The socket has ended. */
    int failed;         /* The stream is beyond use: what every further call returns. */
    uint64_t held_hash; /* Of the bytes that stream.held counts. */
    char *name;         /* The peer, for sentences. */
    char *error;        /* NULL: none so far. */
};

/* ---- TLS speaks through rt/sock.h: no SIGPIPE, and the simulation can stand underneath. ---- */

static int bio_write(BIO *bio, const char *data, int len)
{
    struct session *session = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    long n = sock_send(session->fd, data, (size_t)len);
    if (n == -EAGAIN) {
        BIO_set_retry_write(bio);
        return -1;
    }
    if (n < 0) {
        session->sock_error = (int)n;
        return -1;
    }
    return (int)n;
}

static int bio_read(BIO *bio, char *buf, int len)
{
    struct session *session = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    long n = sock_recv(session->fd, buf, (size_t)len);
    if (n == -EAGAIN) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (n < 0) {
        session->sock_error = (int)n;
        return -1;
    }
    session->eof = n == 0;
    return (int)n;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    struct session *session = BIO_get_data(bio);

    (void)num;
    (void)ptr;
    switch (cmd) {
    case BIO_CTRL_FLUSH:
        return 1; /* Nothing is held back. */
    case BIO_CTRL_EOF:
        return session->eof;
    default:
        return 0;
    }
}

static BIO_METHOD *make_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sock");

    if (method) {
        BIO_meth_set_write(method, bio_write);
        BIO_meth_set_read(method, bio_read);
        BIO_meth_set_ctrl(method, bio_ctrl);
    }
    return method;
}

/* ---- Contexts ---- */

static const char *first_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());

    return reason ? reason : "no reason given";
}

static void tls_unref(struct tls *tls)
{
    tls->ref_count -= 1;
    if (tls->ref_count == 0) {
        SSL_CTX_free(tls->ctx);
        BIO_meth_free(tls->bio_method);
        mem_free(tls);
    }
}

/* A key file with a pass phrase fails; OpenSSL itself would stop and ask the terminal. */
static int no_pass_phrase(char *buf, int cap, int writing, void *ctx)
{
    (void)buf;
    (void)cap;
    (void)writing;
    (void)ctx;
    return 0;
}

static int load_own_certificate(
    SSL_CTX *ctx, const struct tls_options *options, char *err, size_t err_cap)
{
    if (!options->cert_file && !options->key_file) {
        return 0;
    }
    if (!options->cert_file || !options->key_file) {
        snprintf(err, err_cap, "a TLS certificate and its key go together; only one was given");
        return -EINVAL;
    }
    if (SSL_CTX_use_certificate_chain_file(ctx, options->cert_file) != 1) {
        snprintf(err, err_cap, "cannot use the certificate chain in %s: %s", options->cert_file,
            first_reason());
        return -EINVAL;
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, options->key_file, SSL_FILETYPE_PEM) != 1) {
        snprintf(err, err_cap, "cannot use the private key in %s: %s", options->key_file,
            first_reason());
        return -EINVAL;
    }
    return 0;
}

static int load_trust(SSL_CTX *ctx, const struct tls_options *options, char *err, size_t err_cap)
{
    if (options->ca_file) {
        if (SSL_CTX_load_verify_file(ctx, options->ca_file) != 1) {
            snprintf(err, err_cap, "cannot use the certificate authorities in %s: %s",
                options->ca_file, first_reason());
            return -EINVAL;
        }
    } else if (SSL_CTX_set_default_verify_paths(ctx) != 1) {
        snprintf(
            err, err_cap, "cannot use the system's certificate authorities: %s", first_reason());
        return -EINVAL;
    }
    return 0;
}

static int tls_create(const struct tls_options *options, bool is_server, struct tls **ret_tls,
    char *err, size_t err_cap)
{
    int r;
    struct tls *tls = mem_zalloc(sizeof(*tls));

    ERR_clear_error();
    tls->ref_count = 1;
    tls->is_server = is_server;
    tls->insecure = options->insecure;
    tls->bio_method = make_bio_method();
    tls->ctx = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    if (!tls->ctx || !tls->bio_method) {
        snprintf(err, err_cap, "no memory for TLS");
        r = -ENOMEM;
        goto fail;
    }
    SSL_CTX_set_min_proto_version(tls->ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(tls->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    /* Idle connections by the thousand: 14 KB each instead of 47 with the buffers released. */
    SSL_CTX_set_mode(tls->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                   SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_default_passwd_cb(tls->ctx, no_pass_phrase);
    SSL_CTX_set_session_cache_mode(tls->ctx, SSL_SESS_CACHE_OFF);
    if (options->alpn) {
        size_t alpn_len = strlen(options->alpn);
        if (alpn_len == 0 || alpn_len > ALPN_MAX) {
            snprintf(err, err_cap, "the ALPN protocol must have 1 to %d bytes", ALPN_MAX);
            r = -EINVAL;
            goto fail;
        }
        tls->alpn[0] = (uint8_t)alpn_len;
        memcpy(tls->alpn + 1, options->alpn, alpn_len);
    }
    r = load_own_certificate(tls->ctx, options, err, err_cap);
    if (r < 0) {
        goto fail;
    }
    *ret_tls = tls;
    return 0;

fail:
    ERR_clear_error();
    tls_unref(tls);
    return r;
}

int tls_client_create(
    const struct tls_options *options, struct tls **ret_tls, char *err, size_t err_cap)
{
    struct tls *tls;

    int r = tls_create(options, false, &tls, err, err_cap);
    if (r < 0) {
        return r;
    }
    if (!options->insecure) {
        SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_PEER, NULL);
        r = load_trust(tls->ctx, options, err, err_cap);
    }
    if (r == 0 && tls->alpn[0] &&
        SSL_CTX_set_alpn_protos(tls->ctx, tls->alpn, 1u + tls->alpn[0]) != 0) {
        snprintf(err, err_cap, "no memory for TLS");
        r = -ENOMEM;
    }
    ERR_clear_error();
    if (r < 0) {
        tls_unref(tls);
        return r;
    }
    *ret_tls = tls;
    return 0;
}

static int choose_alpn(SSL *ssl, const unsigned char **ret_name, unsigned char *ret_len,
    const unsigned char *offered, unsigned offered_len, void *ctx)
{
    const struct tls *tls = ctx;

    (void)ssl;
    for (unsigned i = 0; i < offered_len && offered[i] <= offered_len - i - 1;
         i += 1u + offered[i]) {
        if (memcmp(offered + i, tls->alpn, 1u + tls->alpn[0]) == 0) {
            *ret_name = tls->alpn + 1;
            *ret_len = tls->alpn[0];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

int tls_server_create(
    const struct tls_options *options, struct tls **ret_tls, char *err, size_t err_cap)
{
    struct tls *tls;

    if (!options->cert_file || !options->key_file) {
        snprintf(err, err_cap, "a TLS server needs a certificate and its key");
        return -EINVAL;
    }
    int r = tls_create(options, true, &tls, err, err_cap);
    if (r < 0) {
        return r;
    }
    /* A ticket costs a fifth of the handshake and saves nothing to who stays connected. */
    SSL_CTX_set_num_tickets(tls->ctx, 0);
    SSL_CTX_set_options(tls->ctx, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
    if (tls->alpn[0]) {
        SSL_CTX_set_alpn_select_cb(tls->ctx, choose_alpn, tls);
    }
    if (options->ca_file) {
        SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        r = load_trust(tls->ctx, options, err, err_cap);
    }
    ERR_clear_error();
    if (r < 0) {
        tls_unref(tls);
        return r;
    }
    *ret_tls = tls;
    return 0;
}

void tls_destroy(struct tls *tls)
{
    if (tls) {
        tls_unref(tls);
    }
}

/* ---- Streams ---- */

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
    session->fd = fd;
    session->tls = tls;
    tls->ref_count += 1;
    session->ssl = SSL_new(tls->ctx);
    BIO *bio = BIO_new(tls->bio_method);
    if (!session->ssl || !bio) {
        BIO_free(bio);
        goto fail;
    }
    BIO_set_data(bio, session);
    BIO_set_init(bio, 1);
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
            session, -EPROTO, "%s does not speak TLS: %s", session->name, first_reason());
    }
    return give_up(session, -EPROTO, "TLS with %s failed: %s", session->name, first_reason());
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
        r = session->sock_error
                ? give_up(session, session->sock_error, "the connection to %s failed: %s",
                      session->name, strerror(-session->sock_error))
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
