#include "record_makers.h"

#include <string.h>

#include "dnsel/archive.h"
#include "dnsel/coarse.h"
#include "dnsel/memory.h"
#include "dnsel/rounding.h"
#include "dnsel/selector.h"
#include "dnsel/visil.h"
#include "frame_merge.h"

struct dns_record_makers {
    size_t dim;
    dns_coarse *coarse;
    dns_selector *selector; /* NULL: the model has none; likewise below */
    dns_visil *attention, *binary;
};

/* A block that holds the payload of one kind until the next video. */
struct block {
    uint8_t *data;
    float *scales;
    uint16_t *runs;
    size_t data_capacity, scales_capacity, runs_capacity;
};

struct dns_record_session {
    const dns_record_makers *makers;
    dns_coarse_session *coarse;
    dns_selector_session *selector;
    dns_visil_session *attention, *binary;
    float scalar;
    float *vector; /* the coarse vector */
    struct block blocks[DNS_KIND_COUNT];
    void *archive;
};

dns_status dns_record_makers_create(dns_record_makers **out, const dns_model *model, size_t dim)
{
    dns_status status = DNS_OK;
    dns_record_makers *m = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&m, 1, sizeof *m));
    m->dim = dim;
    DNS_TRY(dns_coarse_from_model(&m->coarse, model));
    if (dns_coarse_shape_of(m->coarse)->dim != dim)
        DNS_FAIL(DNS_ERR_SHAPE, "model '%s' takes vectors of %zu values, not of %zu",
                 dns_model_name(model), dns_coarse_shape_of(m->coarse)->dim, dim);
    if (dns_model_section(model, "selector") != NULL)
        DNS_TRY(dns_selector_from_model(&m->selector, model));
    if (dns_model_section(model, "fine_attention") != NULL)
        DNS_TRY(dns_visil_from_model(&m->attention, model, "fine_attention"));
    if (dns_model_section(model, "fine_binary") != NULL)
        DNS_TRY(dns_visil_from_model(&m->binary, model, "fine_binary"));
    *out = m;
    m = NULL;
out:
    dns_record_makers_free(m);
    return status;
}

void dns_record_makers_free(dns_record_makers *m)
{
    if (m == NULL)
        return;
    dns_coarse_free(m->coarse);
    dns_selector_free(m->selector);
    dns_visil_free(m->attention);
    dns_visil_free(m->binary);
    dns_free(m);
}

void dns_record_makers_kept(const dns_record_makers *m, bool kept[DNS_KIND_COUNT],
                            dns_dtype dtype[DNS_KIND_COUNT])
{
    kept[DNS_KIND_COARSE] = true;
    dtype[DNS_KIND_COARSE] = DNS_F32;
    kept[DNS_KIND_SELECTOR] = m->selector != NULL;
    dtype[DNS_KIND_SELECTOR] = DNS_F32;
    kept[DNS_KIND_FINE_ATTENTION] = m->attention != NULL;
    dtype[DNS_KIND_FINE_ATTENTION] = DNS_I8;
    kept[DNS_KIND_FINE_BINARY] = m->attention == NULL && m->binary != NULL;
    dtype[DNS_KIND_FINE_BINARY] = DNS_U8;
    kept[DNS_KIND_REGIONS] = m->attention == NULL && m->binary == NULL;
    dtype[DNS_KIND_REGIONS] = DNS_F16;
    dtype[DNS_KIND_CODES] = DNS_U8;
    dtype[DNS_KIND_ARCHIVE] = DNS_I8;
}

dns_status dns_record_session_create(dns_record_session **out, const dns_record_makers *m)
{
    dns_status status = DNS_OK;
    dns_record_session *s = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&s, 1, sizeof *s));
    s->makers = m;
    if (m == NULL)
        goto made;
    DNS_TRY(dns_coarse_session_create(&s->coarse, m->coarse, NULL));
    DNS_TRY(dns_alloc(&s->vector, dns_coarse_shape_of(m->coarse)->out, sizeof *s->vector));
    if (m->selector != NULL)
        DNS_TRY(dns_selector_session_create(&s->selector, m->selector));
    if (m->attention != NULL)
        DNS_TRY(dns_visil_session_create(&s->attention, m->attention));
    if (m->binary != NULL)
        DNS_TRY(dns_visil_session_create(&s->binary, m->binary));
made:
    *out = s;
    s = NULL;
out:
    dns_record_session_free(s);
    return status;
}

void dns_record_session_free(dns_record_session *s)
{
    if (s == NULL)
        return;
    for (int kind = 0; kind < DNS_KIND_COUNT; kind++) {
        dns_free(s->blocks[kind].data);
        dns_free(s->blocks[kind].scales);
        dns_free(s->blocks[kind].runs);
    }
    dns_free(s->archive);
    dns_free(s->vector);
    dns_coarse_session_free(s->coarse);
    dns_selector_session_free(s->selector);
    dns_visil_session_free(s->attention);
    dns_visil_session_free(s->binary);
    dns_free(s);
}

static dns_record vector_record(dns_kind kind, const float *data, size_t dim)
{
    return (dns_record){.kind = kind, .dtype = DNS_F32, .rank = 1, .shape = {dim}, .data = data};
}

static dns_record frames_record(dns_kind kind, dns_dtype dtype, const dns_embedding *e, size_t dim,
                                const struct block *b)
{
    return (dns_record){.kind = kind,
                        .dtype = dtype,
                        .rank = 3,
                        .shape = {e->n_frames, e->n_regions, dim},
                        .data = b->data,
                        .scales = dtype == DNS_I8 ? b->scales : NULL};
}

static dns_status make_coarse(dns_record *out, dns_record_session *s, const dns_embedding *e,
                              dns_dtype dtype)
{
    (void)dtype;
    const dns_coarse_video video = {.x = e->regions, .n_frames = e->n_frames};
    *out = vector_record(DNS_KIND_COARSE, s->vector, dns_coarse_shape_of(s->makers->coarse)->out);
    return dns_coarse_embed(s->coarse, s->vector, &video, 1, e->n_regions);
}

/* The coarse vector once more, small: made after it. */
static dns_status make_codes(dns_record *out, dns_record_session *s, const dns_embedding *e,
                             dns_dtype dtype)
{
    (void)e;
    size_t dim = dns_coarse_shape_of(s->makers->coarse)->out;
    struct block *b = &s->blocks[DNS_KIND_CODES];
    dns_status status = dns_reserve(&b->data, &b->data_capacity, dim, 1);
    if (status == DNS_OK)
        status = dns_reserve(&b->scales, &b->scales_capacity, 1, sizeof *b->scales);
    if (status != DNS_OK)
        return status;
    *out = (dns_record){
        .kind = DNS_KIND_CODES, .dtype = dtype, .rank = 1, .shape = {dim}, .data = b->data};
    if (dtype == DNS_I8) {
        out->scales = b->scales;
        return dns_rows_to_i8((int8_t *)b->data, b->scales, s->vector, 1, dim);
    }
    out->shape[0] = (dim + 7) / 8;
    return dns_codes_from_f32(b->data, s->vector, 1, dim);
}

static dns_status make_selector(dns_record *out, dns_record_session *s, const dns_embedding *e,
                                dns_dtype dtype)
{
    (void)dtype;
    *out = vector_record(DNS_KIND_SELECTOR, &s->scalar, 1);
    return dns_selector_scalar(s->selector, &s->scalar, e->regions, e->n_frames, e->n_regions);
}

static dns_status make_fine(dns_record *out, dns_record_session *s, dns_visil_session *visil,
                            const dns_visil *net, const dns_embedding *e, dns_kind kind,
                            dns_dtype dtype)
{
    struct block *b = &s->blocks[kind];
    const dns_visil_shape *shape = dns_visil_shape_of(net);
    size_t dim = e->dim;
    if (shape->codes) /* what is not stored is the weights of a query's codes */
        dim = dtype == DNS_U8 ? (shape->code_bits + 7) / 8 : shape->code_bits;
    dns_status status = dns_reserve(&b->data, &b->data_capacity,
                                    dns_visil_bytes(net, e->n_frames, e->n_regions, dtype), 1);
    if (status == DNS_OK)
        status = dns_reserve(&b->scales, &b->scales_capacity, e->n_frames * e->n_regions,
                             sizeof *b->scales);
    if (status == DNS_OK)
        status = dns_visil_index(visil, b->data, dtype == DNS_I8 ? b->scales : NULL, e->regions,
                                 e->n_frames, e->n_regions, dtype);
    *out = frames_record(kind, dtype, e, dim, b);
    return status;
}

static dns_status make_attention(dns_record *out, dns_record_session *s, const dns_embedding *e,
                                 dns_dtype dtype)
{
    return make_fine(out, s, s->attention, s->makers->attention, e, DNS_KIND_FINE_ATTENTION, dtype);
}

static dns_status make_binary(dns_record *out, dns_record_session *s, const dns_embedding *e,
                              dns_dtype dtype)
{
    return make_fine(out, s, s->binary, s->makers->binary, e, DNS_KIND_FINE_BINARY, dtype);
}

static dns_status make_regions(dns_record *out, dns_record_session *s, const dns_embedding *e,
                               dns_dtype dtype)
{
    struct block *b = &s->blocks[DNS_KIND_REGIONS];
    size_t rows = e->n_frames * e->n_regions, n = rows * e->dim;
    dns_status status = dns_reserve(&b->data, &b->data_capacity, n * dns_dtype_size(dtype), 1);
    if (status == DNS_OK)
        status = dns_reserve(&b->scales, &b->scales_capacity, rows, sizeof *b->scales);
    if (status != DNS_OK)
        return status;
    *out = frames_record(DNS_KIND_REGIONS, dtype, e, e->dim, b);
    if (dtype == DNS_I8)
        return dns_rows_to_i8((int8_t *)b->data, b->scales, e->regions, rows, e->dim);
    if (dtype == DNS_F32)
        memcpy(b->data, e->regions, n * sizeof *e->regions);
    for (size_t i = 0; dtype == DNS_F16 && i < n; i++)
        ((uint16_t *)(void *)b->data)[i] = dns_f16_from_f32(e->regions[i]);
    return DNS_OK;
}

static dns_status make_archive(dns_record *out, dns_record_session *s, const dns_embedding *e,
                               dns_dtype dtype)
{
    (void)dtype;
    dns_free(s->archive);
    s->archive = NULL;
    return dns_archive_pack(out, &s->archive, e->regions, e->n_frames, e->n_regions, e->dim);
}

/* In the order in which they are made. */
static const struct {
    dns_kind kind;
    dns_status (*make)(dns_record *out, dns_record_session *s, const dns_embedding *e,
                       dns_dtype dtype);
} makers[] = {
    {DNS_KIND_COARSE, make_coarse},
    {DNS_KIND_CODES, make_codes},

    {DNS_KIND_SELECTOR, make_selector},
    {DNS_KIND_FINE_BINARY, make_binary},
    {DNS_KIND_FINE_ATTENTION, make_attention},
    {DNS_KIND_REGIONS, make_regions},
    {DNS_KIND_ARCHIVE, make_archive},
};

/* Kinds whose frames may be merged. */
static bool has_runs(dns_kind kind)
{
    return kind == DNS_KIND_FINE_BINARY || kind == DNS_KIND_FINE_ATTENTION ||
           kind == DNS_KIND_REGIONS;
}

/* Bytes of a code among those of `bytes` that the settings keep. */
static size_t kept_bytes(size_t bytes, const dns_store_settings *settings)
{
    size_t wanted = settings->code_bits / 8;
    return wanted > 0 && wanted < bytes ? wanted : bytes;
}

/* A record whose payload lies in the block becomes what the settings ask for: codes as long, frames
 * merged as far. */
static dns_status shrink(dns_record *record, struct block *b, const dns_store_settings *settings)
{
    size_t n = record->shape[0], bytes = kept_bytes(record->shape[2], settings);
    dns_status status = dns_reserve(&b->runs, &b->runs_capacity, n, sizeof *b->runs);
    if (status != DNS_OK)
        return status;
    for (size_t i = 0; i < n; i++)
        b->runs[i] = record->runs != NULL ? record->runs[i] : 1;
    if (record->dtype == DNS_U8 && bytes < record->shape[2]) {
        dns_cut_codes(b->data, n * record->shape[1], record->shape[2], bytes);
        record->shape[2] = bytes;
    }
    record->shape[0] = dns_merge_frames(b->data, b->scales, b->runs, record, settings->merge);
    record->merged = settings->merge;
    bool single = true; /* frames that were not merged need no lengths */
    for (size_t i = 0; i < record->shape[0]; i++)
        single = single && b->runs[i] == 1;
    record->runs = single && settings->merge == 0 ? NULL : b->runs;
    record->size = 0;
    return DNS_OK;
}

bool dns_record_fits(const dns_record *record, const dns_store_settings *settings)
{
    if (record->dtype != settings->dtype[record->kind])
        return false;
    if (record->kind == DNS_KIND_FINE_BINARY && settings->code_bits != 0 &&
        record->shape[2] != settings->code_bits / 8)
        return false;
    return !has_runs(record->kind) || record->merged == settings->merge;
}

bool dns_record_can_shrink(const dns_record *record, const dns_store_settings *settings)
{
    return has_runs(record->kind) && record->dtype == settings->dtype[record->kind] &&
           record->merged == 0 &&
           (record->kind != DNS_KIND_FINE_BINARY || settings->code_bits == 0 ||
            record->shape[2] >= settings->code_bits / 8);
}

dns_status dns_record_shrink(dns_record *out, dns_record_session *s, const dns_record *record,
                             const dns_store_settings *settings)
{
    struct block *b = &s->blocks[record->kind];
    size_t n_rows = record->shape[0] * record->shape[1];
    dns_status status = dns_record_check(record);
    if (status == DNS_OK)
        status = dns_reserve(&b->data, &b->data_capacity, record->size, 1);
    if (status == DNS_OK)
        status = dns_reserve(&b->scales, &b->scales_capacity, n_rows, sizeof *b->scales);
    if (status != DNS_OK)
        return status;
    memcpy(b->data, record->data, record->size);
    if (record->scales != NULL)
        memcpy(b->scales, record->scales, n_rows * sizeof *b->scales);
    *out = *record;
    out->data = b->data;
    out->scales = record->scales != NULL ? b->scales : NULL;
    out->header = NULL;
    return shrink(out, b, settings);
}

size_t dns_record_makers_code_bits(const dns_record_makers *m)
{
    return m->binary != NULL ? dns_visil_shape_of(m->binary)->code_bits : 0;
}

static bool can_make(const dns_record_makers *m, dns_kind kind)
{
    return !(kind == DNS_KIND_SELECTOR && m->selector == NULL) &&
           !(kind == DNS_KIND_FINE_BINARY && m->binary == NULL) &&
           !(kind == DNS_KIND_FINE_ATTENTION && m->attention == NULL);
}

dns_status dns_record_make(dns_record *records, size_t *n, dns_record_session *s,
                           const dns_embedding *embedding, const dns_store_settings *settings)
{
    const bool *kept = settings->kept;
    *n = 0;
    for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++) {
        dns_kind kind = makers[i].kind;
        if (!kept[kind] && !(kind == DNS_KIND_COARSE && kept[DNS_KIND_CODES]))
            continue;
        if (!can_make(s->makers, kind))
            return dns_status_set(DNS_ERR_UNSUPPORTED, "this model has no network for %s records",
                                  dns_kind_name(kind));
        dns_status status = makers[i].make(&records[*n], s, embedding, settings->dtype[kind]);
        if (status == DNS_OK && has_runs(kind))
            status = shrink(&records[*n], &s->blocks[kind], settings);
        if (status != DNS_OK)
            return status;
        *n += kept[kind];
    }
    return DNS_OK;
}
