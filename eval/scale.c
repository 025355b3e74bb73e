/* Building: generated videos go through the store as ingest's do. */
#include "dnsel/scale.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "dnsel/coarse_ann.h"
#include "dnsel/matrix.h"
#include "dnsel/memory.h"
#include "dnsel/rounding.h"
#include "dnsel/visil.h"
#include "scale_parts.h"

enum { GROUP = 128, CODE_BITS = 8 * DNS_MADE_CODE_BYTES };

static const dns_kind tiers[] = {DNS_KIND_COARSE, DNS_KIND_CODES, DNS_KIND_SELECTOR,
                                 DNS_KIND_FINE_BINARY};
enum { N_TIERS = sizeof tiers / sizeof tiers[0] };

dns_scale_options dns_scale_options_default(void)
{
    dns_scale_options o = {.corpus = dns_made_corpus_default(),
                           .n_videos = DNS_FIVR_VIDEOS,
                           .n_fine = 20000,
                           .n_queries = 20,
                           .query_frames = 30,
                           .max_seconds = 2};
    for (size_t i = 0; i < N_TIERS; i++)
        o.kept[tiers[i]] = true;
    return o;
}

static uint64_t frame_bytes(void)
{
    return (uint64_t)DNS_MADE_REGIONS * DNS_MADE_CODE_BYTES;
}

uint64_t dns_scale_bytes(const dns_scale_options *o)
{
    size_t dim = o->corpus.dim, n_fine = o->n_fine < o->n_videos ? o->n_fine : o->n_videos;
    uint64_t video =
        4 * dim + (o->kept[DNS_KIND_CODES] ? dim / 8 : 0) + (o->kept[DNS_KIND_SELECTOR] ? 4 : 0);
    uint64_t fine = (uint64_t)(o->corpus.mean_frames * (double)frame_bytes());
    return o->n_videos * video + (o->kept[DNS_KIND_FINE_BINARY] ? n_fine * fine : 0);
}

/* ---- the model ---- */

/* A fine binary student of the published size with random weights, as edit `e`. */
static dns_status student_edit(dns_model_edit *e, dns_named_tensor **tensors, dns_visil **net)
{
    dns_status status = DNS_OK;
    const dns_visil_shape shape = {.codes = true,
                                   .padding = DNS_PADDING_ZERO,
                                   .dim = CODE_BITS,
                                   .code_bits = CODE_BITS,
                                   .channels = {32, 64, 128}};
    const dns_similarity_rule rule = {DNS_DIRECTION_QUERY, DNS_REGIONS_CHAMFER};
    dns_random random = dns_random_seed(1);
    DNS_TRY(dns_visil_create(net, &shape, rule, false));
    DNS_TRY(dns_visil_initialise(*net, 1, &random));
    const dns_parameters *p = dns_visil_parameters(*net);
    size_t n = dns_parameters_count(p);
    DNS_TRY(dns_alloc(tensors, n, sizeof **tensors));
    for (size_t i = 0; i < n; i++) {
        const dns_parameter *t = dns_parameters_at(p, i);
        (*tensors)[i] = (dns_named_tensor){
            t->name, dns_tensor_f32(dns_parameters_weight(p, i), t->rank, t->shape)};
    }
    *e = (dns_model_edit){"fine_binary", "{\"comparator\":\"int8\"}", *tensors, n};
out:
    return status;
}

/* Corpus and tiers stand in the model, so that its digest tells indexes of different ones apart. */
static dns_status make_model(const char *directory, const dns_scale_options *o)
{
    dns_status status = DNS_OK;
    char *coarse = NULL, *made = NULL;
    dns_named_tensor *tensors = NULL;
    dns_visil *net = NULL;
    dns_model_edit student;
    DNS_TRY(dns_string_format(&coarse, "{\"kind\":\"mean\",\"dim\":%zu}", o->corpus.dim));
    DNS_TRY(dns_string_format(
        &made,
        "{\"version\":2,\"seed\":\"%llu\",\"mean_frames\":%.17g,\"codes\":%d,\"selector\":%d,"
        "\"fine_videos\":%zu}",
        (unsigned long long)o->corpus.seed, o->corpus.mean_frames, o->kept[DNS_KIND_CODES],
        o->kept[DNS_KIND_SELECTOR], o->kept[DNS_KIND_FINE_BINARY] ? o->n_fine : 0));
    DNS_TRY(student_edit(&student, &tensors, &net));
    const dns_model_edit edits[] = {
        {"name", "\"generated\"", NULL, 0},
        {"coarse", coarse, NULL, 0},
        {"similarity", "{\"direction\":\"query\",\"regions\":\"chamfer\"}", NULL, 0},
        {"generated", made, NULL, 0},
        student};
    DNS_TRY(dns_model_edit_apply(directory, edits, sizeof edits / sizeof edits[0]));
out:
    dns_free(tensors);
    dns_visil_free(net);
    dns_free(made);
    dns_free(coarse);
    return status;
}

dns_status scale_open(struct scale_index *out, const char *directory, dns_store_mode mode)
{
    dns_status status = DNS_OK;
    char *path = NULL, *model = NULL;
    const dns_store_options how = {.bulk = mode == DNS_STORE_WRITE};
    *out = (struct scale_index){0};
    DNS_TRY(dns_path_join(&model, directory, "model"));
    DNS_TRY(dns_path_join(&path, directory, "index.dns"));
    DNS_TRY(dns_model_open(&out->model, model));
    DNS_TRY(dns_store_open(&out->store, path, mode, &how));
out:
    dns_free(path);
    dns_free(model);
    if (status != DNS_OK)
        scale_close(out);
    return status;
}

void scale_close(struct scale_index *index)
{
    dns_store_close(index->store);
    dns_model_close(index->model);
    *index = (struct scale_index){0};
}

/* ---- one group of videos ---- */

struct made {
    dns_made_video video;
    float *vector, scalar;
    uint8_t *bits, *codes;
    size_t capacity;
};

struct builder {
    const dns_scale_options *o;
    dns_batch *batch;
    struct made group[GROUP];
    size_t first;
    dns_scale_built *built;
};

static dns_status make_one(void *payload, size_t task, size_t worker)
{
    (void)worker;
    struct builder *b = payload;
    struct made *m = &b->group[task];
    const dns_made_corpus *c = &b->o->corpus;
    m->video = dns_made_video_at(c, b->first + task);
    dns_made_vector(m->vector, c, &m->video);
    m->scalar = dns_made_scalar(c, &m->video);
    dns_status status = dns_codes_from_f32(m->bits, m->vector, 1, c->dim);
    if (status != DNS_OK || !b->o->kept[DNS_KIND_FINE_BINARY] || b->first + task >= b->o->n_fine)
        return status;
    status = dns_reserve(&m->codes, &m->capacity, m->video.n_frames, frame_bytes());
    if (status == DNS_OK)
        dns_made_codes(m->codes, c, &m->video);
    return status;
}

size_t scale_records(dns_record records[DNS_KIND_COUNT], const struct scale_video *v,
                     const bool kept[DNS_KIND_COUNT])
{
    size_t n = 0;
    records[n++] = (dns_record){
        .kind = DNS_KIND_COARSE, .dtype = DNS_F32, .rank = 1, .shape = {v->dim}, .data = v->vector};
    if (kept[DNS_KIND_CODES])
        records[n++] = (dns_record){.kind = DNS_KIND_CODES,
                                    .dtype = DNS_U8,
                                    .rank = 1,
                                    .shape = {v->dim / 8},
                                    .data = v->bits};
    if (kept[DNS_KIND_SELECTOR])
        records[n++] = (dns_record){.kind = DNS_KIND_SELECTOR,
                                    .dtype = DNS_F32,
                                    .rank = 1,
                                    .shape = {1},
                                    .data = &v->scalar};
    if (kept[DNS_KIND_FINE_BINARY])
        records[n++] = (dns_record){.kind = DNS_KIND_FINE_BINARY,
                                    .dtype = DNS_U8,
                                    .rank = 3,
                                    .shape = {v->n_frames, DNS_MADE_REGIONS, DNS_MADE_CODE_BYTES},
                                    .data = v->codes};
    return n;
}

static dns_status put_one(struct builder *b, const struct made *m)
{
    char name[32];
    dns_record records[DNS_KIND_COUNT];
    bool kept[DNS_KIND_COUNT];
    memcpy(kept, b->o->kept, sizeof kept);
    kept[DNS_KIND_FINE_BINARY] &= m->video.number < b->o->n_fine;
    const struct scale_video v = {.dim = b->o->corpus.dim,
                                  .n_frames = m->video.n_frames,
                                  .vector = m->vector,
                                  .scalar = m->scalar,
                                  .bits = m->bits,
                                  .codes = m->codes};
    size_t n = scale_records(records, &v, kept);
    scale_name(name, m->video.number);
    const dns_meta meta = {.name = name,
                           .path = "",
                           .imported = true,
                           .duration = (double)m->video.n_frames,
                           .n_frames = (uint32_t)m->video.n_frames};
    for (size_t i = 0; i < n; i++) {
        size_t size = dns_dtype_size(records[i].dtype);
        for (size_t d = 0; d < records[i].rank; d++)
            size *= records[i].shape[d];
        b->built->bytes_written += DNS_RECORD_HEADER + size;
    }
    return dns_batch_put(b->batch, &meta, records, n, NULL);
}

void scale_name(char name[32], uint64_t number)
{
    snprintf(name, 32, "generated-%08llu", (unsigned long long)number);
}

static dns_status put_all(struct builder *b)
{
    dns_status status = DNS_OK;
    for (; b->first < b->o->n_videos; b->first += GROUP) {
        size_t left = b->o->n_videos - b->first, n = left < GROUP ? left : GROUP;
        if (dns_cancelled(b->o->cancel)) {
            DNS_TRY(dns_batch_commit(b->batch));
            DNS_FAIL(DNS_ERR_CANCELLED, "interrupted after %zu videos", b->first);
        }
        double start = dns_seconds();
        DNS_TRY(dns_pool_run(b->o->pool, n, make_one, b));
        b->built->made_seconds += dns_seconds() - start;
        for (size_t i = 0; i < n; i++)
            DNS_TRY(put_one(b, &b->group[i]));
        b->built->n_written += n;
        if (b->o->progress != NULL)
            b->o->progress->report(b->o->progress->payload, b->first + n, b->o->n_videos, "videos");
    }
    DNS_TRY(dns_batch_commit(b->batch));
out:
    return status;
}

static dns_status fill(dns_store *store, size_t first, dns_scale_built *built,
                       const dns_scale_options *o)
{
    dns_status status = DNS_OK;
    struct builder *b = NULL;
    const dns_batch_options batches = {.max_bytes = (size_t)64 << 20};
    DNS_TRY(dns_alloc(&b, 1, sizeof *b));
    b->o = o;
    b->first = first;
    b->built = built;
    for (size_t i = 0; i < GROUP; i++) {
        DNS_TRY(dns_alloc(&b->group[i].vector, o->corpus.dim, sizeof(float)));
        DNS_TRY(dns_alloc(&b->group[i].bits, o->corpus.dim / 8, 1));
    }
    DNS_TRY(dns_batch_create(&b->batch, store, &batches));
    DNS_TRY(put_all(b));
out:
    for (size_t i = 0; b != NULL && i < GROUP; i++) {
        dns_free(b->group[i].vector);
        dns_free(b->group[i].bits);
        dns_free(b->group[i].codes);
    }
    if (b != NULL)
        dns_batch_free(b->batch);
    dns_free(b);
    return status;
}

/* ---- the index ---- */

static dns_status check_options(const dns_scale_options *o)
{
    const dns_made_corpus *c = &o->corpus;
    if (o->n_videos == 0 || o->n_videos >= UINT32_MAX || c->dim < 8 || c->dim % 8 != 0 ||
        c->dim > 65536 || !(c->mean_frames >= 8 && c->mean_frames <= 10000))
        return dns_status_set(DNS_ERR_ARG,
                              "%zu videos of %zu dimensions and %g frames: at least 1 video, a "
                              "multiple of 8 to 65536, and 8 to 10000 are possible",
                              o->n_videos, c->dim, c->mean_frames);
    return DNS_OK;
}

static dns_status check_room(const char *directory, const dns_scale_options *o, size_t n_before)
{
    struct statvfs disk;
    if (statvfs(directory, &disk) != 0)
        return dns_status_set_errno("%s", directory);
    double room = (double)disk.f_bavail * (double)disk.f_frsize;
    double share = 1 - (double)n_before / (double)o->n_videos;
    double needed = 1.5 * share * (double)dns_scale_bytes(o); /* pages, and matrices beside them */
    if (needed > room)
        return dns_status_set(DNS_ERR_FULL,
                              "%s: about %.1f GB are needed, %.1f GB are free: fewer videos with "
                              "fine codes, or fewer tiers, need less",
                              directory, needed / 1e9, room / 1e9);
    return DNS_OK;
}

static dns_status create_index(struct scale_index *index, const char *directory,
                               const dns_scale_options *o)
{
    dns_status status = DNS_OK;
    char *path = NULL, *model = NULL;
    const dns_store_options how = {.bulk = true};
    dns_store_settings settings = dns_store_settings_init();
    DNS_TRY(dns_path_join(&model, directory, "model"));
    DNS_TRY(dns_path_join(&path, directory, "index.dns"));
    DNS_TRY(dns_directory_make(model));
    if (!dns_directory_exists(path)) {
        DNS_TRY(make_model(model, o));
        DNS_TRY(dns_model_open(&index->model, model));
        snprintf(settings.model_name, sizeof settings.model_name, "generated");
        settings.model = dns_model_digest(index->model);
        for (size_t i = 0; i < N_TIERS; i++) {
            settings.kept[tiers[i]] = tiers[i] == DNS_KIND_COARSE || o->kept[tiers[i]];
            settings.dtype[tiers[i]] =
                tiers[i] == DNS_KIND_CODES || tiers[i] == DNS_KIND_FINE_BINARY ? DNS_U8 : DNS_F32;
        }
        DNS_TRY(dns_store_create(&index->store, path, &settings, &how));
    } else {
        DNS_TRY(scale_open(index, directory, DNS_STORE_WRITE));
    }
out:
    dns_free(path);
    dns_free(model);
    return status;
}

/* DNS_ERR_MODEL unless the model there says what `o` would make it say. */
static dns_status check_same(const struct scale_index *index, const char *directory,
                             const dns_scale_options *o)
{
    const dns_json *made = dns_model_section(index->model, "generated");
    const dns_json *dim = dns_json_get(dns_model_section(index->model, "coarse"), "dim");
    char seed[24];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)o->corpus.seed);
    size_t n_fine = o->kept[DNS_KIND_FINE_BINARY] ? o->n_fine : 0;
    if (strcmp(dns_json_string(dns_json_get(made, "seed"), ""), seed) == 0 &&
        dns_json_integer(dim, 0) == (int64_t)o->corpus.dim &&
        dns_json_number(dns_json_get(made, "mean_frames"), 0) == o->corpus.mean_frames &&
        dns_json_integer(dns_json_get(made, "codes"), -1) == o->kept[DNS_KIND_CODES] &&
        dns_json_integer(dns_json_get(made, "selector"), -1) == o->kept[DNS_KIND_SELECTOR] &&
        dns_json_integer(dns_json_get(made, "fine_videos"), -1) == (int64_t)n_fine)
        return DNS_OK;
    return dns_status_set(DNS_ERR_MODEL, "%s: there is an index of another corpus or other tiers",
                          directory);
}

dns_status dns_scale_build(dns_scale_built *out, const char *directory, const dns_scale_options *o)
{
    dns_status status = DNS_OK;
    struct scale_index index = {0};
    dns_snapshot *snapshot = NULL;
    dns_coarse_ann_report ann;
    double start = dns_seconds();
    *out = (dns_scale_built){0};
    DNS_TRY(check_options(o));
    DNS_TRY(dns_directory_make(directory));
    DNS_TRY(create_index(&index, directory, o));
    DNS_TRY(check_same(&index, directory, o));
    DNS_TRY(dns_snapshot_open(&snapshot, index.store));
    out->n_before = dns_snapshot_count(snapshot, DNS_KIND_META);
    dns_snapshot_close(snapshot);
    snapshot = NULL;
    if (out->n_before > o->n_videos)
        DNS_FAIL(DNS_ERR_EXISTS, "%s: there is an index of %zu videos already", directory,
                 out->n_before);
    DNS_TRY(check_room(directory, o, out->n_before));
    DNS_TRY(fill(index.store, out->n_before, out, o));
    DNS_TRY(dns_snapshot_open(&snapshot, index.store));
    DNS_TRY(dns_matrix_refresh_all(snapshot, NULL, o->cancel));
    DNS_TRY(dns_coarse_ann_refresh(&ann, snapshot, false, o->pool, o->cancel));
out:
    dns_snapshot_close(snapshot);
    scale_close(&index);
    out->seconds = out->n_written > 0 ? dns_seconds() - start : 0;
    return status;
}
