/*
 * Forward passes of coarse networks: X.weights with X.expected and their share of `short`; and sets
 * without stored weights, which are drawn by the generator that X.expected names in its metadata.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/coarse.h"
#include "dnsel/json.h"
#include "dnsel/memory.h"
#include "parity_set.h"

struct set {
    dns_parity *p;
    const char *name;
    dns_coarse *net;
    dns_coarse_session *session;
    float *x, *embedding;
};

static dns_status open_session(struct set *s)
{
    dns_status status = DNS_OK;
    DNS_TRY(dns_coarse_session_create(&s->session, s->net, dns_parity_pool(s->p)));
    DNS_TRY(dns_alloc(&s->embedding, dns_coarse_shape_of(s->net)->out, sizeof *s->embedding));
out:
    return status;
}

static void close_set(struct set *s)
{
    dns_coarse_session_free(s->session);
    dns_coarse_free(s->net);
    dns_free(s->x);
    dns_free(s->embedding);
}

/* Embeds input.`video`. */
static dns_status embed(struct set *s, const dns_safetensors *inputs, const char *video)
{
    dns_status status = DNS_OK;
    size_t shape[3];
    DNS_TRY(
        dns_parity_video(&s->x, shape, inputs, s->name, video, dns_coarse_shape_of(s->net)->dim));
    const dns_coarse_video one = {s->x, shape[0]};
    DNS_TRY(dns_coarse_embed(s->session, s->embedding, &one, 1, shape[1]));
out:
    return status;
}

static dns_status check_tensor(struct set *s, const char *name, const dns_tensor *expected,
                               const dns_safetensors *inputs)
{
    dns_status status = DNS_OK;
    const dns_coarse_shape *shape = dns_coarse_shape_of(s->net);
    const char *video;
    bool pooled = (video = dns_parity_after(name, "pooled.")) != NULL;
    bool encoded = !pooled && (video = dns_parity_after(name, "encoder.")) != NULL;
    if (video == NULL && (video = dns_parity_after(name, "embedding.")) == NULL)
        return dns_parity_unknown(s->p, s->name, name);
    DNS_TRY(embed(s, inputs, video));
    dns_coarse_stages stages = dns_coarse_last_stages(s->session);
    if (pooled || encoded)
        DNS_TRY(dns_parity_forward(s->p, s->name, name, pooled ? stages.pooled : stages.encoded,
                                   stages.n_frames * shape->dim, expected));
    else
        DNS_TRY(dns_parity_forward(s->p, s->name, name, s->embedding, shape->out, expected));
out:
    return status;
}

/* NAME.embedding.V of `short`. */
static dns_status check_short(void *payload, const char *tensor, const char *rest,
                              const dns_tensor *expected, const dns_safetensors *inputs)
{
    struct set *s = payload;
    dns_status status = DNS_OK;
    const char *video = dns_parity_after(rest, "embedding.");
    if (video == NULL)
        return dns_parity_unknown(s->p, "short", tensor);
    DNS_TRY(embed(s, inputs, video));
    DNS_TRY(dns_parity_forward(s->p, "short", tensor, s->embedding,
                               dns_coarse_shape_of(s->net)->out, expected));
out:
    return status;
}

static dns_status check_weights(dns_parity *p, const char *name, const dns_safetensors *weights,
                                bool *taken)
{
    dns_status status = DNS_OK;
    struct set s = {.p = p, .name = name};
    const dns_safetensors *expected, *inputs;
    char file[256];
    *taken = dns_safetensors_find(weights, "netvlad.centroids") != NULL;
    if (!*taken)
        return DNS_OK;
    snprintf(file, sizeof file, "%s.expected", name);
    DNS_TRY(dns_parity_file(p, &expected, file));
    DNS_TRY(dns_coarse_load(&s.net, weights, "", (size_t)dns_parity_number(weights, "heads", 8),
                            false));
    DNS_TRY(open_session(&s));
    if (expected != NULL)
        DNS_TRY(dns_parity_inputs(p, &inputs, name, "inputs"));
    for (size_t i = 0; expected != NULL && i < dns_safetensors_count(expected); i++)
        DNS_TRY(check_tensor(&s, dns_safetensors_name(expected, i), dns_safetensors_at(expected, i),
                             inputs));
    DNS_TRY(dns_parity_short(p, name, check_short, &s));
out:
    close_set(&s);
    return status;
}

/* ---- drawn weights ---- */

/* A row of the table: [name, shape, offset, scale]. */
static const char *row_name(const dns_json *row)
{
    return dns_json_string(dns_json_at(row, 0), "");
}

static size_t row_size(const dns_json *table, const char *name, size_t axis)
{
    for (size_t i = 0; i < dns_json_size(table); i++) {
        const dns_json *row = dns_json_at(table, i);
        int64_t size = dns_json_integer(dns_json_at(dns_json_at(row, 1), axis), 0);
        if (strcmp(row_name(row), name) == 0)
            return size > 0 ? (size_t)size : 0;
    }
    return 0;
}

/* One stream over all tensors in the order of the table: SplitMix64, 24 bits of each number. */
static float draw(uint64_t seed, uint64_t n, double offset, double scale)
{
    uint64_t z = seed + (n + 1) * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    z ^= z >> 31;
    return (float)(offset + ((double)(z >> 40) / 0x1p23 - 1) * scale);
}

static dns_status draw_weights(dns_coarse *net, const dns_json *table, uint64_t seed,
                               const char *path)
{
    dns_parameters *parameters = dns_coarse_parameters(net);
    uint64_t n = 0;
    for (size_t i = 0; i < dns_json_size(table); i++) {
        const dns_json *row = dns_json_at(table, i);
        size_t index = dns_parameters_find(parameters, row_name(row));
        if (index == dns_parameters_count(parameters))
            return dns_status_set(DNS_ERR_FORMAT, "%s: the network has no weights '%s'", path,
                                  row_name(row));
        double offset = dns_json_number(dns_json_at(row, 2), 0);
        double scale = dns_json_number(dns_json_at(row, 3), 0);
        float *w = dns_parameters_weight(parameters, index);
        for (size_t j = 0; j < dns_parameters_at(parameters, index)->count; j++)
            w[j] = draw(seed, n++, offset, scale);
    }
    return DNS_OK;
}

static dns_status make_net(struct set *s, const dns_safetensors *expected)
{
    dns_status status = DNS_OK;
    const char *text = dns_safetensors_metadata(expected, "weights");
    const char *seed = dns_safetensors_metadata(expected, "seed");
    const char *path = dns_safetensors_path(expected);
    dns_json *table = NULL;
    if (text == NULL || seed == NULL)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: a generator without 'weights' or 'seed'", path);
    DNS_TRY(dns_json_parse(&table, text, strlen(text), path));
    const dns_coarse_shape shape = {.kind = DNS_COARSE_PUBLISHED,
                                    .dim = row_size(table, "netvlad.centroids", 1),
                                    .out = row_size(table, "netvlad.reduction_layer.weight", 0),
                                    .hidden = row_size(table, "attention.transform.weight", 0),
                                    .n_heads = (size_t)dns_parity_number(expected, "heads", 8),
                                    .feed_forward =
                                        row_size(table, "transformer.layers.0.linear1.weight", 0),
                                    .n_clusters = row_size(table, "netvlad.centroids", 0)};
    DNS_TRY(dns_coarse_create(&s->net, &shape, false));
    DNS_TRY(draw_weights(s->net, table, strtoull(seed, NULL, 10), path));
out:
    dns_json_free(table);
    return status;
}

/* The ends of each drawn tensor. */
static dns_status check_ends(struct set *s, const char *name, const char *tensor, bool last,
                             const dns_tensor *expected)
{
    const dns_parameters *parameters = dns_coarse_parameters(s->net);
    size_t index = dns_parameters_find(parameters, tensor), n = dns_tensor_count(expected);
    const dns_parity_rule equal = {.tolerance = 0, .unit = "largest"};
    if (index == dns_parameters_count(parameters) ||
        dns_parameters_at(parameters, index)->count < n)
        return dns_parity_unknown(s->p, s->name, name);
    const float *w = dns_parameters_weight(parameters, index);
    size_t first = last ? dns_parameters_at(parameters, index)->count - n : 0;
    return dns_parity_compare(s->p, s->name, name, w + first, n, expected, &equal);
}

static dns_status check_drawn(dns_parity *p, const char *name, const dns_safetensors *expected,
                              bool *taken)
{
    dns_status status = DNS_OK;
    struct set s = {.p = p, .name = name};
    const dns_safetensors *inputs;
    const char *rest;
    *taken = dns_safetensors_metadata(expected, "generator") != NULL &&
             dns_safetensors_find(expected, "first.netvlad.centroids") != NULL;
    if (!*taken)
        return DNS_OK;
    DNS_TRY(make_net(&s, expected));
    DNS_TRY(open_session(&s));
    DNS_TRY(dns_parity_inputs(p, &inputs, name, "inputs"));
    for (size_t i = 0; i < dns_safetensors_count(expected); i++) {
        const char *tensor = dns_safetensors_name(expected, i);
        const dns_tensor *stored = dns_safetensors_at(expected, i);
        if ((rest = dns_parity_after(tensor, "first.")) != NULL)
            DNS_TRY(check_ends(&s, tensor, rest, false, stored));
        else if ((rest = dns_parity_after(tensor, "last.")) != NULL)
            DNS_TRY(check_ends(&s, tensor, rest, true, stored));
        else
            DNS_TRY(check_tensor(&s, tensor, stored, inputs));
    }
out:
    close_set(&s);
    return status;
}

dns_status dns_parity_coarse(dns_parity *p)
{
    dns_status status = dns_parity_each(p, ".weights", check_weights);
    return status != DNS_OK ? status : dns_parity_each(p, ".expected", check_drawn);
}
