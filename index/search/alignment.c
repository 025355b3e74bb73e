#include "dnsel/alignment.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "dnsel/frame_similarity.h"
#include "dnsel/memory.h"
#include "dnsel/video_similarity.h"

/* The best stretch that ends in a cell. */
struct stretch {
    double score;
    size_t query_start, target_start, n_pairs;
};

/* *gap = what skipping a frame costs. */
static dns_status choose_threshold(dns_alignment *out, double *gap, const float *map, size_t n)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(map[i]))
            return dns_status_set(DNS_ERR_RANGE, "similarity of frames %zu is not finite", i);
        sum += (double)map[i];
    }
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += ((double)map[i] - mean) * ((double)map[i] - mean);
    const double threshold = fmin(mean + sqrt(squares / (double)n) + 1e-6, 0.5); /* rounding */
    *gap = fmax(threshold - mean, 0) / 2;
    out->threshold = (float)threshold;
    return DNS_OK;
}

static struct stretch better(struct stretch a, struct stretch b)
{
    return b.score > a.score ? b : a;
}

/* Row by row; above[j] is the best stretch that ends in column j of the row before. */
static void find_stretch(dns_alignment *out, struct stretch *above, const float *map,
                         size_t n_query, size_t n_target, double gap)
{
    const double threshold = (double)out->threshold;
    double best = 0;
    for (size_t i = 0; i < n_query; i++) {
        struct stretch diagonal = {0}, left = {0};
        for (size_t j = 0; j < n_target; j++) {
            struct stretch here = diagonal.score > 0 ? diagonal : (struct stretch){0, i, j, 0};
            here.score += (double)map[i * n_target + j] - threshold;
            here.n_pairs++;
            diagonal = above[j];
            struct stretch skipped = better(above[j], left);
            skipped.score -= gap;
            here = better(here, skipped);
            if (!(here.score > 0))
                here = (struct stretch){0};
            if (here.score > best) {
                best = here.score;
                out->query_start = here.query_start;
                out->target_start = here.target_start;
                out->query_end = i + 1;
                out->target_end = j + 1;
                out->n_pairs = here.n_pairs;
            }
            above[j] = left = here;
        }
    }
    out->score = (float)(best / (double)(n_query < n_target ? n_query : n_target));
}

/* sums [n_query + n_target - 1]: what cells of each offset are above the threshold, together. */
static size_t count_peaks(double *sums, const dns_alignment *a, const float *map, size_t n_query,
                          size_t n_target)
{
    const size_t n = n_query + n_target - 1;
    double largest = 0;
    size_t n_peaks = 0;
    for (size_t i = 0; i < n_query; i++)
        for (size_t j = 0; j < n_target; j++)
            sums[j + n_query - 1 - i] += fmax((double)(map[i * n_target + j] - a->threshold), 0);
    for (size_t d = 0; d < n; d++)
        largest = fmax(largest, sums[d]);
    for (size_t d = 0; d < n && largest > 0; d++)
        n_peaks += sums[d] >= largest / 2 && (d == 0 || sums[d] > sums[d - 1]) &&
                   (d + 1 == n || sums[d] >= sums[d + 1]);
    return n_peaks;
}

static float matched_share(const dns_alignment *a, const float *map, size_t n_query,
                           size_t n_target)
{
    size_t matched = 0;
    for (size_t i = 0; i < n_query; i++) {
        bool found = false;
        for (size_t j = 0; j < n_target && !found; j++)
            found = map[i * n_target + j] > a->threshold;
        matched += found;
    }
    return (float)((double)matched / (double)n_query);
}

dns_status dns_align_map(dns_alignment *out, const float *map, size_t n_query, size_t n_target)
{
    dns_status status = DNS_OK;
    struct stretch *above = NULL;
    double *sums = NULL, gap = 0;
    *out = (dns_alignment){.n_query = n_query, .n_target = n_target};
    if (n_query == 0 || n_target == 0)
        DNS_FAIL(DNS_ERR_ARG, "alignment of %zu with %zu frames", n_query, n_target);
    DNS_TRY(choose_threshold(out, &gap, map, n_query * n_target));
    DNS_TRY(dns_alloc(&above, n_target, sizeof *above));
    DNS_TRY(dns_alloc(&sums, n_query + n_target - 1, sizeof *sums));
    const dns_score_map scores = {.map = map, .rows = n_query, .columns = n_target};
    out->chamfer_query = dns_video_similarity_forward(&scores, DNS_DIRECTION_QUERY);
    out->chamfer_target = dns_video_similarity_forward(&scores, DNS_DIRECTION_TARGET);
    find_stretch(out, above, map, n_query, n_target, gap);
    out->n_peaks = count_peaks(sums, out, map, n_query, n_target);
    out->matched = matched_share(out, map, n_query, n_target);
out:
    dns_free(sums);
    dns_free(above);
    return status;
}

/* *out = unit vectors of at most DNS_ALIGNMENT_FRAMES frames; vectors of length 0 stay. */
static dns_status unit_vectors(float **out, size_t *n, const float *x, const size_t shape[3])
{
    const size_t width = shape[1] * shape[2];
    *n = shape[0] < DNS_ALIGNMENT_FRAMES ? shape[0] : DNS_ALIGNMENT_FRAMES;
    dns_status status = dns_alloc(out, *n * width, sizeof **out);
    for (size_t t = 0; status == DNS_OK && t < *n; t++)
        memcpy(*out + t * width, x + t * shape[0] / *n * width, width * sizeof *x);
    for (size_t v = 0; status == DNS_OK && v < *n * shape[1]; v++) {
        float *vector = *out + v * shape[2];
        double squares = 0;
        for (size_t j = 0; j < shape[2]; j++)
            squares += (double)vector[j] * (double)vector[j];
        for (size_t j = 0; j < shape[2] && squares > 0; j++)
            vector[j] = (float)((double)vector[j] / sqrt(squares));
    }
    return status;
}

dns_status dns_align_regions(dns_alignment *out, const float *query, const size_t query_shape[3],
                             const float *target, const size_t target_shape[3],
                             dns_region_step step)
{
    dns_status status = DNS_OK;
    dns_frame_scratch scratch = {0};
    float *x = NULL, *y = NULL, *map = NULL;
    dns_frame_pair pair = {.n_regions = query_shape[1], .dim = query_shape[2]};
    *out = (dns_alignment){0};
    if (query_shape[1] != target_shape[1] || query_shape[2] != target_shape[2])
        DNS_FAIL(DNS_ERR_SHAPE, "alignment of [%zu,%zu] with [%zu,%zu] regions", query_shape[1],
                 query_shape[2], target_shape[1], target_shape[2]);
    DNS_TRY(unit_vectors(&x, &pair.n_query, query, query_shape));
    DNS_TRY(unit_vectors(&y, &pair.n_target, target, target_shape));
    pair.x = x;
    pair.y = y;
    DNS_TRY(dns_alloc(&map, pair.n_query * pair.n_target, sizeof *map));
    DNS_TRY(dns_frame_similarity_forward(map, NULL, &pair, step, &scratch));
    DNS_TRY(dns_align_map(out, map, pair.n_query, pair.n_target));
out:
    dns_frame_scratch_free(&scratch);
    dns_free(map);
    dns_free(y);
    dns_free(x);
    return status;
}

void dns_alignment_features(float out[DNS_ALIGNMENT_FEATURES], const dns_alignment *a)
{
    const bool query = a->n_query <= a->n_target;
    const size_t n = query ? a->n_query : a->n_target;
    const size_t span = query ? a->query_end - a->query_start : a->target_end - a->target_start;
    out[0] = a->chamfer_query;
    out[1] = a->chamfer_target;
    out[2] = a->score;
    out[3] = n > 0 ? (float)((double)span / (double)n) : 0;
    out[4] = a->matched;
    out[5] = (float)log1p((double)a->n_peaks);
}
