/* Masking of less than 16 bytes, where the general registers are as good as any: two words that overlap. */
#ifndef PICOWS_MASK_SHORT_H
#define PICOWS_MASK_SHORT_H

#include "picows_kernels.h"

PICOWS_INLINE uint64_t picows_repeat_key(uint32_t key)
{
    return (uint64_t)key << 32 | key;
}

PICOWS_INLINE void picows_mask_under_8(uint8_t *to, const uint8_t *from, size_t size, uint32_t key)
{
    if (size >= 4) {
        const uint32_t first = picows_load32(from) ^ key;
        const uint32_t last = picows_load32(from + size - 4) ^ picows_rotate_key(key, size);
        picows_store32(to, first);
        picows_store32(to + size - 4, last);
    } else if (size > 0) {
        uint8_t bytes[4];
        picows_store32(bytes, key);
        /* 1, 2 or 3 bytes: the first, the middle and the last are all, some of them twice. */
        const uint8_t first = from[0] ^ bytes[0];
        const uint8_t middle = from[size >> 1] ^ bytes[size >> 1];
        const uint8_t last = from[size - 1] ^ bytes[size - 1];
        to[0] = first;
        to[size >> 1] = middle;
        to[size - 1] = last;
    }
}

PICOWS_INLINE void picows_mask_under_16(uint8_t *to, const uint8_t *from, size_t size, uint32_t key)
{
    if (size >= 8) {
        const uint64_t first = picows_load64(from) ^ picows_repeat_key(key);
        const uint64_t last = picows_load64(from + size - 8) ^ picows_repeat_key(picows_rotate_key(key, size));
        picows_store64(to, first);
        picows_store64(to + size - 8, last);
    } else {
        picows_mask_under_8(to, from, size, key);
    }
}

#endif
