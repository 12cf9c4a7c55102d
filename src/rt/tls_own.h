/* TLS contexts and how TLS reaches the socket: what rt/stream.c needs of rt/tls.c. Inside rt only.
 */
#ifndef RT_TLS_OWN_H
#define RT_TLS_OWN_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

enum { TLS_ALPN_MAX = 32 };

struct tls {
    SSL_CTX *ctx;
    BIO_METHOD *bio_method;
    uint32_t ref_count; /* The owner's and one for each stream: a BIO needs its method. */
    bool is_server;
    bool insecure;
    uint8_t alpn[1 + TLS_ALPN_MAX]; /* Length and name, as on the wire; length 0: none. */
};

/* The socket under one TLS stream. */
struct tls_socket {
    int fd;
    int error; /* Its last failure, negative errno; 0: none. */
    bool eof;  /* It has ended. */
};

/* Shares tls. */
void tls_ref(struct tls *tls);
void tls_unref(struct tls *tls);

/* Gives a BIO over socket, which must outlive it; NULL without memory. */
MUST_USE BIO *tls_bio(struct tls *tls, struct tls_socket *socket);

/* The first of OpenSSL's reasons, in its words. */
const char *tls_first_reason(void);

#endif
