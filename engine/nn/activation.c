#include "dnsel/activation.h"

#ifdef DNS_REAL_DOUBLE

#include <math.h>

void dns_tanh(dns_real *y, const dns_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = tanh(x[i]);
}

void dns_exp(dns_real *y, const dns_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = exp(x[i]);
}

void dns_sigmoid(dns_real *y, const dns_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = 1 / (1 + exp(-x[i]));
}

#else

#include <stdint.h>
#include <string.h>

#include "dnsel/cpu.h"

#define INLINE static inline __attribute__((always_inline))

/* A quotient of polynomials (minimax on [-9, 9], beyond which the value is 1 in single precision).
 */
INLINE float tanh_of(float x)
{
    const float limit = 7.90531110763549805f;
    x = x < -limit ? -limit : x > limit ? limit : x;
    float s = x * x;
    float p = -2.76076847742355e-16f;
    p = p * s + 2.00018790482477e-13f;
    p = p * s + -8.60467152213735e-11f;
    p = p * s + 5.12229709037114e-08f;
    p = p * s + 1.48572235717979e-05f;
    p = p * s + 6.37261928875436e-04f;
    p = p * s + 4.89352455891786e-03f;
    float q = 1.19825839466702e-06f;
    q = q * s + 1.18534705686654e-04f;
    q = q * s + 2.26843463243900e-03f;
    q = q * s + 4.89352518554385e-03f;
    return x * p / q;
}

/* 2^k e^r with |r| <= ln 2 / 2. */
INLINE float exp_of(float x)
{
    const float lowest = -87.0f, to_nearest = 0x1.8p23f;
    float within = x < lowest ? lowest : x;
    float k = within * 1.44269504088896341f + to_nearest - to_nearest;
    float r = within - k * 0.693359375f - k * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits = ((int32_t)k + 127) * (1 << 23);
    float power;
    memcpy(&power, &bits, sizeof power);
    return x < lowest ? 0.0f : p * power;
}

INLINE float sigmoid_of(float x)
{
    float within = x < -87.0f ? -87.0f : x > 87.0f ? 87.0f : x;
    return 1.0f / (1.0f + exp_of(-within));
}

#define FOR_EACH(name, isa, attributes)                                     \
    attributes static void name##_##isa(float *y, const float *x, size_t n) \
    {                                                                       \
        for (size_t i = 0; i < n; i++)                                      \
            y[i] = name##_of(x[i]);                                         \
    }

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define AVX512                                                         \
    __attribute__((target("avx512f,avx512dq,prefer-vector-width=512"), \
                   optimize("O3", "no-trapping-math")))
#define AVX2 __attribute__((target("avx2"), optimize("O3", "no-trapping-math")))
#define PLAIN __attribute__((optimize("O3", "no-trapping-math")))
#define DEFINE(name)                                    \
    FOR_EACH(name, avx512, AVX512)                      \
    FOR_EACH(name, avx2, AVX2)                          \
    FOR_EACH(name, plain, PLAIN)                        \
    void dns_##name(float *y, const float *x, size_t n) \
    {                                                   \
        unsigned flags = dns_cpu_flags();               \
        if ((flags & DNS_CPU_AVX512) != 0)              \
            name##_avx512(y, x, n);                     \
        else if ((flags & DNS_CPU_AVX2) != 0)           \
            name##_avx2(y, x, n);                       \
        else                                            \
            name##_plain(y, x, n);                      \
    }
#else
#define PLAIN
#define DEFINE(name)                                    \
    FOR_EACH(name, plain, PLAIN)                        \
    void dns_##name(float *y, const float *x, size_t n) \
    {                                                   \
        name##_plain(y, x, n);                          \
    }
#endif

DEFINE(tanh)
DEFINE(exp)
DEFINE(sigmoid)

#endif
