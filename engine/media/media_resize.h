/* cv2.resize with INTER_CUBIC on 8-bit RGB, bit for bit as OpenCV's own code (not IPP) computes it.
 */
#ifndef DNS_MEDIA_RESIZE_H
#define DNS_MEDIA_RESIZE_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/status.h"

/* From `source` [height][stride] of RGB to the window [top, top + size) x [left, left + size) of
 * the resized picture, tightly packed. The resized picture takes source pixel (x + 0.5) * step_x -
 * 0.5 for its pixel x, and likewise y. */
typedef struct dns_cubic {
    size_t width, height, stride; /* of the source; stride in bytes */
    double step_x, step_y;
    size_t left, top, size;
} dns_cubic;

dns_status dns_cubic_resize(const dns_cubic *cubic, const uint8_t *source, uint8_t *out);

#endif
