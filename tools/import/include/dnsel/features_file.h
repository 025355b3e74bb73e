/*
 * Files of features that other programs extracted: for each video, by its id, one array [frames,
 * regions, dim], or [frames, dim], which is one region. One interface over
 *
 *   HDF5         as published with DnS and ViSiL: a dataset a video; ids with slashes lie in nested
 * groups .npz         a member a video; or `features` and `video_ids`, as in VSC2022: the frames of
 * all videos in one array, those of a video in succession, and the id of each .npy         one
 * video, called like the file safetensors  a tensor a video
 *
 * Elements of any floating or integer type are read as f32. Nothing is read before it is asked for:
 * a file may be larger than memory. One thread at a time.
 */
#ifndef DNSEL_FEATURES_FILE_H
#define DNSEL_FEATURES_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_features_file dns_features_file;

/* Lists the ids. Errors: DNS_ERR_NOTFOUND, DNS_ERR_IO; DNS_ERR_FORMAT (none of these kinds of
 * file), DNS_ERR_CORRUPT, DNS_ERR_UNSUPPORTED (HDF5 in a library that was built without it),
 * DNS_ERR_LIMIT (more than 16 Mi videos). */
DNS_API DNS_MUST_CHECK dns_status dns_features_file_open(dns_features_file **out, const char *path);
DNS_API void dns_features_file_close(dns_features_file *file);

/* "hdf5", "npz", "npy", "safetensors". */
DNS_API const char *dns_features_file_container(const dns_features_file *file);

/* Videos, sorted by the bytes of their ids. */
DNS_API size_t dns_features_file_count(const dns_features_file *file);
DNS_API const char *dns_features_file_id(const dns_features_file *file, size_t index);
/* False when there is no such video. */
DNS_API bool dns_features_file_find(size_t *index, const dns_features_file *file, const char *id);

typedef struct dns_features_shape {
    size_t n_frames, n_regions, dim;
} dns_features_shape;

/* Shape of one video's array. A file may hold arrays that are no features, or damaged ones: that is
 * an error of this video alone. DNS_ERR_UNSUPPORTED (not numbers, not 2 or 3 dimensions, a
 * compression that is not there, data that lie in another file), DNS_ERR_CORRUPT, DNS_ERR_LIMIT
 * (more than 2^31 frames, 2^24 values a frame). */
DNS_API DNS_MUST_CHECK dns_status dns_features_file_shape(dns_features_shape *out,
                                                          dns_features_file *file, size_t index);

/* Frames first .. first + n_frames - 1 into out [n_frames, n_regions, dim]. Errors: those of the
 * shape; DNS_ERR_ARG when there are not so many frames. Values are not looked at. Compressed .npz
 * members are unpacked from their beginning each time, and column-major arrays are read whole, at
 * most 4 GiB (DNS_ERR_LIMIT). */
DNS_API DNS_MUST_CHECK dns_status dns_features_file_read(float *out, dns_features_file *file,
                                                         size_t index, size_t first,
                                                         size_t n_frames);

/* Whether the library can read HDF5. */
DNS_API bool dns_features_file_has_hdf5(void);

#ifdef __cplusplus
}
#endif

#endif
