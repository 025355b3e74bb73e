#include "dnsel/router.h"

#include <math.h>
#include <string.h>

#include "dnsel/memory.h"
#include "dnsel/random.h"
#include "dnsel/rank.h"

static const char *const names[] = {
    [DNS_ROUTER_RANDOM] = "random",     [DNS_ROUTER_COARSE] = "coarse",
    [DNS_ROUTER_SELECTOR] = "selector", [DNS_ROUTER_HYBRID] = "hybrid",
    [DNS_ROUTER_EXPECTED] = "expected", [DNS_ROUTER_PAIR] = "pair",
};

enum { N_ROUTERS = sizeof names / sizeof names[0] };

const char *dns_router_name(dns_router router)
{
    return (unsigned)router < N_ROUTERS ? names[router] : NULL;
}

bool dns_router_parse(dns_router *router, const char *text)
{
    for (unsigned i = 0; i < N_ROUTERS; i++) {
        if (strcmp(text, names[i]) == 0) {
            *router = (dns_router)i;
            return true;
        }
    }
    return false;
}

static dns_status check(size_t k, const dns_router_input *input, const dns_router_options *options)
{
    const struct {
        bool needed;
        const float *array;
        const char *what;
    } arrays[] = {
        {options->router == DNS_ROUTER_COARSE || options->router == DNS_ROUTER_HYBRID,
         input->coarse, "coarse scores"},
        {options->router == DNS_ROUTER_SELECTOR || options->router == DNS_ROUTER_HYBRID,
         input->confidence, "selector confidences"},
        {options->router == DNS_ROUTER_EXPECTED, input->expected, "expected scores"},
        {options->router == DNS_ROUTER_EXPECTED && options->optimism != 0.0, input->deviation,
         "deviations"},
        {options->router == DNS_ROUTER_PAIR, input->probability, "probabilities of pairs"},
    };
    if (dns_router_name(options->router) == NULL)
        return dns_status_set(DNS_ERR_ARG, "router %d: unknown", (int)options->router);
    if (k > input->n)
        return dns_status_set(DNS_ERR_ARG, "routing %zu of %zu targets", k, input->n);
    if (!(options->hybrid_share >= 0.0 && options->hybrid_share <= 1.0))
        return dns_status_set(DNS_ERR_ARG, "hybrid share %g: outside [0, 1]",
                              options->hybrid_share);
    if (!isfinite(options->optimism))
        return dns_status_set(DNS_ERR_ARG, "optimism %g: not finite", options->optimism);
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        if (arrays[i].needed && arrays[i].array == NULL && input->n > 0)
            return dns_status_set(DNS_ERR_ARG, "router '%s' needs %s", names[options->router],
                                  arrays[i].what);
    }
    return DNS_OK;
}

/* order[0 .. m-1], the best m by coarse score, sorted anew by confidence; equal ones by position.
 */
static dns_status sort_by_confidence(uint32_t *order, size_t m, const float *confidence, size_t n)
{
    dns_status status = DNS_OK;
    bool *inside = NULL;
    float *values = NULL;
    uint32_t *positions = NULL, *ranks = NULL;
    size_t n_inside = 0;
    DNS_TRY(dns_alloc(&inside, n, sizeof *inside));
    DNS_TRY(dns_alloc(&values, m, sizeof *values));
    DNS_TRY(dns_alloc(&positions, m, sizeof *positions));
    DNS_TRY(dns_alloc(&ranks, m, sizeof *ranks));
    for (size_t i = 0; i < m; i++)
        inside[order[i]] = true;
    for (size_t i = 0; i < n; i++) {
        if (inside[i]) {
            positions[n_inside] = (uint32_t)i;
            values[n_inside++] = confidence[i];
        }
    }
    DNS_TRY(dns_rank_descending(ranks, values, m));
    for (size_t i = 0; i < m; i++)
        order[i] = positions[ranks[i]];
out:
    dns_free(inside);
    dns_free(values);
    dns_free(positions);
    dns_free(ranks);
    return status;
}

dns_status dns_router_choose(uint32_t *chosen, size_t k, const dns_router_input *input,
                             const dns_router_options *options)
{
    dns_status status = DNS_OK;
    uint32_t *order = NULL;
    float *drawn = NULL;
    const float *values = NULL;
    size_t n = input->n;
    DNS_TRY(check(k, input, options));
    DNS_TRY(dns_alloc(&order, n, sizeof *order));
    switch (options->router) {
    case DNS_ROUTER_RANDOM:
        DNS_TRY(dns_alloc(&drawn, n, sizeof *drawn));
        dns_random random = dns_random_seed(options->seed);
        for (size_t i = 0; i < n; i++)
            drawn[i] = (float)dns_random_uniform(&random);
        values = drawn;
        break;
    case DNS_ROUTER_COARSE:
    case DNS_ROUTER_HYBRID:
        values = input->coarse;
        break;
    case DNS_ROUTER_SELECTOR:
        values = input->confidence;
        break;
    case DNS_ROUTER_PAIR:
        values = input->probability;
        break;
    case DNS_ROUTER_EXPECTED:
        values = input->expected;
        if (options->optimism == 0.0)
            break;
        DNS_TRY(dns_alloc(&drawn, n, sizeof *drawn));
        for (size_t i = 0; i < n; i++)
            drawn[i] = input->expected[i] + (float)options->optimism * input->deviation[i];
        values = drawn;
        break;
    }
    DNS_TRY(dns_rank_descending(order, values, n));
    if (options->router == DNS_ROUTER_HYBRID) {
        size_t m = (size_t)(options->hybrid_share * (double)n);
        DNS_TRY(sort_by_confidence(order, m > k ? m : k, input->confidence, n));
    }
    memcpy(chosen, order, k * sizeof *chosen);
out:
    dns_free(order);
    dns_free(drawn);
    return status;
}
