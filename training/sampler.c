#include "dnsel/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/gemm.h"
#include "dnsel/memory.h"
#include "sampler_parts.h"

dns_sampler_options dns_sampler_options_default(void)
{
    return (dns_sampler_options){.batch = 16,
                                 .cluster = 4,
                                 .neighbours = 12,
                                 .max_frames = 16,
                                 .stills = true,
                                 .held_out = DNS_NO_FOLD,
                                 .seed = 1};
}

/* ---- neighbours ---- */

struct neighbour {
    float similarity;
    uint32_t video;
};

static int nearest_first(const void *a, const void *b)
{
    const struct neighbour *x = a, *y = b;
    if (x->similarity != y->similarity)
        return x->similarity < y->similarity ? 1 : -1;
    return x->video < y->video ? -1 : x->video > y->video;
}

struct search {
    dns_sampler *sampler;
    const float *means;
};

/* The nearest of the videos that may be drawn, of other scenes; the last one again where there are
 * not so many. */
static dns_status neighbour_task(void *payload, size_t i, size_t worker)
{
    (void)worker;
    const struct search *s = payload;
    dns_sampler *p = s->sampler;
    dns_status status = DNS_OK;
    float *row = NULL;
    struct neighbour *list = NULL;
    size_t n = dns_training_set_n_videos(p->set), dim = dns_training_set_dim(p->set), m = 0;
    size_t video = p->drawn[i];
    uint32_t *found = p->neighbours + i * p->options.neighbours;
    DNS_TRY(dns_alloc(&row, n, sizeof *row));
    DNS_TRY(dns_alloc(&list, p->n_drawn, sizeof *list));
    DNS_TRY(dns_gemm_dense_f32(false, true, 1, n, dim, s->means + video * dim, s->means, 0, row));
    for (size_t j = 0; j < p->n_drawn; j++)
        if (dns_sampler_scene(p, p->drawn[j]) != dns_sampler_scene(p, video))
            list[m++] = (struct neighbour){row[p->drawn[j]], (uint32_t)p->drawn[j]};
    qsort(list, m, sizeof *list, nearest_first);
    for (size_t k = 0; k < p->options.neighbours; k++)
        found[k] = list[k < m ? k : m - 1].video;
out:
    dns_free(row);
    dns_free(list);
    return status;
}

static dns_status find_neighbours(dns_sampler *p, dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct search s = {.sampler = p};
    float *means = NULL;
    size_t n = dns_training_set_n_videos(p->set);
    DNS_TRY(dns_alloc(&means, n, dns_training_set_dim(p->set) * sizeof *means));
    DNS_TRY(dns_alloc(&p->neighbours, p->n_drawn, p->options.neighbours * sizeof *p->neighbours));
    DNS_TRY(dns_training_set_means(means, p->set, pool));
    s.means = means;
    DNS_TRY(dns_pool_run(pool, p->n_drawn, neighbour_task, &s));
out:
    dns_free(means);
    return status;
}

/* ---- making ---- */

static dns_status list_videos(dns_sampler *p)
{
    dns_status status = DNS_OK;
    size_t n = dns_training_set_n_videos(p->set);
    uint8_t *seen = NULL;
    DNS_TRY(dns_alloc(&p->drawn, n, sizeof *p->drawn));
    DNS_TRY(dns_alloc(&p->hosts, n, sizeof *p->hosts));
    DNS_TRY(dns_alloc(&p->place, n, sizeof *p->place));
    DNS_TRY(dns_alloc(&seen, dns_training_set_n_scenes(p->set), 1));
    for (size_t i = 0; i < n; i++) {
        const dns_training_video *v = dns_training_set_video(p->set, i);
        p->place[i] = SIZE_MAX;
        if (v->fold == p->options.held_out || (v->still && !p->options.stills))
            continue;
        if (!v->still)
            p->hosts[p->n_hosts++] = i;
        if (v->host)
            continue;
        p->n_scenes += !seen[v->scene];
        seen[v->scene] = 1;
        p->place[i] = p->n_drawn;
        p->drawn[p->n_drawn++] = i;
    }
out:
    dns_free(seen);
    return status;
}

dns_status dns_sampler_create(dns_sampler **out, const dns_training_set *set,
                              const dns_sampler_options *options, dns_pool *pool)
{
    dns_status status = DNS_OK;
    dns_sampler *p = NULL;
    *out = NULL;
    if (options->batch == 0 || options->cluster == 0 || options->neighbours == 0 ||
        options->max_frames < 8)
        DNS_FAIL(DNS_ERR_ARG, "a batch of nothing, or clips of fewer than 8 frames");
    DNS_TRY(dns_alloc(&p, 1, sizeof *p));
    p->set = set;
    p->options = *options;
    DNS_TRY(list_videos(p));
    if (p->n_scenes < 2)
        DNS_FAIL(DNS_ERR_ARG, "%zu scenes to draw from", p->n_scenes);
    DNS_TRY(find_neighbours(p, pool));
    *out = p;
    p = NULL;
out:
    dns_sampler_free(p);
    return status;
}

void dns_sampler_free(dns_sampler *p)
{
    if (p == NULL)
        return;
    dns_free(p->drawn);
    dns_free(p->hosts);
    dns_free(p->place);
    dns_free(p->neighbours);
    dns_free(p->pairs);
    dns_free(p->queries);
    dns_free(p);
}

size_t dns_sampler_n_videos(const dns_sampler *p)
{
    return p->n_drawn;
}

size_t dns_sampler_scene(const dns_sampler *p, size_t video)
{
    return dns_training_set_video(p->set, video)->scene;
}

dns_status dns_sample_begin(dns_sample *s, size_t n)
{
    dns_status status = DNS_OK;
    dns_clips_clear(&s->clips);
    s->n = 0;
    DNS_TRY(dns_reserve(&s->similarities, &s->pair_capacity, 2 * n, sizeof *s->similarities));
    DNS_TRY(dns_reserve(&s->videos, &s->capacity, n, sizeof *s->videos));
    for (size_t i = 0; i < 2 * n; i++)
        s->similarities[i] = NAN;
    s->n = n;
out:
    return status;
}

void dns_sample_free(dns_sample *s)
{
    dns_free(s->videos);
    dns_free(s->similarities);
    dns_clips_free(&s->clips);
    *s = (dns_sample){0};
}
