#include "dnsel/trial.h"

#include <string.h>

#include "dnsel/memory.h"
#include "dnsel/sampler.h"

enum { SHORTEST = 3, LONGEST = 8, HOST_SHORTEST = 15, HOST_LONGEST = 40, EMBEDDED = 2 };

dns_trial_options dns_trial_options_default(void)
{
    return (dns_trial_options){.fold = DNS_NO_FOLD, .max_frames = 24, .seed = 1};
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

struct making {
    dns_trial *trial;
    const dns_trial_options *o;
    size_t *hosts;
    size_t n_hosts;
};

static dns_status add_frames(dns_clips *clips, size_t video, size_t view, size_t first, size_t n)
{
    dns_status status = DNS_OK;
    for (size_t i = 0; i < n && status == DNS_OK; i++)
        status = dns_clips_add(clips, video, view, first + i);
    return status;
}

static dns_status begin_query(struct making *m, size_t video, const char *edit)
{
    dns_trial *t = m->trial;
    size_t n = t->queries.n, capacity = t->capacity;
    dns_status status = dns_reserve(&t->query_video, &capacity, n + 1, sizeof *t->query_video);
    if (status == DNS_OK)
        status = dns_reserve(&t->query_edit, &t->capacity, n + 1, sizeof *t->query_edit);
    if (status != DNS_OK)
        return status;
    t->query_video[n] = video;
    t->query_edit[n] = edit;
    return dns_clips_begin(&t->queries);
}

static dns_status whole_copy(struct making *m, size_t video, size_t view)
{
    dns_training_view v = dns_training_set_view(m->trial->set, video, view);
    dns_status status = begin_query(m, video, v.edit);
    if (status == DNS_OK)
        status =
            add_frames(&m->trial->queries, video, view, 0, least(v.n_frames, m->o->max_frames));
    return status;
}

/* 3 to 8 frames of a random copy, within `around` frames of a host. */
static dns_status part_of_copy(struct making *m, size_t video, bool embedded, dns_random *random)
{
    dns_status status = DNS_OK;
    dns_clips *clips = &m->trial->queries;
    const dns_training_set *set = m->trial->set;
    size_t n_views = dns_training_set_video(set, video)->n_views;
    size_t view = 1 + dns_random_below(random, n_views - 1),
           n_all = dns_training_set_view(set, video, view).n_frames;
    size_t n = least(SHORTEST + dns_random_below(random, LONGEST - SHORTEST + 1), n_all),
           first = dns_random_below(random, n_all - n + 1), host = 0, before = 0, around = 0,
           at = 0, n_host = 1;
    if (embedded) {
        host = m->hosts[dns_random_below(random, m->n_hosts)];
        n_host = dns_training_set_view(set, host, 0).n_frames;
        around = HOST_SHORTEST + dns_random_below(random, HOST_LONGEST - HOST_SHORTEST + 1);
        before = dns_random_below(random, around + 1);
        at = dns_random_below(random, n_host);
    }
    DNS_TRY(begin_query(m, video, embedded ? "embed" : "part"));
    for (size_t i = 0; i < before; i++)
        DNS_TRY(dns_clips_add(clips, host, 0, (at + i) % n_host));
    DNS_TRY(add_frames(clips, video, view, first, n));
    for (size_t i = before; i < around; i++)
        DNS_TRY(dns_clips_add(clips, host, 0, (at + i) % n_host));
out:
    return status;
}

/* All queries of a video are numbered: copies, the part, the embedded ones. Some are drawn. */
static dns_status ask_for(struct making *m, size_t video)
{
    dns_status status = DNS_OK;
    size_t n_copies = dns_training_set_video(m->trial->set, video)->n_views - 1,
           n_all = n_copies + 1 + (m->n_hosts > 0 ? EMBEDDED : 0), *order = NULL;
    dns_random random = dns_random_stream(m->o->seed, video);
    size_t n = m->o->per_video == 0 ? n_all : least(m->o->per_video, n_all);
    DNS_TRY(dns_alloc(&order, n_all, sizeof *order));
    for (size_t i = 0; i < n_all; i++)
        order[i] = i;
    if (n < n_all)
        dns_random_shuffle(&random, order, n_all);
    for (size_t i = 0; i < n; i++)
        DNS_TRY(order[i] < n_copies ? whole_copy(m, video, 1 + order[i])
                                    : part_of_copy(m, video, order[i] > n_copies, &random));
out:
    dns_free(order);
    return status;
}

static dns_status add_to_database(struct making *m, size_t video)
{
    dns_trial *t = m->trial;
    t->database_video[t->database.n] = video;
    dns_status status = dns_clips_begin(&t->database);
    if (status == DNS_OK)
        status =
            add_frames(&t->database, video, 0, 0,
                       least(dns_training_set_view(t->set, video, 0).n_frames, m->o->max_frames));
    return status;
}

static dns_status find_relevant(dns_trial *t)
{
    dns_status status = DNS_OK;
    size_t n = t->database.n;
    DNS_TRY(dns_alloc(&t->relevant, t->queries.n, n * sizeof *t->relevant));
    DNS_TRY(dns_alloc(&t->n_relevant, t->queries.n, sizeof *t->n_relevant));
    for (size_t i = 0; i < t->queries.n; i++)
        for (size_t j = 0; j < n; j++) {
            t->relevant[i * n + j] = dns_training_set_video(t->set, t->query_video[i])->scene ==
                                     dns_training_set_video(t->set, t->database_video[j])->scene;
            t->n_relevant[i] += t->relevant[i * n + j];
        }
out:
    return status;
}

dns_status dns_trial_create(dns_trial *out, const dns_training_set *set,
                            const dns_trial_options *options)
{
    dns_status status = DNS_OK;
    size_t n = dns_training_set_n_videos(set);
    struct making m = {.trial = out, .o = options};
    *out = (dns_trial){.set = set};
    DNS_TRY(dns_alloc(&m.hosts, n, sizeof *m.hosts));
    DNS_TRY(dns_alloc(&out->database_video, n, sizeof *out->database_video));
    for (size_t i = 0; i < n; i++)
        if (dns_training_set_video(set, i)->host)
            m.hosts[m.n_hosts++] = i;
    for (size_t i = 0; i < n; i++) {
        const dns_training_video *v = dns_training_set_video(set, i);
        if (v->host || v->still)
            continue;
        DNS_TRY(add_to_database(&m, i));
        if (v->n_views > 1 && (options->fold == DNS_NO_FOLD || v->fold == options->fold))
            DNS_TRY(ask_for(&m, i));
    }
    if (out->queries.n == 0)
        DNS_FAIL(DNS_ERR_ARG, "no edited copies of videos of this fold to ask for");
    DNS_TRY(find_relevant(out));
out:
    dns_free(m.hosts);
    if (status != DNS_OK)
        dns_trial_free(out);
    return status;
}

void dns_trial_free(dns_trial *t)
{
    dns_clips_free(&t->queries);
    dns_clips_free(&t->database);
    dns_free(t->query_video);
    dns_free(t->query_edit);
    dns_free(t->database_video);
    dns_free(t->relevant);
    dns_free(t->n_relevant);
    *t = (dns_trial){0};
}

dns_clip_range dns_trial_queries(const dns_trial *t)
{
    return (dns_clip_range){t->set, &t->queries, 0, t->queries.n};
}

dns_clip_range dns_trial_database(const dns_trial *t)
{
    return (dns_clip_range){t->set, &t->database, 0, t->database.n};
}

dns_status dns_trial_precision(double *mean, double *ap, const dns_trial *t, const float *scores)
{
    dns_status status = DNS_OK;
    size_t n = t->database.n, *order = NULL;
    double *row = NULL;
    bool *hits = NULL;
    *mean = 0;
    DNS_TRY(dns_alloc(&order, n, sizeof *order));
    DNS_TRY(dns_alloc(&row, n, sizeof *row));
    DNS_TRY(dns_alloc(&hits, n, sizeof *hits));
    for (size_t i = 0; i < t->queries.n; i++) {
        for (size_t j = 0; j < n; j++)
            row[j] = (double)scores[i * n + j];
        DNS_TRY(dns_rank(order, row, n));
        for (size_t r = 0; r < n; r++)
            hits[r] = t->relevant[i * n + order[r]];
        ap[i] = dns_average_precision(hits, n, t->n_relevant[i]);
        *mean += ap[i] / (double)t->queries.n;
    }
out:
    dns_free(order);
    dns_free(row);
    dns_free(hits);
    return status;
}
