#include "frame_kernels.h"

#include "dnsel/cpu.h"

/* The bodies are written once and inlined into functions compiled for each kind of processor, where
 * the compiler vectorises them: blocks of channels stay in registers while the window goes by. */
#define INLINED static inline __attribute__((always_inline))

INLINED void block_max_f32(float *out, const float *map, size_t width, size_t channels,
                           size_t window, const size_t n)
{
    float best[64];
    for (size_t c = 0; c < n; c++)
        best[c] = map[c];
    for (size_t y = 0; y < window; y++)
        for (size_t x = 0; x < window; x++) {
            const float *pixel = map + (y * width + x) * channels;
            for (size_t c = 0; c < n; c++)
                best[c] = pixel[c] > best[c] ? pixel[c] : best[c];
        }
    for (size_t c = 0; c < n; c++)
        out[c] = best[c];
}

INLINED void block_max_u8(uint8_t *out, const uint8_t *map, size_t width, size_t channels,
                          size_t window, const size_t n)
{
    uint8_t best[64];
    for (size_t c = 0; c < n; c++)
        best[c] = map[c];
    for (size_t y = 0; y < window; y++)
        for (size_t x = 0; x < window; x++) {
            const uint8_t *pixel = map + (y * width + x) * channels;
            for (size_t c = 0; c < n; c++)
                best[c] = pixel[c] > best[c] ? pixel[c] : best[c];
        }
    for (size_t c = 0; c < n; c++)
        out[c] = best[c];
}

#define WINDOW_MAX(block, out, map, width, channels, window)            \
    do {                                                                \
        size_t at = 0;                                                  \
        for (; at + 64 <= (channels); at += 64)                         \
            block((out) + at, (map) + at, width, channels, window, 64); \
        for (; at + 16 <= (channels); at += 16)                         \
            block((out) + at, (map) + at, width, channels, window, 16); \
        for (; at < (channels); at++)                                   \
            block((out) + at, (map) + at, width, channels, window, 1);  \
    } while (0)

INLINED void scale_all(float *out, const uint8_t *bytes, size_t n, const float factor[48],
                       const float offset[48])
{
    size_t i = 0;
    for (; i + 48 <= n; i += 48)
        for (size_t k = 0; k < 48; k++)
            out[i + k] = (float)bytes[i + k] * factor[k] + offset[k];
    for (size_t k = 0; i + k < n; k++)
        out[i + k] = (float)bytes[i + k] * factor[k] + offset[k];
}

#define FORM(name, target)                                                                  \
    target static void window_max_f32_##name(float *out, const float *map, size_t width,    \
                                             size_t channels, size_t window)                \
    {                                                                                       \
        WINDOW_MAX(block_max_f32, out, map, width, channels, window);                       \
    }                                                                                       \
    target static void window_max_u8_##name(uint8_t *out, const uint8_t *map, size_t width, \
                                            size_t channels, size_t window)                 \
    {                                                                                       \
        WINDOW_MAX(block_max_u8, out, map, width, channels, window);                        \
    }                                                                                       \
    target static void scale_bytes_##name(float *out, const uint8_t *bytes, size_t n,       \
                                          const float factor[48], const float offset[48])   \
    {                                                                                       \
        scale_all(out, bytes, n, factor, offset);                                           \
    }                                                                                       \
    static const dns_frame_kernels form_##name = {#name, window_max_f32_##name,             \
                                                  window_max_u8_##name, scale_bytes_##name};

FORM(baseline, )
#if defined(__x86_64__)
FORM(avx2, __attribute__((target("avx2"))))
FORM(avx512, __attribute__((target("avx512f,avx512bw,avx512vl,prefer-vector-width=512"))))
#endif

const dns_frame_kernels *dns_frame_kernels_at(size_t form)
{
    if (form == 0)
        return &form_baseline;
#if defined(__x86_64__)
    if (form == 1 && (dns_cpu_flags() & DNS_CPU_AVX2) != 0)
        return &form_avx2;
    if (form == 2 && (dns_cpu_flags() & DNS_CPU_AVX512) != 0)
        return &form_avx512;
#endif
    return NULL;
}

const dns_frame_kernels *dns_frame_kernels_get(void)
{
    for (size_t form = DNS_FRAME_KERNELS - 1; form > 0; form--)
        if (dns_frame_kernels_at(form) != NULL)
            return dns_frame_kernels_at(form);
    return &form_baseline;
}
