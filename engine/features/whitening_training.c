#include "dnsel/whitening_training.h"

#include <string.h>

#include "dnsel/memory.h"

enum {
    WAVE = 4
}; /* videos a thread before their vectors are added up, in the order of the videos */

dns_whitening_training_options dns_whitening_training_options_default(void)
{
    return (dns_whitening_training_options){.out_dim = 512,
                                            .frames_per_video = 24,
                                            .copies = 3,
                                            .seed = 1,
                                            .media = dns_media_options_default()};
}

/* Draws up to n frames of a video, each equally likely (reservoir sampling). */
static dns_status draw_frames(uint8_t *frames, size_t *n_out, size_t n, const char *path,
                              const dns_media_options *options, dns_random *random)
{
    dns_status status = DNS_OK;
    size_t frame_bytes = options->size * options->size * 3, n_seen = 0;
    dns_media *media = NULL;
    dns_frame frame;
    *n_out = 0;
    DNS_TRY(dns_media_open(&media, path, options));
    while ((status = dns_media_next(media, &frame)) == DNS_OK) {
        size_t place = n_seen < n ? n_seen : dns_random_below(random, n_seen + 1);
        if (place < n)
            memcpy(frames + place * frame_bytes, frame.pixels, frame_bytes);
        n_seen++;
    }
    if (status == DNS_EOF)
        status = DNS_OK;
    *n_out = n_seen < n ? n_seen : n;
out:
    dns_media_close(media);
    return status;
}

/* A failure that ends the whole run rather than that of one video. */
static bool ends_the_run(dns_status status)
{
    return status == DNS_ERR_CANCELLED || status == DNS_ERR_NOMEM;
}

dns_status dns_frames_draw(uint8_t *frames, size_t *n_out, size_t n, const char *const *paths,
                           size_t n_paths, const dns_media_options *media, uint64_t seed,
                           dns_cancel *cancel)
{
    dns_media_options options = *media;
    options.cancel = cancel;
    size_t frame_bytes = options.size * options.size * 3;
    *n_out = 0;
    for (size_t i = 0; i < n_paths && *n_out < n; i++) {
        dns_random random = dns_random_stream(seed, i);
        size_t share = (n - *n_out + n_paths - i - 1) / (n_paths - i), n_drawn;
        dns_status status = draw_frames(frames + *n_out * frame_bytes, &n_drawn, share, paths[i],
                                        &options, &random);
        if (ends_the_run(status))
            return status;
        *n_out += status == DNS_OK ? n_drawn : 0;
    }
    return DNS_OK;
}

/* ---- vectors of a video ---- */

/* One video of a wave. */
struct sample {
    float *vectors; /* [n_frames][1 + copies][9][region_dim] */
    size_t n_frames;
    dns_status status;
    char problem[512];
};

struct run {
    const dns_extractor *extractor;
    const char *const *paths;
    const dns_whitening_training_options *options;
    size_t copies, frame_bytes, frame_values; /* of one frame with its copies: vectors' floats */
    size_t first;                             /* video of this wave */
    struct sample *samples;
    dns_extractor_session **sessions; /* a worker */
    uint8_t **frames;                 /* a worker: [frames_per_video + 1] */
};

/* Vectors of a frame, then of its edited copies. */
static dns_status extract_views(struct run *run, size_t worker, float *vectors,
                                const uint8_t *frame, dns_random *random)
{
    const dns_whitening_training_options *o = run->options;
    uint8_t *copy = run->frames[worker] + o->frames_per_video * run->frame_bytes;
    size_t view_values = run->frame_values / (1 + run->copies);
    dns_status status = dns_extractor_run(run->sessions[worker], vectors, frame, 1);
    for (size_t i = 0; status == DNS_OK && i < run->copies; i++) {
        memcpy(copy, frame, run->frame_bytes);
        status = o->edit(o->payload, copy, o->media.size, random);
        if (status == DNS_OK)
            status =
                dns_extractor_run(run->sessions[worker], vectors + (i + 1) * view_values, copy, 1);
    }
    return status;
}

static dns_status extract_video(void *payload, size_t task, size_t worker)
{
    dns_status status = DNS_OK;
    struct run *run = payload;
    const dns_whitening_training_options *o = run->options;
    struct sample *sample = &run->samples[task];
    dns_media_options media = o->media;
    media.cancel = o->cancel;
    dns_random random = dns_random_stream(o->seed, run->first + task);
    sample->n_frames = 0;
    sample->status = draw_frames(run->frames[worker], &sample->n_frames, o->frames_per_video,
                                 run->paths[run->first + task], &media, &random);
    if (sample->status != DNS_OK) {
        strncpy(sample->problem, dns_status_message(), sizeof sample->problem - 1);
        return ends_the_run(sample->status) ? sample->status : DNS_OK;
    }
    for (size_t i = 0; status == DNS_OK && i < sample->n_frames; i++)
        status = dns_cancelled(o->cancel)
                     ? dns_status_set(DNS_ERR_CANCELLED, "stopped")
                     : extract_views(run, worker, sample->vectors + i * run->frame_values,
                                     run->frames[worker] + i * run->frame_bytes, &random);
    return status;
}

/* Adds what a wave has found, video after video, so that the sums do not depend on the threads. */
static dns_status add_wave(dns_whitening_learner *learner, dns_whitening_training_facts *facts,
                           const struct run *run, size_t n)
{
    size_t dim = dns_extractor_backbone(run->extractor)->region_dim;
    for (size_t i = 0; i < n; i++) {
        const struct sample *sample = &run->samples[i];
        if (sample->status != DNS_OK) {
            facts->n_skipped++;
            dns_logger_print(run->options->logger, DNS_MESSAGE_WARNING, "%s: %s",
                             run->paths[run->first + i], sample->problem);
            continue;
        }
        dns_status status = dns_whitening_learner_add(learner, sample->vectors,
                                                      sample->n_frames * run->frame_values / dim);
        if (status != DNS_OK)
            return status;
        facts->n_videos++;
        facts->n_frames += sample->n_frames;
    }
    return DNS_OK;
}

static dns_status open_run(struct run *run, size_t n_workers, size_t wave)
{
    dns_status status = DNS_OK;
    const dns_whitening_training_options *o = run->options;
    const dns_backbone *backbone = dns_extractor_backbone(run->extractor);
    if (o->media.size != backbone->input_size)
        DNS_FAIL(DNS_ERR_SHAPE, "frames of %zux%zu, %s wants %zux%zu", o->media.size, o->media.size,
                 backbone->name, backbone->input_size, backbone->input_size);
    if (o->frames_per_video < 1 || o->frames_per_video > 10000 || o->copies > 1000)
        DNS_FAIL(DNS_ERR_ARG, "%zu frames a video, %zu copies", o->frames_per_video, o->copies);
    run->copies = o->edit == NULL ? 0 : o->copies;
    run->frame_bytes = o->media.size * o->media.size * 3;
    run->frame_values = (1 + run->copies) * DNS_REGIONS * backbone->region_dim;
    DNS_TRY(dns_alloc(&run->samples, wave, sizeof *run->samples));
    DNS_TRY(dns_alloc(&run->sessions, n_workers, sizeof *run->sessions));
    DNS_TRY(dns_alloc(&run->frames, n_workers, sizeof *run->frames));
    for (size_t i = 0; i < wave; i++)
        DNS_TRY(dns_alloc(&run->samples[i].vectors, o->frames_per_video,
                          run->frame_values * sizeof(float)));
    for (size_t i = 0; i < n_workers; i++) {
        DNS_TRY(dns_extractor_session_create(&run->sessions[i], run->extractor));
        DNS_TRY(dns_alloc(&run->frames[i], o->frames_per_video + 1, run->frame_bytes));
    }
out:
    return status;
}

static void close_run(struct run *run, size_t n_workers, size_t wave)
{
    for (size_t i = 0; run->samples != NULL && i < wave; i++)
        dns_free(run->samples[i].vectors);
    for (size_t i = 0; run->sessions != NULL && i < n_workers; i++)
        dns_extractor_session_free(run->sessions[i]);
    for (size_t i = 0; run->frames != NULL && i < n_workers; i++)
        dns_free(run->frames[i]);
    dns_free(run->samples);
    dns_free(run->sessions);
    dns_free(run->frames);
}

dns_status dns_whitening_train(dns_whitening **out, dns_whitening_training_facts *facts,
                               const dns_extractor *extractor, const char *const *paths,
                               size_t n_paths, const dns_whitening_training_options *options,
                               dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct run run = {.extractor = extractor, .paths = paths, .options = options};
    size_t n_workers = dns_pool_size(pool), wave = WAVE * n_workers;
    dns_whitening_learner *learner = NULL;
    *out = NULL;
    *facts = (dns_whitening_training_facts){0};
    DNS_TRY(open_run(&run, n_workers, wave));
    DNS_TRY(dns_whitening_learner_create(&learner, dns_extractor_backbone(extractor)->region_dim));
    for (; run.first < n_paths; run.first += wave) {
        size_t n = n_paths - run.first < wave ? n_paths - run.first : wave;
        DNS_TRY(dns_pool_run(pool, n, extract_video, &run));
        DNS_TRY(add_wave(learner, facts, &run, n));
        if (options->progress != NULL && options->progress->report != NULL)
            options->progress->report(options->progress->payload, run.first + n, n_paths, "videos");
    }
    facts->n_vectors = dns_whitening_learner_count(learner);
    DNS_TRY(dns_whitening_learner_solve(out, learner, options->out_dim));
out:
    close_run(&run, n_workers, wave);
    dns_whitening_learner_free(learner);
    return status;
}
