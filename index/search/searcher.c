#include "searcher.h"

#include <string.h>

#include "dnsel/json.h"
#include "dnsel/memory.h"

static const char *const fine_names[] = {"auto", "attention", "binary", "regions", "none"};

const char *dns_fine_name(dns_fine fine)
{
    return fine_names[fine];
}

/* The first fine comparison that the index keeps records for. */
static dns_status choose_fine(dns_fine *out, const dns_store_settings *settings, dns_fine wanted)
{
    static const dns_fine order[] = {DNS_FINE_ATTENTION, DNS_FINE_BINARY, DNS_FINE_REGIONS};
    *out = wanted;
    if (wanted == DNS_FINE_NONE)
        return DNS_OK;
    if (wanted != DNS_FINE_AUTO) {
        if (settings->kept[dns_fine_kind(wanted)])
            return DNS_OK;
        return dns_status_set(DNS_ERR_UNSUPPORTED, "this index keeps no %s records",
                              dns_kind_name(dns_fine_kind(wanted)));
    }
    *out = DNS_FINE_NONE;
    for (size_t i = 0; i < sizeof order / sizeof order[0] && *out == DNS_FINE_NONE; i++)
        if (settings->kept[dns_fine_kind(order[i])])
            *out = order[i];
    return DNS_OK;
}

static const char *direction_text(dns_direction direction)
{
    static const char *const texts[] = {"query rows", "target rows",
                                        "the larger of both directions", "both directions"};
    return texts[direction];
}

static dns_status describe_networks(dns_searcher *s)
{
    static const char *const fine_texts[] = {"", "attention student", "binary student",
                                             "region features without a network", "none"};
    const char *kind =
        dns_json_string(dns_json_get(dns_model_section(s->model, "coarse"), "kind"), "mean");
    if (s->fine == DNS_FINE_NONE)
        return dns_string_format(&s->networks, "model %s; coarse: %s; fine: none",
                                 dns_model_name(s->model), kind);
    return dns_string_format(&s->networks, "model %s; coarse: %s; fine: %s, Chamfer of %s",
                             dns_model_name(s->model), kind, fine_texts[s->fine],
                             direction_text(dns_model_similarity(s->model).direction));
}

static dns_status make_ranker(dns_searcher *s, const dns_searcher_options *o)
{
    dns_status status = DNS_OK;
    dns_mapcnn_form comparator =
        o->comparator == DNS_COMPARATOR_I8 ? DNS_MAPCNN_I8 : DNS_MAPCNN_F32;
    if (o->asymmetric && s->fine != DNS_FINE_BINARY)
        DNS_FAIL(DNS_ERR_UNSUPPORTED, "only binary codes are compared asymmetrically");
    if (o->comparator == DNS_COMPARATOR_MODEL)
        DNS_TRY(dns_fine_model_comparator(&comparator, s->model, s->fine));
    s->asymmetric = o->asymmetric;
    DNS_TRY(
        dns_fine_ranker_create(&s->ranker, s->model, s->fine, comparator, dns_pool_size(s->pool)));
out:
    return status;
}

dns_status dns_searcher_open(dns_searcher **out, dns_store *store, const dns_model *model,
                             const dns_searcher_options *options)
{
    dns_status status = DNS_OK;
    dns_searcher *s = NULL;
    const dns_store_settings *settings = dns_store_settings_get(store);
    dns_digest digest = dns_model_digest(model);
    *out = NULL;
    if (!dns_digest_equal(&digest, &settings->model))
        DNS_FAIL(DNS_ERR_MODEL,
                 "%s: made by model '%s', this is another '%s'; name the right one with --model",
                 dns_store_directory(store), settings->model_name, dns_model_name(model));
    DNS_TRY(dns_alloc(&s, 1, sizeof *s));
    s->store = store;
    s->model = model;
    s->pool = options->pool;
    DNS_TRY(choose_fine(&s->fine, settings, options->fine));
    if (s->fine != DNS_FINE_NONE)
        DNS_TRY(make_ranker(s, options));
    DNS_TRY(dns_searcher_load_judges(s));
    DNS_TRY(describe_networks(s));
    *out = s;
    s = NULL;
out:
    dns_searcher_close(s);
    return status;
}

void dns_searcher_close(dns_searcher *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < DNS_MATRIX_COUNT; i++)
        dns_matrix_close(s->matrices[i].matrix);
    dns_coarse_ann_close(&s->ann);
    dns_snapshot_close(s->query_snapshot);
    dns_fine_ranker_free(s->ranker);
    dns_selector_session_free(s->selector_session);
    dns_selector_free(s->selector);
    dns_calibration_free(s->calibration);
    dns_pair_judge_free(s->pair);
    dns_free(s->networks);
    dns_free(s);
}

dns_fine dns_searcher_fine(const dns_searcher *s)
{
    return s->fine;
}

const char *dns_searcher_networks(const dns_searcher *s)
{
    return s->networks;
}

dns_status dns_searcher_rows(dns_matrix_rows *out, dns_searcher *s, const dns_snapshot *snapshot,
                             dns_matrix_id id)
{
    uint64_t generation = dns_snapshot_generation(snapshot);
    if (s->matrices[id].matrix == NULL || s->matrices[id].generation != generation) {
        const dns_matrix_options options = {.pool = s->pool};
        dns_matrix_close(s->matrices[id].matrix);
        s->matrices[id].matrix = NULL;
        dns_status status = dns_matrix_open(&s->matrices[id].matrix, snapshot, id, &options);
        if (status != DNS_OK)
            return status;
        s->matrices[id].generation = generation;
    }
    *out = dns_matrix_get(s->matrices[id].matrix);
    return DNS_OK;
}

dns_store_settings dns_searcher_query_settings(const dns_searcher *s)
{
    dns_store_settings settings = *dns_store_settings_get(s->store);
    for (int kind = 0; kind < DNS_KIND_COUNT; kind++)
        settings.kept[kind] = kind == DNS_KIND_COARSE ||
                              (kind == DNS_KIND_SELECTOR && dns_searcher_has_selector(s)) ||
                              (s->fine != DNS_FINE_NONE && kind == (int)dns_fine_kind(s->fine));
    settings.dtype[DNS_KIND_COARSE] = DNS_F32;
    if (s->asymmetric)
        settings.dtype[DNS_KIND_FINE_BINARY] = DNS_F32;
    return settings;
}

dns_status dns_searcher_stored_query(dns_query *out, dns_searcher *s, const char *text)
{
    dns_status status = DNS_OK;
    size_t n = 0;
    dns_store_settings settings = dns_searcher_query_settings(s);
    *out = (dns_query){.records = s->query_records, .stored = true};
    dns_snapshot_close(s->query_snapshot);
    s->query_snapshot = NULL;
    DNS_TRY(dns_snapshot_open(&s->query_snapshot, s->store));
    DNS_TRY(dns_snapshot_find(&out->id, s->query_snapshot, text));
    for (int kind = DNS_KIND_META + 1; kind < DNS_KIND_COUNT; kind++)
        if (settings.kept[kind])
            DNS_TRY(dns_snapshot_get(&s->query_records[n++], s->query_snapshot, (dns_kind)kind,
                                     out->id, true));
    out->n_records = n;
    dns_meta meta;
    DNS_TRY(dns_snapshot_meta(&meta, s->query_snapshot, out->id));
    out->duration = meta.duration;
out:
    return status;
}
