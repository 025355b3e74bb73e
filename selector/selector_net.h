/* What the parts of the selector share. */
#ifndef DNSEL_SELECTOR_NET_H
#define DNSEL_SELECTOR_NET_H

#include "dnsel/comparator.h"
#include "dnsel/selector.h"

typedef enum selector_tensor {
    GATE_W, /* W [hidden, D], b [hidden], u [1, hidden] */
    GATE_B,
    GATE_U,
    CONV_W, /* DNS_COMPARATOR_LAYERS each */
    CONV_B = CONV_W + DNS_COMPARATOR_LAYERS,
    LINEAR0 = CONV_B + DNS_COMPARATOR_LAYERS, /* [widths[0], 3] */
    NORM0_W,
    NORM0_B,
    NORM0_MEAN,
    NORM0_VARIANCE,
    NORM0_COUNT,
    LINEAR1, /* [widths[1], widths[0]] */
    NORM1_W,
    NORM1_B,
    NORM1_MEAN,
    NORM1_VARIANCE,
    NORM1_COUNT,
    LINEAR2_W, /* [1, widths[1]] */
    LINEAR2_B,
    N_SELECTOR_TENSORS
} selector_tensor;

enum { N_INPUTS = 3 };

struct dns_selector {
    dns_selector_shape shape;
    dns_parameters *parameters; /* tensor t has number t */
};

float *dns_selector_weight(const dns_selector *net, selector_tensor tensor);
float *dns_selector_gradient(const dns_selector *net, selector_tensor tensor);

/* means [n_frames, dim] = for each frame the mean over regions of gate * x. */
void dns_selector_frame_means(float *means, const float *x, const float *gates, size_t n_frames,
                              size_t n_regions, size_t dim);

#endif
