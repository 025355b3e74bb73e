#include "dnsel/video_features.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#include "dnsel/archive.h"
#include "dnsel/memory.h"
#include "dnsel/random.h"

enum { MEAN = 48, DEVIATION = 32, SALIENT = 48, N_SALIENT = 8 };
enum { WORDS = 256, BINS = 8, MOST_FRAMES = 256 };

static const double year_ns = 365.25 * 24 * 3600 * 1e9;

size_t dns_regular_features_count(size_t dim)
{
    return dim + 2;
}

dns_status dns_regular_features(float *x, const dns_record *coarse, const dns_record *selector,
                                double duration)
{
    if (coarse->rank != 1)
        return dns_status_set(DNS_ERR_SHAPE, "a coarse vector of %zu dimensions", coarse->rank);
    dns_status status = dns_record_to_f32(x, coarse);
    x[coarse->shape[0]] = 0;
    if (status == DNS_OK && selector != NULL)
        status = dns_record_to_f32(x + coarse->shape[0], selector);
    x[coarse->shape[0] + 1] = (float)log1p(fmax(duration, 0));
    return status;
}

/* out [n] = random signs [n, dim] / sqrt(dim) of v; the signs depend on dim alone. */
static void project(float *out, size_t n, const double *v, size_t dim)
{
    dns_random random = dns_random_seed(dim);
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t j = 0; j < dim; j += 64) {
            uint64_t signs = dns_random_next(&random);
            for (size_t b = 0; b < 64 && j + b < dim; b++)
                sum += (signs >> b & 1) != 0 ? v[j + b] : -v[j + b];
        }
        out[i] = (float)(sum / sqrt((double)dim));
    }
}

/* Region vectors [n, dim] as weights and directions. */
struct regions {
    const float *x;
    size_t n, dim;
    double *weight;  /* [n]: length of the vector */
    double *nearest; /* [n]: largest cosine with the mean and the regions chosen so far */
};

static void weigh(struct regions *r, double *mean, double *deviation)
{
    double total = 0;
    for (size_t i = 0; i < r->n; i++) {
        const float *x = r->x + i * r->dim;
        for (size_t j = 0; j < r->dim; j++) {
            r->weight[i] += (double)x[j] * (double)x[j];
            mean[j] += (double)x[j];
        }
        r->weight[i] = sqrt(r->weight[i]);
        total += r->weight[i];
    }
    for (size_t j = 0; j < r->dim && total > 0; j++)
        mean[j] /= total;
    for (size_t i = 0; i < r->n; i++)
        for (size_t j = 0; j < r->dim && r->weight[i] > 0; j++) {
            double away = (double)r->x[i * r->dim + j] / r->weight[i] - mean[j];
            deviation[j] += r->weight[i] * away * away / total;
        }
    for (size_t j = 0; j < r->dim; j++)
        deviation[j] = sqrt(deviation[j]);
}

static void approach(struct regions *r, const double *v)
{
    double squares = 0;
    for (size_t j = 0; j < r->dim; j++)
        squares += v[j] * v[j];
    for (size_t i = 0; i < r->n; i++) {
        double product = 0, lengths = r->weight[i] * sqrt(squares);
        for (size_t j = 0; j < r->dim; j++)
            product += (double)r->x[i * r->dim + j] * v[j];
        r->nearest[i] = fmax(r->nearest[i], lengths > 0 ? product / lengths : 1);
    }
}

/* largest [dim] over the unit vectors of the salient regions; v [dim] is scratch. */
static void find_salient(struct regions *r, double *largest, double *v, const double *mean)
{
    for (size_t i = 0; i < r->n; i++)
        r->nearest[i] = -1;
    approach(r, mean);
    for (size_t chosen = 0; chosen < N_SALIENT && chosen < r->n; chosen++) {
        size_t best = 0;
        for (size_t i = 1; i < r->n; i++)
            if (r->weight[i] * (1 - r->nearest[i]) > r->weight[best] * (1 - r->nearest[best]))
                best = i;
        for (size_t j = 0; j < r->dim; j++) {
            double length = r->weight[best] > 0 ? r->weight[best] : 1;
            v[j] = (double)r->x[best * r->dim + j] / length;
            largest[j] = chosen == 0 ? v[j] : fmax(largest[j], v[j]);
        }
        approach(r, v);
    }
}

dns_status dns_region_features(float out[DNS_FEATURES_REGIONS], const float *x, size_t n_frames,
                               size_t n_regions, size_t dim)
{
    dns_status status = DNS_OK;
    double *mean = NULL, *deviation = NULL, *largest = NULL, *v = NULL;
    struct regions r = {.x = x, .n = n_frames * n_regions, .dim = dim};
    DNS_TRY(dns_alloc(&mean, dim, sizeof *mean));
    DNS_TRY(dns_alloc(&deviation, dim, sizeof *deviation));
    DNS_TRY(dns_alloc(&largest, dim, sizeof *largest));
    DNS_TRY(dns_alloc(&v, dim, sizeof *v));
    DNS_TRY(dns_alloc(&r.weight, r.n, sizeof *r.weight));
    DNS_TRY(dns_alloc(&r.nearest, r.n, sizeof *r.nearest));
    weigh(&r, mean, deviation);
    find_salient(&r, largest, v, mean);
    project(out, MEAN, mean, dim);
    project(out + MEAN, DEVIATION, deviation, dim);
    project(out + MEAN + DEVIATION, SALIENT, largest, dim);
out:
    dns_free(r.nearest);
    dns_free(r.weight);
    dns_free(v);
    dns_free(largest);
    dns_free(deviation);
    dns_free(mean);
    return status;
}

/* Unit vectors [n_frames, dim], the mean of each frame's regions. */
static void frame_vectors(float *frames, const float *x, size_t n_frames, size_t n_regions,
                          size_t dim)
{
    for (size_t t = 0; t < n_frames; t++) {
        float *frame = frames + t * dim;
        double squares = 0;
        for (size_t r = 0; r < n_regions; r++)
            for (size_t j = 0; j < dim; j++)
                frame[j] += x[(t * n_regions + r) * dim + j];
        for (size_t j = 0; j < dim; j++)
            squares += (double)frame[j] * (double)frame[j];
        for (size_t j = 0; j < dim; j++)
            frame[j] = squares > 0 ? (float)((double)frame[j] / sqrt(squares)) : 0;
    }
}

static double cosine(const float *a, const float *b, size_t dim)
{
    double sum = 0;
    for (size_t j = 0; j < dim; j++)
        sum += (double)(a[j] * b[j]);
    return sum;
}

dns_status dns_temporal_features(float out[DNS_FEATURES_TEMPORAL], const float *x, size_t n_frames,
                                 size_t n_regions, size_t dim)
{
    float *frames = NULL;
    dns_status status = dns_alloc(&frames, n_frames * dim, sizeof *frames);
    if (status != DNS_OK)
        return status;
    memset(out, 0, DNS_FEATURES_TEMPORAL * sizeof *out);
    frame_vectors(frames, x, n_frames, n_regions, dim);
    double sum = 0, smallest = 1, cuts = 0;
    const size_t n_pairs = n_frames > 1 ? n_frames - 1 : 0;
    for (size_t t = 0; t < n_pairs; t++) {
        double similarity = cosine(frames + t * dim, frames + (t + 1) * dim, dim);
        sum += similarity;
        smallest = fmin(smallest, similarity);
        cuts += similarity < 0.5;
    }
    out[0] = n_pairs > 0 ? (float)(cuts / (double)n_pairs) : 0;
    out[1] = (float)log1p(cuts);
    out[2] = n_pairs > 0 ? (float)(sum / (double)n_pairs) : 1;
    out[3] = (float)smallest;
    const size_t n = n_frames < MOST_FRAMES ? n_frames : MOST_FRAMES;
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++) {
            double similarity =
                cosine(frames + a * n_frames / n * dim, frames + b * n_frames / n * dim, dim);
            int bin = (int)((similarity + 1) / 2 * BINS);
            out[4 + (bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin)] += 1 / (float)(n * n);
        }
    dns_free(frames);
    return DNS_OK;
}

static void hash_words(float words[WORDS], const char *name)
{
    char word[128];
    double squares = 0;
    for (size_t length = 0;; name++) {
        const unsigned char c = (unsigned char)*name;
        if ((isalnum(c) || c >= 128) && length < sizeof word) {
            word[length++] = (char)tolower(c);
            continue;
        }
        if (length > 0) {
            uint64_t hash = dns_checksum(word, length);
            words[hash % WORDS] += hash >> 63 ? -1 : 1;
        }
        length = 0;
        if (c == '\0')
            break;
    }
    for (size_t i = 0; i < WORDS; i++)
        squares += (double)(words[i] * words[i]);
    for (size_t i = 0; i < WORDS; i++)
        words[i] = squares > 0 ? (float)((double)words[i] / sqrt(squares)) : 0;
}

void dns_metadata_features(float out[DNS_FEATURES_METADATA], const dns_meta *meta)
{
    const char *slash = strrchr(meta->name, '/');
    const double pixels = (double)meta->width * (double)meta->height;
    memset(out, 0, DNS_FEATURES_METADATA * sizeof *out);
    if (meta->imported)
        return;
    hash_words(out, slash != NULL ? slash + 1 : meta->name);
    out[WORDS] = (float)log1p(fmax(meta->duration, 0));
    out[WORDS + 1] = (float)log1p(pixels);
    out[WORDS + 2] = meta->height > 0 ? (float)meta->width / (float)meta->height : 0;
    out[WORDS + 3] =
        meta->duration > 0 ? (float)log1p((double)meta->file_size / meta->duration) : 0;
    out[WORDS + 4] = (float)((double)meta->mtime_ns / year_ns);
}

dns_status dns_stored_regions(float **x, size_t shape[3], bool *found, const dns_snapshot *snapshot,
                              uint64_t id)
{
    static const dns_kind kinds[] = {DNS_KIND_FINE_ATTENTION, DNS_KIND_REGIONS, DNS_KIND_ARCHIVE};
    dns_status status = DNS_OK;
    dns_record record = {0};
    *x = NULL;
    *found = false;
    for (size_t i = 0; !*found && i < sizeof kinds / sizeof *kinds; i++) {
        status = dns_snapshot_get(&record, snapshot, kinds[i], id, true);
        *found = status == DNS_OK;
        if (status != DNS_OK && status != DNS_ERR_NOTFOUND)
            return status;
    }
    if (!*found)
        return DNS_OK;
    memcpy(shape, record.shape, 3 * sizeof *shape);
    shape[0] = dns_record_frames(&record);
    DNS_TRY(dns_alloc(x, shape[0], shape[1] * shape[2] * sizeof **x));
    status = record.kind == DNS_KIND_ARCHIVE ? dns_archive_unpack(*x, &record)
                                             : dns_record_to_f32(*x, &record);
out:
    if (status != DNS_OK) {
        dns_free(*x);
        *x = NULL;
        *found = false;
    }
    return status;
}
