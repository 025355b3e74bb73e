/*
 * What the checks of all network families share: the open files of a folder, comparing under the
 * tolerances of the golden files, and the parts of a training step that are the same for all.
 *
 * A family is a function that looks for its files and compares what they hold. Families are listed
 * in parity.c.
 */
#ifndef DNSEL_PARITY_SET_H
#define DNSEL_PARITY_SET_H

#include "dnsel/parameters.h"
#include "dnsel/parity.h"
#include "dnsel/safetensors.h"

/* One for each family. It does nothing when its files are not there. */
dns_status dns_parity_fine(dns_parity *p);
dns_status dns_parity_fine_training(dns_parity *p);
dns_status dns_parity_coarse(dns_parity *p);
dns_status dns_parity_coarse_training(dns_parity *p);
dns_status dns_parity_selector(dns_parity *p);

/* ---- files ---- */

dns_pool *dns_parity_pool(const dns_parity *p);

/* *out = `name`.safetensors, opened once and kept; NULL when there is none. It then counts as
 * known. */
DNS_MUST_CHECK dns_status dns_parity_file(dns_parity *p, const dns_safetensors **out,
                                          const char *name);
/* Calls `visit` with X and the open file for every X`ending`.safetensors of the folder, sorted by
 * name. The file counts as known when one of the visitors sets *taken, because it is of its family.
 */
typedef dns_status (*dns_parity_visit)(dns_parity *p, const char *name, const dns_safetensors *file,
                                       bool *taken);
DNS_MUST_CHECK dns_status dns_parity_each(dns_parity *p, const char *ending,
                                          dns_parity_visit visit);
/* The same; a missing file is DNS_ERR_NOTFOUND. */
DNS_MUST_CHECK dns_status dns_parity_need(dns_parity *p, const dns_safetensors **out,
                                          const char *name);
/* A missing tensor is DNS_ERR_NOTFOUND. */
DNS_MUST_CHECK dns_status dns_parity_tensor(const dns_tensor **out, const dns_safetensors *file,
                                            const char *name);

/* *out = NAME.inputs when there is such a file, else `shared`, which then must be there. */
DNS_MUST_CHECK dns_status dns_parity_inputs(dns_parity *p, const dns_safetensors **out,
                                            const char *name, const char *shared);
/* *x = input.`video` [n_frames, n_regions, dim] in place of what it held before. DNS_ERR_SHAPE
 * unless its last size is `dim`. */
DNS_MUST_CHECK dns_status dns_parity_video(float **x, size_t shape[3],
                                           const dns_safetensors *inputs, const char *set,
                                           const char *video, size_t dim);
/* Calls `visit` for every tensor NAME.REST of short.expected, with the inputs of that set. */
typedef dns_status (*dns_parity_short_visit)(void *payload, const char *tensor, const char *rest,
                                             const dns_tensor *expected,
                                             const dns_safetensors *inputs);
DNS_MUST_CHECK dns_status dns_parity_short(dns_parity *p, const char *name,
                                           dns_parity_short_visit visit, void *payload);

/* The part of a tensor's name behind `prefix` when it begins with it; else NULL. */
const char *dns_parity_after(const char *name, const char *prefix);
/* Which family's tensors stand behind `prefix`: a comparator, but no selector's MLP. */
bool dns_parity_is_fine(const dns_safetensors *file, const char *prefix);
/* Metadata `symmetric`: "True" for the symmetric teacher. */
bool dns_parity_is_symmetric(const dns_safetensors *file);
/* A metadata number. */
double dns_parity_number(const dns_safetensors *file, const char *key, double otherwise);

/* A tensor that no check knows. */
DNS_MUST_CHECK dns_status dns_parity_unknown(dns_parity *p, const char *set, const char *tensor);

/* ---- comparing ---- */

/* Tolerances, as the golden files' notes give them. */
#define DNS_PARITY_FORWARD 1e-5
#define DNS_PARITY_TEACHER 5e-5 /* of the spread */
#define DNS_PARITY_GRADIENT 5e-4
#define DNS_PARITY_LOSSES 5e-5
#define DNS_PARITY_AFTER 1e-2   /* of 3 lr */
#define DNS_PARITY_RUNNING 1e-3 /* running statistics after three steps */

/* How a tensor is judged: the largest difference over `scale`, at most `tolerance`. */
typedef struct dns_parity_rule {
    double tolerance;
    double scale;        /* 0: the largest absolute expected entry; 1 when that is 0 too */
    const char *unit;    /* "largest", "spread", ... */
    const bool *excused; /* entries that are left out; NULL: none */
} dns_parity_rule;

DNS_MUST_CHECK dns_status dns_parity_compare(dns_parity *p, const char *set, const char *name,
                                             const float *got, size_t n, const dns_tensor *expected,
                                             const dns_parity_rule *rule);
DNS_MUST_CHECK dns_status dns_parity_compare_f64(dns_parity *p, const char *set, const char *name,
                                                 const double *got, size_t n,
                                                 const dns_tensor *expected,
                                                 const dns_parity_rule *rule);
/* The usual rule: DNS_PARITY_FORWARD of the largest. */
DNS_MUST_CHECK dns_status dns_parity_forward(dns_parity *p, const char *set, const char *name,
                                             const float *got, size_t n,
                                             const dns_tensor *expected);

/* ---- training ---- */

/* A padded batch: videos [n, n_padded, n_regions, dim], real frames packed one video behind the
 * other. */
typedef struct dns_parity_batch {
    float *x;         /* [sum of n_frames, n_regions, dim] */
    size_t *n_frames; /* [n] */
    size_t n, n_padded, n_regions, dim;
    bool masked;
} dns_parity_batch;

/* Reads `videos` and, where there are any, `masks`. DNS_ERR_UNSUPPORTED when a mask has a hole. */
DNS_MUST_CHECK dns_status dns_parity_batch_read(dns_parity_batch *out,
                                                const dns_safetensors *inputs);
void dns_parity_batch_free(dns_parity_batch *batch);

/* Those tensors of a training set whose names begin with none of `known` (up to a NULL) are
 * unknown.
 */
DNS_MUST_CHECK dns_status dns_parity_name_rest(dns_parity *p, const char *set,
                                               const dns_safetensors *train,
                                               const char *const *known);
/* Compares every trained tensor's gradient with `grad.NAME`; those that are analytically 0 in
 * absolute terms. */
DNS_MUST_CHECK dns_status dns_parity_gradients(dns_parity *p, const char *set,
                                               const dns_safetensors *train,
                                               const dns_parameters *parameters, double tolerance);
/* Compares the weights with those `after3.NAME` that there are, and buffers likewise. */
DNS_MUST_CHECK dns_status dns_parity_after3(dns_parity *p, const char *set,
                                            const dns_safetensors *train,
                                            const dns_parameters *parameters, double rate);

#endif
