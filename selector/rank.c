#include "dnsel/rank.h"

#include <math.h>
#include <string.h>

#include "dnsel/memory.h"

enum { DIGIT_BITS = 11, N_DIGITS = 3, RADIX = 1 << DIGIT_BITS };

/* An unsigned number that grows as the value falls. */
static uint32_t descending_key(float value)
{
    uint32_t bits;
    value += 0.0f; /* -0 becomes +0 */
    memcpy(&bits, &value, sizeof bits);
    return (bits >> 31) != 0 ? bits : bits ^ 0x7fffffffu;
}

struct entry {
    uint32_t key, position;
};

dns_status dns_rank_descending(uint32_t *order, const float *values, size_t n)
{
    dns_status status = DNS_OK;
    struct entry *entries = NULL, *sorted = NULL;
    size_t count[N_DIGITS][RADIX];
    if (n > UINT32_MAX)
        DNS_FAIL(DNS_ERR_LIMIT, "ranking %zu values: more than 2^32 - 1", n);
    DNS_TRY(dns_alloc(&entries, n, sizeof *entries));
    DNS_TRY(dns_alloc(&sorted, n, sizeof *sorted));
    memset(count, 0, sizeof count);
    for (size_t i = 0; i < n; i++) {
        if (isnan(values[i]))
            DNS_FAIL(DNS_ERR_RANGE, "ranking: value %zu of %zu is not a number", i, n);
        uint32_t key = descending_key(values[i]);
        entries[i] = (struct entry){key, (uint32_t)i};
        for (int d = 0; d < N_DIGITS; d++)
            count[d][key >> d * DIGIT_BITS & (RADIX - 1)]++;
    }
    for (int d = 0; d < N_DIGITS; d++) {
        size_t start = 0;
        for (size_t digit = 0; digit < RADIX; digit++) {
            size_t here = count[d][digit];
            count[d][digit] = start;
            start += here;
        }
        for (size_t i = 0; i < n; i++)
            sorted[count[d][entries[i].key >> d * DIGIT_BITS & (RADIX - 1)]++] = entries[i];
        struct entry *swap = entries;
        entries = sorted;
        sorted = swap;
    }
    for (size_t i = 0; i < n; i++)
        order[i] = entries[i].position;
out:
    dns_free(entries);
    dns_free(sorted);
    return status;
}
