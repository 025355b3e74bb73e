#include "dnsel/made_corpus.h"

#include <math.h>
#include <string.h>

#include "dnsel/random.h"

enum { MIN_FRAMES = 4, SHOT = 6, WORDS = DNS_MADE_REGIONS * DNS_MADE_CODE_BYTES / 8 };

/* What a stream of random numbers is for; each has seeds of its own. */
enum purpose { PLAN = 1, VECTOR, PICTURE, FRAME, GENERATION, SCALAR };

static const double share_copy = 0.10, share_excerpt = 0.05, share_scene = 0.30;
static const double spread = 0.8; /* of the logarithm of lengths */
static const uint64_t first_query = UINT64_C(1) << 40;

dns_made_corpus dns_made_corpus_default(void)
{
    return (dns_made_corpus){.seed = 1, .dim = 512, .mean_frames = DNS_FIVR_FRAMES};
}

static dns_random stream(const dns_made_corpus *c, enum purpose purpose, uint64_t number)
{
    return dns_random_stream(c->seed * 16 + (uint64_t)purpose, number);
}

/* Excerpts are half as long as others on average, so that those must be a little longer. */
static size_t draw_length(const dns_made_corpus *c, dns_random *random)
{
    double own = 1 - share_copy - share_excerpt;
    double mean = c->mean_frames * (1 - share_excerpt / 2 - share_copy) / own;
    double length = mean * exp(spread * dns_random_normal(random) - spread * spread / 2);
    return length < MIN_FRAMES ? MIN_FRAMES : (size_t)(length + 0.5);
}

static void become_copy(dns_made_video *v, const dns_made_video *parent)
{
    v->kind = DNS_MADE_COPY;
    v->parent = parent->number;
    v->n_frames = parent->n_frames;
    v->content = parent->content;
    v->first_frame = parent->first_frame;
    v->n_generations = parent->n_generations + 1;
}

static void become_excerpt(dns_made_video *v, const dns_made_video *parent, dns_random *random)
{
    become_copy(v, parent);
    v->kind = DNS_MADE_EXCERPT;
    v->n_frames =
        (size_t)((0.2 + 0.6 * dns_random_uniform(random)) * (double)parent->n_frames + 0.5);
    if (v->n_frames < MIN_FRAMES)
        v->n_frames = MIN_FRAMES;
    v->first_frame += (size_t)dns_random_below(random, parent->n_frames - v->n_frames + 1);
}

dns_made_video dns_made_video_at(const dns_made_corpus *c, uint64_t number)
{
    dns_made_video v = {.number = number, .content = number};
    dns_random random = stream(c, PLAN, number);
    double u = dns_random_uniform(&random);
    v.n_frames = draw_length(c, &random);
    if (number == 0 || u >= share_copy + share_excerpt + share_scene)
        return v;
    v.parent = dns_random_below(&random, number);
    v.kind = DNS_MADE_SCENE;
    if (u >= share_copy + share_excerpt)
        return v;
    const dns_made_video parent = dns_made_video_at(c, v.parent);
    if (u < share_copy)
        become_copy(&v, &parent);
    else
        become_excerpt(&v, &parent, &random);
    return v;
}

dns_made_video dns_made_query(const dns_made_corpus *c, size_t q, size_t n_videos)
{
    dns_made_video v = {.number = first_query + q};
    dns_random random = stream(c, PLAN, v.number);
    const dns_made_video parent = dns_made_video_at(c, dns_random_below(&random, n_videos));
    become_copy(&v, &parent);
    return v;
}

/* x = cosine * x + sine * a random direction, to unit length. */
static void mix(float *x, size_t dim, double cosine, dns_random *random)
{
    double scale = sqrt((1 - cosine * cosine) / (double)dim), square = 0;
    for (size_t i = 0; i < dim; i++) {
        x[i] = (float)(cosine * (double)x[i] + scale * dns_random_normal(random));
        square += (double)x[i] * (double)x[i];
    }
    for (size_t i = 0; i < dim; i++)
        x[i] = (float)((double)x[i] / sqrt(square));
}

void dns_made_vector(float *x, const dns_made_corpus *c, const dns_made_video *v)
{
    static const double cosines[DNS_MADE_KINDS] = {0.35, 0.70, 0.95, 0.85};
    if (v->kind == DNS_MADE_OWN) {
        float shared = (float)(1 / sqrt((double)c->dim));
        for (size_t i = 0; i < c->dim; i++)
            x[i] = i % 2 == 0 ? shared : -shared;
    } else {
        const dns_made_video parent = dns_made_video_at(c, v->parent);
        dns_made_vector(x, c, &parent);
    }
    dns_random random = stream(c, VECTOR, v->number);
    mix(x, c->dim, cosines[v->kind], &random);
}

/* A word of which each bit is set with probability 2^-halvings. */
static uint64_t sparse(dns_random *random, int halvings)
{
    uint64_t word = dns_random_next(random);
    while (--halvings > 0)
        word &= dns_random_next(random);
    return word;
}

static void flip(uint64_t words[WORDS], int halvings, dns_random random)
{
    for (size_t i = 0; i < WORDS; i++)
        words[i] ^= sparse(&random, halvings);
}

/* Other recordings of a scene share every third shot with the one that they joined. */
static uint64_t shot_of(const dns_made_video *content, uint64_t shared, size_t shot)
{
    uint64_t source = content->kind == DNS_MADE_SCENE && shot % 3 == 0 ? shared : content->number;
    return source << 16 | (shot & 0xffff);
}

void dns_made_codes(uint8_t *codes, const dns_made_corpus *c, const dns_made_video *v)
{
    uint64_t picture[WORDS], frame[WORDS];
    const dns_made_video content = dns_made_video_at(c, v->content);
    uint64_t shared =
        content.kind == DNS_MADE_SCENE ? dns_made_video_at(c, content.parent).content : 0;
    for (size_t t = 0; t < v->n_frames; t++) {
        size_t at = v->first_frame + t;
        if (t == 0 || at % SHOT == 0) {
            memset(picture, 0, sizeof picture);
            flip(picture, 1, stream(c, PICTURE, shot_of(&content, shared, at / SHOT)));
        }
        memcpy(frame, picture, sizeof frame);
        flip(frame, 4, stream(c, FRAME, content.number << 16 | (at & 0xffff)));
        for (size_t g = 0; g < v->n_generations; g++)
            flip(frame, 3, stream(c, GENERATION, (v->number << 16 | (t & 0xffff)) * 64 + g));
        memcpy(codes + t * sizeof frame, frame, sizeof frame);
    }
}

float dns_made_scalar(const dns_made_corpus *c, const dns_made_video *v)
{
    dns_random random = stream(c, SCALAR, v->content);
    return (float)(0.2 + 0.6 * dns_random_uniform(&random));
}
