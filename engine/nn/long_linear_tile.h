/* The inner loop of dnsel/long_linear.h, for each instruction set. */
#ifndef DNSEL_LONG_LINEAR_TILE_H
#define DNSEL_LONG_LINEAR_TILE_H

#include <stddef.h>

#include "dnsel/real.h"

enum { LONG_TILE = 4 };

/* y[i * y_stride + j] += <x row i, w row j> over k entries, for 4 rows of each; rows of x and w lie
 * x_stride and w_stride apart. */
typedef void (*long_linear_tile)(dns_real *y, size_t y_stride, const dns_real *x, size_t x_stride,
                                 const dns_real *w, size_t w_stride, size_t k);

void dns_long_linear_tile_plain(dns_real *y, size_t y_stride, const dns_real *x, size_t x_stride,
                                const dns_real *w, size_t w_stride, size_t k);

/* For the instruction sets in `cpu_flags` (dnsel/cpu.h). */
long_linear_tile dns_long_linear_tile_for(unsigned cpu_flags);

#endif
