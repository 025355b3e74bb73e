#include "fine.h"

#include "dnsel/f2f.h"
#include "dnsel/memory.h"
#include "dnsel/runs.h"
#include "dnsel/video_similarity.h"
#include "dnsel/visil.h"

/* Scratch of one worker: of a network, or of the plain Chamfer similarity. */
struct worker {
    dns_visil_session *visil;
    float *map,
        *stored; /* similarities of all frames, and of the stored ones where some were merged */
    size_t map_capacity, stored_capacity;
    void *scratch;
};

struct dns_fine_ranker {
    dns_fine fine;
    dns_similarity_rule rule;
    dns_visil *net; /* NULL: region features are compared directly, by the query packed below */
    dns_f2f_query *query;
    dns_runs query_runs;
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
        dns_free(r->workers[i].scratch);
        dns_free(r->workers[i].map);
        dns_free(r->workers[i].stored);
    }
    dns_visil_free(r->net);
    dns_free(r->workers);
    dns_f2f_query_free(r->query);
    dns_free(r);
}

/* DNS_ERR_SHAPE for vectors of another length than the network's; of codes it looks itself. */
static dns_status as_video(dns_visil_video *out, const dns_fine_ranker *r, const dns_record *record)
{
    bool codes = record->dtype == DNS_U8;
    size_t dim = dns_visil_shape_of(r->net)->dim;
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

/* Packs the query's region features, whatever they are stored as; targets are then read in place.
 */
static dns_status pack_query(dns_fine_ranker *r, const dns_record *query)
{
    dns_status status = DNS_OK;
    float *x = NULL;
    dns_f2f_step step = r->rule.regions == DNS_REGIONS_SAME ? DNS_F2F_SAME : DNS_F2F_MAX;
    dns_f2f_query_free(r->query);
    r->query = NULL;
    if (r->rule.regions == DNS_REGIONS_SYMMETRIC)
        DNS_FAIL(DNS_ERR_UNSUPPORTED,
                 "region features are compared by the steps 'chamfer' and 'same' only");
    dns_record stored = *query;
    stored.runs = NULL;
    r->query_runs = dns_runs_of(query->runs, query->shape[0]);
    DNS_TRY(dns_alloc(&x, query->shape[0] * query->shape[1], query->shape[2] * sizeof *x));
    DNS_TRY(dns_record_to_f32(x, &stored));
    DNS_TRY(dns_f2f_query_create(&r->query, DNS_F2F_F32, step, x, query->shape[0], query->shape[1],
                                 query->shape[2]));
    for (size_t i = 0; i < r->n_workers; i++) {
        dns_free(r->workers[i].scratch);
        r->workers[i].scratch = NULL;
        DNS_TRY(dns_alloc(&r->workers[i].scratch, dns_f2f_scratch(r->query), 1));
    }
out:
    dns_free(x);
    return status;
}

dns_status dns_fine_set_query(dns_fine_ranker *r, const dns_record *query)
{
    dns_status status = DNS_OK;
    if (r->net == NULL)
        return pack_query(r, query);
    dns_visil_video video;
    status = as_video(&video, r, query);
    for (size_t i = 0; i < r->n_workers && status == DNS_OK; i++)
        status = dns_visil_set_query(r->workers[i].visil, &video);
    return status;
}

static dns_status compare_regions(const dns_fine_ranker *r, struct worker *w, float *score,
                                  const dns_record *target)
{
    size_t n_query = dns_f2f_query_frames(r->query), n_target = target->shape[0];
    const dns_runs columns = dns_runs_of(target->runs, n_target);
    bool merged = r->query_runs.lengths != NULL || target->runs != NULL;
    const dns_tensor tensor = {.dtype = target->dtype,
                               .rank = 3,
                               .shape = {n_target, target->shape[1], target->shape[2]},
                               .data = target->data};
    dns_status status =
        dns_reserve(&w->stored, &w->stored_capacity, n_query * n_target, sizeof *w->stored);
    if (status == DNS_OK && merged)
        status = dns_reserve(&w->map, &w->map_capacity, r->query_runs.n_frames * columns.n_frames,
                             sizeof *w->map);
    if (status == DNS_OK)
        status = dns_f2f_run(w->stored, r->query, &tensor, target->scales, w->scratch);
    if (status == DNS_OK && merged)
        dns_runs_expand(w->map, w->stored, &r->query_runs, &columns);
    const dns_score_map map = {.map = merged ? w->map : w->stored,
                               .rows = r->query_runs.n_frames,
                               .columns = columns.n_frames};
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
    dns_visil_video video;
    dns_status status = as_video(&video, r, target);
    return status == DNS_OK ? dns_visil_compare(w->visil, score, &video) : status;
}
