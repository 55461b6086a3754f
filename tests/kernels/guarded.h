/* Memory whose neighbours fault, and how a check fails. For the programs of this directory, on POSIX. */
#ifndef GUARDED_H
#define GUARDED_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHECK(condition, ...)                                           \
    do {                                                                \
        if (!(condition)) {                                             \
            printf("%s:%d: %s: ", __FILE__, __LINE__, #condition);      \
            printf(__VA_ARGS__);                                        \
            printf("\n");                                               \
            exit(1);                                                    \
        }                                                               \
    } while (0)

/* `size` bytes between two pages that can be neither read nor written. */
typedef struct guarded {
    uint8_t *begin, *end;
} guarded;

static inline guarded guarded_new(size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t inner = (size + page - 1) / page * page;
    uint8_t *all = mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(all != MAP_FAILED, "no memory");
    CHECK(mprotect(all + page, inner, PROT_READ | PROT_WRITE) == 0, "no memory");
    return (guarded){all + page, all + page + inner};
}

/* xorshift64: the same sequence everywhere. */
static inline uint64_t next_random(void)
{
    static uint64_t x = UINT64_C(0x9E3779B97F4A7C15);
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

static inline void fill_random(uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(next_random() >> 32);
    }
}

#endif
