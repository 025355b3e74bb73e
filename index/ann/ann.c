#include "dnsel/ann.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <faiss/c_api/IndexBinary_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/error_c.h>
#include <faiss/c_api/impl/AuxIndexStructures_c.h>
#include <faiss/c_api/index_factory_c.h>
#include <omp.h>

#include "ann_handle.h"
#include "dnsel/memory.h"

enum {
    MAX_DIM = 65536,
    MAX_NUMBER = 1 << 24, /* in a factory text */
    SAMPLE = 64,          /* training vectors a list (or a centroid of a PQ) */
    CENTROIDS = 256,      /* of a PQ */
    CHUNK = 16,           /* queries a call: FAISS takes other sums, in other bits, from 20 on */
    MAX_EFFORT = 1 << 24
};

dns_status dns_ann_from_shim(const struct faiss_error *error)
{
    return dns_status_set(error->no_memory ? DNS_ERR_NOMEM : DNS_ERR_BACKEND, "FAISS: %s",
                          error->text);
}

/* The failure of a function of FAISS's C interface. */
static dns_status from_faiss(int code)
{
    return code == OK ? DNS_OK
                      : dns_status_set(DNS_ERR_BACKEND, "FAISS: %s", faiss_get_last_error());
}

/* FAISS would start a team of OpenMP threads; their number belongs to this thread, so it is put
 * back. */
static int enter_threads(size_t n_threads)
{
    int before = omp_get_max_threads();
    omp_set_num_threads((int)n_threads);
    return before;
}

static void leave_threads(int before)
{
    omp_set_num_threads(before);
}

/* ---- creation ---- */

/* One part of a factory text ("IVF1024", "PQ64x4fs"): a known name and, for some, numbers in
 * bounds. FAISS itself takes much on trust: lists of 0, graphs of 1. */
static bool part_is_known(const char *part, size_t length, bool codes)
{
    static const struct {
        const char *name;
        bool codes;
        unsigned least, most; /* of the number behind it; 0: none */
    } known[] = {{"Flat", false, 0, 0},     {"RFlat", false, 0, 0}, {"IVF", false, 1, MAX_NUMBER},
                 {"HNSW", false, 2, 512},   {"SQ", false, 4, 8},    {"SQfp", false, 16, 16},
                 {"PQ", false, 1, MAX_DIM}, {"BFlat", true, 0, 0},  {"BIVF", true, 1, MAX_NUMBER},
                 {"BHNSW", true, 2, 512},   {"HNSW", true, 2, 512}};
    size_t name = 0, digits = 0;
    unsigned long number = 0;
    while (name < length && isalpha((unsigned char)part[name]))
        name++;
    while (name + digits < length && isdigit((unsigned char)part[name + digits]) && digits < 9)
        number = 10 * number + (unsigned long)(part[name + digits++] - '0');
    const char *rest = part + name + digits;
    size_t n_rest = length - name - digits;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].codes == codes && strlen(known[i].name) == name &&
            memcmp(known[i].name, part, name) == 0) {
            if (n_rest > 0 &&
                !(strcmp(known[i].name, "PQ") == 0 && n_rest == 4 && memcmp(rest, "x4fs", 4) == 0))
                return false;
            return known[i].most == 0
                       ? digits == 0
                       : digits > 0 && number >= known[i].least && number <= known[i].most;
        }
    return false;
}

dns_status dns_ann_check_factory(const char *factory, dns_dtype dtype)
{
    bool codes = dtype == DNS_U8;
    size_t length = strlen(factory);
    bool known = length > 0 && length < DNS_ANN_FACTORY;
    for (const char *part = factory; known;) {
        size_t n = strcspn(part, ",_");
        known = part_is_known(part, n, codes);
        part += n;
        if (*part++ == '\0')
            break;
    }
    if (!known)
        return dns_status_set(DNS_ERR_ARG, "'%.80s' is no index of %s that dnsel knows", factory,
                              codes ? "codes" : "f32 vectors");
    return DNS_OK;
}

dns_status dns_ann_create(dns_ann **out, const char *factory, dns_dtype dtype, size_t dim)
{
    dns_status status = DNS_OK;
    dns_ann *ann = NULL;
    struct faiss_error error;
    bool codes = dtype == DNS_U8;
    *out = NULL;
    if (dtype != DNS_F32 && dtype != DNS_U8)
        return dns_status_set(DNS_ERR_ARG, "an index of dtype %s", dns_dtype_name(dtype));
    if (dim == 0 || dim > MAX_DIM)
        return dns_status_set(DNS_ERR_SHAPE, "vectors of %zu elements, expected 1 to %d", dim,
                              MAX_DIM);
    DNS_TRY(dns_ann_check_factory(factory, dtype));
    DNS_TRY(dns_alloc(&ann, 1, sizeof *ann));
    strcpy(ann->factory, factory);
    ann->dtype = dtype;
    ann->dim = dim;
    if (codes && !dns_faiss_binary_factory(&ann->faiss.codes, (int)(8 * dim), factory, &error))
        DNS_FAIL(DNS_ERR_ARG, "FAISS: %s", error.text);
    if (!codes &&
        faiss_index_factory(&ann->faiss.f32, (int)dim, factory, METRIC_INNER_PRODUCT) != OK)
        DNS_FAIL(DNS_ERR_ARG, "FAISS: %s", faiss_get_last_error());
    if (!dns_faiss_prepare(&ann->faiss, &error))
        DNS_TRY(dns_ann_from_shim(&error));
    *out = ann;
    ann = NULL;
out:
    dns_ann_free(ann);
    return status;
}

void dns_ann_free(dns_ann *ann)
{
    if (ann == NULL)
        return;
    if (ann->faiss.f32 != NULL)
        faiss_Index_free(ann->faiss.f32);
    if (ann->faiss.codes != NULL)
        faiss_IndexBinary_free(ann->faiss.codes);
    dns_free(ann);
}

static size_t count(const dns_ann *ann)
{
    return (size_t)(ann->dtype == DNS_U8 ? faiss_IndexBinary_ntotal(ann->faiss.codes)
                                         : faiss_Index_ntotal(ann->faiss.f32));
}

static bool is_trained(const dns_ann *ann)
{
    return ann->dtype == DNS_U8 ? faiss_IndexBinary_is_trained(ann->faiss.codes)
                                : faiss_Index_is_trained(ann->faiss.f32);
}

dns_ann_info dns_ann_get_info(const dns_ann *ann)
{
    struct faiss_traits traits = dns_faiss_traits(&ann->faiss);
    dns_ann_info info = {.dtype = ann->dtype,
                         .dim = ann->dim,
                         .n_vectors = count(ann),
                         .trained = is_trained(ann),
                         .can_remove = traits.can_remove,
                         .mapped = traits.mapped,
                         .n_lists = traits.n_lists,
                         .effort = traits.effort};
    memcpy(info.factory, ann->factory, sizeof info.factory);
    return info;
}

dns_status dns_ann_set_effort(dns_ann *ann, size_t effort)
{
    if (effort == 0)
        return dns_status_set(DNS_ERR_ARG, "an effort of 0");
    if (!dns_faiss_set_effort(&ann->faiss, effort < MAX_EFFORT ? effort : MAX_EFFORT))
        return dns_status_set(DNS_ERR_UNSUPPORTED, "an index of %s looks at everything",
                              ann->factory);
    return DNS_OK;
}

/* ---- contents ---- */

static dns_status check_vectors(const dns_ann *ann, const char *what, const void *vectors, size_t n)
{
    if (ann->dtype == DNS_U8)
        return DNS_OK;
    const float *x = vectors;
    for (size_t i = 0; i < n * ann->dim; i++)
        if (!isfinite(x[i]))
            return dns_status_set(DNS_ERR_RANGE, "%s %zu: element %zu is not finite", what,
                                  i / ann->dim, i % ann->dim);
    return DNS_OK;
}

static dns_status check_unmapped(const dns_ann *ann)
{
    if (dns_faiss_traits(&ann->faiss).mapped)
        return dns_status_set(DNS_ERR_UNSUPPORTED,
                              "an index whose lists are mapped cannot be changed");
    return DNS_OK;
}

static size_t row_bytes(const dns_ann *ann)
{
    return ann->dim * (ann->dtype == DNS_U8 ? 1 : sizeof(float));
}

/* *sample = an even sample of n_sample of the n vectors. */
static dns_status take_sample(void **sample, size_t n_sample, const dns_ann *ann,
                              const void *vectors, size_t n)
{
    size_t bytes = row_bytes(ann);
    dns_status status = dns_alloc(sample, n_sample, bytes);
    for (size_t i = 0; status == DNS_OK && i < n_sample; i++)
        memcpy((uint8_t *)*sample + i * bytes,
               (const uint8_t *)vectors +
                   (size_t)((double)i / (double)n_sample * (double)n) * bytes,
               bytes);
    return status;
}

dns_status dns_ann_train(dns_ann *ann, const void *vectors, size_t n, dns_pool *pool)
{
    dns_status status = DNS_OK;
    void *sample = NULL;
    if (is_trained(ann))
        return DNS_OK;
    size_t n_lists = dns_faiss_traits(&ann->faiss).n_lists,
           enough = SAMPLE * (n_lists > CENTROIDS ? n_lists : CENTROIDS);
    if (n < n_lists || n == 0)
        return dns_status_set(DNS_ERR_ARG, "%zu vectors cannot train an index of %s", n,
                              ann->factory);
    DNS_TRY(check_vectors(ann, "training vector", vectors, n));
    if (n > enough) {
        DNS_TRY(take_sample(&sample, enough, ann, vectors, n));
        vectors = sample;
        n = enough;
    }
    int before = enter_threads(dns_pool_size(pool));
    status = from_faiss(ann->dtype == DNS_U8
                            ? faiss_IndexBinary_train(ann->faiss.codes, (idx_t)n, vectors)
                            : faiss_Index_train(ann->faiss.f32, (idx_t)n, vectors));
    leave_threads(before);
out:
    dns_free(sample);
    return status;
}

dns_status dns_ann_add(dns_ann *ann, const uint64_t *ids, const void *vectors, size_t n,
                       dns_pool *pool)
{
    dns_status status = DNS_OK;
    DNS_TRY(check_unmapped(ann));
    if (!is_trained(ann))
        DNS_FAIL(DNS_ERR_ARG, "an index of %s must be trained before it is filled", ann->factory);
    DNS_TRY(check_vectors(ann, "vector", vectors, n));
    for (size_t i = 0; i < n; i++)
        if (ids[i] == UINT64_MAX)
            DNS_FAIL(DNS_ERR_RANGE, "vector %zu: the id ffffffffffffffff means none", i);
    if (n == 0)
        goto out;
    int before = enter_threads(dns_pool_size(pool));
    status = from_faiss(
        ann->dtype == DNS_U8
            ? faiss_IndexBinary_add_with_ids(ann->faiss.codes, (idx_t)n, vectors,
                                             (const idx_t *)ids)
            : faiss_Index_add_with_ids(ann->faiss.f32, (idx_t)n, vectors, (const idx_t *)ids));
    leave_threads(before);
out:
    return status;
}

dns_status dns_ann_remove(dns_ann *ann, size_t *n_removed, const uint64_t *ids, size_t n)
{
    dns_status status = DNS_OK;
    FaissIDSelectorBatch *selector = NULL;
    size_t removed = 0;
    DNS_TRY(check_unmapped(ann));
    if (!dns_faiss_traits(&ann->faiss).can_remove)
        DNS_FAIL(DNS_ERR_UNSUPPORTED, "nothing can be removed from an index of %s", ann->factory);
    if (n == 0)
        goto out;
    DNS_TRY(from_faiss(faiss_IDSelectorBatch_new(&selector, n, (const idx_t *)ids)));
    int before = enter_threads(1);
    status = from_faiss(
        ann->dtype == DNS_U8
            ? faiss_IndexBinary_remove_ids(ann->faiss.codes, (FaissIDSelector *)selector, &removed)
            : faiss_Index_remove_ids(ann->faiss.f32, (FaissIDSelector *)selector, &removed));
    leave_threads(before);
out:
    if (selector != NULL)
        faiss_IDSelector_free((FaissIDSelector *)selector);
    if (n_removed != NULL)
        *n_removed = removed;
    return status;
}

struct visit {
    dns_status (*visit)(void *payload, uint64_t id, const float *vector);
    void *payload;
    dns_status status;
};

static bool visit_one(void *payload, int64_t id, const float *vector)
{
    struct visit *v = payload;
    v->status = v->visit(v->payload, (uint64_t)id, vector);
    return v->status == DNS_OK;
}

dns_status dns_ann_visit(const dns_ann *ann,
                         dns_status (*visit)(void *payload, uint64_t id, const float *vector),
                         void *payload)
{
    struct visit v = {visit, payload, DNS_OK};
    struct faiss_error error;
    if (ann->dtype == DNS_U8)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "vectors of codes are not given back");
    if (dns_faiss_visit(&ann->faiss, visit_one, &v, &error))
        return DNS_OK;
    return v.status != DNS_OK ? v.status : dns_ann_from_shim(&error);
}

/* ---- search ---- */

/* Searches are independent; each task takes a chunk of the queries. */
struct search {
    const dns_ann *ann;
    const uint8_t *queries;
    size_t n_queries, k, n_asked; /* n_asked: min(k, vectors) */
    idx_t *labels;                /* [n_workers, CHUNK, n_asked] */
    void *distances;              /* the same, f32 or i32 */
    dns_hit *hits;
    size_t *n_found;
};

static float score_of(const struct search *search, size_t at)
{
    if (search->ann->dtype == DNS_F32)
        return ((const float *)search->distances)[at];
    return 1.0f -
           2.0f * (float)((const int32_t *)search->distances)[at] / (float)(8 * search->ann->dim);
}

static dns_status search_task(void *payload, size_t task, size_t worker)
{
    const struct search *search = payload;
    const dns_ann *ann = search->ann;
    size_t first = task * CHUNK,
           n = search->n_queries - first < CHUNK ? search->n_queries - first : CHUNK;
    size_t start = worker * CHUNK * search->n_asked;
    const void *queries = search->queries + first * row_bytes(ann);
    idx_t *labels = search->labels + start;
    int before = enter_threads(1);
    dns_status status = from_faiss(
        ann->dtype == DNS_U8
            ? faiss_IndexBinary_search(ann->faiss.codes, (idx_t)n, queries, (idx_t)search->n_asked,
                                       (int32_t *)search->distances + start, labels)
            : faiss_Index_search(ann->faiss.f32, (idx_t)n, queries, (idx_t)search->n_asked,
                                 (float *)search->distances + start, labels));
    leave_threads(before);
    for (size_t q = 0; status == DNS_OK && q < n; q++) {
        dns_hit *hits = search->hits + (first + q) * search->k;
        size_t n_hits = 0;
        for (size_t i = q * search->n_asked; i < (q + 1) * search->n_asked; i++)
            if (labels[i] != -1)
                hits[n_hits++] =
                    (dns_hit){(uint64_t)labels[i], score_of(search, start + i), DNS_NO_ROW};
        dns_hits_sort(hits, n_hits);
        search->n_found[first + q] = n_hits;
    }
    return status;
}

dns_status dns_ann_search(dns_hit *hits, size_t *n_found, const dns_ann *ann, const void *queries,
                          size_t n_queries, size_t k, dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct search search = {.ann = ann,
                            .queries = queries,
                            .n_queries = n_queries,
                            .k = k,
                            .hits = hits,
                            .n_found = n_found};
    for (size_t q = 0; q < n_queries; q++)
        n_found[q] = 0;
    if (k == 0)
        return dns_status_set(DNS_ERR_ARG, "the number of neighbours is 0");
    if (!is_trained(ann))
        return dns_status_set(DNS_ERR_ARG, "an index of %s must be trained before it is searched",
                              ann->factory);
    DNS_TRY(check_vectors(ann, "query", queries, n_queries));
    search.n_asked = k < count(ann) ? k : count(ann);
    if (search.n_asked == 0 || n_queries == 0)
        goto out;
    size_t n_scratch = dns_pool_size(pool) * CHUNK;
    DNS_TRY(dns_alloc(&search.labels, n_scratch, search.n_asked * sizeof(idx_t)));
    DNS_TRY(dns_alloc(&search.distances, n_scratch, search.n_asked * sizeof(float)));
    DNS_TRY(dns_pool_run(pool, (n_queries + CHUNK - 1) / CHUNK, search_task, &search));
out:
    dns_free(search.labels);
    dns_free(search.distances);
    return status;
}
