/* Masking with SSE2, which every x86-64 has. */
#include "../mask_short.h"

#if PICOWS_X86_64
#include <emmintrin.h>

#define VECTOR __m128i
#define WIDTH 16
#define LOAD(from) _mm_loadu_si128((const __m128i *)(from))
#define STORE(to, v) _mm_storeu_si128((__m128i *)(to), v)
#define XOR(a, b) _mm_xor_si128(a, b)
#define REPEAT(key) _mm_set1_epi32((int)(key))
#define MASK_NAME picows_mask_sse2
#define MASK_TARGET
#define MASK_SHORT picows_mask_under_16
#include "../mask_vector.h"
#endif
