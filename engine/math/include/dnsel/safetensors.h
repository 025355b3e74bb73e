/*
 * safetensors files: 8-byte little-endian header length, JSON header, raw data. Read strictly:
 * header at most 16 MiB, no duplicate names, every range of just the size that dtype and shape say,
 * and the ranges together cover the data without a gap or an overlap.
 */
#ifndef DNSEL_SAFETENSORS_H
#define DNSEL_SAFETENSORS_H

#include "dnsel/file.h"
#include "dnsel/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An open file, mapped; immutable, shared freely between threads. Tensors point into it and die
 * with it. */
typedef struct dns_safetensors dns_safetensors;

/* Errors: DNS_ERR_NOTFOUND, DNS_ERR_IO; DNS_ERR_FORMAT when it is no safetensors file,
 * DNS_ERR_CORRUPT when it is one whose header lies or whose data is cut short; DNS_ERR_UNSUPPORTED
 * for other dtypes and for more dimensions than tensor.h knows. */
DNS_API DNS_MUST_CHECK dns_status dns_safetensors_open(dns_safetensors **out, const char *path);
/* The same from memory, which is borrowed until close; `source` names it in messages. */
DNS_API DNS_MUST_CHECK dns_status dns_safetensors_open_memory(dns_safetensors **out,
                                                              const void *bytes, size_t size,
                                                              const char *source);
DNS_API void dns_safetensors_close(dns_safetensors *file);

DNS_API const char *dns_safetensors_path(const dns_safetensors *file);
DNS_API size_t dns_safetensors_count(const dns_safetensors *file);
/* Name and tensor by position (sorted by name). Borrowed. */
DNS_API const char *dns_safetensors_name(const dns_safetensors *file, size_t index);
DNS_API const dns_tensor *dns_safetensors_at(const dns_safetensors *file, size_t index);
/* NULL when there is none of that name. */
DNS_API const dns_tensor *dns_safetensors_find(const dns_safetensors *file, const char *name);
/* Value of a key of __metadata__; NULL when absent. */
DNS_API const char *dns_safetensors_metadata(const dns_safetensors *file, const char *key);
DNS_API size_t dns_safetensors_metadata_count(const dns_safetensors *file);
DNS_API void dns_safetensors_metadata_at(const dns_safetensors *file, size_t index,
                                         const char **key, const char **value);

/* The f32 tensor `name` of the given rank, where shape[i] = 0 on entry accepts any size and holds
 * the real one on return. *out points into the file (data is 4-byte aligned, or refused as
 * DNS_ERR_FORMAT). DNS_ERR_NOTFOUND; DNS_ERR_SHAPE, also for another dtype. */
DNS_API DNS_MUST_CHECK dns_status dns_safetensors_f32(const float **out,
                                                      const dns_safetensors *file, const char *name,
                                                      size_t rank, size_t *shape);

/* A tensor under a name, and a line of metadata, to be written. */
typedef struct dns_named_tensor {
    const char *name;
    dns_tensor tensor;
} dns_named_tensor;

typedef struct dns_metadata {
    const char *key, *value;
} dns_metadata;

/* Writes a file atomically; data start on 64 bytes, large elements first and then by name, so that
 * every tensor is aligned to its element. The same input in any order gives the same bytes.
 * DNS_ERR_ARG for a name given twice, DNS_ERR_LIMIT for a header too long to be read again, and the
 * errors of dnsel/file.h. */
DNS_API DNS_MUST_CHECK dns_status dns_safetensors_write(const char *path,
                                                        const dns_named_tensor *tensors,
                                                        size_t n_tensors,
                                                        const dns_metadata *metadata,
                                                        size_t n_metadata);

#ifdef __cplusplus
}
#endif

#endif
