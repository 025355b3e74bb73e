#include "dnsel/pair_features.h"

#include <math.h>

void dns_pair_features(float x[DNS_PAIR_FEATURES], const dns_pair_side *query,
                       const dns_pair_side *target, size_t dim)
{
    float sum = 0;
    for (size_t b = 0; b < DNS_PAIR_BLOCKS; b++) {
        float part = 0;
        for (size_t j = b * dim / DNS_PAIR_BLOCKS; j < (b + 1) * dim / DNS_PAIR_BLOCKS; j++)
            part += query->coarse[j] * target->coarse[j];
        x[1 + b] = part;
        sum += part;
    }
    x[0] = sum;
    x[DNS_PAIR_BLOCKS + 1] =
        (float)fabs(log1p(fmax(query->duration, 0)) - log1p(fmax(target->duration, 0)));
    x[DNS_PAIR_BLOCKS + 2] = query->scalar;
    x[DNS_PAIR_BLOCKS + 3] = target->scalar;
}

void dns_pair_privileged(float out[DNS_PAIR_PRIVILEGED], float fine, const dns_alignment *alignment)
{
    out[0] = fine;
    dns_alignment_features(out + 1, alignment);
}
