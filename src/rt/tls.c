#include "rt/tls_own.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "rt/sock.h"
#include "rt/stream.h"

/* ---- Over rt/sock.h: no SIGPIPE, and the simulation can stand underneath ---- */

static int bio_write(BIO *bio, const char *data, int len)
{
    struct tls_socket *sock = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    long n = sock_send(sock->fd, data, (size_t)len);
    if (n == -EAGAIN) {
        BIO_set_retry_write(bio);
        return -1;
    }
    if (n < 0) {
        sock->error = (int)n;
        return -1;
    }
    return (int)n;
}

static int bio_read(BIO *bio, char *buf, int len)
{
    struct tls_socket *sock = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    long n = sock_recv(sock->fd, buf, (size_t)len);
    if (n == -EAGAIN) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (n < 0) {
        sock->error = (int)n;
        return -1;
    }
    sock->eof = n == 0;
    return (int)n;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    struct tls_socket *sock = BIO_get_data(bio);

    (void)num;
    (void)ptr;
    switch (cmd) {
    case BIO_CTRL_FLUSH:
        return 1; /* Nothing is held back. */
    case BIO_CTRL_EOF:
        return sock->eof;
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

BIO *tls_bio(struct tls *tls, struct tls_socket *socket)
{
    BIO *bio = BIO_new(tls->bio_method);

    if (bio) {
        BIO_set_data(bio, socket);
        BIO_set_init(bio, 1);
    }
    return bio;
}

const char *tls_first_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());

    return reason ? reason : "no reason given";
}

void tls_ref(struct tls *tls)
{
    tls->ref_count += 1;
}

void tls_unref(struct tls *tls)
{
    tls->ref_count -= 1;
    if (tls->ref_count == 0) {
        SSL_CTX_free(tls->ctx);
        BIO_meth_free(tls->bio_method);
        mem_free(tls);
    }
}

/* ---- Contexts ---- */

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
            tls_first_reason());
        return -EINVAL;
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, options->key_file, SSL_FILETYPE_PEM) != 1) {
        snprintf(err, err_cap, "cannot use the private key in %s: %s", options->key_file,
            tls_first_reason());
        return -EINVAL;
    }
    return 0;
}

static int load_trust(SSL_CTX *ctx, const struct tls_options *options, char *err, size_t err_cap)
{
    if (options->ca_file) {
        if (SSL_CTX_load_verify_file(ctx, options->ca_file) != 1) {
            snprintf(err, err_cap, "cannot use the certificate authorities in %s: %s",
                options->ca_file, tls_first_reason());
            return -EINVAL;
        }
    } else if (SSL_CTX_set_default_verify_paths(ctx) != 1) {
        snprintf(err, err_cap, "cannot use the system's certificate authorities: %s",
            tls_first_reason());
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
        if (alpn_len == 0 || alpn_len > TLS_ALPN_MAX) {
            snprintf(err, err_cap, "the ALPN protocol must have 1 to %d bytes", TLS_ALPN_MAX);
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
