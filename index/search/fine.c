#include "fine.h"

#include "dnsel/frame_similarity.h"
#include "dnsel/memory.h"
#include "dnsel/video_similarity.h"
#include "dnsel/visil.h"

/* Scratch of one worker: of a network, or of the plain Chamfer similarity. */
struct worker {
    dns_visil_session *visil;
    float *target, *map;
    size_t target_capacity, map_capacity;
    dns_frame_scratch scratch;
};

struct dns_fine_ranker {
    dns_fine fine;
    dns_similarity_rule rule;
    dns_visil *net; /* NULL: region features are compared directly */
    struct worker *workers;
    size_t n_workers;
    /* The query, as f32, for the plain comparison. */
    float *query;
    size_t query_capacity, n_query, n_regions, dim;
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

dns_status dns_fine_ranker_create(dns_fine_ranker **out, const dns_model *model, dns_fine fine,
                                  size_t n_workers)
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
        DNS_TRY(dns_visil_from_model(&r->net, model,
                                     fine == DNS_FINE_BINARY ? "fine_binary" : "fine_attention"));
        for (size_t i = 0; i < n_workers; i++)
            DNS_TRY(dns_visil_session_create(&r->workers[i].visil, r->net));
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
        dns_frame_scratch_free(&r->workers[i].scratch);
        dns_free(r->workers[i].target);
        dns_free(r->workers[i].map);
    }
    dns_visil_free(r->net);
    dns_free(r->workers);
    dns_free(r->query);
    dns_free(r);
}

static dns_visil_video as_video(const dns_record *record)
{
    return (dns_visil_video){.dtype = record->dtype,
                             .n_frames = record->shape[0],
                             .n_regions = record->shape[1],
                             .data = record->data,
                             .scales = record->scales};
}

static dns_status unpack(float **out, size_t *capacity, const dns_record *record)
{
    size_t n = record->shape[0] * record->shape[1] * record->shape[2];
    dns_status status = dns_reserve(out, capacity, n, sizeof **out);
    return status == DNS_OK ? dns_record_to_f32(*out, record) : status;
}

dns_status dns_fine_set_query(dns_fine_ranker *r, const dns_record *query)
{
    dns_status status = DNS_OK;
    if (r->net == NULL) {
        r->n_query = query->shape[0];
        r->n_regions = query->shape[1];
        r->dim = query->shape[2];
        return unpack(&r->query, &r->query_capacity, query);
    }
    const dns_visil_video video = as_video(query);
    for (size_t i = 0; i < r->n_workers && status == DNS_OK; i++)
        status = dns_visil_set_query(r->workers[i].visil, &video);
    return status;
}

static dns_status compare_regions(const dns_fine_ranker *r, struct worker *w, float *score,
                                  const dns_record *target)
{
    size_t n = target->shape[0];
    if (target->shape[1] != r->n_regions || target->shape[2] != r->dim)
        return dns_status_set(DNS_ERR_SHAPE, "regions [%zu,%zu] against [%zu,%zu] of the query",
                              target->shape[1], target->shape[2], r->n_regions, r->dim);
    dns_status status = unpack(&w->target, &w->target_capacity, target);
    if (status == DNS_OK)
        status = dns_reserve(&w->map, &w->map_capacity, r->n_query * n, sizeof *w->map);
    const dns_frame_pair pair = {.x = r->query,
                                 .y = w->target,
                                 .n_query = r->n_query,
                                 .n_target = n,
                                 .n_regions = r->n_regions,
                                 .dim = r->dim};
    if (status == DNS_OK)
        status = dns_frame_similarity_forward(w->map, NULL, &pair, r->rule.regions, &w->scratch);
    const dns_score_map map = {.map = w->map, .rows = r->n_query, .columns = n};
    if (status == DNS_OK)
        *score = dns_video_similarity_forward(&map, r->rule.direction);
    return status;
}

dns_status dns_fine_compare(dns_fine_ranker *r, size_t worker, float *score,
                            const dns_record *target)
{
    struct worker *w = &r->workers[worker];
    if (r->net == NULL)
        return compare_regions(r, w, score, target);
    const dns_visil_video video = as_video(target);
    return dns_visil_compare(w->visil, score, &video);
}
