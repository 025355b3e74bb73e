/*
 * Vectors made small: int8 with one scale a row, or one bit a dimension. One rounding for the whole
 * house, so that what is stored, scanned and asked for agrees.
 */
#ifndef DNSEL_ROUNDING_H
#define DNSEL_ROUNDING_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Rows to int8: scale = max|x| / 127 (0 for a row of zeros), code = nearest integer, halves to
 * even. codes [n_rows, dim], scales [n_rows]. DNS_ERR_RANGE when an element is not finite. */
DNS_API DNS_MUST_CHECK dns_status dns_rows_to_i8(int8_t *codes, float *scales, const float *x,
                                                 size_t n_rows, size_t dim);
DNS_API void dns_rows_from_i8(float *x, const int8_t *codes, const float *scales, size_t n_rows,
                              size_t dim);

/* codes [n_rows, (dim + 7) / 8]: bit i of byte j tells whether x[8j + i] > 0; bits behind dim are
 * 0. x [n_rows, dim]. DNS_ERR_RANGE for a NaN. */
DNS_API DNS_MUST_CHECK dns_status dns_codes_from_f32(uint8_t *codes, const float *x, size_t n_rows,
                                                     size_t dim);

#ifdef __cplusplus
}
#endif

#endif
