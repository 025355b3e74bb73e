/* Loops over pixels and maps, one form for every processor; the baseline form is the plain twin of
 * the others. */
#ifndef DNS_FRAME_KERNELS_H
#define DNS_FRAME_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct dns_frame_kernels {
    const char *isa;
    /* out[c] = max over y, x < window of map[(y * width + x) * channels + c]. */
    void (*window_max_f32)(float *out, const float *map, size_t width, size_t channels,
                           size_t window);
    void (*window_max_u8)(uint8_t *out, const uint8_t *map, size_t width, size_t channels,
                          size_t window);
    /* out[i] = bytes[i] * factor[i % 48] + offset[i % 48]. */
    void (*scale_bytes)(float *out, const uint8_t *bytes, size_t n, const float factor[48],
                        const float offset[48]);
} dns_frame_kernels;

enum { DNS_FRAME_KERNELS = 3 };

/* Form 0 is the baseline; NULL when this processor lacks what a form needs. */
const dns_frame_kernels *dns_frame_kernels_at(size_t form);
/* The best for this processor. */
const dns_frame_kernels *dns_frame_kernels_get(void);

#endif
