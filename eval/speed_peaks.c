/* What one thread of this machine can do at best: loops of nothing but the instruction in question.
 */
#include <immintrin.h>
#include <stdbool.h>

#include "dnsel/memory.h"
#include "speed_run.h"

#define AVX2 __attribute__((target("avx2,fma,popcnt")))
#define AVX512 __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")))
#define VNNI __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define VPOPCNTDQ \
    __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq")))
#define UNROLL _Pragma("GCC unroll 16")

/* Independent chains, more than the latency of any of the instructions. */
enum { N_CHAINS = 12, N_ROUNDS = 50000, N_TRIES = 20, READ_BYTES = 256 << 20, N_READS = 15 };

/* Ends up where no optimiser looks. */
static volatile double sink;

static void fma_sse(void)
{
    __m128 sum[N_CHAINS], factor = _mm_set1_ps(0.999f), term = _mm_set1_ps(0.3f);
    UNROLL for (int i = 0; i < N_CHAINS; i++) sum[i] = _mm_set1_ps((float)i);
    for (int k = 0; k < N_ROUNDS; k++)
        UNROLL for (int i = 0; i < N_CHAINS; i++) sum[i] =
            _mm_add_ps(_mm_mul_ps(sum[i], factor), term);
    UNROLL for (int i = 0; i < N_CHAINS; i++) sink = (double)_mm_cvtss_f32(sum[i]);
}

AVX2 static void fma_avx2(void)
{
    __m256 sum[N_CHAINS], factor = _mm256_set1_ps(0.999f), term = _mm256_set1_ps(0.3f);
    UNROLL for (int i = 0; i < N_CHAINS; i++) sum[i] = _mm256_set1_ps((float)i);
    for (int k = 0; k < N_ROUNDS; k++)
        UNROLL for (int i = 0; i < N_CHAINS; i++) sum[i] = _mm256_fmadd_ps(sum[i], factor, term);
    UNROLL for (int i = 0; i < N_CHAINS; i++) sink = (double)_mm256_cvtss_f32(sum[i]);
}

AVX512 static void fma_avx512(void)
{
    __m512 sum[N_CHAINS], factor = _mm512_set1_ps(0.999f), term = _mm512_set1_ps(0.3f);
    UNROLL for (int i = 0; i < N_CHAINS; i++) sum[i] = _mm512_set1_ps((float)i);
    for (int k = 0; k < N_ROUNDS; k++)
        UNROLL for (int i = 0; i < N_CHAINS; i++) sum[i] = _mm512_fmadd_ps(sum[i], factor, term);
    UNROLL for (int i = 0; i < N_CHAINS; i++) sink = (double)_mm512_cvtss_f32(sum[i]);
}

/* A vector type of our own: gcc 12 copies sums of type __m512i around the instruction. */
typedef int words __attribute__((vector_size(64)));

VNNI static void bytes_vnni(void)
{
    words sum[N_CHAINS];
    __m512i left = _mm512_set1_epi32(0x01020304), right = _mm512_set1_epi32(0x04030201);
    UNROLL for (int i = 0; i < N_CHAINS; i++) sum[i] = (words)_mm512_set1_epi32(i);
    for (int k = 0; k < N_ROUNDS; k++)
        UNROLL for (int i = 0; i < N_CHAINS; i++) sum[i] =
            (words)_mm512_dpbusd_epi32((__m512i)sum[i], left, right);
    UNROLL for (int i = 0; i < N_CHAINS; i++) sink = sum[i][0];
}

AVX2 static void count_scalar(void)
{
    unsigned long long x[N_CHAINS];
    UNROLL for (int i = 0; i < N_CHAINS; i++) x[i] = (unsigned long long)i;
    for (int k = 0; k < N_ROUNDS; k++)
        UNROLL for (int i = 0; i < N_CHAINS; i++) x[i] = (unsigned long long)_mm_popcnt_u64(x[i]);
    UNROLL for (int i = 0; i < N_CHAINS; i++) sink = (double)x[i];
}

VPOPCNTDQ static void count_vpopcntdq(void)
{
    __m512i x[N_CHAINS];
    UNROLL for (int i = 0; i < N_CHAINS; i++) x[i] = _mm512_set1_epi64(i);
    for (int k = 0; k < N_ROUNDS; k++)
        UNROLL for (int i = 0; i < N_CHAINS; i++) x[i] = _mm512_popcnt_epi64(x[i]);
    UNROLL for (int i = 0; i < N_CHAINS; i++) sink = (double)_mm512_reduce_add_epi64(x[i]);
}

/* Instructions a second. */
static double rate(void (*loop)(void))
{
    double best = 0.0;
    for (int i = 0; i < N_TRIES; i++) {
        double start = dns_thread_seconds();
        loop();
        double taken = dns_thread_seconds() - start;
        if (taken > 0.0 && N_CHAINS * (double)N_ROUNDS / taken > best)
            best = N_CHAINS * (double)N_ROUNDS / taken;
    }
    return best;
}

static void read_sse(const char *bytes)
{
    __m128i sum[8];
    UNROLL for (int i = 0; i < 8; i++) sum[i] = _mm_setzero_si128();
    for (size_t at = 0; at < READ_BYTES; at += sizeof sum)
        UNROLL for (size_t i = 0; i < 8; i++) sum[i] = _mm_xor_si128(
            sum[i], _mm_load_si128((const __m128i *)(const void *)(bytes + at + 16 * i)));
    UNROLL for (int i = 0; i < 8; i++) sink = _mm_cvtsi128_si32(sum[i]);
}

AVX512 static void read_avx512(const char *bytes)
{
    __m512i sum[8];
    UNROLL for (int i = 0; i < 8; i++) sum[i] = _mm512_setzero_si512();
    for (size_t at = 0; at < READ_BYTES; at += sizeof sum)
        UNROLL for (size_t i = 0; i < 8; i++) sum[i] =
            _mm512_xor_si512(sum[i], _mm512_load_si512(bytes + at + 64 * i));
    UNROLL for (int i = 0; i < 8; i++) sink = (double)_mm512_reduce_add_epi32(sum[i]);
}

/* 0 without the memory. */
static double read_rate(bool wide)
{
    char *bytes;
    double best = 0.0;
    if (dns_alloc(&bytes, READ_BYTES, 1) != DNS_OK)
        return 0.0;
    for (size_t at = 0; at < READ_BYTES; at += 4096)
        bytes[at] = 1; /* pages of their own, not the common one of zeros */
    for (int i = 0; i < N_READS; i++) {
        double start = dns_thread_seconds();
        if (wide)
            read_avx512(bytes);
        else
            read_sse(bytes);
        double taken = dns_thread_seconds() - start;
        if (taken > 0.0 && READ_BYTES / taken > best)
            best = READ_BYTES / taken;
    }
    dns_free(bytes);
    return best;
}

dns_speed_peaks speed_peaks_measure(unsigned cpu_flags)
{
    dns_speed_peaks peaks = {0};
    if (cpu_flags & DNS_CPU_AVX512)
        peaks.f32 = 2 * 16 * rate(fma_avx512);
    else if (cpu_flags & DNS_CPU_AVX2)
        peaks.f32 = 2 * 8 * rate(fma_avx2);
    else
        peaks.f32 = 2 * 4 * rate(fma_sse);
    if (cpu_flags & DNS_CPU_VNNI)
        peaks.i8 = 2 * 64 * rate(bytes_vnni);
    if (cpu_flags & DNS_CPU_VPOPCNTDQ)
        peaks.words = 8 * rate(count_vpopcntdq);
    else if (cpu_flags & DNS_CPU_AVX2)
        peaks.words = rate(count_scalar);
    peaks.bytes = read_rate((cpu_flags & DNS_CPU_AVX512) != 0);
    return peaks;
}
