#include "dnsel/whitening.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/gemm.h"
#include "dnsel/linalg.h"
#include "dnsel/memory.h"

enum { DIM_MAXIMUM = 1 << 16 };

struct dns_whitening {
    size_t in_dim, out_dim;
    float *mean, *matrix;
    float *offset; /* [out_dim] = mean M, so that the mean need not be taken off every row */
};

dns_status dns_whitening_create(dns_whitening **out, const float *mean, const float *matrix,
                                size_t in_dim, size_t out_dim)
{
    dns_status status = DNS_OK;
    dns_whitening *w = NULL;
    double *offset = NULL;
    size_t size;
    *out = NULL;
    if (in_dim < 1 || out_dim < 1 || in_dim > DIM_MAXIMUM || out_dim > in_dim ||
        !dns_size_multiply(in_dim, out_dim, &size))
        DNS_FAIL(DNS_ERR_SHAPE, "whitening from %zu to %zu values", in_dim, out_dim);
    DNS_TRY(dns_alloc(&w, 1, sizeof *w));
    w->in_dim = in_dim;
    w->out_dim = out_dim;
    DNS_TRY(dns_alloc(&w->mean, in_dim, sizeof *w->mean));
    DNS_TRY(dns_alloc(&w->matrix, size, sizeof *w->matrix));
    DNS_TRY(dns_alloc(&w->offset, out_dim, sizeof *w->offset));
    DNS_TRY(dns_alloc(&offset, out_dim, sizeof *offset));
    memcpy(w->mean, mean, in_dim * sizeof *mean);
    memcpy(w->matrix, matrix, size * sizeof *matrix);
    for (size_t i = 0; i < in_dim; i++)
        for (size_t k = 0; k < out_dim; k++)
            offset[k] += (double)mean[i] * (double)matrix[i * out_dim + k];
    for (size_t k = 0; k < out_dim; k++) {
        w->offset[k] = (float)offset[k];
        if (!isfinite(w->offset[k]))
            DNS_FAIL(DNS_ERR_RANGE, "whitening: output %zu is not finite", k);
    }
    *out = w;
    w = NULL;
out:
    dns_whitening_free(w);
    dns_free(offset);
    return status;
}

void dns_whitening_free(dns_whitening *whitening)
{
    if (whitening == NULL)
        return;
    dns_free(whitening->mean);
    dns_free(whitening->matrix);
    dns_free(whitening->offset);
    dns_free(whitening);
}

size_t dns_whitening_in_dim(const dns_whitening *whitening)
{
    return whitening->in_dim;
}

size_t dns_whitening_out_dim(const dns_whitening *whitening)
{
    return whitening->out_dim;
}

const float *dns_whitening_mean(const dns_whitening *whitening)
{
    return whitening->mean;
}

const float *dns_whitening_matrix(const dns_whitening *whitening)
{
    return whitening->matrix;
}

dns_status dns_whitening_apply(const dns_whitening *whitening, float *out, const float *in,
                               size_t n)
{
    size_t dim = whitening->out_dim;
    dns_status status = dns_gemm_dense_f32(false, false, n, dim, whitening->in_dim, in,
                                           whitening->matrix, 0.0f, out);
    if (status != DNS_OK)
        return status;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < dim; k++)
            out[i * dim + k] -= whitening->offset[k];
    dns_normalise_rows(out, n, dim);
    return DNS_OK;
}

/* ---- files ---- */

/* *out = the tensor as f32, of the given rank and shape (0: any, then filled in). */
static dns_status load(float **out, const dns_safetensors *file, const char *name, size_t rank,
                       size_t *shape)
{
    const dns_tensor *tensor = dns_safetensors_find(file, name);
    *out = NULL;
    if (tensor == NULL)
        return dns_status_set(DNS_ERR_NOTFOUND, "%s: no tensor '%s'", dns_safetensors_path(file),
                              name);
    bool fits = tensor->rank == rank;
    for (size_t i = 0; fits && i < rank; i++)
        fits = tensor->shape[i] > 0 && (shape[i] == 0 || tensor->shape[i] == shape[i]);
    if (!fits) {
        char text[128];
        dns_tensor_shape_text(tensor, text, sizeof text);
        return dns_status_set(DNS_ERR_SHAPE, "%s: tensor '%s' has the shape %s",
                              dns_safetensors_path(file), name, text);
    }
    memcpy(shape, tensor->shape, rank * sizeof *shape);
    dns_status status = dns_alloc(out, dns_tensor_count(tensor), sizeof **out);
    if (status == DNS_OK)
        dns_tensor_to_f32(*out, tensor);
    return status;
}

struct eigenvalue {
    float value;
    size_t column;
};

static int descending(const void *a, const void *b)
{
    float x = ((const struct eigenvalue *)a)->value, y = ((const struct eigenvalue *)b)->value;
    return (x < y) - (x > y);
}

/* *matrix [in_dim][out_dim] from eigenvalues "d" and eigenvectors in the columns of "V". */
static dns_status compose(float **matrix, const dns_safetensors *file, size_t in_dim,
                          size_t out_dim)
{
    dns_status status = DNS_OK;
    float *d = NULL, *v = NULL;
    struct eigenvalue *order = NULL;
    size_t shape[2] = {in_dim, in_dim};
    DNS_TRY(load(&d, file, "d", 1, shape));
    DNS_TRY(load(&v, file, "V", 2, shape));
    DNS_TRY(dns_alloc(&order, in_dim, sizeof *order));
    DNS_TRY(dns_alloc(matrix, in_dim * out_dim, sizeof **matrix));
    for (size_t i = 0; i < in_dim; i++)
        order[i] = (struct eigenvalue){d[i], i};
    qsort(order, in_dim, sizeof *order, descending);
    for (size_t k = 0; k < out_dim; k++) {
        double value = (double)order[k].value;
        if (!(value >= -1e-7 * (double)order[0].value))
            DNS_FAIL(DNS_ERR_RANGE, "%s: eigenvalue %g", dns_safetensors_path(file), value);
        double factor = 1.0 / sqrt((value > 0.0 ? value : 0.0) + 1e-7);
        for (size_t i = 0; i < in_dim; i++)
            (*matrix)[i * out_dim + k] = (float)((double)v[i * in_dim + order[k].column] * factor);
    }
out:
    dns_free(d);
    dns_free(v);
    dns_free(order);
    return status;
}

dns_status dns_whitening_load(dns_whitening **out, const dns_safetensors *file, size_t out_dim)
{
    dns_status status = DNS_OK;
    float *mean = NULL, *matrix = NULL;
    bool composed = dns_safetensors_find(file, "pca.DVt") != NULL;
    size_t shape[2] = {0, 0};
    *out = NULL;
    DNS_TRY(load(&mean, file, composed ? "pca.mean" : "mean", 1, shape));
    size_t in_dim = shape[0];
    if (composed)
        DNS_TRY(load(&matrix, file, "pca.DVt", 2, shape));
    size_t available = composed ? shape[1] : in_dim, kept = out_dim == 0 ? available : out_dim;
    if (in_dim > DIM_MAXIMUM || kept > available)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: whitening from %zu to %zu values, %zu are wanted",
                 dns_safetensors_path(file), in_dim, available, kept);
    if (!composed)
        DNS_TRY(compose(&matrix, file, in_dim, kept));
    else if (kept < available)
        for (size_t i = 1; i < in_dim; i++)
            memmove(matrix + i * kept, matrix + i * available, kept * sizeof *matrix);
    DNS_TRY(dns_whitening_create(out, mean, matrix, in_dim, kept));
out:
    dns_free(mean);
    dns_free(matrix);
    return status;
}

/* ---- models ---- */

dns_status dns_whitening_save(const dns_whitening *whitening, const char *directory,
                              const char *provenance, const dns_model_edit *more, size_t n_more)
{
    dns_status status = DNS_OK;
    size_t shape[2] = {whitening->in_dim, whitening->out_dim}, n = shape[0] * shape[1];
    uint16_t *halves = NULL;
    char *json = NULL;
    dns_model_edit *edits = NULL;
    float largest = 0.0f;
    DNS_TRY(dns_alloc(&halves, n, sizeof *halves));
    DNS_TRY(dns_alloc(&edits, n_more + 1, sizeof *edits));
    for (size_t i = 0; i < n; i++)
        largest = fmaxf(largest, fabsf(whitening->matrix[i]));
    float factor = largest > 0.0f ? exp2f(-floorf(log2f(largest))) : 1.0f;
    for (size_t i = 0; i < n; i++)
        halves[i] = dns_f16_from_f32(factor * whitening->matrix[i]);
    dns_tensor matrix = dns_tensor_f32(NULL, 2, shape);
    matrix.dtype = DNS_F16;
    matrix.data = halves;
    const dns_named_tensor tensors[] = {{"pca.mean", dns_tensor_f32(whitening->mean, 1, shape)},
                                        {"pca.DVt", matrix}};
    DNS_TRY(dns_string_format(
        &json, "{\"in_dim\": %zu, \"dim\": %zu%s%s}", shape[0], shape[1],
        provenance == NULL ? "" : ", \"provenance\": ", provenance == NULL ? "" : provenance));
    edits[0] = (dns_model_edit){"whitening", json, tensors, 2};
    for (size_t i = 0; i < n_more; i++)
        edits[i + 1] = more[i];
    DNS_TRY(dns_model_edit_apply(directory, edits, n_more + 1));
out:
    dns_free(halves);
    dns_free(json);
    dns_free(edits);
    return status;
}
