/* Region features of edited views, for the files of this room. */
#ifndef DNS_REGION_VIEWS_H
#define DNS_REGION_VIEWS_H

#include "dnsel/projection_training.h"

size_t dns_region_views_scene(const dns_region_views *views, size_t picture);
size_t dns_region_views_per_picture(const dns_region_views *views);
size_t dns_region_views_dim(const dns_region_views *views);
bool dns_picture_part_has(const dns_picture_part *part, size_t picture);

#endif
