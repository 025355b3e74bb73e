/* One interface, a backend for each container. */
#ifndef DNS_FEATURES_BACKEND_H
#define DNS_FEATURES_BACKEND_H

#include <stdint.h>

#include "dnsel/features_file.h"
#include "dnsel/file.h"

typedef struct features_video {
    char *id;
    size_t position; /* the backend's own: member, row, tensor */
    size_t n_rows;   /* of an array that holds several videos; 0: the whole array */
} features_video;

struct features_backend;

struct dns_features_file {
    const struct features_backend *backend;
    void *handle; /* the backend's own */
    char *path;
    dns_mapping mapping; /* not for HDF5, which reads for itself */
    features_video *videos;
    size_t n_videos, capacity;
};

typedef struct features_backend {
    const char *container;
    bool (*recognise)(const dns_features_file *file);
    /* Sets the handle and adds the videos. */
    dns_status (*open)(dns_features_file *file);
    void (*close)(void *handle);
    /* Sizes of the array in *out, up to 8; the frames first. */
    dns_status (*shape)(size_t shape[8], size_t *rank, dns_features_file *file,
                        const features_video *video);
    /* Frames within the array, of `width` values each. */
    dns_status (*read)(float *out, dns_features_file *file, const features_video *video,
                       size_t first, size_t n_frames, size_t width);
} features_backend;

extern const features_backend dns_features_hdf5, dns_features_npz, dns_features_npy,
    dns_features_safetensors;

/* A copy of `n` bytes of the id. */
dns_status dns_features_add(dns_features_file *file, const char *id, size_t n, size_t position,
                            size_t n_rows);

#endif
