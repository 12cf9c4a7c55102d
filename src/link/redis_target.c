#include "link/redis_target.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/mem.h"
#include "link/redis_options.h"

uint64_t redis_draw_seed(uint64_t seed)
{
    while (seed == 0) {
        ssize_t n = getrandom(&seed, sizeof(seed), 0);
        CHECK(n == (ssize_t)sizeof(seed) || errno == EINTR);
    }
    return seed;
}

static char *address_of(const struct redis_options *options)
{
    struct bytes text = {0};
    int r;

    if (options->unix_path) {
        r = bytes_appendf(&text, "unix:%s", options->unix_path);
    } else {
        bool v6 = strchr(options->host, ':') != NULL;
        r = bytes_appendf(&text, v6 ? "[%s]:%u" : "%s:%u", options->host, (unsigned)options->port);
    }
    CHECK(r == 0);
    char *copy = mem_strndup((const char *)text.data, text.len);
    bytes_fini(&text);
    return copy;
}

static char *copy_or_null(const char *text)
{
    return text && text[0] != '\0' ? mem_strdup(text) : NULL;
}

int redis_target_init(struct redis_target *target, const struct redis_options *options,
    const char *client_name, char *err, size_t err_cap)
{
    *target = (struct redis_target){
        .address = address_of(options),
        .server_name = copy_or_null(options->tls_server_name ? options->tls_server_name
                                    : options->unix_path     ? NULL
                                                             : options->host),
        .timeout_ms = options->connect_timeout_ms,
        .credentials =
            {
                .username = copy_or_null(options->username),
                .password = copy_or_null(options->password),
                .db = options->db,
                .client_name = client_name,
            },
    };
    return options->use_tls ? tls_client_create(&options->tls, &target->tls, err, err_cap) : 0;
}

void redis_target_fini(struct redis_target *target)
{
    tls_destroy(target->tls);
    mem_free((char *)target->address);
    mem_free((char *)target->server_name);
    mem_free((char *)target->credentials.username);
    mem_free((char *)target->credentials.password);
    *target = (struct redis_target){0};
}
