#include "coarse_net.h"
#include "dnsel/memory.h"

/* Videos are worked on in groups, whose frames stay near the processor, and reduced in batches, for
 * each of which the weights of the reduction are read once. */
enum { GROUP_FRAMES = 512, BATCH_VIDEOS = 64 };

struct dns_coarse_session {
    const dns_coarse *net;
    dns_pool *pool;
    coarse_tape *tapes; /* one a worker */
    float *vlad;        /* [BATCH_VIDEOS, K D] */
    size_t vlad_capacity;
    size_t last_worker; /* whose tape holds the last group */
};

dns_status dns_coarse_session_create(dns_coarse_session **out, const dns_coarse *net,
                                     dns_pool *pool)
{
    dns_status status = DNS_OK;
    dns_coarse_session *session = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&session, 1, sizeof *session));
    session->net = net;
    session->pool = pool;
    DNS_TRY(dns_alloc(&session->tapes, dns_pool_size(pool), sizeof *session->tapes));
    *out = session;
    session = NULL;
out:
    dns_coarse_session_free(session);
    return status;
}

void dns_coarse_session_free(dns_coarse_session *session)
{
    if (session == NULL)
        return;
    for (size_t i = 0; session->tapes != NULL && i < dns_pool_size(session->pool); i++)
        dns_coarse_tape_free(&session->tapes[i]);
    dns_free(session->tapes);
    dns_free(session->vlad);
    dns_free(session);
}

/* One batch: its videos cut into groups. */
struct batch {
    dns_coarse_session *session;
    const dns_coarse_video *videos;
    size_t first;                                         /* number of the first one in the call */
    size_t n_regions, n_groups, groups[BATCH_VIDEOS + 1]; /* group g begins with video groups[g] */
    dns_pool *pool;                                       /* within a group */
};

static void cut(struct batch *b, size_t n_videos)
{
    size_t frames = 0;
    b->n_groups = 0;
    for (size_t v = 0; v < n_videos; v++) {
        frames += b->videos[v].n_frames;
        if (v == 0 || frames > GROUP_FRAMES) {
            b->groups[b->n_groups++] = v;
            frames = b->videos[v].n_frames;
        }
    }
    b->groups[b->n_groups] = n_videos;
}

static coarse_pass pass_over(const struct batch *b, size_t first, size_t last)
{
    return (coarse_pass){.net = b->session->net,
                         .videos = b->videos + first,
                         .n_videos = last - first,
                         .n_regions = b->n_regions,
                         .first = b->first + first,
                         .pool = b->pool};
}

static dns_status group_task(void *payload, size_t task, size_t worker)
{
    const struct batch *b = payload;
    const dns_coarse_shape *s = &b->session->net->shape;
    size_t first = b->groups[task];
    coarse_pass pass = pass_over(b, first, b->groups[task + 1]);
    if (task + 1 == b->n_groups)
        b->session->last_worker = worker;
    return dns_coarse_forward_frames(b->session->vlad + first * s->n_clusters * s->dim,
                                     &b->session->tapes[worker], &pass);
}

/* Several groups are shared out to the workers, a single one within itself; the numbers are the
 * same. */
static dns_status run_groups(struct batch *b)
{
    dns_pool *pool = b->session->pool;
    b->pool = b->n_groups == 1 ? pool : NULL;
    return b->n_groups == 1 ? group_task(b, 0, 0) : dns_pool_run(pool, b->n_groups, group_task, b);
}

dns_status dns_coarse_embed(dns_coarse_session *session, float *embeddings,
                            const dns_coarse_video *videos, size_t n_videos, size_t n_regions)
{
    const dns_coarse_shape *s = &session->net->shape;
    dns_status status = DNS_OK;
    for (size_t first = 0; first < n_videos; first += BATCH_VIDEOS) {
        size_t n = n_videos - first < BATCH_VIDEOS ? n_videos - first : BATCH_VIDEOS;
        struct batch b = {.session = session,
                          .videos = videos + first,
                          .first = first,
                          .n_regions = n_regions,
                          .pool = session->pool};
        coarse_pass whole = pass_over(&b, 0, n);
        float *out = embeddings + first * s->out;
        if (s->kind == DNS_COARSE_MEAN) {
            DNS_TRY(dns_coarse_forward_mean(out, &session->tapes[0], &whole));
            continue;
        }
        DNS_TRY(dns_reserve(&session->vlad, &session->vlad_capacity, n * s->n_clusters * s->dim,
                            sizeof *session->vlad));
        cut(&b, n);
        DNS_TRY(run_groups(&b));
        DNS_TRY(dns_coarse_forward_reduction(out, &session->tapes[0], session->vlad, n, &whole));
    }
out:
    return status;
}

dns_coarse_stages dns_coarse_last_stages(const dns_coarse_session *session)
{
    const coarse_tape *tape = &session->tapes[session->last_worker];
    if (tape->offsets == NULL)
        return (dns_coarse_stages){0};
    return (dns_coarse_stages){tape->arrays[POOLED], tape->arrays[FRAMES],
                               dns_sequences_rows(tape->videos)};
}
