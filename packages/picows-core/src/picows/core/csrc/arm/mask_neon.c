/* Masking with NEON, which every aarch64 has. */
#include "../mask_short.h"

#if PICOWS_AARCH64
#include <arm_neon.h>

#define VECTOR uint8x16_t
#define WIDTH 16
#define LOAD(from) vld1q_u8(from)
#define STORE(to, v) vst1q_u8(to, v)
#define XOR(a, b) veorq_u8(a, b)
#define REPEAT(key) vreinterpretq_u8_u32(vdupq_n_u32(key))
#define MASK_NAME picows_mask_neon
#define MASK_TARGET
#define MASK_SHORT picows_mask_under_16
#include "../mask_vector.h"
#endif
