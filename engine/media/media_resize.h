/* cv2.resize with INTER_CUBIC on 8-bit RGB, bit for bit as OpenCV's own code (not IPP) computes it.
 */
#ifndef DNS_MEDIA_RESIZE_H
#define DNS_MEDIA_RESIZE_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/status.h"

/* A window of a resized picture: pixel x of the resized picture is taken from around source pixel
 * (x + 0.5) * step_x - 0.5, and likewise y; the window is [top, top + size) x [left, left + size).
 */
typedef struct dns_cubic {
    size_t width, height, stride; /* of the source; stride in bytes */
    double step_x, step_y;
    size_t left, top, size;
} dns_cubic;

/* Sets steps and window for given width, height and size: the short side becomes `short_side`, not
 * less than size, and the window is its centre; or the whole picture becomes size x size. */
void dns_cubic_centre(dns_cubic *cubic, size_t short_side);
void dns_cubic_stretch(dns_cubic *cubic);

/* From RGB rows to [size][size][3], tightly packed. Fails with DNS_ERR_NOMEM. */
dns_status dns_cubic_resize(const dns_cubic *cubic, const uint8_t *source, uint8_t *out);

#endif
