/*
 * Random numbers: xoshiro256** seeded by SplitMix64. The same seed gives the same numbers on every
 * machine.
 */
#ifndef DNSEL_RANDOM_H
#define DNSEL_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A small value: copy it, store it in a checkpoint. */
typedef struct dns_random {
    uint64_t state[4];
} dns_random;

/* A generator for `seed`; streams of different seeds are independent. */
DNS_API dns_random dns_random_seed(uint64_t seed);

/* A generator for one part of the work (a video, an epoch, a layer) that does not depend on how
 * many numbers the others drew. */
DNS_API dns_random dns_random_stream(uint64_t seed, uint64_t stream);

DNS_API uint64_t dns_random_next(dns_random *random);

/* Uniform in [0, 1), 53 bits. */
DNS_API double dns_random_uniform(dns_random *random);

/* Uniform in 0 .. n-1 without bias; n > 0. */
DNS_API uint64_t dns_random_below(dns_random *random, uint64_t n);

/* Standard normal (Box-Muller, one of the pair is dropped so that no state is kept outside). */
DNS_API double dns_random_normal(dns_random *random);

/* A random permutation of the n indices in place (Fisher-Yates). */
DNS_API void dns_random_shuffle(dns_random *random, size_t *indices, size_t n);

#ifdef __cplusplus
}
#endif

#endif
