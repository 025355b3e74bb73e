#include "frame_edits.h"

#include <string.h>

#include "dnsel/edits.h"

static const dns_edit_kind kinds[] = {DNS_EDIT_REENCODE, DNS_EDIT_CROP,    DNS_EDIT_FLIP,
                                      DNS_EDIT_ROTATE,   DNS_EDIT_OVERLAY, DNS_EDIT_COLOUR,
                                      DNS_EDIT_BLUR,     DNS_EDIT_PAD,     DNS_EDIT_PIXELATE,
                                      DNS_EDIT_MIX_A,    DNS_EDIT_MIX_B,   DNS_EDIT_MIX_C};

dns_status dns_frame_edit(void *payload, uint8_t *frame, size_t size, dns_random *random)
{
    dns_status status = DNS_OK;
    const dns_pictures original = {frame, 1, size, size};
    dns_pictures edited = {0}, fitted = {0};
    dns_edit_plan plan;
    dns_media_options square = dns_media_options_default();
    square.geometry = DNS_GEOMETRY_STRETCH;
    square.size = size;
    dns_edit_draw(&plan, kinds[dns_random_below(random, sizeof kinds / sizeof *kinds)], size, size,
                  random);
    DNS_TRY(dns_edit_apply_pictures(&edited, &original, NULL, &plan));
    DNS_TRY(dns_pictures_fit(&fitted, &edited, &square));
    memcpy(frame, fitted.pixels, size * size * 3);
out:
    dns_pictures_free(&edited);
    dns_pictures_free(&fitted);
    return status;
}
