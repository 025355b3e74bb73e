#include "fine.h"

#include <string.h>

#include "dnsel/memory.h"
#include "dnsel/visil.h"
#include "regions.h"

/* Of a network, or of region features. */
struct worker {
    dns_visil_session *visil;
    struct dns_region_scratch regions;
};

struct dns_fine_ranker {
    dns_fine fine;
    dns_similarity_rule rule;
    dns_visil *net; /* NULL: region features are compared directly */
    dns_region_query *query;
    struct worker *workers;
    size_t n_workers;
};

dns_kind dns_fine_kind(dns_fine fine)
{
    switch (fine) {
    case DNS_FINE_ATTENTION:
        return DNS_KIND_FINE_ATTENTION;
    case DNS_FINE_BINARY:
        return DNS_KIND_FINE_BINARY;
    case DNS_FINE_REGIONS:
        return DNS_KIND_REGIONS;
    case DNS_FINE_AUTO:
    case DNS_FINE_NONE:
        break;
    }
    return DNS_KIND_META;
}

static const char *section_of(dns_fine fine)
{
    return fine == DNS_FINE_BINARY ? "fine_binary" : "fine_attention";
}

dns_status dns_fine_model_comparator(dns_mapcnn_form *out, const dns_model *model, dns_fine fine)
{
    const char *word = dns_json_string(
        dns_json_get(dns_model_section(model, section_of(fine)), "comparator"), "f32");
    *out = strcmp(word, "int8") == 0 ? DNS_MAPCNN_I8 : DNS_MAPCNN_F32;
    if (*out == DNS_MAPCNN_F32 && strcmp(word, "f32") != 0)
        return dns_status_set(DNS_ERR_FORMAT, "model '%s': comparator '%s', not f32 or int8",
                              dns_model_name(model), word);
    return DNS_OK;
}

dns_status dns_fine_ranker_create(dns_fine_ranker **out, const dns_model *model, dns_fine fine,
                                  dns_mapcnn_form comparator, size_t n_workers)
{
    dns_status status = DNS_OK;
    dns_fine_ranker *r = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&r, 1, sizeof *r));
    r->fine = fine;
    r->rule = dns_model_similarity(model);
    r->n_workers = n_workers;
    DNS_TRY(dns_alloc(&r->workers, n_workers, sizeof *r->workers));
    if (fine == DNS_FINE_ATTENTION || fine == DNS_FINE_BINARY) {
        DNS_TRY(dns_visil_from_model(&r->net, model, section_of(fine)));
        for (size_t i = 0; i < n_workers; i++) {
            DNS_TRY(dns_visil_session_create(&r->workers[i].visil, r->net));
            DNS_TRY(dns_visil_set_comparator(r->workers[i].visil, comparator));
        }
    }
    *out = r;
    r = NULL;
out:
    dns_fine_ranker_free(r);
    return status;
}

void dns_fine_ranker_free(dns_fine_ranker *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; r->workers != NULL && i < r->n_workers; i++) {
        dns_visil_session_free(r->workers[i].visil);
        dns_region_scratch_free(&r->workers[i].regions);
    }
    dns_visil_free(r->net);
    dns_free(r->workers);
    dns_region_query_free(r->query);
    dns_free(r);
}

/* DNS_ERR_SHAPE for vectors of another length than the network's; of codes it looks itself. */
static dns_status as_video(dns_visil_video *out, const dns_fine_ranker *r, const dns_record *record)
{
    bool codes = record->dtype == DNS_U8;
    const dns_visil_shape *shape = dns_visil_shape_of(r->net);
    size_t dim = shape->codes ? shape->code_bits : shape->dim; /* weights of codes are as many */
    *out = (dns_visil_video){.dtype = record->dtype,
                             .n_frames = record->shape[0],
                             .n_regions = record->shape[1],
                             .row_bytes = codes ? record->shape[2] : 0,
                             .data = record->data,
                             .scales = record->scales,
                             .runs = record->runs};
    if (!codes && record->shape[2] != dim)
        return dns_status_set(DNS_ERR_SHAPE, "vectors of %zu values, the network has %zu",
                              record->shape[2], dim);
    return DNS_OK;
}

dns_status dns_fine_set_query(dns_fine_ranker *r, const dns_record *query)
{
    dns_region_query_free(r->query);
    r->query = NULL;
    if (r->net == NULL)
        return dns_region_query_create(&r->query, r->rule, query);
    dns_visil_video video;
    dns_status status = as_video(&video, r, query);
    if (status == DNS_OK)
        status = dns_visil_set_query(r->workers[0].visil, &video);
    for (size_t i = 1; i < r->n_workers && status == DNS_OK; i++)
        dns_visil_borrow_query(r->workers[i].visil, r->workers[0].visil);
    return status;
}

dns_status dns_fine_compare(dns_fine_ranker *r, size_t worker, float *score, float floor,
                            const dns_record *target)
{
    struct worker *w = &r->workers[worker];
    if (r->net == NULL)
        return dns_region_compare(r->query, &w->regions, score, floor, target);
    dns_visil_video video;
    dns_status status = as_video(&video, r, target);
    return status == DNS_OK ? dns_visil_compare_above(w->visil, score, floor, &video) : status;
}
