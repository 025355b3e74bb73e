#include "fine_cost.h"

#include "dnsel/budget.h"

void dns_fine_cost_add(struct dns_fine_cost *cost, double cells, double seconds)
{
    size_t i = cost->n_seen++ % DNS_COST_SAMPLES;
    cost->cells[i] = cells;
    cost->seconds[i] = seconds;
}

dns_status dns_fine_cost_plan(size_t *n, const struct dns_fine_cost *cost, double seconds,
                              size_t n_query_frames, size_t n_targets,
                              uint32_t (*frames)(const void *payload, size_t i),
                              const void *payload)
{
    enum { PIECE = 64 };
    dns_cost_model model;
    uint32_t piece[PIECE];
    size_t n_samples = cost->n_seen < DNS_COST_SAMPLES ? cost->n_seen : DNS_COST_SAMPLES;
    *n = 0;
    dns_status status = dns_budget_fit_cost(&model, cost->cells, cost->seconds, n_samples);
    if (status != DNS_OK)
        return status;
    while (*n < n_targets && seconds > 0) {
        size_t wanted = n_targets - *n < PIECE ? n_targets - *n : PIECE;
        for (size_t i = 0; i < wanted; i++)
            piece[i] = frames(payload, *n + i);
        size_t fit = dns_budget_seconds(&model, seconds, n_query_frames, piece, wanted);
        for (size_t i = 0; i < fit; i++)
            seconds -= model.fixed + model.per_cell * (double)n_query_frames * (double)piece[i];
        *n += fit;
        if (fit < wanted)
            break;
    }
    return DNS_OK;
}
