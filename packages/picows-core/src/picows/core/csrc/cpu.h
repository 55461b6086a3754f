/* What this processor can do and the operating system lets it do. */
#ifndef PICOWS_CPU_H
#define PICOWS_CPU_H

/* What a set of kernels needs beyond its architecture; 0 for nothing. */
enum {
    PICOWS_CPU_AVX2 = 1,
    PICOWS_CPU_AVX512 = 2           /* F, BW and VL */
};

/* The sum of what is there. */
unsigned picows_cpu_features(void);

#endif
