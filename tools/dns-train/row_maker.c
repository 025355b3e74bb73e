#include "row_maker.h"

#include <math.h>
#include <string.h>

#include "default_model.h"
#include "dnsel/memory.h"

static dns_status read_video(struct row_maker *m, size_t place)
{
    dns_status status = DNS_OK;
    dns_record coarse, selector;
    dns_meta meta;
    DNS_TRY(dns_snapshot_get(&coarse, m->snapshot, DNS_KIND_COARSE, m->ids[place], true));
    if (coarse.rank != 1 || (place > 0 && coarse.shape[0] != m->dim))
        DNS_FAIL(DNS_ERR_SHAPE, "%s: coarse vectors of several sizes", m->index);
    if (place == 0) {
        m->dim = coarse.shape[0];
        DNS_TRY(dns_alloc(&m->coarse, m->n_ids, m->dim * sizeof *m->coarse));
    }
    DNS_TRY(dns_record_to_f32(m->coarse + place * m->dim, &coarse));
    DNS_TRY(dns_snapshot_meta(&meta, m->snapshot, m->ids[place]));
    m->durations[place] = meta.duration;
    status = dns_snapshot_get(&selector, m->snapshot, DNS_KIND_SELECTOR, m->ids[place], true);
    if (status == DNS_OK)
        status = dns_record_to_f32(&m->scalars[place], &selector);
    else if (status == DNS_ERR_NOTFOUND)
        status = DNS_OK;
out:
    return status;
}

dns_status row_maker_open(struct row_maker *m)
{
    dns_status status = DNS_OK;
    DNS_TRY(dns_store_open(&m->store, m->index, DNS_STORE_READ, NULL));
    DNS_TRY(dns_snapshot_open(&m->snapshot, m->store));
    DNS_TRY(dns_snapshot_ids(&m->ids, &m->n_ids, m->snapshot, DNS_KIND_COARSE));
    if (m->n_ids == 0)
        DNS_FAIL(DNS_ERR_ARG, "%s: no video has a coarse vector", m->index);
    DNS_TRY(dns_video_names_create(&m->names, m->snapshot, m->ids, m->n_ids));
    DNS_TRY(dns_alloc(&m->scalars, m->n_ids, sizeof *m->scalars));
    DNS_TRY(dns_alloc(&m->durations, m->n_ids, sizeof *m->durations));
    for (size_t i = 0; i < m->n_ids; i++)
        DNS_TRY(read_video(m, i));
out:
    return status;
}

void row_maker_close(struct row_maker *m)
{
    dns_free(m->durations);
    dns_free(m->scalars);
    dns_free(m->coarse);
    dns_video_names_free(m->names);
    dns_free(m->ids);
    dns_snapshot_close(m->snapshot);
    dns_pool_free(m->pool);
    dns_model_close(m->model);
    dns_store_close(m->store);
}

dns_status row_maker_open_model(struct row_maker *m)
{
    dns_status status = DNS_OK;
    if (m->model != NULL)
        return DNS_OK;
    DNS_TRY(dns_default_model_open(&m->model, m->model_name));
    DNS_TRY(dns_pool_create(&m->pool, m->n_jobs));
out:
    return status;
}

dns_status row_maker_find(size_t *place, const struct row_maker *m, size_t row, const char *name)
{
    dns_status status = dns_video_names_find(place, m->names, name);
    if (status == DNS_ERR_NOTFOUND)
        return dns_status_set(DNS_ERR_ARG, "%s: row %zu: no video '%s' with a coarse vector in %s",
                              m->labels, row + 1, name, m->index);
    return status != DNS_OK ? dns_status_context(status, "%s: row %zu", m->labels, row + 1)
                            : DNS_OK;
}

static size_t place_of(const struct row_maker *m, uint64_t id)
{
    size_t low = 0, high = m->n_ids;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < m->n_ids && m->ids[low] == id ? low : SIZE_MAX;
}

dns_status row_maker_compare(float *fine, const struct row_maker *m, dns_searcher *searcher,
                             size_t place)
{
    dns_status status = DNS_OK;
    dns_answer *answer = NULL;
    dns_query query;
    char text[17];
    dns_search_options options = dns_search_options_default();
    options.k = 0;
    options.budget = DNS_BUDGET_ALL;
    options.min_score = -INFINITY;
    options.cancel = m->cancel;
    for (size_t i = 0; i < m->n_ids; i++)
        fine[i] = NAN;
    dns_id_text(m->ids[place], text);
    status = dns_searcher_stored_query(&query, searcher, text);
    if (status == DNS_ERR_NOTFOUND) /* a video may be too short for the kind */
        return DNS_OK;
    if (status != DNS_OK)
        return status;
    DNS_TRY(dns_search(&answer, searcher, &query, &options));
    for (size_t r = 0; r < answer->n_results; r++) {
        size_t at = place_of(m, answer->results[r].id);
        if (at != SIZE_MAX)
            fine[at] = answer->results[r].fine;
    }
out:
    dns_answer_free(answer);
    return status;
}
