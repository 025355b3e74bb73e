/* Small networks and videos of random regions, as an index keeps them. */
#ifndef DNS_VISIL_FIXTURE_H
#define DNS_VISIL_FIXTURE_H

#include "support.h"

#include "dnsel/memory.h"
#include "dnsel/normalise.h"
#include "dnsel/visil.h"

enum { DIM = 64, REGIONS = 9, BITS = 128, MOST_FRAMES = 40 };

static const dns_visil_shape attention_shape = {
    .gate = DNS_GATE_STUDENT, .dim = DIM, .hidden = 32, .channels = {8, 12, 16}};
static const dns_visil_shape teacher_shape = {
    .gate = DNS_GATE_TEACHER, .padding = DNS_PADDING_EDGE, .dim = DIM, .channels = {8, 12, 16}};
static const dns_visil_shape binary_shape = {
    .codes = true, .dim = DIM, .code_bits = BITS, .channels = {8, 12, 16}};
static const dns_visil_shape plain_shape = {.dim = DIM, .channels = {8, 12, 16}};
static const dns_similarity_rule published = {DNS_DIRECTION_QUERY, DNS_REGIONS_CHAMFER};

static inline dns_visil *make_net(const dns_visil_shape *shape, dns_similarity_rule rule,
                                  bool training)
{
    dns_visil *net = NULL;
    dns_random random = dns_random_seed(3);
    assert_ok(dns_visil_create(&net, shape, rule, training));
    assert_ok(dns_visil_initialise(net, 1, &random));
    return net;
}

/* A video of unit region vectors, slowly changing from frame to frame. */
static inline float *make_video(uint64_t seed, size_t n_frames)
{
    float *x = NULL;
    size_t frame = REGIONS * DIM;
    dns_random random = dns_random_seed(seed);
    assert_ok(dns_alloc(&x, n_frames * frame, sizeof *x));
    for (size_t i = 0; i < n_frames * frame; i++)
        x[i] = (float)dns_random_normal(&random) + (i >= frame ? 2 * x[i - frame] : 0);
    dns_normalise_forward(x, NULL, x, n_frames * REGIONS, DIM);
    return x;
}

/* A video as an index keeps it. */
struct stored {
    dns_visil_video video;
    void *data;
    float *scales;
};

static inline struct stored store(dns_visil_session *session, const dns_visil *net, const float *x,
                                  size_t n_frames, dns_dtype dtype)
{
    struct stored s = {0};
    size_t n = dns_visil_extended(n_frames);
    assert_ok(dns_alloc(&s.data, dns_visil_bytes(net, n_frames, REGIONS, dtype), 1));
    assert_ok(dns_alloc(&s.scales, n * REGIONS, sizeof *s.scales));
    assert_ok(dns_visil_index(session, s.data, s.scales, x, n_frames, REGIONS, dtype));
    s.video = (dns_visil_video){.dtype = dtype,
                                .n_frames = n,
                                .n_regions = REGIONS,
                                .data = s.data,
                                .scales = dtype == DNS_I8 ? s.scales : NULL};
    return s;
}

static inline void drop(struct stored *s)
{
    dns_free(s->data);
    dns_free(s->scales);
}

static inline float score(dns_visil_session *session, const struct stored *query,
                          const struct stored *target)
{
    float s = -2;
    assert_ok(dns_visil_set_query(session, &query->video));
    assert_ok(dns_visil_compare(session, &s, &target->video));
    return s;
}

#endif
