#include "link/redis_options.h"

#include <errno.h>
#include <stdio.h>

enum { CLIENT_BYTES_MIN = 64 * 1024 };

struct redis_options redis_options_default(void)
{
    return (struct redis_options){
        .host = "localhost",
        .port = 6379,
        .mode = REDIS_MODE_PATTERN,
        .canary_interval_ms = 1000,
        .reconnect_min_ms = 100,
        .reconnect_max_ms = 5000,
        .connect_timeout_ms = 5000,
        .linger_ms = 30000,
        .buffer_bytes = 64 * 1024 * 1024,
        .publish_bytes = 64 * 1024 * 1024,
    };
}

int redis_options_check(const struct redis_options *options, char *err, size_t err_cap)
{
    const char *complaint = NULL;

    if (options->unix_path ? options->unix_path[0] == '\0'
                           : !options->host || options->host[0] == '\0' || options->port == 0) {
        complaint = "a host with a port, or the path of a unix socket, is needed";
    } else if (options->username && !(options->password && options->password[0] != '\0')) {
        complaint = "a user name without a password says nothing";
    } else if (options->canary_interval_ms == 0 || options->connect_timeout_ms == 0 ||
               options->reconnect_min_ms == 0) {
        complaint = "times must be at least 1 ms";
    } else if (options->reconnect_max_ms < options->reconnect_min_ms) {
        complaint = "reconnect_max_ms must not be below reconnect_min_ms";
    } else if (options->buffer_bytes < CLIENT_BYTES_MIN ||
               options->publish_bytes < CLIENT_BYTES_MIN) {
        complaint = "buffers must hold at least 64 KiB";
    }
    if (complaint) {
        snprintf(err, err_cap, "redis: %s", complaint);
        return -EINVAL;
    }
    return 0;
}
