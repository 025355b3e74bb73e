/* What the parts of the coarse network share. */
#ifndef DNSEL_COARSE_NET_H
#define DNSEL_COARSE_NET_H

#include "dnsel/coarse.h"
#include "dnsel/encoder.h"
#include "dnsel/netvlad.h"

typedef enum coarse_tensor {
    GATE_W, /* attention: W [hidden, D], b [hidden], u [1, hidden] */
    GATE_B,
    GATE_U,
    ENCODER, /* DNS_ENCODER_TENSORS from here on */
    FRAME_NORM_W = ENCODER + DNS_ENCODER_TENSORS,
    FRAME_NORM_B,
    CENTROIDS,
    ASSIGNMENT,
    REDUCTION,
    NORM_W,
    NORM_B,
    PROJECTION, /* of a mean */
    N_COARSE_TENSORS
} coarse_tensor;

struct dns_coarse {
    dns_coarse_shape shape;
    dns_parameters *parameters;
    size_t index[N_COARSE_TENSORS]; /* in it; NO_TENSOR where the shape has none */
};

#define NO_TENSOR ((size_t)-1)

const dns_real *dns_coarse_weight(const dns_coarse *net, coarse_tensor tensor);
dns_real *dns_coarse_gradient(const dns_coarse *net, coarse_tensor tensor);
dns_encoder dns_coarse_encoder(const dns_coarse *net);
dns_netvlad dns_coarse_netvlad(const dns_coarse *net);

/* Arrays of the passes below. n videos, N frames, D, K clusters. */
enum coarse_array {
    GATE,           /* [N, R] */
    GATE_HIDDEN,    /* [N, R, hidden], or of some frames at a time when nothing is kept */
    POOLED,         /* [N, D] */
    POOLED_NORM,    /* [N] */
    ENCODED,        /* [N, D] before the last LayerNorm */
    FRAME_MEAN,     /* [N] */
    FRAME_RSTD,     /* [N] */
    FRAMES,         /* [N, D] after it */
    SHARES,         /* [N, K] assignment to clusters */
    LENGTHS,        /* [n, K + 1] of dns_netvlad_forward */
    VLAD,           /* [n, K D] */
    REDUCED,        /* [n, out] before LayerNorm */
    REDUCED_MEAN,   /* [n] */
    REDUCED_RSTD,   /* [n] */
    EMBEDDINGS,     /* [n, out] after it, and of unit length */
    EMBEDDING_NORM, /* [n] */
    SUMS,           /* mean only: [n, D] of unit length */
    /* Gradients. */
    DGATE,
    DFRAMES,
    DPOOLED,
    DVLAD,
    DREDUCED,
    N_COARSE_ARRAYS
};

/* Frames of several videos one behind the other, and what passes over them keep. Belongs to one
 * caller at a time. */
typedef struct coarse_tape {
    float *arrays[N_COARSE_ARRAYS];
    size_t capacities[N_COARSE_ARRAYS];
    size_t *offsets; /* [n + 1], after extension */
    size_t offsets_capacity;
    dns_sequences videos;
    dns_encoder_tape *encoder;
} coarse_tape;

void dns_coarse_tape_free(coarse_tape *tape);
dns_status dns_coarse_reserve(coarse_tape *tape, enum coarse_array array, size_t rows,
                              size_t columns);

/* How a pass runs: with `keep` it may be followed by the way back. */
typedef struct coarse_pass {
    const dns_coarse *net;
    const dns_coarse_video *videos;
    size_t n_videos, n_regions;
    size_t first; /* number of the first one, for messages */
    bool keep;
    const dns_dropout *dropout;
    dns_pool *pool;
} coarse_pass;

/* Up to NetVLAD: vlad [n_videos, K D]. Fills POOLED and FRAMES. */
dns_status dns_coarse_forward_frames(float *vlad, coarse_tape *tape, const coarse_pass *pass);

/* From there to embeddings [n, out]. */
dns_status dns_coarse_forward_reduction(float *embeddings, coarse_tape *tape, const float *vlad,
                                        size_t n_videos, const coarse_pass *pass);

/* The whole of a mean: embeddings [n, out]. */
dns_status dns_coarse_forward_mean(float *embeddings, coarse_tape *tape, const coarse_pass *pass);

#endif
