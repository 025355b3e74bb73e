/*
 * The parameters of a network: named tensors in one block a kind (weights, gradients, the two
 * moments of Adam), all blocks laid out alike, so that optimiser, clipping and saving are loops
 * over one array. Layers are given pointers into it.
 *
 *     dns_parameters_create(&p);
 *     dns_parameters_add(p, &w, "linear.weight", 2, (size_t[]){out, in}, DNS_PARAMETER_TRAINED);
 *     dns_parameters_add(p, &b, "linear.bias", 1, (size_t[]){out}, DNS_PARAMETER_TRAINED);
 *     dns_parameters_allocate(p, true);
 *     dns_parameters_load(p, file, "");
 *     ... dns_parameters_weight(p, w), dns_parameters_gradient(p, b) ...
 *
 * Not locked: one thread changes it while no other reads.
 */
#ifndef DNSEL_PARAMETERS_H
#define DNSEL_PARAMETERS_H

#include "dnsel/random.h"
#include "dnsel/real.h"
#include "dnsel/safetensors.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_parameters dns_parameters;

typedef enum dns_parameter_kind {
    DNS_PARAMETER_TRAINED, /* has a gradient; moved by the optimiser */
    DNS_PARAMETER_BUFFER,  /* saved and loaded only: running statistics */
    DNS_PARAMETER_COUNTER  /* the same, an I64 scalar in files: batches seen */
} dns_parameter_kind;

enum { DNS_PARAMETER_RANK = 4 };

typedef struct dns_parameter {
    const char *name;
    size_t rank;
    size_t shape[DNS_PARAMETER_RANK]; /* row-major */
    size_t count;
    size_t offset; /* of its first entry in every block; a multiple of 16 */
    dns_parameter_kind kind;
    double rate; /* factor on the learning rate: 1 at first; 0 freezes it */
} dns_parameter;

DNS_API DNS_MUST_CHECK dns_status dns_parameters_create(dns_parameters **out);
DNS_API void dns_parameters_free(dns_parameters *p);

/* Declares a tensor; *index is its number from 0. Errors: DNS_ERR_ARG after allocation;
 * DNS_ERR_EXISTS for a name that is there already; DNS_ERR_SHAPE for a rank above 4 or a size of 0;
 * DNS_ERR_LIMIT above 2^31 entries in all. */
DNS_API DNS_MUST_CHECK dns_status dns_parameters_add(dns_parameters *p, size_t *index,
                                                     const char *name, size_t rank,
                                                     const size_t *shape, dns_parameter_kind kind);

/* Lays the declared tensors out and allocates the weights, zeroed; with `training` also gradients
 * and moments. Once. */
DNS_API DNS_MUST_CHECK dns_status dns_parameters_allocate(dns_parameters *p, bool training);

DNS_API size_t dns_parameters_count(const dns_parameters *p);
DNS_API const dns_parameter *dns_parameters_at(const dns_parameters *p, size_t index);
/* Its number; dns_parameters_count when there is none of that name. */
DNS_API size_t dns_parameters_find(const dns_parameters *p, const char *name);
/* Sets the rate of every tensor whose name begins with `prefix`; the number of them. */
DNS_API size_t dns_parameters_set_rate(dns_parameters *p, const char *prefix, double rate);

/* One tensor in the block of weights, of gradients (NULL without training). */
DNS_API dns_real *dns_parameters_weight(const dns_parameters *p, size_t index);
DNS_API dns_real *dns_parameters_gradient(const dns_parameters *p, size_t index);

/* Whole blocks of dns_parameters_size entries; the gaps between tensors are zero and stay so. The
 * last three are NULL without training. */
typedef enum dns_parameter_block {
    DNS_WEIGHTS,
    DNS_GRADIENTS,
    DNS_MOMENT_1,
    DNS_MOMENT_2
} dns_parameter_block;
DNS_API size_t dns_parameters_size(const dns_parameters *p);
DNS_API dns_real *dns_parameters_block(const dns_parameters *p, dns_parameter_block block);

DNS_API void dns_parameters_zero_gradients(dns_parameters *p);

/* ---- first values ---- */

/* Xavier uniform: +-sqrt(6 / (fan in + fan out)), fans of [out, in, kernel...] as PyTorch counts
 * them. */
DNS_API void dns_parameters_set_xavier(dns_parameters *p, size_t index, dns_random *random);
/* Uniform in [-bound, bound), normal with the given deviation, one value everywhere. */
DNS_API void dns_parameters_set_uniform(dns_parameters *p, size_t index, double bound,
                                        dns_random *random);
DNS_API void dns_parameters_set_normal(dns_parameters *p, size_t index, double deviation,
                                       dns_random *random);
DNS_API void dns_parameters_set_constant(dns_parameters *p, size_t index, double value);

/* ---- files ---- */

/* Weights from the tensors `prefix` + name; other tensors of the file are ignored. Any number type
 * is converted. Errors: DNS_ERR_NOTFOUND and DNS_ERR_SHAPE (some weights may have changed);
 * DNS_ERR_RANGE when a value is not finite. */
DNS_API DNS_MUST_CHECK dns_status dns_parameters_load(dns_parameters *p,
                                                      const dns_safetensors *file,
                                                      const char *prefix);

/* Writes all tensors under their names as F32 (counters as I64), atomically. */
DNS_API DNS_MUST_CHECK dns_status dns_parameters_save(const dns_parameters *p, const char *path,
                                                      const dns_metadata *metadata,
                                                      size_t n_metadata);

/* A checkpoint: weights and both moments under "w/", "m/" and "v/", and whatever the caller keeps
 * as metadata (step, state of the random numbers). Continuing from one gives the same weights as
 * never having stopped. */
DNS_API DNS_MUST_CHECK dns_status dns_parameters_save_checkpoint(const dns_parameters *p,
                                                                 const char *path,
                                                                 const dns_metadata *metadata,
                                                                 size_t n_metadata);
DNS_API DNS_MUST_CHECK dns_status dns_parameters_load_checkpoint(dns_parameters *p,
                                                                 const dns_safetensors *file);

#ifdef __cplusplus
}
#endif

#endif
