/*
 * Forward passes of teacher and fine students: X.weights with X.expected, for every such X, and
 * their share of `short`.
 */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/binarise.h"
#include "dnsel/memory.h"
#include "dnsel/normalise.h"
#include "dnsel/visil.h"
#include "parity_set.h"

/* One network and where its inputs are. */
struct set {
    dns_parity *p;
    const char *name;
    const dns_safetensors *expected, *inputs;
    dns_visil *net;
    dns_visil_session *session;
};

/* A video as an index keeps it. */
struct stored {
    dns_visil_video video;
    void *data;
};

static void free_stored(struct stored *s)
{
    dns_free(s->data);
    *s = (struct stored){0};
}

/* The first `n_frames` (0: all) of input.`name`; without such a tensor DNS_ERR_NOTFOUND. */
static dns_status store(struct stored *out, const struct set *s, const char *name, size_t n_frames)
{
    dns_status status = DNS_OK;
    char input[256];
    const dns_tensor *x;
    float *values = NULL;
    dns_dtype dtype = dns_visil_shape_of(s->net)->codes ? DNS_U8 : DNS_F32;
    free_stored(out);
    snprintf(input, sizeof input, "input.%s", name);
    DNS_TRY(dns_parity_tensor(&x, s->inputs, input));
    if (x->rank != 3 || x->shape[2] != dns_visil_shape_of(s->net)->dim || n_frames > x->shape[0])
        DNS_FAIL(DNS_ERR_SHAPE, "%s: '%s' does not fit the network", s->name, input);
    size_t n = n_frames == 0 ? x->shape[0] : n_frames;
    DNS_TRY(dns_alloc(&values, dns_tensor_count(x), sizeof *values));
    dns_tensor_to_f32(values, x);
    DNS_TRY(dns_alloc(&out->data, dns_visil_bytes(s->net, n, x->shape[1], dtype), 1));
    DNS_TRY(dns_visil_index(s->session, out->data, NULL, values, n, x->shape[1], dtype));
    out->video = (dns_visil_video){.dtype = dtype,
                                   .n_frames = dns_visil_extended(n),
                                   .n_regions = x->shape[1],
                                   .data = out->data};
out:
    dns_free(values);
    return status;
}

static dns_status compare(const struct set *s, float *score, const struct stored *query,
                          const struct stored *target)
{
    dns_status status = dns_visil_set_query(s->session, &query->video);
    return status != DNS_OK ? status : dns_visil_compare(s->session, score, &target->video);
}

/* ---- tolerances ---- */

static double spread(const dns_tensor *map)
{
    size_t n = dns_tensor_count(map);
    float *values;
    if (dns_alloc(&values, n, sizeof *values) != DNS_OK)
        return 0;
    dns_tensor_to_f32(values, map);
    float least = values[0], most = values[0];
    for (size_t i = 1; i < n; i++) {
        least = fminf(least, values[i]);
        most = fmaxf(most, values[i]);
    }
    dns_free(values);
    return (double)most - (double)least;
}

/* With random weights a teacher's outputs lie in a narrow band, so its errors are measured against
 * the spread of the map that they come from. */
static dns_parity_rule rule_for(const struct set *s, const char *name)
{
    const char *map = dns_parity_after(name, "f2f") != NULL ? "f2f" : "comparator";
    const dns_tensor *tensor = dns_safetensors_find(s->expected, map);
    if (dns_visil_shape_of(s->net)->gate != DNS_GATE_TEACHER || tensor == NULL ||
        dns_tensor_count(tensor) < 2)
        return (dns_parity_rule){.tolerance = DNS_PARITY_FORWARD, .unit = "largest"};
    return (dns_parity_rule){
        .tolerance = DNS_PARITY_TEACHER, .scale = spread(tensor), .unit = "spread"};
}

/* ---- one tensor each ---- */

/* excused[i]: rounding decides bit i, because |z| < 1e-6. */
static dns_status excuse_bits(bool *excused, const struct set *s, const dns_tensor *x)
{
    dns_status status = DNS_OK;
    const dns_visil_shape *shape = dns_visil_shape_of(s->net);
    const dns_parameters *weights = dns_visil_parameters(s->net);
    size_t rows = x->shape[0] * x->shape[1];
    float *unit = NULL, *z = NULL;
    DNS_TRY(dns_alloc(&unit, rows * shape->dim, sizeof *unit));
    DNS_TRY(dns_alloc(&z, rows * shape->code_bits, sizeof *z));
    dns_tensor_to_f32(unit, x);
    dns_normalise_forward(unit, NULL, unit, rows, shape->dim);
    DNS_TRY(dns_binarise_project(
        z, unit, dns_parameters_weight(weights, dns_parameters_find(weights, "binarization.W")),
        rows, shape->dim, shape->code_bits, NULL));
    for (size_t i = 0; i < rows * shape->code_bits; i++)
        excused[i] = fabsf(z[i]) < 1e-6F;
out:
    dns_free(z);
    dns_free(unit);
    return status;
}

static dns_status check_codes(const struct set *s, const char *name, const dns_tensor *expected,
                              const char *video, const struct stored *v)
{
    dns_status status = DNS_OK;
    size_t bits = dns_visil_shape_of(s->net)->code_bits,
           rows = v->video.n_frames * v->video.n_regions;
    float *got = NULL;
    bool *excused = NULL;
    char input[256];
    snprintf(input, sizeof input, "input.%s", video);
    DNS_TRY(dns_alloc(&got, rows * bits, sizeof *got));
    DNS_TRY(dns_alloc(&excused, rows * bits, sizeof *excused));
    DNS_TRY(excuse_bits(excused, s, dns_safetensors_find(s->inputs, input)));
    dns_binarise_unpack(got, v->data, rows, bits);
    for (size_t i = 0; i < rows * bits; i++)
        got[i] = got[i] > 0;
    const dns_parity_rule equal = {.tolerance = 0, .scale = 1, .unit = "bit", .excused = excused};
    DNS_TRY(dns_parity_compare(s->p, s->name, name, got, rows * bits, expected, &equal));
out:
    dns_free(excused);
    dns_free(got);
    return status;
}

static dns_status check_index(const struct set *s, const char *name, const dns_tensor *expected,
                              const char *video)
{
    dns_status status = DNS_OK;
    struct stored v = {0};
    DNS_TRY(store(&v, s, video, 0));
    if (v.video.dtype == DNS_U8)
        DNS_TRY(check_codes(s, name, expected, video, &v));
    else
        DNS_TRY(dns_parity_forward(
            s->p, s->name, name, v.data,
            v.video.n_frames * v.video.n_regions * dns_visil_shape_of(s->net)->dim, expected));
out:
    free_stored(&v);
    return status;
}

/* A map of (query, video), or its score, or that of (video, query). */
static dns_status check_pair(const struct set *s, const char *name, const dns_tensor *expected,
                             const char *video, size_t n_frames, bool reversed)
{
    dns_status status = DNS_OK;
    struct stored query = {0}, target = {0};
    dns_parity_rule rule = rule_for(s, name);
    float score;
    DNS_TRY(store(&query, s, "query", 0));
    DNS_TRY(store(&target, s, video, n_frames));
    DNS_TRY(compare(s, &score, reversed ? &target : &query, reversed ? &query : &target));
    dns_visil_maps maps = dns_visil_last_maps(s->session);
    if (dns_parity_after(name, "f2f") != NULL)
        DNS_TRY(dns_parity_compare(s->p, s->name, name, maps.frames, maps.n_query * maps.n_target,
                                   expected, &rule));
    else if (dns_parity_after(name, "comparator") != NULL)
        DNS_TRY(dns_parity_compare(s->p, s->name, name, maps.comparator,
                                   (maps.n_query / 4) * (maps.n_target / 4), expected, &rule));
    else
        DNS_TRY(dns_parity_compare(s->p, s->name, name, &score, 1, expected, &rule));
out:
    free_stored(&query);
    free_stored(&target);
    return status;
}

/* Chunk I of the target alone. */
static dns_status check_chunk(const struct set *s, const char *name, const dns_tensor *expected,
                              const char *number)
{
    dns_status status = DNS_OK;
    struct stored query = {0}, target = {0};
    size_t chunk = (size_t)dns_parity_number(s->expected, "frames_per_chunk", 2048);
    size_t first = (size_t)strtoul(number, NULL, 10) * chunk;
    float score;
    DNS_TRY(store(&query, s, "query", 0));
    DNS_TRY(store(&target, s, "target", 0));
    if (first >= target.video.n_frames)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: the target has no '%s'", s->name, name);
    dns_visil_video part = target.video;
    part.n_frames = part.n_frames - first < chunk ? part.n_frames - first : chunk;
    part.data = (const float *)part.data + first * part.n_regions * dns_visil_shape_of(s->net)->dim;
    DNS_TRY(dns_visil_set_query(s->session, &query.video));
    DNS_TRY(dns_visil_compare(s->session, &score, &part));
    DNS_TRY(dns_parity_forward(s->p, s->name, name, &score, 1, expected));
out:
    free_stored(&query);
    free_stored(&target);
    return status;
}

/* ---- sets ---- */

/* What stands behind "similarity." and the like: a video; or a number, the first frames of the
 * target; or nothing, where a set has but one pair. */
static dns_status check_named_pair(const struct set *s, const char *name,
                                   const dns_tensor *expected, const char *video, bool reversed)
{
    if (video[0] == '\0')
        return check_pair(s, name, expected, "copy", 0, reversed);
    if (video[0] == '.' && isdigit((unsigned char)video[1]))
        return check_pair(s, name, expected, "target", (size_t)strtoul(video + 1, NULL, 10),
                          reversed);
    return check_pair(s, name, expected, video + 1, 0, reversed);
}

static dns_status check_tensor(const struct set *s, const char *name, const dns_tensor *expected)
{
    static const struct {
        const char *prefix;
        bool reversed;
    } pairs[] = {{"similarity_reversed", true},
                 {"similarity", false},
                 {"comparator", false},
                 {"f2f", false}};
    const char *rest;
    if (dns_parity_after(name, "input.") != NULL)
        return DNS_OK;
    if ((rest = dns_parity_after(name, "index.")) != NULL)
        return check_index(s, name, expected, rest);
    if ((rest = dns_parity_after(name, "chunk.")) != NULL)
        return check_chunk(s, name, expected, rest);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        rest = dns_parity_after(name, pairs[i].prefix);
        if (rest != NULL && (rest[0] == '\0' || rest[0] == '.'))
            return check_named_pair(s, name, expected, rest, pairs[i].reversed);
    }
    return dns_parity_unknown(s->p, s->name, name);
}

static void close_set(struct set *s)
{
    dns_visil_session_free(s->session);
    dns_visil_free(s->net);
    *s = (struct set){0};
}

/* Inputs are the set's own file, or lie among what is expected, or are those that all sets share.
 */
static dns_status open_set(struct set *s, dns_parity *p, const char *name,
                           const dns_safetensors *weights)
{
    dns_status status = DNS_OK;
    char file[256];
    *s = (struct set){.p = p, .name = name};
    snprintf(file, sizeof file, "%s.expected", name);
    DNS_TRY(dns_parity_file(p, &s->expected, file));
    snprintf(file, sizeof file, "%s.inputs", name);
    DNS_TRY(dns_parity_file(p, &s->inputs, file));
    if (s->inputs == NULL && s->expected != NULL &&
        dns_safetensors_find(s->expected, "input.query"))
        s->inputs = s->expected;
    if (s->inputs == NULL && s->expected != NULL)
        DNS_TRY(dns_parity_need(p, &s->inputs, "inputs"));
    bool both = dns_parity_is_symmetric(weights);
    dns_similarity_rule rule = {both ? DNS_DIRECTION_SYMMETRIC : DNS_DIRECTION_QUERY,
                                both ? DNS_REGIONS_SYMMETRIC : DNS_REGIONS_CHAMFER};
    DNS_TRY(dns_visil_load(&s->net, weights, "", rule, false));
    DNS_TRY(dns_visil_session_create(&s->session, s->net));
    if (s->expected != NULL)
        dns_visil_set_chunk(s->session,
                            (size_t)dns_parity_number(s->expected, "frames_per_chunk", 2048));
out:
    return status;
}

/* NAME.similarity.V of `short`; the query is that of all sets. */
static dns_status check_short(void *payload, const char *name, const char *rest,
                              const dns_tensor *expected, const dns_safetensors *inputs)
{
    struct set *s = payload;
    dns_status status = DNS_OK;
    const dns_safetensors *shared;
    struct stored query = {0}, target = {0};
    const char *video = dns_parity_after(rest, "similarity_reversed."), *first = "query";
    bool reversed = video != NULL;
    float score;
    if (video == NULL)
        video = dns_parity_after(rest, "similarity.");
    if (video == NULL)
        return dns_parity_unknown(s->p, "short", name);
    if (strcmp(video, "one_three") == 0) {
        first = "one";
        video = "three";
    }
    DNS_TRY(dns_parity_need(s->p, &shared, "inputs"));
    s->inputs = strcmp(first, "query") == 0 ? shared : inputs;
    DNS_TRY(store(&query, s, first, 0));
    s->inputs = strcmp(video, "query") == 0 ? shared : inputs;
    DNS_TRY(store(&target, s, video, 0));
    DNS_TRY(compare(s, &score, reversed ? &target : &query, reversed ? &query : &target));
    DNS_TRY(dns_parity_forward(s->p, "short", name, &score, 1, expected));
out:
    free_stored(&query);
    free_stored(&target);
    return status;
}

static dns_status check_set(dns_parity *p, const char *name, const dns_safetensors *weights,
                            bool *taken)
{
    dns_status status = DNS_OK;
    struct set s = {0};
    *taken = dns_parity_is_fine(weights, "");
    if (!*taken)
        return DNS_OK;
    DNS_TRY(open_set(&s, p, name, weights));
    for (size_t i = 0; s.expected != NULL && i < dns_safetensors_count(s.expected); i++)
        DNS_TRY(check_tensor(&s, dns_safetensors_name(s.expected, i),
                             dns_safetensors_at(s.expected, i)));
    DNS_TRY(dns_parity_short(p, name, check_short, &s));
out:
    close_set(&s);
    return status;
}

dns_status dns_parity_fine(dns_parity *p)
{
    return dns_parity_each(p, ".weights", check_set);
}
