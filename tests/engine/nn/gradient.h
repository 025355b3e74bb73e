/*
 * Finite differences, for tests that are linked to nn_f64. A test probes a layer with loss = sum of
 * c * y for random c, so that dy = c, and lists the arrays that the loss depends on with the
 * gradients that the layer's backward gave.
 */
#ifndef DNS_TEST_GRADIENT_H
#define DNS_TEST_GRADIENT_H

#include <math.h>

#include "dnsel/real.h"
#include "support.h"

typedef struct gradient_of {
    const char *name;
    dns_real *values;
    const dns_real *gradient;
    size_t n;
} gradient_of;

static inline void gradient_fill(dns_random *random, dns_real *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = (dns_real)dns_random_normal(random);
}

static inline double gradient_dot(const dns_real *a, const dns_real *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Central differences at h = 1e-5 for every entry of every array (at most `limit` of each, evenly
 * spread); the error must be below `tolerance` times the array's largest gradient, which may not be
 * zero. Inputs must be further than h from kinks. */
static inline void gradient_check(double (*loss)(void *payload), void *payload,
                                  const gradient_of *arrays, size_t n, size_t limit,
                                  double tolerance)
{
    const double h = 1e-5;
    for (size_t a = 0; a < n; a++) {
        double largest = 0;
        for (size_t i = 0; i < arrays[a].n; i++)
            largest = fmax(largest, fabs((double)arrays[a].gradient[i]));
        if (!(largest > 0))
            fail_msg("%s: gradient is zero or not finite everywhere", arrays[a].name);
        size_t step = arrays[a].n > limit ? arrays[a].n / limit : 1;
        for (size_t i = 0; i < arrays[a].n; i += step) {
            dns_real kept = arrays[a].values[i];
            arrays[a].values[i] = (dns_real)(kept + h);
            double above = loss(payload);
            arrays[a].values[i] = (dns_real)(kept - h);
            double below = loss(payload);
            arrays[a].values[i] = kept;
            double expected = (above - below) / (2 * h), got = (double)arrays[a].gradient[i];
            if (!(fabs(got - expected) <= tolerance * largest))
                fail_msg("%s[%zu of %zu]: gradient %.10g, finite difference %.10g (largest %.3g)",
                         arrays[a].name, i, arrays[a].n, got, expected, largest);
        }
    }
}

#endif
