/* All sets of kernels in order of preference, and how one of them is found. */
#include "cpu.h"
#include "picows_kernels.h"

/* One line is one set: name, what it needs, the suffixes of its mask and UTF-8 kernels.
 * SSE2 has no byte shuffle, so UTF-8 is not worth an own kernel there. */
#if PICOWS_X86_64
#  define SETS_OF_ARCHITECTURE(SET)                      \
      SET(avx512, PICOWS_CPU_AVX512, avx512, avx512)     \
      SET(avx2, PICOWS_CPU_AVX2, avx2, avx2)             \
      SET(sse2, 0, sse2, generic)
#elif PICOWS_AARCH64
#  define SETS_OF_ARCHITECTURE(SET)                      \
      SET(neon, 0, neon, neon)
#else
#  define SETS_OF_ARCHITECTURE(SET)
#endif
#define SETS(SET)                                        \
      SETS_OF_ARCHITECTURE(SET)                          \
      SET(generic, 0, generic, generic)

#define DECLARE(set, needs, mask, utf8)                                                     \
    void picows_mask_##mask(uint8_t *to, const uint8_t *from, size_t size, uint32_t key);   \
    size_t picows_validate_utf8_##utf8(picows_utf8_state *state, const uint8_t *data, size_t size);
SETS(DECLARE)

#define TABLE(set, needs, mask, utf8) {#set, picows_mask_##mask, picows_validate_utf8_##utf8},
static const picows_kernels sets[] = {SETS(TABLE)};

#define NEEDS(set, needs, mask, utf8) needs,
static const unsigned needed[] = {SETS(NEEDS)};

enum { COUNT = sizeof sets / sizeof sets[0] };

const picows_kernels *picows_kernels_list(size_t *count)
{
    *count = COUNT;
    return sets;
}

const picows_kernels *picows_kernels_select(const char *name, picows_kernels_status *status)
{
    const unsigned features = picows_cpu_features();
    picows_kernels_status outcome = PICOWS_KERNELS_UNKNOWN;
    const picows_kernels *found = NULL;

    for (size_t i = 0; i < COUNT && found == NULL; i++) {
        if (name == NULL || strcmp(name, sets[i].name) == 0) {
            const int runs = (needed[i] & ~features) == 0;
            outcome = runs ? PICOWS_KERNELS_FOUND : PICOWS_KERNELS_UNSUPPORTED;
            found = runs ? &sets[i] : NULL;
        }
    }
    if (status != NULL) {
        *status = outcome;
    }
    return found;
}
