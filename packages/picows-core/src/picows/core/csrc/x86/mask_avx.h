/* Masking of less than a vector for AVX2 and AVX-512: two smaller vectors that overlap. */
#ifndef PICOWS_MASK_AVX_H
#define PICOWS_MASK_AVX_H

#include <immintrin.h>

#include "../mask_short.h"

PICOWS_TARGET("avx2") PICOWS_INLINE
void picows_mask_under_32(uint8_t *to, const uint8_t *from, size_t size, uint32_t key)
{
    if (size >= 16) {
        const __m128i first = _mm_loadu_si128((const __m128i *)from);
        const __m128i last = _mm_loadu_si128((const __m128i *)(from + size - 16));
        const __m128i last_key = _mm_set1_epi32((int)picows_rotate_key(key, size));
        _mm_storeu_si128((__m128i *)to, _mm_xor_si128(first, _mm_set1_epi32((int)key)));
        _mm_storeu_si128((__m128i *)(to + size - 16), _mm_xor_si128(last, last_key));
    } else {
        picows_mask_under_16(to, from, size, key);
    }
}

PICOWS_TARGET("avx2") PICOWS_INLINE
void picows_mask_under_64(uint8_t *to, const uint8_t *from, size_t size, uint32_t key)
{
    if (size >= 32) {
        const __m256i first = _mm256_loadu_si256((const __m256i *)from);
        const __m256i last = _mm256_loadu_si256((const __m256i *)(from + size - 32));
        const __m256i last_key = _mm256_set1_epi32((int)picows_rotate_key(key, size));
        _mm256_storeu_si256((__m256i *)to, _mm256_xor_si256(first, _mm256_set1_epi32((int)key)));
        _mm256_storeu_si256((__m256i *)(to + size - 32), _mm256_xor_si256(last, last_key));
    } else {
        picows_mask_under_32(to, from, size, key);
    }
}

#endif
