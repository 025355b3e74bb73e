#include "dnsel/cpu.h"

#include <cpuid.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dnnl.h>

static const struct {
    const char *name;
    unsigned flag;
} features[] = {{"avx2", DNS_CPU_AVX2},
                {"avx512", DNS_CPU_AVX512},
                {"vnni", DNS_CPU_VNNI},
                {"vpopcntdq", DNS_CPU_VPOPCNTDQ},
                {"bf16", DNS_CPU_BF16}};

enum { N_FEATURES = sizeof features / sizeof *features };

/* The processor mask: the one thing that is global and set at run time. */
static atomic_uint wanted_mask = DNS_CPU_ALL;
static atomic_bool mask_given, settled;
static unsigned settled_flags;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Features whose ground is missing fall away. */
static unsigned consistent(unsigned flags)
{
    if (!(flags & DNS_CPU_AVX2))
        return 0;
    if (!(flags & DNS_CPU_AVX512))
        return DNS_CPU_AVX2;
    return flags;
}

unsigned dns_cpu_detect(void)
{
    unsigned flags = 0;
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("f16c") && __builtin_cpu_supports("popcnt"))
        flags |= DNS_CPU_AVX2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        flags |= DNS_CPU_AVX512;
    if (__builtin_cpu_supports("avx512vnni"))
        flags |= DNS_CPU_VNNI;
    if (__builtin_cpu_supports("avx512vpopcntdq"))
        flags |= DNS_CPU_VPOPCNTDQ;
    if (__builtin_cpu_supports("avx512bf16"))
        flags |= DNS_CPU_BF16;
    return consistent(flags);
}

/* oneDNN refuses once it has made code; the caller then has used it before us, and our own kernels
 * keep to the mask. */
static void limit_onednn(unsigned flags)
{
    if (!(flags & DNS_CPU_AVX2))
        dnnl_set_max_cpu_isa(dnnl_cpu_isa_sse41);
    else if (!(flags & DNS_CPU_AVX512))
        dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2);
    else if (!(flags & DNS_CPU_VNNI))
        dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx512_core);
    else if (!(flags & DNS_CPU_BF16))
        dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx512_core_vnni);
}

static void settle(void)
{
    const char *text = getenv("DNS_CPU_MASK");
    unsigned mask = DNS_CPU_ALL, found = dns_cpu_detect();
    if (atomic_load(&mask_given))
        mask = atomic_load(&wanted_mask);
    else if (text != NULL && dns_cpu_parse(&mask, text) != DNS_OK)
        mask = DNS_CPU_ALL;
    settled_flags = consistent(found & mask);
    if (settled_flags != found)
        limit_onednn(settled_flags);
    atomic_store(&settled, true);
}

unsigned dns_cpu_flags(void)
{
    pthread_once(&once, settle);
    return settled_flags;
}

dns_status dns_cpu_mask(unsigned mask)
{
    if (atomic_load(&settled))
        return dns_status_set(DNS_ERR_BUSY, "the processor mask is in use already");
    atomic_store(&wanted_mask, mask);
    atomic_store(&mask_given, true);
    return DNS_OK;
}

dns_status dns_cpu_parse(unsigned *mask, const char *text)
{
    *mask = 0;
    if (strcmp(text, "all") == 0)
        *mask = DNS_CPU_ALL;
    if (*mask != 0 || strcmp(text, "baseline") == 0)
        return DNS_OK;
    for (const char *word = text;; word++) {
        size_t length = strcspn(word, ","), i = 0;
        while (i < N_FEATURES &&
               (strlen(features[i].name) != length || memcmp(features[i].name, word, length) != 0))
            i++;
        if (i == N_FEATURES)
            return dns_status_set(DNS_ERR_ARG, "processor feature '%.*s' is not known", (int)length,
                                  word);
        *mask |= features[i].flag;
        word += length;
        if (*word == '\0')
            return DNS_OK;
    }
}

void dns_cpu_text(char *text, size_t size, unsigned flags)
{
    size_t n = 0;
    snprintf(text, size, "baseline");
    for (size_t i = 0; i < N_FEATURES && n < size; i++)
        if (flags & features[i].flag)
            n += (size_t)snprintf(text + n, size - n, "%s%s", n > 0 ? "," : "", features[i].name);
}

void dns_cpu_model(char *text, size_t size)
{
    unsigned words[12] = {0}, highest = __get_cpuid_max(0x80000000, NULL);
    char brand[sizeof words + 1] = "unknown processor";
    if (highest >= 0x80000004) {
        for (unsigned leaf = 0; leaf < 3; leaf++)
            __get_cpuid(0x80000002 + leaf, &words[4 * leaf], &words[4 * leaf + 1],
                        &words[4 * leaf + 2], &words[4 * leaf + 3]);
        memcpy(brand, words, sizeof words);
        brand[sizeof words] = '\0';
    }
    snprintf(text, size, "%s", brand + strspn(brand, " "));
}
