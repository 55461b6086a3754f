/* Masking in words of 64 bits: any processor, any byte order. */
#include "../mask_short.h"

#define VECTOR uint64_t
#define WIDTH sizeof(uint64_t)
#define LOAD(from) picows_load64(from)
#define STORE(to, v) picows_store64(to, v)
#define XOR(a, b) ((a) ^ (b))
#define REPEAT(key) picows_repeat_key(key)
#define MASK_NAME picows_mask_generic
#define MASK_TARGET
#define MASK_SHORT picows_mask_under_8
#include "../mask_vector.h"
