#include "dnsel/embedder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/extractor.h"
#include "dnsel/memory.h"
#include "dnsel/whitening.h"
#include "record_makers.h"

enum { BATCH = 4, MIN_FRAMES = 4 };

struct dns_embedder {
    const dns_model *model;
    dns_embedder_options options;
    dns_extractor *extractor;
    dns_whitening *whitening;
    dns_record_makers *makers;
    size_t frame_bytes, raw_dim, dim;
};

struct dns_embedder_session {
    const dns_embedder *embedder;
    dns_extractor_session *extractor;
    dns_record_session *records;
    uint8_t *frames; /* [BATCH] decoded frames that wait for the backbone */
    float *raw;      /* [BATCH, 9, raw_dim] */
    size_t n_waiting;
    /* The video in hand. */
    float *regions, *times;
    size_t regions_capacity, times_capacity; /* in frames */
    size_t n_frames;
    float *features; /* of a video that came without a file */
    size_t features_capacity;
    size_t stride, n_seen; /* every stride-th sampled frame is kept */
};

dns_embedder_options dns_embedder_options_default(void)
{
    return (dns_embedder_options){.media = dns_media_options_default(), .max_frames = 16384};
}

static dns_status open_whitening(dns_whitening **out, const dns_model *model)
{
    const dns_safetensors *weights = dns_model_weights(model, "whitening");
    *out = NULL;
    if (weights == NULL)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "model '%s' has no whitening",
                              dns_model_name(model));
    return dns_whitening_load(out, weights, 0);
}

dns_status dns_embedder_create(dns_embedder **out, const dns_model *model,
                               const dns_embedder_options *options)
{
    dns_status status = DNS_OK;
    dns_embedder *e = NULL;
    dns_media_options media;
    *out = NULL;
    DNS_TRY(dns_alloc(&e, 1, sizeof *e));
    e->model = model;
    e->options = *options;
    if (e->options.max_frames < MIN_FRAMES)
        e->options.max_frames = MIN_FRAMES;
    DNS_TRY(dns_model_media_options(&media, model));
    e->options.media.geometry = media.geometry;
    e->options.media.interpolation = media.interpolation;
    e->options.media.short_side = media.short_side;
    e->options.media.size = media.size;
    dns_extractor_options extractor = dns_extractor_options_default();
    extractor.batch = BATCH;
    if (options->int8)
        extractor.precision = DNS_PRECISION_INT8;
    DNS_TRY(dns_extractor_open(&e->extractor, model, &extractor));
    DNS_TRY(open_whitening(&e->whitening, model));
    e->raw_dim = dns_extractor_backbone(e->extractor)->region_dim;
    e->dim = dns_whitening_out_dim(e->whitening);
    e->frame_bytes = 3 * media.size * media.size;
    DNS_TRY(dns_record_makers_create(&e->makers, model, e->dim));
    *out = e;
    e = NULL;
out:
    dns_embedder_free(e);
    return status;
}

dns_status dns_embedder_create_for_features(dns_embedder **out, const dns_model *model, size_t dim)
{
    dns_status status = DNS_OK;
    dns_embedder *e = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&e, 1, sizeof *e));
    e->model = model;
    e->options = dns_embedder_options_default();
    e->dim = dim;
    DNS_TRY(dns_record_makers_create(&e->makers, model, dim));
    *out = e;
    e = NULL;
out:
    dns_embedder_free(e);
    return status;
}

void dns_embedder_free(dns_embedder *e)
{
    if (e == NULL)
        return;
    dns_record_makers_free(e->makers);
    dns_whitening_free(e->whitening);
    dns_extractor_free(e->extractor);
    dns_free(e);
}

dns_store_settings dns_embedder_settings(const dns_embedder *e)
{
    dns_store_settings settings = dns_store_settings_init();
    snprintf(settings.model_name, sizeof settings.model_name, "%s", dns_model_name(e->model));
    settings.model = dns_model_digest(e->model);
    snprintf(settings.sampling, sizeof settings.sampling, "%s",
             dns_sampling_name(e->options.media.sampling));
    dns_record_makers_kept(e->makers, settings.kept, settings.dtype);
    return settings;
}

size_t dns_embedder_dim(const dns_embedder *e)
{
    return e->dim;
}

dns_status dns_embedder_check(const dns_embedder *e, const dns_store_settings *settings)
{
    static const dns_kind kinds[] = {DNS_KIND_SELECTOR, DNS_KIND_FINE_BINARY,
                                     DNS_KIND_FINE_ATTENTION};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (settings->kept[kinds[i]] &&
            dns_model_section(e->model, dns_kind_name(kinds[i])) == NULL)
            return dns_status_set(DNS_ERR_UNSUPPORTED, "model '%s' has no network for %s records",
                                  dns_model_name(e->model), dns_kind_name(kinds[i]));
    size_t bits = dns_record_makers_code_bits(e->makers);
    if (settings->kept[DNS_KIND_FINE_BINARY] && settings->code_bits > bits)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "model '%s' makes codes of %zu bits, not of %zu",
                              dns_model_name(e->model), bits, settings->code_bits);
    return DNS_OK;
}

dns_status dns_embedder_session_create(dns_embedder_session **out, const dns_embedder *e)
{
    dns_status status = DNS_OK;
    dns_embedder_session *s = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&s, 1, sizeof *s));
    s->embedder = e;
    DNS_TRY(dns_record_session_create(&s->records, e->makers));
    if (e->extractor != NULL)
        DNS_TRY(dns_extractor_session_create(&s->extractor, e->extractor));
    DNS_TRY(dns_alloc(&s->frames, BATCH, e->frame_bytes));
    DNS_TRY(dns_alloc(&s->raw, BATCH * DNS_REGIONS, e->raw_dim * sizeof *s->raw));
    *out = s;
    s = NULL;
out:
    dns_embedder_session_free(s);
    return status;
}

void dns_embedder_session_free(dns_embedder_session *s)
{
    if (s == NULL)
        return;
    dns_record_session_free(s->records);
    dns_extractor_session_free(s->extractor);
    dns_free(s->frames);
    dns_free(s->raw);
    dns_free(s->regions);
    dns_free(s->times);
    dns_free(s->features);
    dns_free(s);
}

/* Waiting frames become region vectors behind those that are there. */
static dns_status extract_waiting(dns_embedder_session *s)
{
    const dns_embedder *e = s->embedder;
    size_t n = s->n_waiting, frame = DNS_REGIONS * e->dim;
    s->n_waiting = 0;
    if (n == 0)
        return DNS_OK;
    dns_status status = dns_extractor_run(s->extractor, s->raw, s->frames, n);
    if (status == DNS_OK)
        status = dns_reserve(&s->regions, &s->regions_capacity, s->n_frames + n,
                             frame * sizeof *s->regions);
    if (status == DNS_OK)
        status = dns_whitening_apply(e->whitening, s->regions + s->n_frames * frame, s->raw,
                                     n * DNS_REGIONS);
    if (status == DNS_OK)
        s->n_frames += n;
    return status;
}

/* The video is longer than the memory for it: every second frame goes, and from here on every
 * second one is taken. */
static void thin_out(dns_embedder_session *s)
{
    size_t frame = DNS_REGIONS * s->embedder->dim, kept = 0;
    for (size_t i = 0; i < s->n_frames; i += 2, kept++) {
        if (i == kept)
            continue;
        memcpy(s->regions + kept * frame, s->regions + i * frame, frame * sizeof *s->regions);
        s->times[kept] = s->times[i];
    }
    s->n_frames = kept;
    s->stride *= 2;
}

/* At least 4 frames, by appending the video to itself (docs/features.md). */
static dns_status extend(dns_embedder_session *s)
{
    size_t frame = DNS_REGIONS * s->embedder->dim;
    while (s->n_frames > 0 && s->n_frames < MIN_FRAMES) {
        size_t n = s->n_frames;
        float shift = s->times[n - 1] + 1 - s->times[0];
        dns_status status =
            dns_reserve(&s->regions, &s->regions_capacity, 2 * n, frame * sizeof *s->regions);
        if (status == DNS_OK)
            status = dns_reserve(&s->times, &s->times_capacity, 2 * n, sizeof *s->times);
        if (status != DNS_OK)
            return status;
        memcpy(s->regions + n * frame, s->regions, n * frame * sizeof *s->regions);
        for (size_t i = 0; i < n; i++)
            s->times[n + i] = s->times[i] + shift;
        s->n_frames = 2 * n;
    }
    return DNS_OK;
}

static dns_status take_frame(dns_embedder_session *s, const dns_frame *frame,
                             double *feature_seconds)
{
    dns_status status = DNS_OK;
    if (s->n_seen++ % s->stride != 0)
        return DNS_OK;
    double start = dns_thread_seconds();
    if (s->n_frames + s->n_waiting >= s->embedder->options.max_frames) {
        DNS_TRY(extract_waiting(s));
        thin_out(s);
        if ((s->n_seen - 1) % s->stride != 0)
            goto out;
    }
    DNS_TRY(dns_reserve(&s->times, &s->times_capacity, s->n_frames + s->n_waiting + 1,
                        sizeof *s->times));
    s->times[s->n_frames + s->n_waiting] = (float)frame->time;
    memcpy(s->frames + s->n_waiting++ * s->embedder->frame_bytes, frame->pixels,
           s->embedder->frame_bytes);
    if (s->n_waiting == BATCH)
        DNS_TRY(extract_waiting(s));
out:
    *feature_seconds += dns_thread_seconds() - start;
    return status;
}

dns_status dns_embed_file(dns_embedding *out, dns_embedder_session *s, const char *path,
                          dns_cancel *cancel)
{
    dns_status status = DNS_OK;
    dns_media *media = NULL;
    dns_frame frame;
    double start = dns_thread_seconds(), feature_seconds = 0;
    dns_media_options options = s->embedder->options.media;
    *out = (dns_embedding){0};
    if (s->embedder->extractor == NULL)
        DNS_FAIL(DNS_ERR_UNSUPPORTED, "%s: model '%s' was opened for features, not for videos",
                 path, dns_model_name(s->embedder->model));
    options.cancel = cancel;
    s->n_frames = s->n_waiting = s->n_seen = 0;
    s->stride = 1;
    DNS_TRY(dns_media_open(&media, path, &options));
    while ((status = dns_media_next(media, &frame)) == DNS_OK)
        DNS_TRY(take_frame(s, &frame, &feature_seconds));
    if (status != DNS_EOF) {
        status = dns_status_context(status, "%s", path);
        goto out;
    }
    double before = dns_thread_seconds();
    DNS_TRY(extract_waiting(s));
    feature_seconds += dns_thread_seconds() - before;
    if (s->n_frames == 0)
        DNS_FAIL(DNS_ERR_DECODE, "%s: no frames", path);
    DNS_TRY(extend(s));
    dns_media_facts facts = dns_media_info(media);
    *out = (dns_embedding){
        .n_frames = s->n_frames,
        .n_regions = DNS_REGIONS,
        .dim = s->embedder->dim,
        .regions = s->regions,
        .times = s->times,
        .duration = facts.duration,
        .width = facts.width,
        .height = facts.height,
        .n_errors = facts.n_errors,
        .decode_seconds = dns_thread_seconds() - start - feature_seconds,
        .feature_seconds = feature_seconds,
    };
out:
    dns_media_close(media);
    return status;
}

dns_status dns_embed_records(dns_record *records, size_t *n, dns_embedder_session *s,
                             const dns_embedding *embedding, const dns_store_settings *settings)
{
    return dns_record_make(records, n, s->records, embedding, settings);
}

/* Vectors that are not of unit length are brought to it; those that are stay as they are, bit for
 * bit. */
static void make_unit(float *x, size_t n_rows, size_t dim)
{
    for (size_t r = 0; r < n_rows; r++, x += dim) {
        double square = 0;
        for (size_t k = 0; k < dim; k++)
            square += (double)x[k] * (double)x[k];
        if (square == 0 || fabs(square - 1) < 2e-3)
            continue;
        float factor = (float)(1 / sqrt(square));
        for (size_t k = 0; k < dim; k++)
            x[k] *= factor;
    }
}

dns_status dns_embed_features(dns_embedding *out, dns_embedder_session *s, const float *x,
                              size_t n_frames, size_t n_regions)
{
    size_t dim = s->embedder->dim, frame = n_regions * dim, n = n_frames;
    *out = (dns_embedding){0};
    if (n_frames == 0 || n_regions == 0)
        return dns_status_set(DNS_ERR_ARG, "no frames");
    for (size_t i = 0; i < n_frames * frame; i++)
        if (!isfinite(x[i]))
            return dns_status_set(DNS_ERR_RANGE, "frame %zu: a value is not finite", i / frame);
    size_t extended = n_frames < MIN_FRAMES ? 2 * MIN_FRAMES : n_frames;
    dns_status status =
        dns_reserve(&s->features, &s->features_capacity, extended * frame, sizeof *s->features);
    if (status != DNS_OK)
        return status;
    memcpy(s->features, x, n * frame * sizeof *x);
    make_unit(s->features, n * n_regions, dim);
    for (; n < MIN_FRAMES; n *= 2)
        memcpy(s->features + n * frame, s->features, n * frame * sizeof *x);
    *out = (dns_embedding){.n_frames = n,
                           .n_regions = n_regions,
                           .dim = dim,
                           .regions = s->features,
                           .duration = (double)n_frames}; /* at one frame a second */
    return DNS_OK;
}
