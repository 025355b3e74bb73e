#include <stdio.h>
#include <string.h>

#include "csv_output.h"
#include "default_model.h"
#include "dnsel/classifier.h"
#include "dnsel/embedder.h"
#include "dnsel/json.h"
#include "dnsel/memory.h"
#include "dnsel/video_features.h"
#include "program.h"
#include "terminal.h"
#include "video_names.h"

struct settings {
    const char *classifier, *index, *networks;
    dns_string_list videos;
    size_t top;
    double min_confidence;
    bool json, csv;
};

struct work {
    const dns_invocation *invocation;
    const struct settings *s;
    dns_classifier *classifier;
    const dns_classifier_shape *shape;
    dns_json_writer json;
    float *x, *p;
    size_t *order;
    size_t n_answered, n_given, n_failed;
    dns_status first_failure;
};

/* ---- answers ---- */

/* order [n_labels] by descending probability. */
static void sort_labels(struct work *w)
{
    for (size_t i = 0; i < w->shape->n_labels; i++) {
        size_t at = i;
        for (; at > 0 && w->p[w->order[at - 1]] < w->p[i]; at--)
            w->order[at] = w->order[at - 1];
        w->order[at] = i;
    }
}

/* A class is given when it is the most probable and sure enough, a tag above its threshold. */
static bool is_given(const struct work *w, size_t rank)
{
    const size_t label = w->order[rank];
    if ((double)w->p[label] < w->s->min_confidence)
        return false;
    return w->shape->task == DNS_LABEL_TAGS
               ? w->p[label] > dns_classifier_thresholds(w->classifier)[label]
               : rank == 0;
}

static void put_answer(struct work *w, const char *video)
{
    const size_t n = w->s->top < w->shape->n_labels ? w->s->top : w->shape->n_labels;
    if (w->s->json) {
        dns_json_begin_object(&w->json, NULL);
        dns_json_put_string(&w->json, "video", video);
        dns_json_begin_array(&w->json, "labels");
    } else if (!w->s->csv) {
        printf("%s\n", video);
    }
    for (size_t rank = 0; rank < n; rank++) {
        const size_t label = w->order[rank];
        const char *name = w->shape->labels[label];
        const double p = (double)w->p[label];
        const bool given = is_given(w, rank);
        w->n_given += given;
        if (w->s->json) {
            dns_json_begin_object(&w->json, NULL);
            dns_json_put_string(&w->json, "label", name);
            dns_json_put_number(&w->json, "probability", p, 9);
            dns_json_put_bool(&w->json, "given", given);
            dns_json_end_object(&w->json);
        } else if (w->s->csv) {
            dns_csv_print(video);
            putchar(',');
            dns_csv_print(name);
            printf(",%.9g,%d\n", p, given);
        } else {
            printf("  %c %.4f  %s\n", given ? '*' : ' ', p, name);
        }
    }
    if (w->s->json) {
        dns_json_end_array(&w->json);
        dns_json_end_object(&w->json);
    }
}

static dns_status classify(struct work *w, const char *video, const dns_record *coarse,
                           const dns_record *selector, double duration)
{
    dns_status status = DNS_OK;
    if (coarse->rank != 1 || dns_regular_features_count(coarse->shape[0]) != w->shape->dim)
        DNS_FAIL(DNS_ERR_MODEL, "%s: a coarse vector of %zu numbers; the classifier reads %zu",
                 video, coarse->shape[0], w->shape->dim - 2);
    DNS_TRY(dns_regular_features(w->x, coarse, selector, duration));
    DNS_TRY(dns_classifier_predict(w->p, w->classifier, w->x, 1, NULL));
    sort_labels(w);
    put_answer(w, video);
    w->n_answered++;
out:
    return status;
}

/* The classifier reads vectors of one model; those of another mean nothing to it. */
static dns_status check_origin(const struct work *w, const dns_digest *model, const char *what)
{
    char text[33];
    dns_digest_text(model, text);
    if (w->shape->origin != NULL && strcmp(w->shape->origin, text) != 0)
        return dns_status_set(DNS_ERR_MODEL, "%s: made for vectors of model %s, %s has those of %s",
                              w->s->classifier, w->shape->origin, what, text);
    return DNS_OK;
}

/* ---- stored videos ---- */

static dns_status classify_stored(struct work *w, const dns_snapshot *snapshot, uint64_t id)
{
    dns_status status = DNS_OK;
    dns_record coarse, selector;
    dns_meta meta;
    DNS_TRY(dns_snapshot_meta(&meta, snapshot, id));
    DNS_TRY(dns_snapshot_get(&coarse, snapshot, DNS_KIND_COARSE, id, true));
    status = dns_snapshot_get(&selector, snapshot, DNS_KIND_SELECTOR, id, true);
    if (status != DNS_OK && status != DNS_ERR_NOTFOUND)
        goto out;
    status = classify(w, meta.name, &coarse, status == DNS_OK ? &selector : NULL, meta.duration);
out:
    return status;
}

/* A video that cannot be classified costs a line; the wrong model ends the run. */
static dns_status note(struct work *w, dns_status status)
{
    if (status == DNS_OK || status == DNS_ERR_CANCELLED || status == DNS_ERR_MODEL)
        return status;
    dns_complain(w->invocation, "%s", dns_status_message());
    if (w->n_failed++ == 0)
        w->first_failure = status;
    return DNS_OK;
}

static dns_status classify_index(struct work *w)
{
    dns_status status = DNS_OK;
    dns_store *store = NULL;
    dns_snapshot *snapshot = NULL;
    dns_video_names *names = NULL;
    uint64_t *ids = NULL;
    size_t n_ids = 0, place;
    const bool all = w->invocation->n_operands == 0;
    dns_cancel *cancel = dns_interrupt_catch();
    DNS_TRY(dns_store_open(&store, w->s->index, DNS_STORE_READ, NULL));
    DNS_TRY(check_origin(w, &dns_store_settings_get(store)->model, w->s->index));
    DNS_TRY(dns_snapshot_open(&snapshot, store));
    DNS_TRY(dns_snapshot_ids(&ids, &n_ids, snapshot, DNS_KIND_COARSE));
    if (!all)
        DNS_TRY(dns_video_names_create(&names, snapshot, ids, n_ids));
    for (size_t i = 0; all && i < n_ids; i++) {
        if (dns_cancelled(cancel))
            DNS_FAIL(DNS_ERR_CANCELLED, "interrupted");
        DNS_TRY(note(w, classify_stored(w, snapshot, ids[i])));
    }
    for (size_t i = 0; i < w->invocation->n_operands; i++) {
        status = dns_video_names_find(&place, names, w->invocation->operands[i]);
        if (status == DNS_OK)
            status = classify_stored(w, snapshot, ids[place]);
        DNS_TRY(note(w, status));
    }
out:
    dns_video_names_free(names);
    dns_free(ids);
    dns_snapshot_close(snapshot);
    dns_store_close(store);
    return status;
}

/* ---- files ---- */

static dns_status classify_file(struct work *w, dns_embedder_session *session,
                                const dns_store_settings *settings, const char *path,
                                dns_cancel *cancel)
{
    dns_status status = DNS_OK;
    dns_embedding embedding;
    dns_record records[DNS_KIND_COUNT];
    const dns_record *coarse = NULL, *selector = NULL;
    size_t n = 0;
    DNS_TRY(dns_embed_file(&embedding, session, path, cancel));
    DNS_TRY(dns_embed_records(records, &n, session, &embedding, settings));
    for (size_t i = 0; i < n; i++) {
        coarse = records[i].kind == DNS_KIND_COARSE ? &records[i] : coarse;
        selector = records[i].kind == DNS_KIND_SELECTOR ? &records[i] : selector;
    }
    if (coarse == NULL)
        DNS_FAIL(DNS_ERR_UNSUPPORTED, "the model makes no coarse vectors");
    DNS_TRY(classify(w, path, coarse, selector, embedding.duration));
out:
    return status;
}

static dns_status classify_files(struct work *w)
{
    dns_status status = DNS_OK;
    dns_model *model = NULL;
    dns_embedder *embedder = NULL;
    dns_embedder_session *session = NULL;
    dns_cancel *cancel = dns_interrupt_catch();
    const dns_embedder_options options = dns_embedder_options_default();
    DNS_TRY(dns_default_model_open(&model, w->s->networks));
    DNS_TRY(dns_embedder_create(&embedder, model, &options));
    dns_store_settings settings = dns_embedder_settings(embedder);
    DNS_TRY(check_origin(w, &settings.model, "this model"));
    const bool selector = settings.kept[DNS_KIND_SELECTOR];
    memset(settings.kept, 0, sizeof settings.kept);
    settings.kept[DNS_KIND_COARSE] = true;
    settings.kept[DNS_KIND_SELECTOR] = selector;
    DNS_TRY(dns_embedder_session_create(&session, embedder));
    for (size_t i = 0; i < w->s->videos.n; i++)
        DNS_TRY(note(w, classify_file(w, session, &settings, w->s->videos.items[i], cancel)));
out:
    dns_embedder_session_free(session);
    dns_embedder_free(embedder);
    dns_model_close(model);
    return status;
}

/* ---- the command ---- */

static dns_status open_classifier(struct work *w)
{
    const struct settings *s = w->s;
    dns_status status = DNS_OK;
    if (s->classifier == NULL || (s->index == NULL) == (s->videos.n == 0))
        DNS_FAIL(DNS_ERR_ARG, "--model, and one of --index and --video, are needed");
    if (s->index == NULL && w->invocation->n_operands > 0)
        DNS_FAIL(DNS_ERR_ARG, "%s: files are given with --video", w->invocation->operands[0]);
    status = dns_classifier_open(&w->classifier, s->classifier);
    if (status != DNS_OK) {
        status = status == DNS_ERR_NOTFOUND ? DNS_ERR_ARG : status; /* that is kept for the index */
        goto out;
    }
    w->shape = dns_classifier_shape_of(w->classifier);
    if (w->shape->task == DNS_LABEL_PAIR || w->shape->dim < 3)
        DNS_FAIL(DNS_ERR_MODEL, "%s: classifies pairs, not videos", s->classifier);
    DNS_TRY(dns_alloc(&w->x, w->shape->dim, sizeof *w->x));
    DNS_TRY(dns_alloc(&w->p, w->shape->n_labels, sizeof *w->p));
    DNS_TRY(dns_alloc(&w->order, w->shape->n_labels, sizeof *w->order));
out:
    return status;
}

static dns_status answer_all(struct work *w)
{
    const struct settings *s = w->s;
    if (s->json) {
        w->json = dns_json_writer_to(stdout, true);
        dns_json_begin_object(&w->json, NULL);
        dns_json_put_string(&w->json, "schema", "dnsel.classify/1");
        dns_json_put_string(&w->json, "task", dns_label_task_name(w->shape->task));
        dns_json_begin_array(&w->json, "videos");
    } else if (s->csv) {
        puts("video,label,probability,given");
    }
    dns_status status = s->index != NULL ? classify_index(w) : classify_files(w);
    if (s->json && status == DNS_OK) {
        dns_json_end_array(&w->json);
        dns_json_end_object(&w->json);
        status = dns_json_finish(&w->json);
    }
    return status;
}

static int run(const dns_invocation *invocation)
{
    struct work w = {.invocation = invocation, .s = invocation->settings};
    dns_status status = open_classifier(&w);
    if (status == DNS_OK)
        status = answer_all(&w);
    dns_free(w.order);
    dns_free(w.p);
    dns_free(w.x);
    dns_classifier_free(w.classifier);
    if (status == DNS_ERR_NOTFOUND && w.s->index != NULL) {
        dns_complain(invocation, "%s: no index here", w.s->index);
        return DNS_EXIT_NO_INDEX;
    }
    if (status != DNS_OK)
        return dns_fail(invocation, status);
    if (w.n_failed > 0)
        return w.n_answered > 0 ? DNS_EXIT_PARTIAL : dns_exit_code(w.first_failure);
    return w.n_given > 0 ? DNS_EXIT_OK : DNS_EXIT_NONE;
}

static const struct settings defaults = {.top = 3};
#define AT(field) offsetof(struct settings, field)
static const dns_option options[] = {
    {.name = "model",
     .letter = 'm',
     .kind = DNS_OPTION_STRING,
     .offset = AT(classifier),
     .value = "FILE",
     .help = "the classifier, a .cpm of dns-train classifier (not a model directory)"},
    {.name = "index",
     .kind = DNS_OPTION_STRING,
     .offset = AT(index),
     .value = "INDEX",
     .help = "classify its videos, all of them or those that are named"},
    {.name = "video",
     .kind = DNS_OPTION_LIST,
     .offset = AT(videos),
     .value = "FILE",
     .help = "classify this file; may be repeated"},
    {.name = "networks",
     .kind = DNS_OPTION_STRING,
     .offset = AT(networks),
     .value = "DIR",
     .help = "with --video: model directory that makes the vectors, or the name of one that ships"},
    {.name = "top",
     .letter = 'k',
     .kind = DNS_OPTION_COUNT,
     .offset = AT(top),
     .value = "N",
     .help = "labels shown of each video",
     .minimum = 1,
     .maximum = 1000000},
    {.name = "min-confidence",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(min_confidence),
     .value = "P",
     .help = "a label of smaller probability is not given",
     .maximum = 1},
    {.name = "json", .kind = DNS_OPTION_FLAG, .offset = AT(json), .help = "one JSON document"},
    {.name = "csv", .kind = DNS_OPTION_FLAG, .offset = AT(csv), .help = "CSV with a heading"},
    {0},
};
const dns_command dns_query_classify = {
    .name = "classify",
    .synopsis = "[VIDEO...]",
    .summary = "tell the class or the tags of videos",
    .description =
        "Answers from what the index keeps of every video, or from files: coarse vector, "
        "selector's scalar and duration. Nothing that was privileged in training is read. Each "
        "video's most probable labels are shown with their probabilities, and a * before those "
        "that "
        "are given: the most probable class, or the tags above their thresholds, if their "
        "probability is --min-confidence or more. Stored videos are named by path, id or file "
        "name.\n\n"
        "Exit codes: 1 no label was given to any video, 3 some videos could not be read, 10 no "
        "index, 12 a classifier of another version, or made for vectors of another model.",
    .examples = "  dns-query classify --model m.cpm --index videos.dns --min-confidence 0.6\n"
                "  dns-query classify --model m.cpm --video clip.mp4 --json\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .max_operands = SIZE_MAX,
    .run = run,
};
