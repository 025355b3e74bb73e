/* Cached inputs of the tail, for the files of this room. */
#ifndef DNS_TAIL_VIEWS_H
#define DNS_TAIL_VIEWS_H

#include "dnsel/tail_training.h"

struct dns_tail_views {
    size_t n_pictures, n_views;
    size_t trunk,
        fixed; /* values of a view: the map before the tail; 9 regions of the taps before */
    size_t *scenes;
    uint16_t *data; /* [n_pictures, n_views, trunk + fixed], half precision */
};

/* trunk and fixed of one view as f32. */
void dns_tail_views_read(float *trunk, float *fixed, const dns_tail_views *views, size_t picture,
                         size_t view);

#endif
