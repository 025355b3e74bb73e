/*
 * The video comparator on one similarity map (docs/networks/teacher.md): three 3x3 convolutions
 * with ReLU, 2x2 max pooling after the first two (an odd last row or column is dropped), and a 1x1
 * convolution to one channel. For inference on the small maps of single pairs; training is in
 * engine/nn.
 */
#ifndef DNSEL_MAPCNN_H
#define DNSEL_MAPCNN_H

#include <stdbool.h>
#include <stddef.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dns_mapcnn_form {
    DNS_MAPCNN_F32,
    /* The second and third convolution in bytes where the processor multiplies them (VNNI),
     * elsewhere in floats. Weights have a scale for each output channel; of what lies between the
     * layers, the rows that a row of the output reads have one, taken from their largest value. */
    DNS_MAPCNN_I8
} dns_mapcnn_form;

/* Weights as checkpoints hold them, channels c = channels[0..2]; borrowed during creation. */
typedef struct dns_mapcnn_weights {
    size_t channels[3];     /* published: 32, 64, 128 */
    const float *weight[4]; /* [c0,1,3,3], [c1,c0,3,3], [c2,c1,3,3], [1,c2,1,1] */
    const float *bias[4];   /* [c0], [c1], [c2], [1] */
    bool replicate; /* maps are continued by their edge (ViSiL) instead of by zeros (students,
                       selector) */
} dns_mapcnn_weights;

/* Packed weights; immutable, shared freely between threads. */
typedef struct dns_mapcnn dns_mapcnn;

/* DNS_ERR_SHAPE when a number of channels is 0 or above 4096, DNS_ERR_RANGE when a weight is not
 * finite, DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_mapcnn_create(dns_mapcnn **out, dns_mapcnn_form form,
                                                    const dns_mapcnn_weights *weights);
DNS_API void dns_mapcnn_free(dns_mapcnn *net);

/* Rows or columns that are left of n. */
DNS_API size_t dns_mapcnn_output(size_t n);

/* Bytes of scratch memory for a run on a map of at most so many rows and columns; 0 when that
 * overflows. */
DNS_API size_t dns_mapcnn_scratch(const dns_mapcnn *net, size_t n_rows, size_t n_columns);

/* out [dns_mapcnn_output(n_rows), dns_mapcnn_output(n_columns)] = the comparator on map [n_rows,
 * n_columns], not yet clipped to -1 .. 1. `scratch` is 64-byte aligned (dns_alloc) and belongs to
 * one thread. DNS_ERR_SHAPE for a map of fewer than 4 rows or columns. */
DNS_API DNS_MUST_CHECK dns_status dns_mapcnn_run(float *out, const dns_mapcnn *net,
                                                 const float *map, size_t n_rows, size_t n_columns,
                                                 void *scratch);

/*
 * The same by pieces: rows [first, end) of the output, those before `first` having been made by
 * earlier calls with the same map and scratch. Only the first dns_mapcnn_input(end, n_rows) rows of
 * the map are read, so a caller who has seen enough need not make the rest. All pieces together
 * cost what one run costs and give the same bits.
 */
DNS_API DNS_MUST_CHECK dns_status dns_mapcnn_run_rows(float *out, const dns_mapcnn *net,
                                                      const float *map, size_t n_rows,
                                                      size_t n_columns, size_t first, size_t end,
                                                      void *scratch);

/* Rows of a map of n_rows that the first n rows of the output depend on. */
DNS_API size_t dns_mapcnn_input(size_t n, size_t n_rows);

#ifdef __cplusplus
}
#endif

#endif
