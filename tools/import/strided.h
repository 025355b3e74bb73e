/* Arrays as other programs store them: any strides, any byte order. */
#ifndef DNS_STRIDED_H
#define DNS_STRIDED_H

#include "dnsel/tensor.h"

/* Strides in elements, as PyTorch counts them; an array of a stored file never runs backwards. */
typedef struct strided {
    size_t element; /* bytes */
    size_t rank;
    size_t shape[DNS_TENSOR_RANK], strides[DNS_TENSOR_RANK];
} strided;

/* Row-major strides, or column-major ones. */
void dns_strided_fill(strided *array, bool column_major);

/* *count = elements of the array, *extent = elements from its first to past its last one (0 when it
 * has none). False when a product or sum does not fit. */
bool dns_strided_measure(size_t *count, size_t *extent, const strided *array);

bool dns_strided_is_row_major(const strided *array);

/* out = the elements in row-major order. */
void dns_strided_copy(void *out, const void *in, const strided *array);

/* Reverses the bytes of each of `count` elements of `size` bytes. */
void dns_bytes_swap(void *data, size_t count, size_t size);

#endif
