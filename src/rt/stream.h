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

struct tls_options {
    const char *ca_file;   /* PEM; NULL: the system's trust store. */
    const char *cert_file; /* PEM chain; NULL: none. */
    const char *key_file;  /* PEM; NULL: none. */
    bool insecure;         /* Do not verify the peer. */
};

/* Gives a client context, or a negative errno with a sentence in err. */
MUST_USE int tls_client_create(
    const struct tls_options *options, struct tls **ret_tls, char *err, size_t err_cap);
void tls_destroy(struct tls *tls);

struct stream {
    int fd;
    void *ssl;       /* NULL: plain. */
    bool want_write; /* The last call stopped because TLS must write first. */
};

/* Takes fd. tls NULL: plain. server_name: for SNI and verification, may be NULL. */
MUST_USE int stream_open(struct stream *s, int fd, struct tls *tls, const char *server_name);

/* 0 when the handshake is complete (plain: at once), -EAGAIN, or negative errno (-EPROTO: TLS
 * refused; stream_error() says why). */
MUST_USE int stream_handshake(struct stream *s);

/* As sock_recv() and sock_send(). */
long stream_recv(struct stream *s, void *buf, size_t len);
long stream_send(struct stream *s, const void *data, size_t len);

/* The last TLS failure as a sentence; "" when there was none. Valid until the next call. */
const char *stream_error(const struct stream *s);

void stream_close(struct stream *s);

#endif
