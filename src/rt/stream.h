/* Stream: bytes to and from one peer, plain or TLS, one shape for both.
 *
 * Used by links and, for TLS, by connections; the plain hot path of a delivery calls sock_send()
 * directly. A zeroed stream with fd -1 is closed. Runs on the owner's thread.
 */
#ifndef RT_STREAM_H
#define RT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

struct tls; /* A TLS context: certificates, trust. Shared by many streams of one thread. */

enum { STREAM_ERROR_MAX = 192 };

struct tls_options {
    const char *ca_file;   /* PEM; NULL: the system's trust store. */
    const char *cert_file; /* PEM chain; NULL: none. */
    const char *key_file;  /* PEM; NULL: none. */
    bool insecure;         /* Do not verify the peer. */
    const char *alpn;      /* The one protocol to agree on, e.g. "h2"; NULL: do not negotiate. */
};

/* Gives a client context, or a negative errno with a sentence in err. */
MUST_USE int tls_client_create(
    const struct tls_options *options, struct tls **ret_tls, char *err, size_t err_cap);

/* Gives a server context; needs cert_file and key_file. With ca_file, clients must show a
 * certificate that it signed. Results as above. */
MUST_USE int tls_server_create(
    const struct tls_options *options, struct tls **ret_tls, char *err, size_t err_cap);

/* Streams already open go on. NULL is fine. */
void tls_destroy(struct tls *tls);

struct stream {
    int fd;
    void *ssl;       /* NULL: plain. */
    bool want_write; /* The last call stopped because TLS must write first. */
    uint32_t held;   /* Bytes last offered and not taken that must come first next time. */
};

/* Takes fd, closing it on failure. tls NULL: plain. server_name: a host name or address without
 * port, for SNI and verification; NULL: any name will do, as long as the certificate is trusted.
 * Returns 0 or -ENOMEM, -EINVAL (not a name). */
MUST_USE int stream_open(struct stream *s, int fd, struct tls *tls, const char *server_name);

/* 0 when the handshake is complete (plain: at once), -EAGAIN, or negative errno (-EPROTO: TLS
 * refused; stream_error() says why). */
MUST_USE int stream_handshake(struct stream *s);

/* As sock_recv() and sock_send(): fewer bytes than asked for means that -EAGAIN comes next. Two
 * differences under TLS. A connection cut without TLS's goodbye is -ECONNRESET, not 0. And what
 * stream_send() did not take may be partly under way, encrypted: the first `held` bytes of it must
 * be offered again, from anywhere in memory, with or without more behind them; anything else there
 * fails the stream with -EPROTO. Nothing of it may be dropped, as of a frame partly written. */
long stream_recv(struct stream *s, void *buf, size_t len);
long stream_send(struct stream *s, const void *data, size_t len);

/* The last TLS failure as a sentence; "" when there was none. Valid until the next call. */
const char *stream_error(const struct stream *s);

void stream_close(struct stream *s);

#endif
