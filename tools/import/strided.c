#include "strided.h"

#include <string.h>

#include "dnsel/memory.h"

void dns_strided_fill(strided *array, bool column_major)
{
    size_t stride = 1;
    for (size_t k = 0; k < array->rank; k++) {
        size_t axis = column_major ? k : array->rank - 1 - k;
        array->strides[axis] = stride;
        if (!dns_size_multiply(stride, array->shape[axis], &stride))
            stride = 0; /* measured and refused before any use */
    }
}

bool dns_strided_measure(size_t *count, size_t *extent, const strided *array)
{
    size_t bytes;
    *count = 1;
    *extent = 1;
    bool fits = true, is_empty = false;
    for (size_t axis = 0; axis < array->rank; axis++) {
        size_t reach = 0;
        is_empty |= array->shape[axis] == 0;
        if (array->shape[axis] > 1)
            fits &= dns_size_multiply(array->shape[axis] - 1, array->strides[axis], &reach);
        fits &= dns_size_multiply(*count, array->shape[axis], count);
        fits &= !__builtin_add_overflow(*extent, reach, extent);
    }
    if (is_empty) {
        *count = *extent = 0;
        return true;
    }
    return fits && dns_size_multiply(*count, array->element, &bytes) &&
           dns_size_multiply(*extent, array->element, &bytes);
}

bool dns_strided_is_row_major(const strided *array)
{
    size_t stride = 1;
    bool follows = true, is_empty = false;
    for (size_t axis = array->rank; axis-- > 0;) {
        follows &= array->shape[axis] <= 1 || array->strides[axis] == stride;
        is_empty |= array->shape[axis] == 0;
        stride *= array->shape[axis];
    }
    return follows || is_empty;
}

void dns_strided_copy(void *out, const void *in, const strided *array)
{
    size_t count, extent, at = 0, index[DNS_TENSOR_RANK] = {0};
    if (!dns_strided_measure(&count, &extent, array))
        return;
    unsigned char *to = out;
    for (size_t i = 0; i < count; i++) {
        memcpy(to + i * array->element, (const unsigned char *)in + at * array->element,
               array->element);
        for (size_t axis = array->rank; axis-- > 0;) {
            at += array->strides[axis];
            if (++index[axis] < array->shape[axis])
                break;
            at -= array->strides[axis] * array->shape[axis];
            index[axis] = 0;
        }
    }
}

void dns_bytes_swap(void *data, size_t count, size_t size)
{
    for (unsigned char *element = data; count > 0; count--, element += size)
        for (size_t low = 0, high = size; low + 1 < high; low++) {
            unsigned char byte = element[low];
            element[low] = element[--high];
            element[high] = byte;
        }
}
