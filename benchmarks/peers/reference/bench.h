/* What the reference programs share with drivers/common.py: options, clocks, the marks of a flood, the line of JSON.
 *
 * Options are `name=value` words. Readable as C11 and as C++17. Memory errors and broken peers end the program: a
 * measurement that went wrong is shown as such by the runner.
 */
#ifndef REFERENCE_BENCH_H
#define REFERENCE_BENCH_H

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#ifdef __cplusplus
#  define BENCH_NORETURN [[noreturn]]
#else
#  define BENCH_NORETURN _Noreturn
#endif

enum { BENCH_MESSAGE_LIMIT = 16 << 20, BENCH_BACKLOG = 1024 };

static int bench_argc;
static char **bench_argv;

BENCH_NORETURN static inline void bench_fail(const char *what)
{
    perror(what);
    exit(1);
}

/* The value of an option, or `otherwise`. */
static inline const char *bench_option(const char *name, const char *otherwise)
{
    const size_t length = strlen(name);
    for (int i = 1; i < bench_argc; i++) {
        if (strncmp(bench_argv[i], name, length) == 0 && bench_argv[i][length] == '=') {
            return bench_argv[i] + length + 1;
        }
    }
    return otherwise;
}

static inline double bench_number(const char *name)
{
    return atof(bench_option(name, "0"));
}

static inline double bench_clock(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t)) {
        bench_fail("clock_gettime");
    }
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline double bench_wall(void)
{
    return bench_clock(CLOCK_MONOTONIC);
}

/* To be called first: takes the options, the CPU to stay on, and a limit to how long this can hang. */
static inline void bench_begin(int argc, char **argv)
{
    cpu_set_t cpus;
    bench_argc = argc;
    bench_argv = argv;
    CPU_ZERO(&cpus);
    CPU_SET((unsigned)bench_number("cpu"), &cpus);
    if (sched_setaffinity(0, sizeof cpus, &cpus)) {
        bench_fail("sched_setaffinity");
    }
    alarm(60 + 5 * (unsigned)bench_number("seconds"));
}

/* CPU seconds of this process, and of the server under test where that is another one. */
static inline double bench_cpu(void)
{
    const int pid = (int)bench_number("pid");
    const double own = bench_clock(CLOCK_PROCESS_CPUTIME_ID);
    return pid ? own + bench_clock((clockid_t)((~(unsigned)pid << 3) | 2)) : own;
}

/* Round trips between two looks at the clock. */
static inline unsigned bench_chunk(size_t size)
{
    return size <= 8192 ? 100 : size <= 102400 ? 20 : 4;
}

/* One connection's round trips against the clock, a quarter of the time more at first as a warm-up. */
typedef struct bench_timer {
    double seconds, end, cpu, start;
    unsigned chunk, left;
    uint64_t operations;
    int measuring;
} bench_timer;

static inline bench_timer bench_start(size_t size)
{
    bench_timer t;
    memset(&t, 0, sizeof t);
    t.seconds = bench_number("seconds");
    t.chunk = t.left = bench_chunk(size);
    t.end = bench_wall() + 0.25 * t.seconds;
    return t;
}

/* Counts a round trip. Returns 0 when the time is over, and has then printed the result. */
static inline int bench_round_trip(bench_timer *t, const char *facts)
{
    if (--t->left) {
        return 1;
    }
    t->left = t->chunk;
    const double now = bench_wall();
    if (!t->measuring) {
        if (now >= t->end) {
            t->measuring = 1;
            t->cpu = bench_cpu();
            t->start = bench_wall();
        }
        return 1;
    }
    t->operations += t->chunk;
    if (now - t->start < t->seconds) {
        return 1;
    }
    printf("{\"operations\": %llu, \"cpu_s\": %.9f, \"wall_s\": %.9f, \"facts\": %s}\n",
           (unsigned long long)t->operations, bench_cpu() - t->cpu, bench_wall() - t->start, facts);
    fflush(stdout);
    return 0;
}

/* A field of /proc/self/status in KiB. */
static inline long bench_status_kib(const char *field)
{
    char line[256];
    long found = 0;
    FILE *file = fopen("/proc/self/status", "r");
    if (file == NULL) {
        bench_fail("/proc/self/status");
    }
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, field, strlen(field)) == 0) {
            found = atol(line + strlen(field));
        }
    }
    fclose(file);
    return found;
}

/* The clock of a receiver, as drivers/common.py has it: empty messages start and stop it. */
typedef struct bench_marks {
    double consume_s, consumed_s, cpu, wall;
    long before_kib;
    int seen;
} bench_marks;

/* Notes the memory in use, and starts a new peak here. */
static inline bench_marks bench_connected(void)
{
    bench_marks m;
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file == NULL || fputs("5", file) < 0 || fclose(file)) {
        bench_fail("/proc/self/clear_refs");
    }
    memset(&m, 0, sizeof m);
    m.consume_s = bench_number("consume_us") * 1e-6;
    m.before_kib = bench_status_kib("VmRSS:");
    return m;
}

/* Takes a message. Returns 0 after the second mark, when the result has been printed. */
static inline int bench_message(bench_marks *m, size_t size, const char *facts)
{
    if (size) {
        if (m->consume_s > 0) {
            const double cpu = bench_clock(CLOCK_PROCESS_CPUTIME_ID), end = bench_wall() + m->consume_s;
            while (bench_wall() < end) {
            }
            m->consumed_s += bench_clock(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        }
        return 1;
    }
    const double cpu = bench_clock(CLOCK_PROCESS_CPUTIME_ID) - m->consumed_s, wall = bench_wall();
    if (!m->seen++) {
        m->cpu = cpu;
        m->wall = wall;
        return 1;
    }
    printf("{\"cpu_s\": %.9f, \"wall_s\": %.9f, \"peak_kib\": %ld, \"facts\": %s}\n", cpu - m->cpu, wall - m->wall,
           bench_status_kib("VmHWM:") - m->before_kib, facts);
    fflush(stdout);
    return 0;
}

/* Tells the runner where a server listens. */
static inline void bench_serving(int port, const char *facts)
{
    printf("{\"port\": %d, \"pid\": %d, \"facts\": %s}\n", port, (int)getpid(), facts);
    fflush(stdout);
}

static inline void bench_random(void *to, size_t size)
{
    for (size_t have = 0; have < size;) {
        const ssize_t got = getrandom((char *)to + have, size - have, 0);
        if (got < 0) {
            bench_fail("getrandom");
        }
        have += (size_t)got;
    }
}

#endif
