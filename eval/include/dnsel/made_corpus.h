/*
 * A corpus that was never filmed: embeddings of any number of videos, for measuring what an index
 * costs at sizes for which there are no videos at hand. Scores on it say nothing about networks.
 *
 * It has the structure that real collections have and that the cost of a search depends on: scenes
 * whose popularity has a long tail (each video joins the scene of an earlier one or begins its
 * own), copies, excerpts, lengths with a long tail, and a direction that all vectors share.
 *
 * Video v is a function of the corpus and v alone: not of how many others there are, nor of the
 * order in which they are made.
 */
#ifndef DNSEL_MADE_CORPUS_H
#define DNSEL_MADE_CORPUS_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A value: copy it. */
typedef struct dns_made_corpus {
    uint64_t seed;
    size_t dim;         /* of coarse vectors */
    double mean_frames; /* at least 8 */
} dns_made_corpus;

/* The size of FIVR-200K, videos and, at one a second, frames a video (docs/evaluation.md). */
enum { DNS_FIVR_VIDEOS = 225960, DNS_FIVR_FRAMES = 113 };

/* Seed 1, 512 dimensions, 113 frames. */
DNS_API dns_made_corpus dns_made_corpus_default(void);

typedef enum dns_made_kind {
    DNS_MADE_OWN,     /* 55 %: a scene of its own */
    DNS_MADE_SCENE,   /* 30 %: other pictures of the scene of `parent`, some shots the same */
    DNS_MADE_COPY,    /* 10 %: all pictures of `parent`, with noise */
    DNS_MADE_EXCERPT, /* 5 %: 20 to 80 % of them, in order */
    DNS_MADE_KINDS
} dns_made_kind;

typedef struct dns_made_video {
    uint64_t number;
    dns_made_kind kind;
    uint64_t parent;  /* an earlier video, any of them equally often; none for DNS_MADE_OWN */
    size_t n_frames;  /* log-normal about mean_frames, deviation of the logarithm 0.8; at least 4 */
    uint64_t content; /* the video whose pictures it shows: itself, unless copy or excerpt */
    size_t first_frame;   /* its first one of that video's */
    size_t n_generations; /* copies and excerpts between that video and this */
} dns_made_video;

DNS_API dns_made_video dns_made_video_at(const dns_made_corpus *corpus, uint64_t number);

/* Query q: a copy, itself not in the corpus, of one of its first n_videos > 0 videos: of `parent`.
 */
DNS_API dns_made_video dns_made_query(const dns_made_corpus *corpus, size_t q, size_t n_videos);

/* vector [dim] = the coarse vector, of unit length. Cosines are about 0.1 between scenes, 0.7
 * within one, 0.95 between a copy and its parent, 0.85 for an excerpt. */
DNS_API void dns_made_vector(float *vector, const dns_made_corpus *corpus,
                             const dns_made_video *video);

enum { DNS_MADE_REGIONS = 9, DNS_MADE_CODE_BYTES = 64 };

/* codes [n_frames, 9, 64] = binary codes of the regions. Shots last 6 frames; of 512 bits, 32
 * differ on average between a frame and its shot, 64 more for every generation of copies. */
DNS_API void dns_made_codes(uint8_t *codes, const dns_made_corpus *corpus,
                            const dns_made_video *video);

/* Its self-similarity, in [0.2, 0.8). */
DNS_API float dns_made_scalar(const dns_made_corpus *corpus, const dns_made_video *video);

#ifdef __cplusplus
}
#endif

#endif
