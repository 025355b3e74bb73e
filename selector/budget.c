#include "dnsel/budget.h"

#include <math.h>

#include "dnsel/memory.h"

size_t dns_budget_share(double share, size_t n)
{
    if (!(share > 0.0))
        return 0;
    if (share >= 1.0)
        return n;
    return (size_t)floor(share * (double)n * (1.0 + 1e-12));
}

dns_status dns_budget_fit_cost(dns_cost_model *out, const double *cells, const double *seconds,
                               size_t n)
{
    *out = (dns_cost_model){0};
    if (n == 0)
        return dns_status_set(DNS_ERR_ARG, "cost model: no measurements");
    double sum_x = 0, sum_y = 0, sum_xx = 0, sum_xy = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(cells[i] >= 0 && seconds[i] >= 0 && isfinite(cells[i]) && isfinite(seconds[i])))
            return dns_status_set(DNS_ERR_RANGE, "cost model: measurement %zu: %g cells in %g s", i,
                                  cells[i], seconds[i]);
        sum_x += cells[i];
        sum_y += seconds[i];
    }
    double mean_x = sum_x / (double)n, mean_y = sum_y / (double)n;
    for (size_t i = 0; i < n; i++) {
        sum_xx += (cells[i] - mean_x) * (cells[i] - mean_x);
        sum_xy += (cells[i] - mean_x) * (seconds[i] - mean_y);
    }
    double slope = sum_xx > 0 ? sum_xy / sum_xx : 0;
    double fixed = mean_y - slope * mean_x;
    if (slope <= 0) {
        slope = 0;
        fixed = mean_y;
    } else if (fixed < 0) { /* the best line through the origin */
        slope = (sum_xy + (double)n * mean_x * mean_y) / (sum_xx + (double)n * mean_x * mean_x);
        fixed = 0;
    }
    *out = (dns_cost_model){fixed, slope};
    return DNS_OK;
}

size_t dns_budget_seconds(const dns_cost_model *cost, double seconds, size_t n_query_frames,
                          const uint32_t *n_target_frames, size_t n)
{
    double spent = 0;
    for (size_t i = 0; i < n; i++) {
        spent += cost->fixed + cost->per_cell * (double)n_query_frames * (double)n_target_frames[i];
        if (!(spent <= seconds))
            return i;
    }
    return n;
}

dns_status dns_budget_conformal(size_t *level, const float *loss, size_t n_queries, size_t n_levels,
                                double bound, double max_loss)
{
    dns_status status = DNS_OK;
    double *sums = NULL;
    *level = 0;
    if (n_queries == 0 || n_levels == 0)
        DNS_FAIL(DNS_ERR_ARG, "conformal budget: %zu queries, %zu levels", n_queries, n_levels);
    if (!(bound > 0 && max_loss > 0))
        DNS_FAIL(DNS_ERR_ARG, "conformal budget: bound %g, largest loss %g", bound, max_loss);
    DNS_TRY(dns_alloc(&sums, n_levels, sizeof *sums));
    for (size_t q = 0; q < n_queries; q++) {
        double worst = 0;
        for (size_t j = n_levels; j-- > 0;) {
            double here = loss[q * n_levels + j];
            if (!(here >= 0 && here <= bound))
                DNS_FAIL(DNS_ERR_RANGE, "conformal budget: loss %g of query %zu is outside [0, %g]",
                         here, q, bound);
            worst = here > worst ? here : worst;
            sums[j] += worst;
        }
    }
    for (size_t j = 0; j < n_levels; j++) {
        if ((sums[j] + bound) / ((double)n_queries + 1) <= max_loss) {
            *level = j;
            goto out;
        }
    }
    DNS_FAIL(DNS_ERR_NOTFOUND, "no budget keeps the loss below %g with %zu calibration queries",
             max_loss, n_queries);
out:
    dns_free(sums);
    return status;
}
