/* Masking with AVX2. */
#include "../platform.h"

#if PICOWS_X86_64
#include "mask_avx.h"

#define VECTOR __m256i
#define WIDTH 32
#define LOAD(from) _mm256_loadu_si256((const __m256i *)(from))
#define STORE(to, v) _mm256_storeu_si256((__m256i *)(to), v)
#define XOR(a, b) _mm256_xor_si256(a, b)
#define REPEAT(key) _mm256_set1_epi32((int)(key))
#define MASK_NAME picows_mask_avx2
#define MASK_TARGET PICOWS_TARGET("avx2")
#define MASK_SHORT picows_mask_under_32
#include "../mask_vector.h"
#endif
