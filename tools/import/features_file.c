#include "dnsel/features_file.h"

#include <stdlib.h>
#include <string.h>

#include "dnsel/memory.h"
#include "features_backend.h"

enum { MAX_VIDEOS = 16 << 20 };
static const size_t max_frames = (size_t)1 << 31, max_width = 1 << 24;

static const features_backend *const backends[] = {&dns_features_hdf5, &dns_features_npz,
                                                   &dns_features_npy, &dns_features_safetensors};

dns_status dns_features_add(dns_features_file *file, const char *id, size_t n, size_t position,
                            size_t n_rows)
{
    char *copy = NULL;
    dns_status status = DNS_OK;
    if (file->n_videos == MAX_VIDEOS)
        return dns_status_set(DNS_ERR_LIMIT, "%s: more than %d videos", file->path, MAX_VIDEOS);
    DNS_TRY(dns_reserve(&file->videos, &file->capacity, file->n_videos + 1, sizeof *file->videos));
    DNS_TRY(dns_alloc(&copy, n + 1, 1));
    memcpy(copy, id, n);
    file->videos[file->n_videos++] = (features_video){copy, position, n_rows};
out:
    return status;
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(((const features_video *)a)->id, ((const features_video *)b)->id);
}

static dns_status open_backend(dns_features_file *file)
{
    const size_t n = sizeof backends / sizeof *backends;
    for (size_t i = 0; i < n && file->backend == NULL; i++)
        if (backends[i]->recognise(file))
            file->backend = backends[i];
    if (file->backend == NULL)
        return dns_status_set(DNS_ERR_FORMAT, "%s: no HDF5, .npz, .npy or safetensors file",
                              file->path);
    dns_status status = file->backend->open(file);
    if (status != DNS_OK || file->n_videos == 0)
        return status;
    qsort(file->videos, file->n_videos, sizeof *file->videos, compare_ids);
    for (size_t i = 1; i < file->n_videos; i++)
        if (compare_ids(&file->videos[i - 1], &file->videos[i]) == 0)
            return dns_status_set(DNS_ERR_CORRUPT, "%s: video '%s' occurs twice", file->path,
                                  file->videos[i].id);
    return DNS_OK;
}

dns_status dns_features_file_open(dns_features_file **out, const char *path)
{
    dns_status status = DNS_OK;
    dns_features_file *file = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&file, 1, sizeof *file));
    DNS_TRY(dns_string_copy(&file->path, path));
    DNS_TRY(dns_mapping_open(&file->mapping, path));
    DNS_TRY(open_backend(file));
    *out = file;
    file = NULL;
out:
    dns_features_file_close(file);
    return status;
}

void dns_features_file_close(dns_features_file *file)
{
    if (file == NULL)
        return;
    if (file->backend != NULL && file->handle != NULL)
        file->backend->close(file->handle);
    for (size_t i = 0; i < file->n_videos; i++)
        dns_free(file->videos[i].id);
    dns_free(file->videos);
    dns_mapping_close(&file->mapping);
    dns_free(file->path);
    dns_free(file);
}

const char *dns_features_file_container(const dns_features_file *file)
{
    return file->backend->container;
}

size_t dns_features_file_count(const dns_features_file *file)
{
    return file->n_videos;
}

const char *dns_features_file_id(const dns_features_file *file, size_t index)
{
    return file->videos[index].id;
}

bool dns_features_file_find(size_t *index, const dns_features_file *file, const char *id)
{
    size_t low = 0, high = file->n_videos;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(file->videos[middle].id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *index = low;
    return low < file->n_videos && strcmp(file->videos[low].id, id) == 0;
}

dns_status dns_features_file_shape(dns_features_shape *out, dns_features_file *file, size_t index)
{
    const features_video *video = &file->videos[index];
    size_t shape[8] = {0}, rank, width;
    *out = (dns_features_shape){0};
    dns_status status = file->backend->shape(shape, &rank, file, video);
    if (status != DNS_OK)
        return dns_status_context(status, "%s: '%s'", file->path, video->id);
    if (rank != 2 && rank != 3)
        return dns_status_set(
            DNS_ERR_UNSUPPORTED,
            "%s: '%s' has %zu dimensions; features are [frames, regions, dim] or [frames, dim]",
            file->path, video->id, rank);
    dns_features_shape s = {video->n_rows > 0 ? video->n_rows : shape[0], rank == 3 ? shape[1] : 1,
                            shape[rank - 1]};
    if (s.n_frames > max_frames || !dns_size_multiply(s.n_regions, s.dim, &width) ||
        width > max_width)
        return dns_status_set(DNS_ERR_LIMIT,
                              "%s: '%s' is too large: %zu frames of %zu regions of %zu values",
                              file->path, video->id, s.n_frames, s.n_regions, s.dim);
    *out = s;
    return DNS_OK;
}

dns_status dns_features_file_read(float *out, dns_features_file *file, size_t index, size_t first,
                                  size_t n_frames)
{
    const features_video *video = &file->videos[index];
    dns_features_shape shape;
    dns_status status = dns_features_file_shape(&shape, file, index);
    if (status != DNS_OK)
        return status;
    if (first > shape.n_frames || n_frames > shape.n_frames - first)
        return dns_status_set(DNS_ERR_ARG, "%s: '%s' has %zu frames, %zu from %zu were asked for",
                              file->path, video->id, shape.n_frames, n_frames, first);
    size_t width = shape.n_regions * shape.dim;
    if (n_frames == 0 || width == 0)
        return DNS_OK;
    status = file->backend->read(out, file, video, first, n_frames, width);
    return status == DNS_OK ? DNS_OK
                            : dns_status_context(status, "%s: '%s'", file->path, video->id);
}
