/*
 * Tensors as views: a type, a shape, a pointer. Row-major, little-endian, no strides, no ownership.
 */
#ifndef DNSEL_TENSOR_H
#define DNSEL_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DNS_TENSOR_RANK = 8 };

typedef enum dns_dtype {
    DNS_F32,
    DNS_F64,
    DNS_F16,
    DNS_BF16,
    DNS_I8,
    DNS_U8,
    DNS_I16,
    DNS_U16,
    DNS_I32,
    DNS_U32,
    DNS_I64,
    DNS_U64,
    DNS_BOOL
} dns_dtype;

typedef struct dns_tensor {
    dns_dtype dtype;
    size_t rank; /* 0: one scalar */
    size_t shape[DNS_TENSOR_RANK];
    const void *data;
} dns_tensor;

/* Bytes of one element. */
DNS_API size_t dns_dtype_size(dns_dtype dtype);
/* "F32", "I64", ... as safetensors writes them; and back (false when unknown). */
DNS_API const char *dns_dtype_name(dns_dtype dtype);
DNS_API bool dns_dtype_parse(dns_dtype *dtype, const char *text);

/* A view of f32 data of the given shape. */
DNS_API dns_tensor dns_tensor_f32(const float *data, size_t rank, const size_t *shape);

/* Elements and bytes; the shape of a tensor that this library delivers never overflows. */
DNS_API size_t dns_tensor_count(const dns_tensor *tensor);
DNS_API size_t dns_tensor_bytes(const dns_tensor *tensor);

/* "[3,512]" into `text`. */
DNS_API void dns_tensor_shape_text(const dns_tensor *tensor, char *text, size_t size);

/* Converts all elements of any dtype to f32 into `out` [dns_tensor_count]. */
DNS_API void dns_tensor_to_f32(float *out, const dns_tensor *tensor);

/* IEEE half precision, round to nearest even. */
DNS_API uint16_t dns_f16_from_f32(float value);
DNS_API float dns_f32_from_f16(uint16_t half);

#ifdef __cplusplus
}
#endif

#endif
