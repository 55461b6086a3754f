/* UTF-8 with AVX2. */
#include "../utf8_scalar.h"

#if PICOWS_X86_64
#include <immintrin.h>

#define TARGET PICOWS_TARGET("avx2")

/* Whole words by a masked load, which does not touch what is masked off, the last 1 to 3 bytes one by one. */
TARGET PICOWS_INLINE __m256i load_part(const uint8_t *from, size_t size)
{
    const __m256i place = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i words = _mm256_set1_epi32((int)(size >> 2));
    const __m256i whole = _mm256_maskload_epi32((const int *)(const void *)from, _mm256_cmpgt_epi32(words, place));
    const size_t rest = size & 3;
    uint32_t bytes = 0;

    if (rest > 0) {
        const uint8_t *tail = from + size - rest;
        bytes = tail[0] | (uint32_t)tail[rest >> 1] << (rest >> 1) * 8 | (uint32_t)tail[rest - 1] << (rest - 1) * 8;
    }
    return _mm256_or_si256(whole, _mm256_and_si256(_mm256_cmpeq_epi32(words, place), _mm256_set1_epi32((int)bytes)));
}

#define VECTOR __m256i
#define WIDTH 32
#define LOAD(from) _mm256_loadu_si256((const __m256i *)(from))
#define LOAD_PART(from, n) load_part(from, n)
#define BROADCAST(table) _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(table)))
#define LOOKUP(table, v) _mm256_shuffle_epi8(table, v)
#define LOW_NIBBLE(v) _mm256_and_si256(v, _mm256_set1_epi8(0x0F))
#define HIGH_NIBBLE(v) LOW_NIBBLE(_mm256_srli_epi16(v, 4))
#define BEFORE(v, last, n) _mm256_alignr_epi8(v, _mm256_permute2x128_si256(last, v, 0x21), 16 - (n))
#define MINUS(v, byte) _mm256_subs_epu8(v, _mm256_set1_epi8((char)(byte)))
#define TOP_BIT(v) _mm256_and_si256(v, _mm256_set1_epi8((char)0x80))
#define AND(a, b) _mm256_and_si256(a, b)
#define OR(a, b) _mm256_or_si256(a, b)
#define XOR(a, b) _mm256_xor_si256(a, b)
#define ZERO _mm256_setzero_si256()
#define IS_ZERO(v) _mm256_testz_si256(v, v)
#define IS_ASCII(v) (_mm256_movemask_epi8(v) == 0)
#define UTF8_NAME picows_validate_utf8_avx2
#define UTF8_TARGET TARGET
#include "../utf8_vector.h"
#endif
