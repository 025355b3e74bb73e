#include "dnsel/netvlad.h"

#include "dnsel/cross_entropy.h"
#include "dnsel/linear.h"
#include "dnsel/memory.h"
#include "dnsel/normalise.h"
#include "matmul.h"

enum { ROWS = 256, CLUSTERS = 8 };

struct run {
    dns_real *v, *a, *lengths, *dv, *da, *dx, *dcentroids;
    const dns_real *kept_v, *kept_a, *kept_lengths, *x;
    dns_sequences videos;
    const dns_netvlad *netvlad;
};

static size_t end_of(size_t first, size_t size, size_t n)
{
    return n - first < size ? n : first + size;
}

static dns_status softmax_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct run *r = payload;
    size_t first = task * ROWS, n = dns_sequences_rows(r->videos), k = r->netvlad->n_clusters;
    dns_softmax(r->a + first * k, end_of(first, ROWS, n) - first, k);
    return DNS_OK;
}

/* Sum of the assignments to a cluster over one video. */
static dns_real mass_of(const struct run *r, const dns_real *a, size_t video, size_t cluster)
{
    dns_real sum = 0;
    for (size_t t = r->videos.offsets[video]; t < r->videos.offsets[video + 1]; t++)
        sum += a[t * r->netvlad->n_clusters + cluster];
    return sum;
}

/* V = a^T x - mass * centroids, for one video. */
static dns_status residual_task(void *payload, size_t video, size_t worker)
{
    (void)worker;
    const struct run *r = payload;
    size_t k = r->netvlad->n_clusters, dim = r->netvlad->dim, first = r->videos.offsets[video];
    dns_real *v = r->v + video * k * dim;
    dns_status status = dns_matmul(v, dim, (dns_matrix){r->a + first * k, k, true},
                                   (dns_matrix){r->x + first * dim, dim, false}, k, dim,
                                   dns_sequences_length(r->videos, video), false);
    for (size_t c = 0; c < k; c++) {
        dns_real mass = mass_of(r, r->a, video, c);
        for (size_t j = 0; j < dim; j++)
            v[c * dim + j] -= mass * r->netvlad->centroids[c * dim + j];
    }
    return status;
}

static dns_status normalise_task(void *payload, size_t video, size_t worker)
{
    (void)worker;
    const struct run *r = payload;
    size_t k = r->netvlad->n_clusters, dim = r->netvlad->dim;
    dns_real *v = r->v + video * k * dim;
    dns_normalise_forward(v, r->lengths + video * k, v, k, dim);
    dns_normalise_forward(v, r->lengths + r->videos.n * k + video, v, 1, k * dim);
    return DNS_OK;
}

dns_status dns_netvlad_forward(dns_real *v, dns_real *a, dns_real *lengths, const dns_real *x,
                               dns_sequences videos, const dns_netvlad *netvlad, dns_pool *pool)
{
    dns_status status = DNS_OK;
    size_t n = dns_sequences_rows(videos), k = netvlad->n_clusters, dim = netvlad->dim;
    struct run r = {
        .v = v, .a = a, .lengths = lengths, .x = x, .videos = videos, .netvlad = netvlad};
    DNS_TRY(dns_linear_forward(a, x, netvlad->assignment, NULL, n, dim, k, pool));
    DNS_TRY(dns_pool_run(pool, (n + ROWS - 1) / ROWS, softmax_task, &r));
    DNS_TRY(dns_pool_run(pool, videos.n, residual_task, &r));
    DNS_TRY(dns_pool_run(pool, videos.n, normalise_task, &r));
out:
    return status;
}

static dns_real dot(const dns_real *a, const dns_real *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return (dns_real)sum;
}

/* dV of one video from the gradient of the normalised clusters: each norm(V_k) is v_k times the
 * length of the whole. */
static void through_cluster_norms(const struct run *r, size_t video)
{
    size_t k = r->netvlad->n_clusters, dim = r->netvlad->dim;
    dns_real whole = r->kept_lengths[r->videos.n * k + video];
    for (size_t c = 0; c < k; c++) {
        const dns_real *v = r->kept_v + (video * k + c) * dim;
        dns_real *dv = r->dv + (video * k + c) * dim, length = r->kept_lengths[video * k + c];
        dns_real along = length > (dns_real)1e-12 ? dot(v, dv, dim) * whole * whole : 0;
        for (size_t j = 0; j < dim; j++)
            dv[j] = (dv[j] - v[j] * along) / length;
    }
}

/* da_tk = <dV_k, x_t - c_k>; through the softmax; dx = a dV + dlogits assignment. */
static dns_status backward_task(void *payload, size_t video, size_t worker)
{
    (void)worker;
    const struct run *r = payload;
    dns_status status = DNS_OK;
    size_t k = r->netvlad->n_clusters, dim = r->netvlad->dim, first = r->videos.offsets[video];
    size_t n = dns_sequences_length(r->videos, video);
    const dns_real *a = r->kept_a + first * k, *x = r->x + first * dim;
    dns_real *dv = r->dv + video * k * dim, *da = r->da + first * k, *dx = r->dx + first * dim;
    dns_normalise_backward(dv, dv, r->kept_v + video * k * dim,
                           r->kept_lengths + r->videos.n * k + video, 1, k * dim);
    through_cluster_norms(r, video);
    DNS_TRY(dns_matmul(da, k, (dns_matrix){x, dim, false}, (dns_matrix){dv, dim, true}, n, k, dim,
                       false));
    for (size_t c = 0; c < k; c++) {
        dns_real offset = dot(dv + c * dim, r->netvlad->centroids + c * dim, dim);
        for (size_t t = 0; t < n; t++)
            da[t * k + c] -= offset;
    }
    for (size_t t = 0; t < n; t++) {
        dns_real mean = dot(a + t * k, da + t * k, k);
        for (size_t c = 0; c < k; c++)
            da[t * k + c] = a[t * k + c] * (da[t * k + c] - mean);
    }
    DNS_TRY(dns_matmul(dx, dim, (dns_matrix){a, k, false}, (dns_matrix){dv, dim, false}, n, dim, k,
                       false));
    DNS_TRY(dns_matmul(dx, dim, (dns_matrix){da, k, false},
                       (dns_matrix){r->netvlad->assignment, dim, false}, n, dim, k, true));
out:
    return status;
}

/* dc_k = -sum over videos of mass * dV_k, videos in order. */
static dns_status centroid_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct run *r = payload;
    size_t k = r->netvlad->n_clusters, dim = r->netvlad->dim;
    for (size_t c = task * CLUSTERS; c < end_of(task * CLUSTERS, CLUSTERS, k); c++) {
        for (size_t video = 0; video < r->videos.n; video++) {
            dns_real mass = mass_of(r, r->kept_a, video, c);
            for (size_t j = 0; j < dim; j++)
                r->dcentroids[c * dim + j] -= mass * r->dv[(video * k + c) * dim + j];
        }
    }
    return DNS_OK;
}

dns_status dns_netvlad_backward(dns_real *dx, dns_real *dcentroids, dns_real *dassignment,
                                dns_real *dv, const dns_real *v, const dns_real *a,
                                const dns_real *lengths, const dns_real *x, dns_sequences videos,
                                const dns_netvlad *netvlad, dns_pool *pool)
{
    dns_status status = DNS_OK;
    size_t n = dns_sequences_rows(videos), k = netvlad->n_clusters, dim = netvlad->dim;
    struct run r = {.dv = dv,
                    .dx = dx,
                    .dcentroids = dcentroids,
                    .kept_v = v,
                    .kept_a = a,
                    .kept_lengths = lengths,
                    .x = x,
                    .videos = videos,
                    .netvlad = netvlad};
    DNS_TRY(dns_alloc(&r.da, n * k, sizeof *r.da));
    DNS_TRY(dns_pool_run(pool, videos.n, backward_task, &r));
    DNS_TRY(dns_pool_run(pool, (k + CLUSTERS - 1) / CLUSTERS, centroid_task, &r));
    DNS_TRY(dns_linear_backward(NULL, dassignment, NULL, r.da, x, netvlad->assignment, n, dim, k,
                                pool));
out:
    dns_free(r.da);
    return status;
}
