/* UTF-8 with AVX-512 (F, BW, VL). */
#include "../utf8_scalar.h"

#if PICOWS_X86_64
#include <immintrin.h>

#define TARGET PICOWS_TARGET("avx512f,avx512bw,avx512vl")

#define VECTOR __m512i
#define WIDTH 64
#define LOAD(from) _mm512_loadu_si512(from)
#define LOAD_PART(from, n) _mm512_maskz_loadu_epi8(((__mmask64)1 << (n)) - 1, from)
#define BROADCAST(table) _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(table)))
#define LOOKUP(table, v) _mm512_shuffle_epi8(table, v)
#define LOW_NIBBLE(v) _mm512_and_si512(v, _mm512_set1_epi8(0x0F))
#define HIGH_NIBBLE(v) LOW_NIBBLE(_mm512_srli_epi16(v, 4))
#define BEFORE(v, last, n) _mm512_alignr_epi8(v, _mm512_alignr_epi64(v, last, 6), 16 - (n))
#define MINUS(v, byte) _mm512_subs_epu8(v, _mm512_set1_epi8((char)(byte)))
#define TOP_BIT(v) _mm512_and_si512(v, _mm512_set1_epi8((char)0x80))
#define AND(a, b) _mm512_and_si512(a, b)
#define OR(a, b) _mm512_or_si512(a, b)
#define XOR(a, b) _mm512_xor_si512(a, b)
#define ZERO _mm512_setzero_si512()
#define IS_ZERO(v) (_mm512_test_epi8_mask(v, v) == 0)
#define IS_ASCII(v) (_mm512_movepi8_mask(v) == 0)
#define UTF8_NAME picows_validate_utf8_avx512
#define UTF8_TARGET TARGET
#include "../utf8_vector.h"
#endif
