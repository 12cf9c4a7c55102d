/* SHA-1 (RFC 3174), for one purpose: Sec-WebSocket-Accept (RFC 6455, section 4.2.2), which asks for
 * it. It protects nothing there; whatever must be secure uses OpenSSL. */
#ifndef BASE_SHA1_H
#define BASE_SHA1_H

#include <stddef.h>
#include <stdint.h>

enum { SHA1_BYTES = 20 };

void sha1(const void *data, size_t len, uint8_t out[SHA1_BYTES]);

#endif
