/* Token counting under everything that goes wrong, decided by a seed.
 *
 *   flow_tokens [--seed N] [--runs N] [--trace]
 *
 * Each run draws a workflow (chains, fans, meshes, branches, nested loops, retries, delays, human
 * approval, time-outs) and plays it between two coordinators with copies of their own, workers that
 * answer twice, late or never, a store whose answers get lost, crashes, pauses and cancels. After
 * every commit the store's counter is the number of tokens in flight and the run keeps all rules of
 * run_check(); in the end the story that was published has one end and each event once, and, where
 * it does not depend on time, it is what the oracle foretold. A failed check prints the seed.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/sim/flow_scene.h"

enum { RUNS_DEFAULT = 300 };

static uint64_t seed_now;

static void on_abort(int signal)
{
    char line[80];
    int len = snprintf(
        line, sizeof(line), "flow_tokens: failed with --seed %llu\n", (unsigned long long)seed_now);

    (void)signal;
    (void)!write(STDERR_FILENO, line, (size_t)len);
}

static void print_story(const struct scene *scene)
{
    struct bytes text = {0};

    make_text(&scene->make, &text);
    printf("%.*s\n", (int)text.len, (const char *)text.data);
    for (uint32_t i = 0; i < scene->model.event_count; i++) {
        printf("%s\n", scene->model.events[i]);
    }
    bytes_fini(&text);
}

static void one_seed(uint64_t seed, bool trace)
{
    struct scene scene;

    seed_now = seed;
    scene_init(&scene, seed);
    scene_play(&scene);
    if (trace) {
        print_story(&scene);
    }
    judge(&scene);
    scene_fini(&scene);
}

static void replay_known(void)
{
    const char *path = getenv("FANOUT_SIM_SEEDS");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[200];

    while (file && fgets(line, sizeof(line), file)) {
        if (line[0] >= '0' && line[0] <= '9') {
            one_seed(strtoull(line, NULL, 10), false);
        }
    }
    if (file) {
        fclose(file);
    }
}

static void print_totals(void)
{
    const struct scene_totals *t = &scene_totals;
    const struct {
        const char *name;
        uint64_t count;
    } rows[] = {{"completed", t->completed}, {"failed", t->failed}, {"cancelled", t->cancelled},
        {"foretold", t->told}, {"nodes", t->nodes}, {"tokens", t->tokens},
        {"nodes begun again by loops", t->loops}, {"joins", t->joins}, {"skipped", t->skipped},
        {"commits", t->commits}, {"refused", t->refused}, {"answers lost", t->lost_answers},
        {"late commits", t->late_commits}, {"crashes", t->crashes}, {"loads", t->reloads},
        {"batches", t->batches}, {"stale signals", t->stale_signals}, {"poison", t->poison},
        {"time-outs", t->timeouts}, {"retries", t->retries}, {"delays", t->delays},
        {"decisions", t->decisions}, {"cancels", t->cancels},
        {"timers for nothing", t->spurious_timers}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        printf("%s %llu%s", rows[i].name, (unsigned long long)rows[i].count,
            i + 1 < sizeof(rows) / sizeof(rows[0]) ? ", " : "\n");
    }
}

static uint64_t number(const char *text, const char *what)
{
    char *end;

    errno = 0;
    unsigned long long value = strtoull(text ? text : "", &end, 10);
    if (!text || !*text || *end || errno) {
        fprintf(stderr, "flow_tokens: %s is \"%s\"; expected a number\n", what, text ? text : "");
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    uint64_t first = 1, runs = RUNS_DEFAULT;
    bool trace = false, chosen = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0) {
            first = number(argv[++i], "--seed");
            runs = chosen ? runs : 1;
        } else if (strcmp(argv[i], "--runs") == 0) {
            runs = number(argv[++i], "--runs");
            chosen = true;
        } else if (strcmp(argv[i], "--trace") == 0) {
            trace = true;
        }
    }
    signal(SIGABRT, on_abort);
    replay_known();
    for (uint64_t seed = first; seed < first + runs; seed++) {
        one_seed(seed, trace);
    }
    print_totals();
    printf("%llu runs from seed %llu\n", (unsigned long long)runs, (unsigned long long)first);
    return 0;
}
