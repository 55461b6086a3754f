/* Masking with AVX-512. F is enough, but a set needs what its UTF-8 kernel needs.
 *
 * Rejected: masked stores for what is less than a vector. They save a branch, but what is read soon after them, as a
 * payload is, has to wait until they have reached the cache; and not every processor has them fast.
 */
#include "../platform.h"

#if PICOWS_X86_64
#include "mask_avx.h"

#define VECTOR __m512i
#define WIDTH 64
#define LOAD(from) _mm512_loadu_si512(from)
#define STORE(to, v) _mm512_storeu_si512(to, v)
#define XOR(a, b) _mm512_xor_si512(a, b)
#define REPEAT(key) _mm512_set1_epi32((int)(key))
#define MASK_NAME picows_mask_avx512
#define MASK_TARGET PICOWS_TARGET("avx512f,avx512bw,avx512vl")
#define MASK_SHORT picows_mask_under_64
#include "../mask_vector.h"
#endif
