/* Training sets of made features, for tests: every scene is a random walk of region vectors, edited
 * copies are the same with noise. */
#ifndef DNS_SYNTHETIC_SET_H
#define DNS_SYNTHETIC_SET_H

#include "dnsel/training_set.h"

typedef struct test_set_options {
    size_t n_scenes, n_folds, dim, n_regions;
    size_t n_copies; /* of each video */
    size_t n_hosts;  /* of the scenes, the last ones */
    double noise;    /* of copies: length of the noise against that of a region vector */
    uint64_t seed;
} test_set_options;

/* Writes a set into `directory`. Scene i has one video of 6 + i % 9 frames, "/v<i>"; every fifth
 * has a second one, "/v<i>b". */
void test_set_write(const char *directory, const test_set_options *options);

#endif
