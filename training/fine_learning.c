#include "dnsel/fine_learning.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/cross_entropy.h"
#include "dnsel/itq.h"
#include "dnsel/losses.h"
#include "dnsel/memory.h"
#include "dnsel/visil_training.h"

enum { ITQ_ROWS = 4096, ITQ_ROUNDS = 50 };
static const double CODES_FACTOR = 1.5; /* docs/training.md */

const char *dns_fine_section(dns_fine_kind kind)
{
    static const char *const names[] = {"teacher", "fine_attention", "fine_binary"};
    return names[kind];
}

const char *dns_fine_candidate_name(dns_fine_candidate candidate)
{
    static const char *const names[] = {"plain", "untrained", "trained"};
    return names[candidate];
}

dns_fine_options dns_fine_options_default(dns_fine_kind kind, dns_fine_recipe recipe)
{
    dns_fine_options o = {.kind = kind,
                          .recipe = recipe,
                          .rule = {DNS_DIRECTION_MAX, DNS_REGIONS_SAME},
                          .identity = 1,
                          .code_bits = 512,
                          .straight_through = 0.1,
                          .tau = 0.05,
                          .margin = 0.5,
                          .penalty = 0.1,
                          .sampler = dns_sampler_options_default(),
                          .trainer = dns_trainer_options_default()};
    if (recipe == DNS_FINE_MEASURED) {
        o.trainer.steps = kind == DNS_FINE_BINARY ? 0 : 100;
        return o;
    }
    o.rule = (dns_similarity_rule){DNS_DIRECTION_QUERY, DNS_REGIONS_CHAMFER};
    o.gate = kind != DNS_FINE_BINARY;
    o.identity = 0;
    o.itq = true;
    o.sigma = 1e-6;
    o.penalty = kind == DNS_FINE_TEACHER ? 0.1 : 1e-3;
    o.sampler.batch = 32;
    o.sampler.max_frames = 64;
    o.trainer.steps = 1000;
    o.trainer.adam = (dns_adam)DNS_ADAM_INIT;
    o.trainer.schedule = (dns_schedule){.shape = DNS_SCHEDULE_CONSTANT,
                                        .peak = kind == DNS_FINE_TEACHER ? 1e-5 : 1e-4};
    return o;
}

/* ---- the start ---- */

/* Regions of videos that may be looked at, evenly over them. */
static dns_status start_from_itq(dns_visil *net, const dns_training_set *set,
                                 const dns_fine_options *o, dns_random *random)
{
    dns_status status = DNS_OK;
    size_t dim = dns_training_set_dim(set), regions = dns_training_set_n_regions(set), n = 0;
    dns_parameters *p = dns_visil_parameters(net);
    float *x = NULL, *w = NULL;
    DNS_TRY(dns_alloc(&x, ITQ_ROWS + regions, dim * sizeof *x));
    DNS_TRY(dns_alloc(&w, dim, o->code_bits * sizeof *w));
    for (size_t tries = 0; n < ITQ_ROWS && tries < 16 * ITQ_ROWS; tries++) {
        size_t video = dns_random_below(random, dns_training_set_n_videos(set));
        const dns_training_video *v = dns_training_set_video(set, video);
        size_t view = dns_random_below(random, v->n_views);
        if (v->fold == o->sampler.held_out)
            continue;
        size_t frame = dns_random_below(random, dns_training_set_view(set, video, view).n_frames);
        dns_training_set_read(x + n * dim, set, video, view, frame, 1);
        n += regions;
    }
    DNS_TRY(dns_itq_learn(w, x, n, dim, o->code_bits, ITQ_ROUNDS, random));
    memcpy(dns_parameters_weight(p, dns_parameters_find(p, "binarization.W")), w,
           dim * o->code_bits * sizeof *w);
out:
    dns_free(x);
    dns_free(w);
    return status;
}

static dns_status take_comparator(dns_visil *net, const dns_visil *from)
{
    dns_parameters *p = dns_visil_parameters(net);
    const dns_parameters *q = dns_visil_parameters(from);
    for (size_t i = 0; i < dns_parameters_count(p); i++) {
        const dns_parameter *tensor = dns_parameters_at(p, i);
        if (strncmp(tensor->name, "visil_head.", 11) != 0)
            continue;
        size_t j = dns_parameters_find(q, tensor->name);
        if (j == dns_parameters_count(q) || dns_parameters_at(q, j)->count != tensor->count)
            return dns_status_set(DNS_ERR_SHAPE, "the float network has no such '%s'",
                                  tensor->name);
        const dns_real *in = dns_parameters_weight(q, j);
        dns_real *out = dns_parameters_weight(p, i);
        bool first = strcmp(tensor->name, "visil_head.conv1.weight") == 0;
        for (size_t k = 0; k < tensor->count; k++)
            out[k] = first ? (dns_real)(CODES_FACTOR * (double)in[k]) : in[k];
    }
    return DNS_OK;
}

dns_status dns_fine_start(dns_visil **out, const dns_training_set *set, const dns_fine_options *o)
{
    dns_status status = DNS_OK;
    dns_visil *net = NULL;
    dns_random random = dns_random_stream(o->sampler.seed, 0xf13e);
    dns_visil_shape shape = {.dim = dns_training_set_dim(set), .channels = {32, 64, 128}};
    *out = NULL;
    if (o->kind == DNS_FINE_TEACHER)
        shape.padding = DNS_PADDING_EDGE;
    if (o->kind == DNS_FINE_BINARY) {
        shape.codes = true;
        shape.code_bits = o->code_bits;
    } else if (o->gate) {
        shape.gate = o->kind == DNS_FINE_TEACHER ? DNS_GATE_TEACHER : DNS_GATE_STUDENT;
        shape.hidden = o->kind == DNS_FINE_TEACHER ? 0 : shape.dim;
    }
    DNS_TRY(dns_visil_create(&net, &shape, o->rule, true));
    /* Products of two regions behind gates of about 1/2 are a quarter as large. */
    DNS_TRY(dns_visil_initialise(net, o->identity * (o->gate ? 4 : 1), &random));
    if (shape.codes && o->itq)
        DNS_TRY(start_from_itq(net, set, o, &random));
    if (shape.codes && o->float_net != NULL)
        DNS_TRY(take_comparator(net, o->float_net));
    *out = net;
    net = NULL;
out:
    dns_visil_free(net);
    return status;
}

/* ---- steps ---- */

struct learning {
    const dns_training_set *set;
    const dns_fine_options *o;
    dns_pool *pool;
    dns_visil *net;
    dns_visil_trainer *trainer;
    dns_sampler *sampler;
    dns_sample sample;
    dns_visil_pair *pairs;
    dns_coarse_pair *teacher_pairs;
    size_t n_pairs;
    float *x, *scores, *dscores, *wanted;
    size_t x_capacity;
};

static dns_status read_sample(struct learning *l)
{
    size_t values = dns_training_set_n_regions(l->set) * dns_training_set_dim(l->set);
    dns_status status =
        dns_reserve(&l->x, &l->x_capacity, l->sample.clips.n_all * values, sizeof *l->x);
    if (status == DNS_OK)
        status = dns_clips_read(l->x, l->set, &l->sample.clips, l->pool);
    return status;
}

static dns_visil_batch batch_of(const struct learning *l, bool padded)
{
    const dns_clips *clips = &l->sample.clips;
    dns_visil_batch b = {.x = l->x,
                         .n_frames = clips->n_frames,
                         .n_videos = clips->n,
                         .n_regions = dns_training_set_n_regions(l->set),
                         .pairs = l->pairs,
                         .n_pairs = l->n_pairs};
    for (size_t i = 0; padded && i < clips->n; i++)
        if (clips->n_frames[i] > b.padded_frames)
            b.padded_frames = clips->n_frames[i];
    return b;
}

/* Multiplications and additions, forward and back, as if every product were made once. Attention
 * and codes are products of all regions of the batch with a square matrix. */
static double count_operations(const struct learning *l, const dns_visil_batch *b)
{
    const dns_visil_shape *s = dns_visil_shape_of(l->net);
    double width = s->codes ? (double)s->code_bits : (double)s->dim, regions = (double)b->n_regions;
    double products = l->o->rule.regions == DNS_REGIONS_SAME ? regions : regions * regions;
    double c1 = (double)s->channels[0], c2 = (double)s->channels[1], c3 = (double)s->channels[2];
    double sum = 0, rows = 0;
    for (size_t i = 0; i < b->n_pairs; i++) {
        size_t q = b->n_frames[b->pairs[i].query], t = b->n_frames[b->pairs[i].target];
        double map = (double)q * (double)t, half = (double)(q / 2) * (double)(t / 2),
               quarter = (double)(q / 4) * (double)(t / 4);
        bool deep = s->codes || s->gate != DNS_GATE_NONE; /* gradients go below the map */
        sum += 2 * map * products * width * (s->codes ? 3 : 1);
        sum += 2 * 9 * c1 * map * (deep ? 3 : 2);
        sum += 3 * 2 * (9 * c1 * c2 * half + 9 * c2 * c3 * quarter + c3 * quarter);
    }
    for (size_t i = 0; i < b->n_videos; i++)
        rows += (double)b->n_frames[i] * regions;
    if (s->codes)
        sum += 2 * 2 * rows * (double)s->dim * (double)s->code_bits;
    else if (s->gate == DNS_GATE_STUDENT)
        sum += 2 * 2 * rows * (double)s->dim * (double)s->hidden;
    return sum;
}

/* InfoNCE over the scores [n, n] of all queries with all targets, perhaps over its transpose too.
 */
static double contrast(struct learning *l)
{
    size_t n = l->sample.n;
    double rows, columns;
    float *turned = l->wanted, *dturned = l->wanted + n * n;
    dns_info_nce(&rows, l->dscores, l->scores, NULL, n, n, l->o->tau);
    if (!l->o->both_ways)
        return rows;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            turned[j * n + i] = l->scores[i * n + j];
    dns_info_nce(&columns, dturned, turned, NULL, n, n, l->o->tau);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            l->dscores[i * n + j] = (l->dscores[i * n + j] + dturned[j * n + i]) / 2;
    return (rows + columns) / 2;
}

static dns_status contrast_step(void *payload, dns_step_facts *facts, size_t step)
{
    struct learning *l = payload;
    dns_status status = DNS_OK;
    size_t n = l->o->sampler.batch;
    double penalty, weight = l->o->penalty / (double)(n * n);
    DNS_TRY(dns_sampler_contrast(&l->sample, l->sampler, step));
    DNS_TRY(read_sample(l));
    const dns_visil_batch batch = batch_of(l, false);
    DNS_TRY(dns_visil_forward(l->trainer, &batch, l->scores, &penalty));
    facts->loss = contrast(l) + weight * penalty;
    DNS_TRY(dns_visil_backward(l->trainer, &batch, l->dscores, weight));
    facts->operations = count_operations(l, &batch);
out:
    return status;
}

/* What the teacher says of the (anchor, positive) and (anchor, negative) pairs. */
static dns_status ask_teacher(struct learning *l)
{
    size_t n_pairs = l->n_pairs;
    memcpy(l->wanted, l->sample.similarities, n_pairs * sizeof *l->wanted);
    if (l->o->teacher == NULL)
        return isnan(l->wanted[0])
                   ? dns_status_set(DNS_ERR_UNSUPPORTED,
                                    "a student needs a teacher, or pairs with similarities")
                   : DNS_OK;
    const dns_clip_range all = {l->set, &l->sample.clips, 0, l->sample.clips.n};
    return dns_clip_pair_scores(l->wanted, all, l->teacher_pairs, n_pairs, l->o->teacher, l->pool);
}

static dns_status triplet_step(void *payload, dns_step_facts *facts, size_t step)
{
    struct learning *l = payload;
    dns_status status = DNS_OK;
    bool teacher = l->o->kind == DNS_FINE_TEACHER;
    size_t n = l->o->sampler.batch;
    double penalty, weight = teacher ? l->o->penalty / (double)(2 * n) : l->o->penalty;
    DNS_TRY(dns_sampler_triplets(&l->sample, l->sampler, step));
    DNS_TRY(read_sample(l));
    const dns_visil_batch batch = batch_of(l, !teacher);
    DNS_TRY(dns_visil_forward(l->trainer, &batch, l->scores, &penalty));
    if (teacher) {
        facts->loss =
            dns_loss_triplet(l->dscores, l->dscores + n, l->scores, l->scores + n, n, l->o->margin);
    } else {
        DNS_TRY(ask_teacher(l));
        facts->loss = dns_loss_l1(l->dscores, l->scores, l->wanted, 2 * n);
    }
    facts->loss += weight * penalty;
    DNS_TRY(dns_visil_backward(l->trainer, &batch, l->dscores, weight));
    facts->operations = count_operations(l, &batch);
out:
    return status;
}

static void project(void *payload)
{
    dns_visil_project(((struct learning *)payload)->net);
}

/* ---- a training ---- */

static dns_status open_learning(struct learning *l)
{
    dns_status status = DNS_OK;
    const dns_fine_options *o = l->o;
    size_t n = o->sampler.batch, most = n * n > 2 * n ? n * n : 2 * n;
    const dns_visil_codes codes = {o->sigma, o->straight_through};
    DNS_TRY(dns_sampler_create(&l->sampler, l->set, &o->sampler, l->pool));
    if (o->pairs != NULL)
        DNS_TRY(dns_sampler_set_pairs(l->sampler, o->pairs, o->n_pairs));
    DNS_TRY(dns_visil_trainer_create(&l->trainer, l->net,
                                     o->kind == DNS_FINE_BINARY ? &codes : NULL, l->pool));
    DNS_TRY(dns_alloc(&l->pairs, most, sizeof *l->pairs));
    DNS_TRY(dns_alloc(&l->teacher_pairs, 2 * n, sizeof *l->teacher_pairs));
    DNS_TRY(dns_alloc(&l->scores, most, sizeof *l->scores));
    DNS_TRY(dns_alloc(&l->dscores, most, sizeof *l->dscores));
    DNS_TRY(dns_alloc(&l->wanted, 2 * most, sizeof *l->wanted));
    bool contrastive = o->recipe == DNS_FINE_MEASURED;
    l->n_pairs = contrastive ? n * n : 2 * n;
    for (size_t i = 0; i < l->n_pairs; i++)
        l->pairs[i] =
            contrastive ? (dns_visil_pair){i / n, n + i % n} : (dns_visil_pair){i % n, n + i};
    for (size_t i = 0; i < 2 * n; i++)
        l->teacher_pairs[i] = (dns_coarse_pair){i % n, n + i};
out:
    return status;
}

static void close_learning(struct learning *l)
{
    dns_visil_trainer_free(l->trainer);
    dns_sampler_free(l->sampler);
    dns_sample_free(&l->sample);
    dns_free(l->pairs);
    dns_free(l->teacher_pairs);
    dns_free(l->x);
    dns_free(l->scores);
    dns_free(l->dscores);
    dns_free(l->wanted);
}

dns_status dns_fine_train(dns_trainer_report *report, dns_visil *net, const dns_training_set *set,
                          const dns_fine_options *options, dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct learning l = {.set = set, .o = options, .pool = pool, .net = net};
    char *what = NULL;
    *report = (dns_trainer_report){.start = NAN, .best = NAN};
    if (options->trainer.steps == 0)
        return DNS_OK;
    DNS_TRY(open_learning(&l));
    DNS_TRY(dns_string_format(
        &what,
        "%s by recipe %d, rule %d %d, gate %d, identity %.9g, sigma %.9g %.9g, tau %.9g ways %d, "
        "margin "
        "%.9g, penalty %.9g, batch %zu in clusters of %zu of %zu, %zu frames, held out %zu, seed "
        "%llu, pairs %zu, %zu videos, %s",
        dns_fine_section(options->kind), (int)options->recipe, (int)options->rule.direction,
        (int)options->rule.regions, options->gate, options->identity, options->sigma,
        options->straight_through, options->tau, options->both_ways + 1, options->margin,
        options->penalty, options->sampler.batch, options->sampler.cluster,
        options->sampler.neighbours, options->sampler.max_frames, options->sampler.held_out,
        (unsigned long long)options->sampler.seed, options->n_pairs, dns_training_set_n_videos(set),
        dns_training_set_settings(set)));
    const dns_trainer_task task = {.parameters = dns_visil_parameters(net),
                                   .payload = &l,
                                   .step = options->recipe == DNS_FINE_MEASURED ? contrast_step
                                                                                : triplet_step,
                                   .moved = project,
                                   .description = what};
    DNS_TRY(dns_trainer_run(report, &task, &options->trainer, pool));
out:
    dns_free(what);
    close_learning(&l);
    return status;
}
