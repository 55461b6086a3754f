/* What differs between compilers and architectures, and loads and stores at any address.
 *
 * Strict C11 without extensions that are not behind a macro of this file. Unaligned access goes through memcpy, which
 * every compiler makes one instruction of.
 */
#ifndef PICOWS_PLATFORM_H
#define PICOWS_PLATFORM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Kernels exist for these; everything else, 32-bit x86 and big-endian ARM included, runs the generic ones. */
#if defined(__x86_64__) || (defined(_M_X64) && !defined(_M_ARM64EC))
#  define PICOWS_X86_64 1
#else
#  define PICOWS_X86_64 0
#endif
#if defined(__AARCH64EL__) || (defined(_M_ARM64) && !defined(_M_ARM64EC))
#  define PICOWS_AARCH64 1
#else
#  define PICOWS_AARCH64 0
#endif

#if defined(__BYTE_ORDER__) && defined(__ORDER_BIG_ENDIAN__)
#  define PICOWS_BIG_ENDIAN (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
#elif defined(_MSC_VER)
#  define PICOWS_BIG_ENDIAN 0
#else
#  error "this compiler does not tell the byte order: define __BYTE_ORDER__"
#endif

#if defined(__GNUC__) || defined(__clang__)
/* The instructions that a function may use beyond those of the command line. Every helper it inlines needs the same. */
#  define PICOWS_TARGET(isa) __attribute__((target(isa)))
#  define PICOWS_INLINE static inline __attribute__((always_inline))
#  define PICOWS_LIKELY(condition) __builtin_expect(!!(condition), 1)
#  define PICOWS_UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#else                               /* MSVC takes every intrinsic without being asked to */
#  define PICOWS_TARGET(isa)
#  define PICOWS_INLINE static __forceinline
#  define PICOWS_LIKELY(condition) (condition)
#  define PICOWS_UNLIKELY(condition) (condition)
#endif

PICOWS_INLINE uint32_t picows_load32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

PICOWS_INLINE uint64_t picows_load64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

PICOWS_INLINE void picows_store32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

PICOWS_INLINE void picows_store64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof value);
}

#endif
