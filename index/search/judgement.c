/* What the model's selector and calibration say of pairs, where it has them. */
#include "searcher.h"

bool dns_searcher_has_selector(const dns_searcher *s)
{
    (void)s;
    return false;
}

bool dns_searcher_is_calibrated(const dns_searcher *s)
{
    (void)s;
    return false;
}

dns_router_options dns_searcher_model_router(const dns_searcher *s)
{
    dns_router_options options = DNS_ROUTER_OPTIONS_INIT;
    const dns_json *section = dns_model_section(s->model, "router");
    if (!dns_router_parse(&options.router,
                          dns_json_string(dns_json_get(section, "kind"), "coarse")))
        options.router = DNS_ROUTER_COARSE;
    options.hybrid_share =
        dns_json_number(dns_json_get(section, "hybrid_share"), options.hybrid_share);
    options.optimism = dns_json_number(dns_json_get(section, "optimism"), options.optimism);
    return options;
}

dns_status dns_searcher_expected(const dns_searcher *s, float *expected, const float *coarse,
                                 size_t n)
{
    (void)s;
    for (size_t i = 0; i < n; i++)
        expected[i] = coarse[i] / 2 + 0.5f;
    return DNS_OK;
}

dns_status dns_searcher_confidence(dns_searcher *s, float *confidence, const dns_snapshot *snapshot,
                                   float query_scalar, const dns_matrix_rows *rows,
                                   const float *coarse)
{
    (void)s, (void)confidence, (void)snapshot, (void)query_scalar, (void)rows, (void)coarse;
    return dns_status_set(DNS_ERR_UNSUPPORTED, "this model has no selector");
}
