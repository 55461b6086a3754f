/* The monotonic clock in nanoseconds, for decisions that are worth 25 ns. */
#ifndef PICOWS_CLOCK_H
#define PICOWS_CLOCK_H

#include "platform.h"

#if defined(_WIN32)
#include <windows.h>

PICOWS_INLINE int64_t picows_now_ns(void)
{
    LARGE_INTEGER ticks, per_second;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&per_second);
    return ticks.QuadPart / per_second.QuadPart * 1000000000 + ticks.QuadPart % per_second.QuadPart * 1000000000 / per_second.QuadPart;
}

#else
#include <time.h>

PICOWS_INLINE int64_t picows_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
#endif

#endif
