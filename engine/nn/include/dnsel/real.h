/*
 * The number type of the layers: float. Tests compile the same sources a second time with double
 * (DNS_REAL_DOUBLE), where a central difference tells a gradient to 1e-6 and leaves no room for a
 * missing term.
 */
#ifndef DNSEL_REAL_H
#define DNSEL_REAL_H

#ifdef DNS_REAL_DOUBLE
typedef double dns_real;
#else
typedef float dns_real;
#endif

#endif
