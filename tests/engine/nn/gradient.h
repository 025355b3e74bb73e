/*
 * Finite differences, for tests that are linked to nn_f64. A test probes a layer with loss = sum of
 * c * y for random c, so that dy = c, and lists the arrays that the loss depends on with the
 * gradients that the layer's backward gave.
 */
#ifndef DNS_TEST_GRADIENT_H
#define DNS_TEST_GRADIENT_H

#include <math.h>
#include <stdbool.h>

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

/* Whether a central difference at h agrees. *expected receives it. */
static inline bool gradient_agrees(double (*loss)(void *payload), void *payload, dns_real *value,
                                   double h, double got, double error, double *expected)
{
    dns_real kept = *value;
    *value = (dns_real)(kept + h);
    double above = loss(payload);
    *value = (dns_real)(kept - h);
    double below = loss(payload);
    *value = kept;
    *expected = (above - below) / (2 * h);
    return fabs(got - *expected) <= error;
}

/* Central differences for every entry of every array (at most `limit` of each, evenly spread); the
 * error must be below `tolerance` times the array's largest gradient, which may not be zero. Where
 * h = 1e-5 steps over a kink (ReLU, maximum, clipping), a shorter step does not; a missing term is
 * missing at any h. */
static inline void gradient_check(double (*loss)(void *payload), void *payload,
                                  const gradient_of *arrays, size_t n, size_t limit,
                                  double tolerance)
{
    for (size_t a = 0; a < n; a++) {
        double largest = 0;
        for (size_t i = 0; i < arrays[a].n; i++)
            largest = fmax(largest, fabs((double)arrays[a].gradient[i]));
        if (!(largest > 0))
            fail_msg("%s: gradient is zero or not finite everywhere", arrays[a].name);
        size_t step = arrays[a].n > limit ? arrays[a].n / limit : 1;
        for (size_t i = 0; i < arrays[a].n; i += step) {
            double expected = 0, got = (double)arrays[a].gradient[i], error = tolerance * largest,
                   h = 1e-5;
            while (h > 5e-9 &&
                   !gradient_agrees(loss, payload, &arrays[a].values[i], h, got, error, &expected))
                h /= 10;
            if (h <= 5e-9)
                fail_msg("%s[%zu of %zu]: gradient %.10g, finite difference %.10g (largest %.3g)",
                         arrays[a].name, i, arrays[a].n, got, expected, largest);
        }
    }
}

#endif
