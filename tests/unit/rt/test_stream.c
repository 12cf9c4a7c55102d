/* The far end is OpenSSL itself in a thread of its own, with a certificate made for the occasion.
 */
#include "rt/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/mem.h"
#include "tests/support/unit.h"

/* ---- Certificates ---- */

static char folder[] = "/tmp/rt_stream_XXXXXX";
static char cert_file[64], key_file[64], other_cert_file[64], other_key_file[64];

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
}

static void make_certificate(const char *alt_names, const char *cert_path, const char *key_path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();

    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(
        name, "CN", MBSTRING_ASC, (const unsigned char *)alt_names, -1, -1, 0);
    X509_set_issuer_name(cert, name);
    add_extension(cert, NID_subject_alt_name, alt_names);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);

    FILE *file = fopen(cert_path, "w");
    assert_int_equal(PEM_write_X509(file, cert), 1);
    fclose(file);
    file = fopen(key_path, "w");
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static int make_files(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_DFL); /* Nothing here may raise it. */
    if (!mkdtemp(folder)) {
        return -1;
    }
    snprintf(cert_file, sizeof(cert_file), "%s/cert.pem", folder);
    snprintf(key_file, sizeof(key_file), "%s/key.pem", folder);
    snprintf(other_cert_file, sizeof(other_cert_file), "%s/other.pem", folder);
    snprintf(other_key_file, sizeof(other_key_file), "%s/otherkey.pem", folder);
    make_certificate("DNS:server.test,IP:127.0.0.1", cert_file, key_file);
    make_certificate("DNS:other.test", other_cert_file, other_key_file);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    unlink(cert_file);
    unlink(key_file);
    unlink(other_cert_file);
    unlink(other_key_file);
    return rmdir(folder);
}

/* ---- The far end ---- */

enum far_kind {
    FAR_ECHO,         /* Sends back what it gets. */
    FAR_BYTE_BY_BYTE, /* So, in records of one byte. */
    FAR_PLAIN,        /* Does not speak TLS. */
    FAR_RECORD,       /* Sends one full record, then waits for the end. */
    FAR_HANGS_UP,     /* Greets and closes the socket without a goodbye. */
    FAR_SAYS_GOODBYE,
    FAR_SLOW, /* Reads nothing until told (by go_fds), then everything; checks the pattern. */
};

struct far {
    enum far_kind kind;
    int fd, near_fd;
    int go_fds[2];
    const char *alpn; /* On the wire, or NULL. */
    pthread_t thread;
    size_t got;
    bool pattern_ok;
};

static uint8_t pattern_at(size_t at)
{
    return (uint8_t)(at * 7 + at / 1000);
}

static int far_choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
    const unsigned char *in, unsigned in_len, void *arg)
{
    const unsigned char *mine = arg;

    (void)ssl;
    return SSL_select_next_proto((unsigned char **)out, out_len, mine, mine[0] + 1u, in, in_len) ==
                   OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_NOACK;
}

static void far_serve(struct far *far, SSL *ssl)
{
    static const char record[16384];
    uint8_t buf[4096];
    char go;
    int n;

    switch (far->kind) {
    case FAR_ECHO:
    case FAR_BYTE_BY_BYTE:
        while ((n = SSL_read(ssl, buf, sizeof(buf))) > 0) {
            int step = far->kind == FAR_ECHO ? n : 1;
            for (int i = 0; i < n; i += step) {
                if (SSL_write(ssl, buf + i, step) != step) {
                    return;
                }
            }
        }
        SSL_shutdown(ssl);
        break;
    case FAR_RECORD:
        SSL_write(ssl, record, sizeof(record));
        SSL_read(ssl, buf, 1);
        break;
    case FAR_SAYS_GOODBYE:
        SSL_shutdown(ssl);
        SSL_read(ssl, buf, 1);
        break;
    case FAR_SLOW:
        far->pattern_ok = read(far->go_fds[0], &go, 1) == 1;
        while ((n = SSL_read(ssl, buf, sizeof(buf))) > 0) {
            for (int i = 0; i < n; i++) {
                far->pattern_ok &= buf[i] == pattern_at(far->got++);
            }
        }
        break;
    case FAR_HANGS_UP:
    case FAR_PLAIN:
        break;
    }
}

static void *far_main(void *arg)
{
    struct far *far = arg;
    static const char hello[] = "+OK this is not the protocol you are looking for\r\n";
    sigset_t blocked;

    sigfillset(&blocked); /* OpenSSL's own sockets raise SIGPIPE in this thread. */
    pthread_sigmask(SIG_SETMASK, &blocked, NULL);
    if (far->kind == FAR_PLAIN) {
        char buf[4096];
        (void)!read(far->fd, buf, sizeof(buf));
        (void)!write(far->fd, hello, sizeof(hello) - 1);
        (void)!read(far->fd, buf, sizeof(buf));
        close(far->fd);
        return NULL;
    }
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1) {
        abort();
    }
    if (far->alpn) {
        SSL_CTX_set_alpn_select_cb(ctx, far_choose_alpn, (void *)far->alpn);
    }
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, far->fd);
    if (SSL_accept(ssl) == 1) {
        far_serve(far, ssl);
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(far->fd);
    return NULL;
}

static struct far *far_start(enum far_kind kind, const char *alpn)
{
    struct far *far = mem_zalloc(sizeof(*far));
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(pipe(far->go_fds), 0);
    far->kind = kind;
    far->near_fd = fds[0];
    far->fd = fds[1];
    far->alpn = alpn;
    assert_int_equal(pthread_create(&far->thread, NULL, far_main, far), 0);
    return far;
}

static void far_join(struct far *far)
{
    pthread_join(far->thread, NULL);
    close(far->go_fds[0]);
    close(far->go_fds[1]);
    mem_free(far);
}

/* ---- The near end ---- */

static struct tls *client_tls(const struct tls_options *options)
{
    struct tls *tls = NULL;
    char err[256] = "";

    int r = tls_client_create(options, &tls, err, sizeof(err));
    if (r < 0) {
        print_error("%s\n", err);
    }
    assert_int_equal(r, 0);
    return tls;
}

static void wait_for(const struct stream *s, bool to_write)
{
    struct pollfd pollfd = {.fd = s->fd, .events = POLLIN};

    if (to_write || s->want_write) {
        pollfd.events |= POLLOUT;
    }
    assert_int_equal(poll(&pollfd, 1, 20000), 1);
}

static int handshake(struct stream *s)
{
    int r;

    while ((r = stream_handshake(s)) == -EAGAIN) {
        wait_for(s, false);
    }
    return r;
}

/* Sends and receives len patterned bytes at once; returns false when they do not come back alike.
 */
static bool echo_comes_back(struct stream *s, size_t len)
{
    uint8_t *data = mem_alloc(len);
    uint8_t *back = mem_alloc(len);
    size_t sent = 0, got = 0;

    for (size_t i = 0; i < len; i++) {
        data[i] = pattern_at(i);
    }
    while (got < len) {
        bool blocked = false;
        while (sent < len && !blocked) {
            long n = stream_send(s, data + sent, len - sent);
            assert_true(n > 0 || n == -EAGAIN);
            blocked = n < 0;
            sent += n > 0 ? (size_t)n : 0;
        }
        long n = stream_recv(s, back + got, len - got);
        assert_true(n > 0 || n == -EAGAIN);
        got += n > 0 ? (size_t)n : 0;
        if (n < 0) {
            wait_for(s, sent < len);
        }
    }
    bool same = memcmp(data, back, len) == 0;
    mem_free(data);
    mem_free(back);
    return same;
}

static void open_to(struct stream *s, struct far *far, struct tls *tls, const char *name)
{
    assert_int_equal(stream_open(s, far->near_fd, tls, name), 0);
}

/* ---- Tests ---- */

static void a_plain_stream_is_the_socket(void **state)
{
    (void)state;
    struct stream s;
    int fds[2];
    char buf[8];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(stream_open(&s, fds[0], NULL, "whoever"), 0);
    assert_int_equal(stream_handshake(&s), 0);
    assert_int_equal(stream_recv(&s, buf, sizeof(buf)), -EAGAIN);
    assert_int_equal(stream_send(&s, "hello", 5), 5);
    assert_int_equal(read(fds[1], buf, sizeof(buf)), 5);
    close(fds[1]);
    assert_int_equal(stream_recv(&s, buf, sizeof(buf)), 0);
    assert_int_equal(stream_send(&s, "x", 1), -EPIPE);
    assert_string_equal(stream_error(&s), "");
    stream_close(&s);
    assert_int_equal(s.fd, -1);
    stream_close(&s);
}

static void bytes_come_back_from_a_verified_server(void **state)
{
    (void)state;
    struct tls *tls = client_tls(&(struct tls_options){.ca_file = cert_file});
    static const struct {
        enum far_kind kind;
        const char *name;
        size_t len;
    } cases[] = {{FAR_ECHO, "server.test", 1 << 20}, {FAR_ECHO, "127.0.0.1", 100000},
        {FAR_BYTE_BY_BYTE, "server.test", 20000}, {FAR_ECHO, NULL, 1}};

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct far *far = far_start(cases[i].kind, NULL);
        struct stream s;
        open_to(&s, far, tls, cases[i].name);
        assert_int_equal(handshake(&s), 0);
        assert_int_equal(stream_handshake(&s), 0);
        assert_true(echo_comes_back(&s, cases[i].len));
        assert_string_equal(stream_error(&s), "");
        stream_close(&s);
        far_join(far);
    }
    tls_destroy(tls);
}

static void expect_refusal(
    const struct tls_options *options, enum far_kind kind, const char *name, const char *sentence)
{
    struct tls *tls = client_tls(options);
    struct far *far = far_start(kind, NULL);
    struct stream s;

    open_to(&s, far, tls, name);
    assert_int_equal(handshake(&s), -EPROTO);
    if (strncmp(stream_error(&s), sentence, strlen(sentence)) != 0) {
        print_error("%s\n", stream_error(&s));
        fail();
    }
    assert_int_equal(stream_handshake(&s), -EPROTO); /* It stays refused. */
    assert_int_equal(stream_send(&s, "x", 1), -EPROTO);
    assert_int_equal(stream_recv(&s, &(char){0}, 1), -EPROTO);
    tls_destroy(tls); /* Before its stream, which is fine. */
    stream_close(&s);
    far_join(far);
}

static void the_wrong_host_is_refused(void **state)
{
    (void)state;
    struct tls_options options = {.ca_file = cert_file};

    expect_refusal(&options, FAR_ECHO, "wrong.test",
        "the certificate of wrong.test was refused: hostname mismatch");
    expect_refusal(&options, FAR_ECHO, "127.0.0.2",
        "the certificate of 127.0.0.2 was refused: IP address mismatch");
}

static void a_certificate_nobody_vouches_for_is_refused(void **state)
{
    (void)state;
    struct tls_options options = {.ca_file = other_cert_file};
    struct tls_options of_system = {0};

    expect_refusal(&options, FAR_ECHO, "server.test", "the certificate of server.test was refused");
    expect_refusal(
        &of_system, FAR_ECHO, "server.test", "the certificate of server.test was refused");
}

static void insecure_takes_any_certificate(void **state)
{
    (void)state;
    struct tls *tls = client_tls(&(struct tls_options){.insecure = true});
    struct far *far = far_start(FAR_ECHO, NULL);
    struct stream s;

    open_to(&s, far, tls, "wrong.test");
    assert_int_equal(handshake(&s), 0);
    assert_true(echo_comes_back(&s, 1000));
    stream_close(&s);
    far_join(far);
    tls_destroy(tls);
}

static void a_peer_without_tls_is_refused(void **state)
{
    (void)state;
    struct tls_options options = {.ca_file = cert_file};

    expect_refusal(&options, FAR_PLAIN, "server.test", "server.test does not speak TLS");
}

static void a_name_that_cannot_be_one_closes_the_descriptor(void **state)
{
    (void)state;
    struct tls *tls = client_tls(&(struct tls_options){.ca_file = cert_file});
    char name[400];
    int fds[2];
    struct stream s;

    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(stream_open(&s, fds[0], tls, name), -EINVAL);
    assert_int_equal(s.fd, -1);
    assert_true(fcntl(fds[0], F_GETFD) < 0);
    close(fds[1]);
    tls_destroy(tls);
}

static void a_goodbye_is_an_end_a_cut_is_a_failure(void **state)
{
    (void)state;
    struct tls *tls = client_tls(&(struct tls_options){.ca_file = cert_file});
    char buf[8];
    long n;

    for (int polite = 0; polite < 2; polite++) {
        struct far *far = far_start(polite ? FAR_SAYS_GOODBYE : FAR_HANGS_UP, NULL);
        struct stream s;
        open_to(&s, far, tls, "server.test");
        assert_int_equal(handshake(&s), 0);
        while ((n = stream_recv(&s, buf, sizeof(buf))) == -EAGAIN) {
            wait_for(&s, false);
        }
        if (polite) {
            assert_int_equal(n, 0);
            assert_string_equal(stream_error(&s), "");
        } else {
            assert_int_equal(n, -ECONNRESET);
            assert_string_equal(
                stream_error(&s), "server.test closed the connection without TLS's goodbye");
        }
        stream_close(&s);
        far_join(far);
    }
    tls_destroy(tls);
}

/* One record comes off the socket at once; the rest of it waits where no loop sees it. */
static void a_short_read_means_nothing_is_left_inside(void **state)
{
    (void)state;
    struct tls *tls = client_tls(&(struct tls_options){.ca_file = cert_file});
    struct far *far = far_start(FAR_RECORD, NULL);
    struct stream s;
    char buf[5000];
    long n;

    open_to(&s, far, tls, "server.test");
    assert_int_equal(handshake(&s), 0);
    while ((n = stream_recv(&s, buf, sizeof(buf))) == -EAGAIN) {
        wait_for(&s, false);
    }
    assert_int_equal(n, sizeof(buf));
    assert_int_equal(stream_recv(&s, buf, sizeof(buf)), sizeof(buf));
    assert_int_equal(stream_recv(&s, buf, sizeof(buf)), sizeof(buf));
    assert_int_equal(stream_recv(&s, buf, sizeof(buf)), 16384 - 3 * sizeof(buf));
    assert_int_equal(stream_recv(&s, buf, sizeof(buf)), -EAGAIN);
    stream_close(&s);
    far_join(far);
    tls_destroy(tls);
}

/* Fills the connection; returns how many patterned bytes were taken. */
static size_t send_until_blocked(struct stream *s, uint8_t *data, size_t len)
{
    size_t sent = 0;

    for (size_t i = 0; i < len; i++) {
        data[i] = pattern_at(i);
    }
    for (;;) {
        assert_true(sent < len);
        long n = stream_send(s, data + sent, len - sent);
        if (n == -EAGAIN) {
            return sent;
        }
        assert_true(n > 0);
        sent += (size_t)n;
    }
}

static void what_is_held_must_be_offered_again_and_may_be_moved(void **state)
{
    (void)state;
    enum { LEN = 1 << 22 };
    struct tls *tls = client_tls(&(struct tls_options){.ca_file = cert_file});
    uint8_t *data = mem_alloc(LEN);
    struct stream s;

    /* The same bytes from another place, first with less and then with more behind them. */
    struct far *far = far_start(FAR_SLOW, NULL);
    open_to(&s, far, tls, "server.test");
    assert_int_equal(handshake(&s), 0);
    size_t sent = send_until_blocked(&s, data, LEN);
    assert_true(s.held > 0 && s.held <= LEN - sent);
    assert_true(s.want_write);
    uint8_t *copy = mem_alloc(s.held);
    memcpy(copy, data + sent, s.held);
    assert_int_equal(stream_send(&s, copy, s.held), -EAGAIN);
    assert_int_equal(write(far->go_fds[1], "g", 1), 1);
    while (sent < LEN) {
        long n = stream_send(&s, data + sent, LEN - sent);
        if (n == -EAGAIN) {
            wait_for(&s, true);
        } else {
            assert_true(n > 0);
            sent += (size_t)n;
        }
    }
    assert_int_equal(s.held, 0);
    stream_close(&s);
    pthread_join(far->thread, NULL);
    assert_int_equal(far->got, LEN);
    assert_true(far->pattern_ok);
    close(far->go_fds[0]);
    close(far->go_fds[1]);
    mem_free(far);
    mem_free(copy);

    /* Others, or fewer: the stream fails rather than sends what was not meant. */
    for (int fewer = 0; fewer < 2; fewer++) {
        far = far_start(FAR_SLOW, NULL);
        open_to(&s, far, tls, "server.test");
        assert_int_equal(handshake(&s), 0);
        sent = send_until_blocked(&s, data, LEN);
        if (fewer) {
            assert_int_equal(stream_send(&s, data + sent, s.held - 1), -EPROTO);
        } else {
            data[sent] ^= 1;
            assert_int_equal(stream_send(&s, data + sent, LEN - sent), -EPROTO);
        }
        assert_string_equal(
            stream_error(&s), "bytes that were on their way to server.test were dropped");
        stream_close(&s);
        assert_int_equal(write(far->go_fds[1], "g", 1), 1);
        far_join(far);
    }
    mem_free(data);
    tls_destroy(tls);
}

static void the_protocol_is_agreed_on_or_refused(void **state)
{
    (void)state;
    struct tls *tls = client_tls(&(struct tls_options){.ca_file = cert_file, .alpn = "h2"});
    static const char *const offers[] = {"\x02h2", "\x08http/1.1", NULL};

    for (int i = 0; i < 3; i++) {
        struct far *far = far_start(FAR_ECHO, offers[i]);
        struct stream s;
        open_to(&s, far, tls, "server.test");
        assert_int_equal(handshake(&s), i == 0 ? 0 : -EPROTO);
        assert_string_equal(
            stream_error(&s), i == 0 ? "" : "server.test did not agree to speak h2 over TLS");
        stream_close(&s);
        far_join(far);
    }
    tls_destroy(tls);
}

static void expect_no_context(
    const struct tls_options *options, bool server, const char *sentence_start)
{
    struct tls *tls = NULL;
    char err[256] = "";

    int r = server ? tls_server_create(options, &tls, err, sizeof(err))
                   : tls_client_create(options, &tls, err, sizeof(err));
    assert_int_equal(r, -EINVAL);
    assert_null(tls);
    if (strncmp(err, sentence_start, strlen(sentence_start)) != 0) {
        print_error("%s\n", err);
        fail();
    }
}

static void unusable_files_are_named_in_a_sentence(void **state)
{
    (void)state;
    char text[128];

    expect_no_context(&(struct tls_options){.ca_file = "/no/such.pem"}, false,
        "cannot use the certificate authorities in /no/such.pem: ");
    expect_no_context(&(struct tls_options){.cert_file = cert_file}, false,
        "a TLS certificate and its key go together");
    expect_no_context(&(struct tls_options){.cert_file = "/no/such.pem", .key_file = key_file},
        false, "cannot use the certificate chain in /no/such.pem: ");
    snprintf(text, sizeof(text), "cannot use the private key in %s: ", other_key_file);
    expect_no_context(
        &(struct tls_options){.cert_file = cert_file, .key_file = other_key_file}, true, text);
    expect_no_context(&(struct tls_options){.ca_file = cert_file}, true,
        "a TLS server needs a certificate and its key");
    expect_no_context(&(struct tls_options){.alpn = ""}, false, "the ALPN protocol must have");
    assert_int_equal(ERR_peek_error(), 0); /* Nothing is left for the next caller to trip over. */
    tls_destroy(NULL);
}

/* Both ends ours, in one thread: the server's context, and a client that must show who it is. */
static void our_server_and_our_client_understand_each_other(void **state)
{
    (void)state;
    struct tls *servers[2] = {NULL};
    char err[256] = "", buf[64];
    struct tls_options open_house = {.cert_file = cert_file, .key_file = key_file, .alpn = "h2"};
    struct tls_options by_invitation = open_house;
    by_invitation.ca_file = other_cert_file;

    assert_int_equal(tls_server_create(&open_house, &servers[0], err, sizeof(err)), 0);
    assert_int_equal(tls_server_create(&by_invitation, &servers[1], err, sizeof(err)), 0);
    struct tls *stranger = client_tls(&(struct tls_options){.ca_file = cert_file, .alpn = "h2"});
    struct tls *friend = client_tls(&(struct tls_options){.ca_file = cert_file,
        .cert_file = other_cert_file,
        .key_file = other_key_file,
        .alpn = "h2"});
    for (int i = 0; i < 4; i++) {
        bool is_friend = i & 1, is_closed = i & 2;
        struct stream near, far;
        int fds[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        assert_int_equal(
            stream_open(&near, fds[0], is_friend ? friend : stranger, "server.test"), 0);
        assert_int_equal(stream_open(&far, fds[1], servers[is_closed], NULL), 0);
        int near_r = -EAGAIN, far_r = -EAGAIN;
        for (int turn = 0; turn < 20; turn++) {
            near_r = near_r == -EAGAIN ? stream_handshake(&near) : near_r;
            far_r = far_r == -EAGAIN ? stream_handshake(&far) : far_r;
        }
        assert_int_equal(far_r, is_closed && !is_friend ? -EPROTO : 0);
        if (far_r == 0) {
            assert_int_equal(near_r, 0);
            assert_int_equal(stream_send(&near, "hello", 5), 5);
            assert_int_equal(stream_recv(&far, buf, sizeof(buf)), 5);
            assert_int_equal(stream_send(&far, "world!", 6), 6);
            assert_int_equal(stream_recv(&near, buf, sizeof(buf)), 6);
            stream_close(&far);
            assert_int_equal(stream_recv(&near, buf, sizeof(buf)), 0);
        } else {
            stream_close(&far);
        }
        stream_close(&near);
    }
    tls_destroy(servers[0]);
    tls_destroy(servers[1]);
    tls_destroy(stranger);
    tls_destroy(friend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_stream_is_the_socket),
        cmocka_unit_test(bytes_come_back_from_a_verified_server),
        cmocka_unit_test(the_wrong_host_is_refused),
        cmocka_unit_test(a_certificate_nobody_vouches_for_is_refused),
        cmocka_unit_test(insecure_takes_any_certificate),
        cmocka_unit_test(a_peer_without_tls_is_refused),
        cmocka_unit_test(a_name_that_cannot_be_one_closes_the_descriptor),
        cmocka_unit_test(a_goodbye_is_an_end_a_cut_is_a_failure),
        cmocka_unit_test(a_short_read_means_nothing_is_left_inside),
        cmocka_unit_test(what_is_held_must_be_offered_again_and_may_be_moved),
        cmocka_unit_test(the_protocol_is_agreed_on_or_refused),
        cmocka_unit_test(unusable_files_are_named_in_a_sentence),
        cmocka_unit_test(our_server_and_our_client_understand_each_other),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
