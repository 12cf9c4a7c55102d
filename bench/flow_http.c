/* How many requests a second the coordinator's HTTP client makes of one thread.
 *
 *   bench_flow_http URL [requests [at once [connections]]]
 *
 * Each answer begins the next request. `fanout serve` answers GET /health with two bytes, so that
 * what is measured beside it is mostly the client: its CPU time a request is printed, too.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "link/http_client.h"
#include "rt/clock.h"
#include "rt/loop.h"

struct bench {
    struct flow_http_client port;
    uint64_t left, done, failed;
    char sentence[256];
};

static void on_done(struct flow_http *http)
{
    struct bench *bench = http->owner;

    bench->done += 1;
    if (http->err || http->status != 200) {
        bench->failed += 1;
        snprintf(
            bench->sentence, sizeof(bench->sentence), "status %d %.200s", http->status, http->why);
    }
    if (bench->left) {
        bench->left -= 1;
        bench->port.begin(bench->port.ctx, http);
    }
}

static double cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 20000;
    uint32_t at_once = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 50;
    uint32_t connections = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : at_once;
    const struct http_client_options options = {connections, connections, HTTP_PRIVATE_ALLOW, NULL};
    struct loop *loop;
    struct http_client *client;
    struct bench bench = {.left = count};

    signal(SIGPIPE, SIG_IGN);
    if (argc < 2 || at_once == 0 || http_client_global_init() != 0 || loop_create(&loop) != 0 ||
        http_client_create(loop, 1, &options, &client) != 0) {
        fprintf(stderr, "usage: bench_flow_http URL [requests [at once [connections]]]\n");
        return 2;
    }
    bench.port = http_client_port(client);
    struct flow_http *https = mem_zalloc(at_once * sizeof(*https));
    uint64_t begin_ns = clock_now_ns();
    double begin_cpu = cpu_seconds();
    for (uint32_t i = 0; i < at_once && bench.left; i++) {
        https[i] = (struct flow_http){.done = on_done,
            .owner = &bench,
            .method = "GET",
            .url = argv[1],
            .timeout_ms = 30000,
            .bytes_max = 65536};
        bench.left -= 1;
        bench.port.begin(bench.port.ctx, &https[i]);
    }
    while (bench.done < count) {
        loop_poll(loop, 1000);
    }
    double seconds = (double)(clock_now_ns() - begin_ns) / 1e9;
    double cpu = cpu_seconds() - begin_cpu;
    printf("requests=%llu failed=%llu seconds=%.3f requests_per_s=%.0f cpu_us_per_request=%.1f\n",
        (unsigned long long)bench.done, (unsigned long long)bench.failed, seconds,
        (double)bench.done / seconds, cpu * 1e6 / (double)bench.done);
    if (bench.failed) {
        printf("last failure: %s\n", bench.sentence);
    }
    http_client_destroy(client);
    loop_destroy(loop);
    mem_free(https);
    return bench.failed ? 1 : 0;
}
