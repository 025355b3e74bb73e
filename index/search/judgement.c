/* What the model's selector and calibration say of pairs, where it has them. */
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
out:
    return status;
}

bool dns_searcher_has_selector(const dns_searcher *s)
{
    return s->selector != NULL;
}

/* The published networks were trained on one scale (spec/dns.md 1): a coarse network that is not a
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

/* Scalars of all videos in the order of the coarse rows; the two matrices come from one snapshot,
 * so as a rule their rows come in the same order, but for coarse rows that were left out. */
static dns_status gather_scalars(float *out, const dns_matrix_rows *coarse,
                                 const dns_matrix_rows *scalars)
{
    size_t next = 0;
    for (size_t i = 0; i < coarse->n_rows; i++) {
        size_t row = find_row(scalars, coarse->ids[i], next);
        next = row + 1;
        if (row == SIZE_MAX) {
            char id[17];
            dns_id_text(coarse->ids[i], id);
            return dns_status_set(DNS_ERR_CORRUPT, "video %s has no selector record", id);
        }
        out[i] = ((const float *)scalars->vectors)[row];
    }
    return DNS_OK;
}

dns_status dns_searcher_confidence(dns_searcher *s, float *confidence, const dns_snapshot *snapshot,
                                   float query_scalar, const dns_matrix_rows *rows,
                                   const float *coarse)
{
    dns_status status = DNS_OK;
    const dns_matrix_options options = {.pool = s->pool};
    dns_matrix *matrix = NULL;
    float *targets = NULL;
    DNS_TRY(dns_matrix_open(&matrix, snapshot, DNS_MATRIX_SELECTOR, &options));
    dns_matrix_rows scalars = dns_matrix_get(matrix);
    DNS_TRY(dns_alloc(&targets, rows->n_rows, sizeof *targets));
    DNS_TRY(gather_scalars(targets, rows, &scalars));
    DNS_TRY(dns_selector_route(s->selector_session, confidence, query_scalar, targets, coarse,
                               rows->n_rows, s->pool));
out:
    dns_free(targets);
    dns_matrix_close(matrix);
    return status;
}
