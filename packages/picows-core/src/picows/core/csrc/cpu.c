/* CPUID by hand: the same code for every compiler.
 *
 * Rejected: __builtin_cpu_supports. MSVC has none, clang-cl's needs a library that is not linked. One difference: macOS
 * on Intel enables the AVX-512 registers at their first use, so there this says no where Apple's library says yes.
 */
#include "cpu.h"
#include "platform.h"

#if PICOWS_X86_64

#if defined(_MSC_VER)
#  include <intrin.h>
#else
#  include <cpuid.h>
#endif

typedef struct cpuid_answer {
    uint32_t eax, ebx, ecx, edx;
} cpuid_answer;

static cpuid_answer ask_cpu(uint32_t leaf)
{
    cpuid_answer answer;
#if defined(_MSC_VER)
    int registers[4];
    __cpuidex(registers, (int)leaf, 0);
    answer.eax = (uint32_t)registers[0];
    answer.ebx = (uint32_t)registers[1];
    answer.ecx = (uint32_t)registers[2];
    answer.edx = (uint32_t)registers[3];
#else
    __cpuid_count(leaf, 0, answer.eax, answer.ebx, answer.ecx, answer.edx);
#endif
    return answer;
}

/* XCR0: the registers that the operating system saves when it switches threads. Needs OSXSAVE. */
PICOWS_TARGET("xsave") static uint32_t saved_registers(void)
{
#if defined(_MSC_VER)
    return (uint32_t)_xgetbv(0);
#else
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    (void)high;
    return low;
#endif
}

unsigned picows_cpu_features(void)
{
    enum { OSXSAVE = 1 << 27, AVX2 = 1 << 5, F = 1 << 16, BW = 1 << 30 };
    const uint32_t vl = UINT32_C(1) << 31;
    const uint32_t avx_registers = 0x06, avx512_registers = 0xE6;
    unsigned features = 0;

    if (ask_cpu(0).eax < 7 || !(ask_cpu(1).ecx & OSXSAVE)) {
        return 0;
    }
    const uint32_t extended = ask_cpu(7).ebx;
    const uint32_t saved = saved_registers();
    if ((saved & avx_registers) == avx_registers && (extended & AVX2)) {
        features |= PICOWS_CPU_AVX2;
    }
    if ((saved & avx512_registers) == avx512_registers && (extended & F) && (extended & BW) && (extended & vl)) {
        features |= PICOWS_CPU_AVX512;
    }
    return features;
}

#else

unsigned picows_cpu_features(void)
{
    return 0;
}

#endif
