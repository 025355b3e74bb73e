/* Contrastive batches (docs/training.md). */
#include "dnsel/memory.h"
#include "sampler_parts.h"

enum { SHORTEST = 3, LONGEST = 8, AROUND = 4, TRIES = 64 };

static bool scene_taken(const dns_sampler *p, const dns_sample *s, size_t n, size_t video)
{
    for (size_t i = 0; i < n; i++)
        if (dns_sampler_scene(p, s->videos[i]) == dns_sampler_scene(p, video))
            return true;
    return false;
}

/* Videos of distinct scenes: random ones, each followed by some of its near neighbours. */
static void draw_videos(dns_sample *s, const dns_sampler *p, dns_random *random)
{
    const dns_sampler_options *o = &p->options;
    size_t n = 0;
    while (n < o->batch) {
        size_t i = dns_random_below(random, p->n_drawn);
        if (scene_taken(p, s, n, p->drawn[i]))
            continue;
        s->videos[n++] = p->drawn[i];
        for (size_t k = 1; k < o->cluster && n < o->batch; k++) {
            size_t near =
                p->neighbours[i * o->neighbours + dns_random_below(random, o->neighbours)];
            if (!scene_taken(p, s, n, near))
                s->videos[n++] = near;
        }
    }
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* What of a view is shown, and how. */
struct part {
    size_t video, view, first, n; /* n frames, every `stride`-th, each `repeat` times */
    size_t stride, repeat;
    size_t around; /* frames of other footage */
};

static struct part draw_query(const dns_sampler *p, size_t video, dns_random *random)
{
    const dns_training_video *v = dns_training_set_video(p->set, video);
    size_t most = p->options.max_frames, shown;
    struct part q = {.video = video, .stride = 1, .repeat = 1};
    double edit = dns_random_uniform(random), form = dns_random_uniform(random);
    size_t length = SHORTEST + dns_random_below(random, LONGEST - SHORTEST + 1);
    double other = dns_random_uniform(random), place = dns_random_uniform(random);
    if (edit >= 0.08 && v->n_views > 1)
        q.view = 1 + (size_t)(other * (double)(v->n_views - 1));
    size_t n_all = dns_training_set_view(p->set, video, q.view).n_frames;
    if (form < 0.35) {
        q.n = least(least(length, most - AROUND), n_all);
        q.around = AROUND + dns_random_below(random, most - q.n - AROUND + 1);
    } else if (form < 0.6) {
        q.n = least(length, n_all);
    } else if (form < 0.65 && n_all > 1) {
        q.stride = 2;
        q.n = least(n_all / 2, most);
    } else if (form < 0.7) {
        q.repeat = 2;
        q.n = least(n_all, most / 2);
    } else {
        q.n = least(n_all, most);
    }
    shown = (q.n - 1) * q.stride + 1;
    q.first = (size_t)(place * (double)(n_all - shown + 1));
    return q;
}

static dns_status add_part(dns_clips *clips, const struct part *q)
{
    dns_status status = DNS_OK;
    for (size_t i = 0; i < q->n && status == DNS_OK; i++)
        for (size_t k = 0; k < q->repeat && status == DNS_OK; k++)
            status = dns_clips_add(clips, q->video, q->view, q->first + i * q->stride);
    return status;
}

/* Footage of a scene that is not in the batch; SIZE_MAX when none is found. */
static size_t draw_host(const dns_sampler *p, const dns_sample *s, dns_random *random)
{
    for (size_t i = 0; i < TRIES && p->n_hosts > 0; i++) {
        size_t host = p->hosts[dns_random_below(random, p->n_hosts)];
        if (!scene_taken(p, s, s->n, host))
            return host;
    }
    return SIZE_MAX;
}

static dns_status add_query(dns_sample *s, const dns_sampler *p, const struct part *q,
                            dns_random *random)
{
    dns_status status = DNS_OK;
    dns_clips *clips = &s->clips;
    size_t host = q->around > 0 ? draw_host(p, s, random) : SIZE_MAX;
    DNS_TRY(dns_clips_begin(clips));
    if (host == SIZE_MAX) {
        DNS_TRY(add_part(clips, q));
    } else {
        size_t n = dns_training_set_view(p->set, host, 0).n_frames;
        size_t at = dns_random_below(random, n), before = dns_random_below(random, q->around + 1);
        for (size_t i = 0; i < before; i++)
            DNS_TRY(dns_clips_add(clips, host, 0, (at + i) % n));
        DNS_TRY(add_part(clips, q));
        for (size_t i = before; i < q->around; i++)
            DNS_TRY(dns_clips_add(clips, host, 0, (at + i) % n));
    }
    DNS_TRY(dns_clips_wrap(clips));
out:
    return status;
}

static dns_status add_target(dns_sample *s, const dns_sampler *p, const struct part *q,
                             dns_random *random)
{
    dns_status status = DNS_OK;
    const dns_training_video *v = dns_training_set_video(p->set, q->video);
    double edit = dns_random_uniform(random), other = dns_random_uniform(random);
    size_t view =
        edit < 0.7 || v->n_views == 1 ? 0 : 1 + (size_t)(other * (double)(v->n_views - 1));
    dns_window w =
        dns_window_over(p->set, q->video, q->view, q->first, q->first + (q->n - 1) * q->stride + 1,
                        view, p->options.max_frames, random);
    DNS_TRY(dns_clips_begin(&s->clips));
    for (size_t i = 0; i < w.n; i++)
        DNS_TRY(dns_clips_add(&s->clips, q->video, view, w.first + i));
    DNS_TRY(dns_clips_wrap(&s->clips));
out:
    return status;
}

/* Copies run faster or slower, so places are taken as shares of the whole. */
dns_window dns_window_over(const dns_training_set *set, size_t video, size_t view, size_t first,
                           size_t end, size_t other, size_t most, dns_random *random)
{
    size_t n = dns_training_set_view(set, video, view).n_frames,
           m = dns_training_set_view(set, video, other).n_frames;
    size_t low = first * m / n, high = least((end * m + n - 1) / n, m);
    double place = dns_random_uniform(random);
    if (m <= most)
        return (dns_window){0, m};
    size_t from = high > most ? high - most : 0, to = least(low, m - most);
    if (from > to)
        from = to;
    return (dns_window){from + (size_t)(place * (double)(to - from + 1)), most};
}

dns_status dns_sampler_contrast(dns_sample *s, const dns_sampler *p, size_t step)
{
    dns_status status = DNS_OK;
    dns_random random = dns_random_stream(p->options.seed, step);
    struct part *parts = NULL;
    size_t n = p->options.batch;
    if (p->n_scenes < n)
        DNS_FAIL(DNS_ERR_ARG, "batches of %zu scenes from %zu scenes", n, p->n_scenes);
    DNS_TRY(dns_alloc(&parts, n, sizeof *parts));
    DNS_TRY(dns_sample_begin(s, n));
    draw_videos(s, p, &random);
    for (size_t i = 0; i < n; i++) {
        parts[i] = draw_query(p, s->videos[i], &random);
        DNS_TRY(add_query(s, p, &parts[i], &random));
    }
    for (size_t i = 0; i < n; i++)
        DNS_TRY(add_target(s, p, &parts[i], &random));
out:
    dns_free(parts);
    return status;
}
