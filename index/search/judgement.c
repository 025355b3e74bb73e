/* What the model's selector and calibration say of pairs, where it has them. */
#include <math.h>
#include <string.h>

#include "dnsel/memory.h"
#include "searcher.h"

dns_status dns_searcher_load_judges(dns_searcher *s)
{
    dns_status status = DNS_OK;
    const dns_safetensors *calibration = dns_model_weights(s->model, "calibration");
    if (calibration != NULL && dns_safetensors_find(calibration, "expected.x") != NULL)
        DNS_TRY(dns_calibration_from_model(&s->calibration, s->model));
    if (dns_model_section(s->model, "selector") != NULL &&
        dns_store_settings_get(s->store)->kept[DNS_KIND_SELECTOR]) {
        DNS_TRY(dns_selector_from_model(&s->selector, s->model));
        DNS_TRY(dns_selector_session_create(&s->selector_session, s->selector));
    }
    DNS_TRY(dns_pair_judge_from_model(&s->pair, s->model));
out:
    return status;
}

bool dns_searcher_has_selector(const dns_searcher *s)
{
    return s->selector != NULL;
}

bool dns_searcher_offers(const dns_searcher *s, dns_router router)
{
    if (router == DNS_ROUTER_PAIR)
        return s->pair != NULL;
    return s->selector != NULL || (router != DNS_ROUTER_SELECTOR && router != DNS_ROUTER_HYBRID);
}

/* The published networks were trained on one scale (docs/query.md): a coarse network that is not a
 * plain mean gives scores that stand beside fine ones as they are. */
static bool shares_scale(const dns_searcher *s)
{
    const char *kind =
        dns_json_string(dns_json_get(dns_model_section(s->model, "coarse"), "kind"), "mean");
    return strcmp(kind, "published") == 0;
}

bool dns_searcher_is_calibrated(const dns_searcher *s)
{
    return s->calibration != NULL || shares_scale(s);
}

double dns_searcher_threshold(const dns_searcher *s)
{
    static const char *const sections[] = {"calibration", "similarity"};
    for (size_t i = 0; i < 2; i++) {
        const dns_json *section = dns_model_section(s->model, sections[i]);
        double threshold = dns_json_number(dns_json_get(section, "threshold"), NAN);
        if (isfinite(threshold))
            return threshold;
    }
    return 0.75;
}

dns_router_options dns_searcher_model_router(const dns_searcher *s)
{
    dns_router_options options = DNS_ROUTER_OPTIONS_INIT;
    const dns_json *section = dns_model_section(s->model, "router");
    const char *otherwise = shares_scale(s) && s->selector != NULL ? "selector" : "coarse";
    if (!dns_router_parse(&options.router,
                          dns_json_string(dns_json_get(section, "kind"), otherwise)))
        options.router = DNS_ROUTER_COARSE;
    options.hybrid_share =
        dns_json_number(dns_json_get(section, "hybrid_share"), options.hybrid_share);
    options.optimism = dns_json_number(dns_json_get(section, "optimism"), options.optimism);
    return options;
}

dns_status dns_searcher_expected(const dns_searcher *s, float *expected, const float *coarse,
                                 size_t n)
{
    if (s->calibration != NULL) {
        dns_calibration_map(s->calibration, expected, NULL, coarse, n);
        return DNS_OK;
    }
    bool as_it_is = shares_scale(s);
    for (size_t i = 0; i < n; i++)
        expected[i] = as_it_is ? coarse[i] : coarse[i] / 2 + 0.5f;
    return DNS_OK;
}

static dns_status no_scalar(uint64_t id)
{
    char text[17];
    dns_id_text(id, text);
    return dns_status_set(DNS_ERR_CORRUPT, "video %s has no selector record", text);
}

/* The scalars of a few videos, from their records. */
static dns_status read_scalars(float *out, const dns_snapshot *snapshot, const uint64_t *ids,
                               size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dns_record record;
        dns_status status = dns_snapshot_get(&record, snapshot, DNS_KIND_SELECTOR, ids[i], false);
        if (status != DNS_OK)
            return status == DNS_ERR_NOTFOUND ? no_scalar(ids[i]) : status;
        out[i] = *(const float *)record.data;
    }
    return DNS_OK;
}

/* The row of a video, looked for from `from` on and then from the start. */
static size_t find_row(const dns_matrix_rows *rows, uint64_t id, size_t from)
{
    for (size_t i = from; i < rows->n_rows; i++)
        if (rows->ids[i] == id)
            return i;
    for (size_t i = 0; i < from && i < rows->n_rows; i++)
        if (rows->ids[i] == id)
            return i;
    return SIZE_MAX;
}

/* The scalars of most videos. The matrices come from one snapshot, so as a rule their rows come in
 * the same order, but for videos that were left out. */
static dns_status gather_scalars(float *out, const dns_matrix_rows *scalars, const uint64_t *ids,
                                 size_t n)
{
    size_t next = 0;
    for (size_t i = 0; i < n; i++) {
        size_t row = find_row(scalars, ids[i], next);
        next = row + 1;
        if (row == SIZE_MAX)
            return no_scalar(ids[i]);
        out[i] = ((const float *)scalars->vectors)[row];
    }
    return DNS_OK;
}

dns_status dns_searcher_confidence(dns_searcher *s, float *confidence, const dns_snapshot *snapshot,
                                   float query_scalar, const uint64_t *ids, const float *coarse,
                                   size_t n)
{
    enum { FEW = 32 }; /* a record costs as much as so many rows */
    dns_status status = DNS_OK;
    dns_matrix_rows scalars;
    float *targets = NULL;
    DNS_TRY(dns_alloc(&targets, n, sizeof *targets));
    if (n <= dns_snapshot_count(snapshot, DNS_KIND_SELECTOR) / FEW) {
        DNS_TRY(read_scalars(targets, snapshot, ids, n));
    } else {
        DNS_TRY(dns_searcher_rows(&scalars, s, snapshot, DNS_MATRIX_SELECTOR));
        DNS_TRY(gather_scalars(targets, &scalars, ids, n));
    }
    DNS_TRY(dns_selector_route(s->selector_session, confidence, query_scalar, targets, coarse, n,
                               s->pool));
out:
    dns_free(targets);
    return status;
}
