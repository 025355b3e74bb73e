/* A decoded picture of any pixel format becomes size x size RGB bytes. */
#ifndef DNS_MEDIA_PICTURE_H
#define DNS_MEDIA_PICTURE_H

#include <libavutil/frame.h>

#include "dnsel/media.h"

/* How a picture is turned before it is shown: first transposed, then mirrored. */
typedef struct dns_orientation {
    bool transpose, mirror_x, mirror_y;
} dns_orientation;

/* From a display matrix (9 values, libavutil/display.h), to the nearest quarter turn; NULL is none.
 */
dns_orientation dns_orientation_of_matrix(const int32_t *matrix);

/* From the Exif values 1 to 8; others are none. */
dns_orientation dns_orientation_of_exif(int value);

/* DNS_ERR_ARG for options that are out of range. */
dns_status dns_media_check_options(const dns_media_options *options);

/* Renderer: scalers and buffers, made anew when size, format or colour change. */
typedef struct dns_picture dns_picture;

dns_status dns_picture_create(dns_picture **out, const dns_media_options *options);
void dns_picture_free(dns_picture *picture);

/* *pixels = [size][size][3], borrowed until the next call. `orientation` is the stream's; the
 * frame's own goes before it. Errors: DNS_ERR_UNSUPPORTED (pixel format), DNS_ERR_NOMEM. */
dns_status dns_picture_render(dns_picture *picture, const AVFrame *frame,
                              dns_orientation orientation, AVRational pixel_aspect,
                              const uint8_t **pixels);

#endif
