/* The one body of all mask kernels, written in terms of a vector. Not a header: an ISA's file defines what is missing
 * and includes it.
 *
 *     VECTOR          the type: WIDTH bytes, a power of two and a multiple of 4
 *     LOAD(from)      from any address
 *     STORE(to, v)    to any address
 *     XOR(a, b)
 *     REPEAT(key)     the key in every 4 bytes
 *     MASK_NAME       the function to define
 *     MASK_TARGET     its target attribute
 *     MASK_SHORT(to, from, size, key)     for fewer than WIDTH bytes
 *
 * No byte is handled on its own and nothing is read that is not the payload's: the last vectors end exactly at the end
 * and overlap the ones before. All that overlaps is loaded before anything is stored, which is what makes this right
 * in place as well: the bytes in common are computed twice, from the same source to the same result.
 *
 * Rejected: stores that bypass the cache (the payload is read next); a tail byte by byte (slower than the whole frame in
 * the sizes of most frames).
 */

/* From this many bytes on stores are aligned first: one that crosses a cache line costs two. */
#define MASK_ALIGN_FROM (8 * WIDTH)

#define MASK_AT(offset, repeated) XOR(LOAD(from + (offset)), repeated)

MASK_TARGET static void mask_long(uint8_t *to, const uint8_t *from, size_t size, uint32_t key)
{
    const VECTOR last_key = REPEAT(picows_rotate_key(key, size));
    const VECTOR last_4 = MASK_AT(size - 4 * WIDTH, last_key);
    const VECTOR last_3 = MASK_AT(size - 3 * WIDTH, last_key);
    const VECTOR last_2 = MASK_AT(size - 2 * WIDTH, last_key);
    const VECTOR last_1 = MASK_AT(size - 1 * WIDTH, last_key);
    const VECTOR first = MASK_AT(0, REPEAT(key));
    size_t at = 0;

    if (size >= MASK_ALIGN_FROM) {
        at = WIDTH - ((uintptr_t)to & (WIDTH - 1));
    }
    const VECTOR repeated = REPEAT(picows_rotate_key(key, at));
    for (; size - at > 4 * WIDTH; at += 4 * WIDTH) {
        const VECTOR a = MASK_AT(at, repeated);
        const VECTOR b = MASK_AT(at + WIDTH, repeated);
        const VECTOR c = MASK_AT(at + 2 * WIDTH, repeated);
        const VECTOR d = MASK_AT(at + 3 * WIDTH, repeated);
        STORE(to + at, a);
        STORE(to + at + WIDTH, b);
        STORE(to + at + 2 * WIDTH, c);
        STORE(to + at + 3 * WIDTH, d);
    }
    STORE(to, first);
    STORE(to + size - 4 * WIDTH, last_4);
    STORE(to + size - 3 * WIDTH, last_3);
    STORE(to + size - 2 * WIDTH, last_2);
    STORE(to + size - 1 * WIDTH, last_1);
}

MASK_TARGET void MASK_NAME(uint8_t *to, const uint8_t *from, size_t size, uint32_t key)
{
    if (size < WIDTH) {
        MASK_SHORT(to, from, size, key);
        return;
    }
    if (size > 4 * WIDTH) {
        mask_long(to, from, size, key);
        return;
    }
    const VECTOR first_key = REPEAT(key);
    const VECTOR last_key = REPEAT(picows_rotate_key(key, size));
    const VECTOR first = MASK_AT(0, first_key);
    const VECTOR last = MASK_AT(size - WIDTH, last_key);
    if (size > 2 * WIDTH) {
        const VECTOR second = MASK_AT(WIDTH, first_key);
        const VECTOR last_2 = MASK_AT(size - 2 * WIDTH, last_key);
        STORE(to + WIDTH, second);
        STORE(to + size - 2 * WIDTH, last_2);
    }
    STORE(to, first);
    STORE(to + size - WIDTH, last);
}
