/* UTF-8 with NEON. */
#include "../utf8_scalar.h"

#if PICOWS_AARCH64
#include <arm_neon.h>

/* 1 to 7 bytes as the lower end of a word, in pieces that overlap. */
PICOWS_INLINE uint64_t load_under_8(const uint8_t *from, size_t size)
{
    if (size >= 4) {
        return picows_load32(from) | (uint64_t)picows_load32(from + size - 4) << (size - 4) * 8;
    }
    return from[0] | (uint64_t)from[size >> 1] << (size >> 1) * 8 | (uint64_t)from[size - 1] << (size - 1) * 8;
}

PICOWS_INLINE uint8x16_t load_part(const uint8_t *from, size_t size)
{
    uint64_t low, high = 0;

    if (size > 8) {
        low = picows_load64(from);
        high = picows_load64(from + size - 8) >> (16 - size) * 8;
    } else if (size == 8) {
        low = picows_load64(from);
    } else {
        low = load_under_8(from, size);
    }
    return vcombine_u8(vcreate_u8(low), vcreate_u8(high));
}

#define VECTOR uint8x16_t
#define WIDTH 16
#define LOAD(from) vld1q_u8(from)
#define LOAD_PART(from, n) load_part(from, n)
#define BROADCAST(table) vld1q_u8(table)
#define LOOKUP(table, v) vqtbl1q_u8(table, v)
#define LOW_NIBBLE(v) vandq_u8(v, vdupq_n_u8(0x0F))
#define HIGH_NIBBLE(v) vshrq_n_u8(v, 4)
#define BEFORE(v, last, n) vextq_u8(last, v, 16 - (n))
#define MINUS(v, byte) vqsubq_u8(v, vdupq_n_u8(byte))
#define TOP_BIT(v) vandq_u8(v, vdupq_n_u8(0x80))
#define AND(a, b) vandq_u8(a, b)
#define OR(a, b) vorrq_u8(a, b)
#define XOR(a, b) veorq_u8(a, b)
#define ZERO vdupq_n_u8(0)
#define IS_ZERO(v) (vmaxvq_u8(v) == 0)
#define IS_ASCII(v) (vmaxvq_u8(v) < 0x80)
#define UTF8_NAME picows_validate_utf8_neon
#define UTF8_TARGET
#include "../utf8_vector.h"
#endif
