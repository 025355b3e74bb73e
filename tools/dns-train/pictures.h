/*
 * Pictures to train on, from folders of videos and photographs, and edited views of them. Still
 * pictures count as videos of one frame.
 */
#ifndef DNS_TRAIN_PICTURES_H
#define DNS_TRAIN_PICTURES_H

#include "dnsel/file_list.h"
#include "dnsel/media.h"
#include "dnsel/pool.h"
#include "dnsel/progress.h"
#include "program.h"

typedef struct dns_training_pictures {
    uint8_t
        *pixels; /* [n][side][side][3]: the middle of each frame, larger than the network sees it */
    size_t *scenes; /* [n] */
    size_t n, side, n_files, n_unreadable;
    dns_media_options fit; /* how a picture is brought to the network's size */
    uint64_t seed;
} dns_training_pictures;

typedef struct dns_training_pictures_options {
    size_t per_video;   /* frames of a video, evenly spread */
    const char *scenes; /* CSV with the columns file and scene_group; NULL: every file is a scene of
                           its own */
    uint64_t seed;
    dns_media_options media; /* the model's preprocessing */
    dns_logger logger;
    dns_progress progress;
    dns_cancel *cancel;
    dns_pool *pool;
} dns_training_pictures_options;

/* The videos in the folders of the first list and all files in those of the second, each once. */
DNS_MUST_CHECK dns_status dns_training_files(dns_file_list *out, const dns_string_list *videos,
                                             const dns_string_list *photos);

/* Reads all files of the list; those that do not decode are named to the logger and left out.
 * DNS_ERR_NOTFOUND when nothing decodes. Free with dns_training_pictures_free. */
DNS_MUST_CHECK dns_status dns_training_pictures_read(dns_training_pictures *out,
                                                     const dns_file_list *list,
                                                     const dns_training_pictures_options *options);
void dns_training_pictures_free(dns_training_pictures *pictures);

/* A dns_view_maker (dnsel/tail_training.h): payload is the dns_training_pictures. View 0 is the
 * picture; each other is an edited copy, drawn from seed, picture and view: one edit in three,
 * otherwise two on top of each other. */
dns_status dns_training_view(void *payload, uint8_t *frame, size_t picture, size_t view,
                             size_t worker);

#endif
