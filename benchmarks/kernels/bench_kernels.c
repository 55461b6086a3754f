/* How fast the kernels are: nanoseconds per call up to 1,000 bytes, GB/s above, for each set that this processor runs.
 *
 *     bench_kernels [MILLISECONDS]     of each stretch, default 20; a figure is the best of 7 stretches
 *     bench_kernels list               names of the sets that run here
 *     bench_kernels role=kernel module=SET|memcpy size=BYTES seconds=S cpu=N      one set, one size, a line of JSON
 *
 * Buffers are in the cache, as a payload is that was just received. "+1": the payload begins one byte after a cache
 * line, as behind a header it may. The texts are ASCII, Russian with many spaces, Chinese, and English with one
 * character of two bytes in 63 bytes.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <sched.h>

#include "picows_kernels.h"

enum { LARGEST = 1 << 20, ROUNDS = 7 };

static double stretch_s = 0.02;
static uint8_t *source, *target;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* What is measured: calls through a pointer, as the engine makes them. */
typedef struct job {
    const picows_kernels *kernels;          /* NULL: memcpy */
    uint8_t *to;
    const uint8_t *from;
    size_t size;
    int is_text;
} job;

/* Short payloads lie in places by turns: in one place each call would wait for the stores of the one before. */
enum { PLACES = 16, PLACE_SIZE = 1024 };

static void *(*volatile copy)(void *, const void *, size_t) = memcpy;

static void call(const job *work, size_t times)
{
    const job w = *work;
    const size_t places = w.size <= PLACE_SIZE ? PLACES : 1;
    picows_utf8_state state = {0, 0, 0};

    for (size_t i = 0; i < times; i++) {
        const size_t at = i % places * PLACE_SIZE;
        if (w.kernels == NULL) {
            copy(w.to + at, w.from + at, w.size);
        } else if (!w.is_text) {
            w.kernels->mask(w.to + at, w.from + at, w.size, 0x12345678);
        } else if (w.kernels->validate_utf8(&state, w.from, w.size) != w.size || state.missing) {
            fprintf(stderr, "%s refuses valid text\n", w.kernels->name);
            exit(1);
        }
    }
}

/* Seconds of one call, in the best of some stretches. */
static double measure(const job *work)
{
    size_t times = 1;
    double best = 1e9;

    for (;;) {
        const double start = now_s();
        call(work, times);
        if (now_s() - start > stretch_s / 4) {
            break;
        }
        times *= 2;
    }
    for (int round = 0; round < ROUNDS; round++) {
        const double start = now_s();
        call(work, times * 4);
        const double each = (now_s() - start) / (double)(times * 4);
        best = each < best ? each : best;
    }
    return best;
}

static void print_cell(const job *work)
{
    const double each = measure(work);
    if (work->size < 4000) {
        printf(" %6.1f ns", each * 1e9);
    } else {
        printf(" %4.1f GB/s", (double)work->size / each * 1e-9);
    }
    fflush(stdout);
}

static const size_t sizes[] = {6, 16, 30, 64, 125, 256, 1000, 4096, 65536, LARGEST};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static void print_row(const char *name, const job *work, size_t unit)
{
    printf("%-16s", name);
    for (size_t i = 0; i < SIZES; i++) {
        job one = *work;
        one.size = sizes[i] < unit ? unit : sizes[i] / unit * unit;
        print_cell(&one);
    }
    printf("\n");
}

/* One row for each set; sizes are rounded down to a multiple of `unit`. */
static void print_table(const char *title, const job *work, size_t unit)
{
    size_t count;
    const picows_kernels *sets = picows_kernels_list(&count);

    printf("\n%-16s", title);
    for (size_t i = 0; i < SIZES; i++) {
        printf(sizes[i] < 4096 ? " %7zu B" : " %5zu KiB", sizes[i] < 4096 ? sizes[i] : sizes[i] >> 10);
    }
    printf("\n");
    for (size_t i = count; i-- > 0;) {
        job with_set = *work;
        with_set.kernels = picows_kernels_select(sets[i].name, NULL);
        if (with_set.kernels != NULL) {
            print_row(sets[i].name, &with_set, unit);
        }
    }
}

static void bench_mask(const char *title, uint8_t *to, const uint8_t *from)
{
    const job work = {NULL, to, from, 0, 0};

    print_table(title, &work, 1);
    if (to != from) {
        print_row("memcpy", &work, 1);
    }
}

/* A text that consists of repetitions of `unit`. */
static void bench_text(const char *title, const char *unit)
{
    const size_t length = strlen(unit);
    const job work = {NULL, NULL, source, 0, 1};

    for (size_t at = 0; at + length <= LARGEST; at += length) {
        memcpy(source + at, unit, length);
    }
    print_table(title, &work, length);
}

static void list_sets(void)
{
    size_t count;
    const picows_kernels *sets = picows_kernels_list(&count);
    for (size_t i = 0; i < count; i++) {
        if (picows_kernels_select(sets[i].name, NULL) != NULL) {
            printf("%s\n", sets[i].name);
        }
    }
}

/* The value of a `name=value` word. */
static const char *word(int argc, char **argv, const char *name)
{
    const size_t length = strlen(name);
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], name, length) == 0 && argv[i][length] == '=') {
            return argv[i] + length + 1;
        }
    }
    fprintf(stderr, "%s= is missing\n", name);
    exit(1);
}

/* One set at one size, for benchmarks/peers. memcpy has nothing to do in place. */
static int bench_one(int argc, char **argv)
{
    const char *name = word(argc, argv, "module");
    const int is_memcpy = strcmp(name, "memcpy") == 0;
    job work = {NULL, target, source, (size_t)atol(word(argc, argv, "size")), 0};
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    CPU_SET((unsigned)atoi(word(argc, argv, "cpu")), &cpus);
    work.kernels = is_memcpy ? NULL : picows_kernels_select(name, NULL);
    if (work.size > LARGEST || (work.kernels == NULL && !is_memcpy) || sched_setaffinity(0, sizeof cpus, &cpus)) {
        fprintf(stderr, "cannot measure %s at %zu bytes on that CPU\n", name, work.size);
        return 1;
    }
    stretch_s = atof(word(argc, argv, "seconds")) / (2 * ROUNDS);
    const double copied = measure(&work);
    printf("{\"operations\": 1, \"ns\": %.3f, \"gb_per_s\": %.3f, ", copied * 1e9, (double)work.size / copied * 1e-9);
    if (!is_memcpy) {
        work.from = target;
        const double in_place = measure(&work);
        printf("\"in_place_ns\": %.3f, \"in_place_gb_per_s\": %.3f, ", in_place * 1e9,
               (double)work.size / in_place * 1e-9);
    }
    printf("\"facts\": {\"library\": \"%s\", \"implementation\": \"C, compiler %s\"}}\n",
           is_memcpy ? "C library" : "csrc of picows-core", __VERSION__);
    return 0;
}

int main(int argc, char **argv)
{
    source = aligned_alloc(64, LARGEST + 4096);
    target = aligned_alloc(64, LARGEST + 4096);
    if (source == NULL || target == NULL) {
        return 1;
    }
    memset(source, 'x', LARGEST + 4096);
    memset(target, 'y', LARGEST + 4096);
    if (argc > 1 && strcmp(argv[1], "list") == 0) {
        list_sets();
        return 0;
    }
    if (argc > 2) {
        return bench_one(argc, argv);
    }
    if (argc > 1) {
        stretch_s = atof(argv[1]) * 1e-3;
    }
    bench_mask("mask in place", target, target);
    bench_mask("mask in place +1", target + 1, target + 1);
    bench_mask("mask copy", target, source);
    bench_mask("mask copy +6, +1", target + 6, source + 1);
    bench_text("UTF-8 ASCII", "x");
    bench_text("UTF-8 Russian", "\xD0\xB4\xD0\xB0 ");
    bench_text("UTF-8 Chinese", "\xE4\xB8\xAD\xE6\x96\x87");
    bench_text("UTF-8 mixed", "The quick brown fox jumps over the lazy dog, then says caf\xC3\xA9. ");
    free(source);
    free(target);
    return 0;
}
