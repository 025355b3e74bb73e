/*
 * What the processor can do. Kernels are chosen by these flags at run time (dnsel/kernels.h).
 */
#ifndef DNSEL_CPU_H
#define DNSEL_CPU_H

#include <stddef.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A set of these. Each needs those before it that its comment names. */
enum {
    DNS_CPU_AVX2 = 1,      /* AVX2, FMA, F16C, popcnt */
    DNS_CPU_AVX512 = 2,    /* AVX-512 F, BW, VL, DQ; needs AVX2 */
    DNS_CPU_VNNI = 4,      /* AVX-512 VNNI; needs AVX512 */
    DNS_CPU_VPOPCNTDQ = 8, /* AVX-512 VPOPCNTDQ; needs AVX512 */
    DNS_CPU_BF16 = 16,     /* AVX-512 BF16; needs AVX512 */
    DNS_CPU_ALL = 31
};

/* What the processor offers, whatever the mask says. */
DNS_API unsigned dns_cpu_detect(void);

/* What this process uses: the processor's features within the mask. The first call settles it,
 * takes the mask from the environment (DNS_CPU_MASK) unless dns_cpu_mask was called, and keeps
 * oneDNN within it too. */
DNS_API unsigned dns_cpu_flags(void);

/* Uses no more than `mask`; to be called before anything else in this library, DNS_ERR_BUSY when it
 * is too late. */
DNS_API DNS_MUST_CHECK dns_status dns_cpu_mask(unsigned mask);

/* Reads a mask: "all", "baseline", or names of features joined by commas ("avx2,avx512,vnni");
 * DNS_ERR_ARG. */
DNS_API DNS_MUST_CHECK dns_status dns_cpu_parse(unsigned *mask, const char *text);

/* "avx2,avx512,vnni,vpopcntdq,bf16" or "baseline" into `text`. */
DNS_API void dns_cpu_text(char *text, size_t size, unsigned flags);

/* Model name of the processor, or "unknown processor". */
DNS_API void dns_cpu_model(char *text, size_t size);

#ifdef __cplusplus
}
#endif

#endif
