/* Triplets, as the published networks are trained on (docs/training.md). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/memory.h"
#include "sampler_parts.h"

enum {
    SHORTEST = 4,
    AUGMENTED_ABOVE = 8,
    SLOWED_BELOW = 150,
    SHORTEST_WINDOW = 4,
    LONGEST_WINDOW = 15
};

/* ---- temporal augmentation (7.4), of a list of frame numbers ---- */

struct frames {
    size_t *at; /* room for 2 n + LONGEST_WINDOW of the n there were */
    size_t *copy;
    size_t n;
};

/* Windows of w frames, the list wrapped to whole ones: some dropped, or all shuffled. */
static dns_status by_windows(struct frames *f, bool drop, dns_random *random)
{
    dns_status status = DNS_OK;
    size_t *order = NULL;
    size_t w = SHORTEST_WINDOW + dns_random_below(random, LONGEST_WINDOW - SHORTEST_WINDOW + 1);
    size_t n = (f->n + w - 1) / w, kept = 0;
    for (size_t i = f->n; i < n * w; i++)
        f->at[i] = f->at[i - f->n];
    DNS_TRY(dns_alloc(&order, n, sizeof *order));
    for (size_t i = 0; i < n; i++)
        if (!drop || dns_random_uniform(random) >= 0.3)
            order[kept++] = i;
    for (; kept == 0; kept = n)
        for (size_t i = 0; i < n; i++)
            order[i] = i;
    if (!drop)
        dns_random_shuffle(random, order, kept);
    memcpy(f->copy, f->at, n * w * sizeof *f->at);
    for (size_t i = 0; i < kept; i++)
        memcpy(f->at + i * w, f->copy + order[i] * w, w * sizeof *f->at);
    f->n = kept * w;
out:
    dns_free(order);
    return status;
}

static dns_status augment(struct frames *f, dns_random *random)
{
    double u = dns_random_uniform(random);
    if (f->n <= AUGMENTED_ABOVE || u >= 0.5)
        return DNS_OK;
    memcpy(f->copy, f->at, f->n * sizeof *f->at);
    if (u < 0.2)
        return by_windows(f, u < 0.1, random);
    if (u < 0.3) {
        f->n = (f->n + 1) / 2;
        for (size_t i = 0; i < f->n; i++)
            f->at[i] = f->copy[2 * i];
    } else if (u < 0.4 && f->n < SLOWED_BELOW) {
        f->n *= 2;
        for (size_t i = 0; i < f->n; i++)
            f->at[i] = f->copy[i / 2];
    } else if (u >= 0.4) {
        for (size_t i = 0; i < f->n; i++)
            f->at[i] = f->copy[f->n - 1 - i];
    }
    return DNS_OK;
}

static dns_status add_clip(dns_sample *s, const dns_sampler *p, size_t video, size_t view,
                           bool augmented, dns_random *random)
{
    dns_status status = DNS_OK;
    struct frames f = {NULL, NULL, dns_training_set_view(p->set, video, view).n_frames};
    size_t most = p->options.max_frames, room = 2 * f.n + LONGEST_WINDOW;
    DNS_TRY(dns_alloc(&f.at, room, sizeof *f.at));
    DNS_TRY(dns_alloc(&f.copy, room, sizeof *f.copy));
    for (size_t i = 0; i < f.n; i++)
        f.at[i] = i;
    if (augmented)
        DNS_TRY(augment(&f, random));
    DNS_TRY(dns_clips_begin(&s->clips));
    for (size_t i = 0; i < f.n && i < most; i++)
        DNS_TRY(dns_clips_add(&s->clips, video, view, f.at[i]));
    if (f.n < SHORTEST)
        DNS_TRY(dns_clips_wrap(&s->clips));
out:
    dns_free(f.at);
    dns_free(f.copy);
    return status;
}

/* ---- who is compared with whom ---- */

struct triplet {
    size_t anchor, positive, negative; /* videos */
    size_t view;                       /* of the positive */
    float similarities[2];
};

/* The i-th of all draws: every one of n things once in each pass, in a random order. */
static dns_status pass_order(size_t *out, const dns_sampler *p, size_t n, size_t draw)
{
    size_t *order = NULL;
    dns_random random = dns_random_stream(p->options.seed ^ 0x7ea5, draw / n);
    dns_status status = dns_alloc(&order, n, sizeof *order);
    if (status != DNS_OK)
        return status;
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    dns_random_shuffle(&random, order, n);
    *out = order[draw % n];
    dns_free(order);
    return DNS_OK;
}

static size_t other_of_scene(const dns_sampler *p, size_t video, dns_random *random)
{
    size_t found = video, n = 0;
    for (size_t i = 0; i < p->n_drawn; i++)
        if (p->drawn[i] != video &&
            dns_sampler_scene(p, p->drawn[i]) == dns_sampler_scene(p, video) &&
            dns_random_below(random, ++n) == 0)
            found = p->drawn[i];
    return found;
}

static dns_status draw_triplet(struct triplet *t, const dns_sampler *p, size_t draw,
                               dns_random *random)
{
    size_t i;
    dns_status status = pass_order(&i, p, p->n_queries > 0 ? p->n_queries : p->n_drawn, draw);
    if (status != DNS_OK)
        return status;
    if (p->n_queries > 0) {
        const struct labelled_query *q = &p->queries[i];
        const dns_labelled_pair *a = &p->pairs[q->first + dns_random_below(random, q->n_positive)];
        const dns_labelled_pair *b =
            &p->pairs[q->first + q->n_positive + dns_random_below(random, q->n - q->n_positive)];
        *t = (struct triplet){q->video, a->video, b->video, 0, {a->similarity, b->similarity}};
        return DNS_OK;
    }
    *t = (struct triplet){.anchor = p->drawn[i], .similarities = {NAN, NAN}};
    t->negative =
        p->neighbours[i * p->options.neighbours + dns_random_below(random, p->options.neighbours)];
    double same = dns_random_uniform(random), other = dns_random_uniform(random);
    t->positive = same < 0.5 ? other_of_scene(p, t->anchor, random) : t->anchor;
    size_t n_views = dns_training_set_video(p->set, t->positive)->n_views;
    if (t->positive == t->anchor && n_views > 1)
        t->view = 1 + (size_t)(other * (double)(n_views - 1));
    return DNS_OK;
}

dns_status dns_sampler_triplets(dns_sample *s, const dns_sampler *p, size_t step)
{
    dns_status status = DNS_OK;
    size_t n = p->options.batch;
    dns_random random = dns_random_stream(p->options.seed, step);
    struct triplet *t = NULL;
    DNS_TRY(dns_alloc(&t, n, sizeof *t));
    DNS_TRY(dns_sample_begin(s, n));
    for (size_t i = 0; i < n; i++) {
        DNS_TRY(draw_triplet(&t[i], p, (step - 1) * n + i, &random));
        s->videos[i] = t[i].anchor;
        s->similarities[i] = t[i].similarities[0];
        s->similarities[n + i] = t[i].similarities[1];
        DNS_TRY(add_clip(s, p, t[i].anchor, 0, false, &random));
    }
    for (size_t i = 0; i < n; i++)
        DNS_TRY(add_clip(s, p, t[i].positive, t[i].view, true, &random));
    for (size_t i = 0; i < n; i++)
        DNS_TRY(add_clip(s, p, t[i].negative, 0, true, &random));
out:
    dns_free(t);
    return status;
}

/* ---- labelled pairs ---- */

static int by_query(const void *a, const void *b)
{
    const dns_labelled_pair *x = a, *y = b;
    if (x->query != y->query)
        return x->query < y->query ? -1 : 1;
    if (x->positive != y->positive)
        return x->positive ? -1 : 1;
    return x->video < y->video ? -1 : x->video > y->video;
}

static bool is_drawn(const dns_sampler *p, size_t video)
{
    return video < dns_training_set_n_videos(p->set) && p->place[video] != SIZE_MAX;
}

dns_status dns_sampler_set_pairs(dns_sampler *p, const dns_labelled_pair *pairs, size_t n)
{
    dns_status status = DNS_OK;
    dns_labelled_pair *kept = NULL;
    struct labelled_query *queries = NULL;
    size_t m = 0, n_queries = 0;
    DNS_TRY(dns_alloc(&kept, n, sizeof *kept));
    DNS_TRY(dns_alloc(&queries, n, sizeof *queries));
    for (size_t i = 0; i < n; i++)
        if (is_drawn(p, pairs[i].query) && is_drawn(p, pairs[i].video))
            kept[m++] = pairs[i];
    qsort(kept, m, sizeof *kept, by_query);
    for (size_t first = 0, end; first < m; first = end) {
        struct labelled_query q = {kept[first].query, first, 0, 0};
        for (end = first; end < m && kept[end].query == q.video; end++)
            q.n_positive += kept[end].positive;
        q.n = end - first;
        if (q.n_positive > 0 && q.n_positive < q.n)
            queries[n_queries++] = q;
    }
    if (n_queries == 0)
        DNS_FAIL(DNS_ERR_ARG, "none of %zu pairs has a query with a positive and a negative", n);
    dns_free(p->pairs);
    dns_free(p->queries);
    p->pairs = kept;
    p->queries = queries;
    p->n_queries = n_queries;
    kept = NULL;
    queries = NULL;
out:
    dns_free(kept);
    dns_free(queries);
    return status;
}
