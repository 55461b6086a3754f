/* The kernels: what is done to every byte of a payload, once for each instruction set.
 *
 * A set is one `picows_kernels`. `picows_kernels_select` finds the best one that this processor runs, or the one asked
 * for; the caller keeps the pointer. Sets are constant and nothing here has state of its own, so everything may be
 * called from any thread at any time.
 *
 * Of every kernel: pointers may have any alignment. Nothing outside [pointer, pointer + size) is read or written, not
 * even bytes that would be thrown away or written back unchanged. A size of 0 is allowed, with any pointer.
 */
#ifndef PICOWS_KERNELS_H
#define PICOWS_KERNELS_H

#include "platform.h"

/* Where a validation of UTF-8 stands between two pieces of a text. All zero is the beginning of a text. */
typedef struct picows_utf8_state {
    uint8_t missing;    /* continuation bytes that the character begun last still needs, 0 to 3 */
    uint8_t lowest;     /* if missing: the bounds of the next byte */
    uint8_t highest;
} picows_utf8_state;

typedef struct picows_kernels {
    /* As PICOWS_SIMD spells it: generic, sse2, avx2, avx512, neon. */
    const char *name;

    /* Mask or unmask (RFC 6455 5.3): to[i] = from[i] XOR byte i % 4 of the key.
     *
     * `key` holds the four bytes of the key in the order in which they are in memory, as picows_load32 reads them from
     * a frame. A payload that is continued elsewhere takes picows_rotate_key(key, bytes already masked).
     * `to` is `from` (in place), or the two do not overlap. Stores are ordinary ones: the result is in the cache.
     */
    void (*mask)(uint8_t *to, const uint8_t *from, size_t size, uint32_t key);

    /* Validate the next piece of a text (RFC 3629: no surrogates, nothing overlong, nothing above U+10FFFF).
     *
     * Returns `size` if there may still be a continuation that makes the text valid; otherwise the index of the first
     * byte with which there is none: an invalid lead byte itself, or the byte where a continuation byte in other
     * bounds should be. After that the state is of no use. The text is complete if picows_utf8_is_complete(state).
     */
    size_t (*validate_utf8)(picows_utf8_state *state, const uint8_t *data, size_t size);
} picows_kernels;

typedef enum picows_kernels_status {
    PICOWS_KERNELS_FOUND,
    PICOWS_KERNELS_UNKNOWN,         /* this build has no set of that name */
    PICOWS_KERNELS_UNSUPPORTED      /* it has, but this processor or operating system cannot run it */
} picows_kernels_status;

/* Find a set by name; NULL as name finds the best one that runs here. NULL if there is none, for the reason that is
 * stored in *status (which may be NULL). Asks the processor each time: call it once and keep the answer. */
const picows_kernels *picows_kernels_select(const char *name, picows_kernels_status *status);

/* All sets of this build, best first, those that this processor does not run included. The last one, generic, runs
 * everywhere. */
const picows_kernels *picows_kernels_list(size_t *count);

/* The key for what follows the first `done` bytes of a payload. */
PICOWS_INLINE uint32_t picows_rotate_key(uint32_t key, size_t done)
{
    const unsigned bits = (unsigned)(done & 3) * 8;
#if PICOWS_BIG_ENDIAN
    return key << bits | key >> ((32 - bits) & 31);
#else
    return key >> bits | key << ((32 - bits) & 31);
#endif
}

/* False if the text ended within a character. */
PICOWS_INLINE int picows_utf8_is_complete(const picows_utf8_state *state)
{
    return state->missing == 0;
}

#endif
