#include "dnsel/random.h"

#include <math.h>

static uint64_t split_mix(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

dns_random dns_random_seed(uint64_t seed)
{
    dns_random random;
    for (int i = 0; i < 4; i++)
        random.state[i] = split_mix(&seed);
    return random;
}

dns_random dns_random_stream(uint64_t seed, uint64_t stream)
{
    uint64_t mixed = stream;
    return dns_random_seed(seed ^ split_mix(&mixed));
}

static uint64_t rotate_left(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t dns_random_next(dns_random *random)
{
    uint64_t *s = random->state;
    uint64_t drawn = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return drawn;
}

double dns_random_uniform(dns_random *random)
{
    return (double)(dns_random_next(random) >> 11) * 0x1.0p-53;
}

uint64_t dns_random_below(dns_random *random, uint64_t n)
{
    uint64_t threshold =
        -n % n; /* 2^64 mod n: below it the last, incomplete run would favour small values */
    for (;;) {
        uint64_t drawn = dns_random_next(random);
        if (drawn >= threshold)
            return drawn % n;
    }
}

double dns_random_normal(dns_random *random)
{
    double u = 1.0 - dns_random_uniform(random);
    double v = dns_random_uniform(random);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

void dns_random_shuffle(dns_random *random, size_t *indices, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)dns_random_below(random, i);
        size_t kept = indices[i - 1];
        indices[i - 1] = indices[j];
        indices[j] = kept;
    }
}
