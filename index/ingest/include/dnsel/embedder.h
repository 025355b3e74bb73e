/*
 * From a video to what an index keeps of it: frames (dnsel/media.h), region features
 * (dnsel/extractor.h), whitening, and the records of the networks that the model has. Query videos
 * go the same way.
 */
#ifndef DNSEL_EMBEDDER_H
#define DNSEL_EMBEDDER_H

#include "dnsel/media.h"
#include "dnsel/model.h"
#include "dnsel/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Model and settings, ready for use; immutable, shared between threads; the model must outlive it.
 */
typedef struct dns_embedder dns_embedder;

/* Bytes that one frame of a video in hand needs: X, its raw features on the way, and its records.
 */
enum { DNS_EMBEDDER_FRAME_BYTES = 64 << 10 };

typedef struct dns_embedder_options {
    dns_media_options media; /* sampling and limits; geometry and size are set from the model */
    size_t max_frames;       /* a longer video is thinned out evenly until it fits: memory is
                              * DNS_EMBEDDER_FRAME_BYTES a frame and session */
    bool int8;               /* the backbone in 8 bits, where the processor can */
} dns_embedder_options;

DNS_API dns_embedder_options dns_embedder_options_default(void);

/* Loads backbone, whitening and networks. Errors: those of the parts; DNS_ERR_UNSUPPORTED for a
 * model without a backbone section. */
DNS_API DNS_MUST_CHECK dns_status dns_embedder_create(dns_embedder **out, const dns_model *model,
                                                      const dns_embedder_options *options);
/* The same without backbone and whitening, which the model then need not have: for region features
 * of `dim` values that come from elsewhere. DNS_ERR_SHAPE when a network of the model takes vectors
 * of another length. */
DNS_API DNS_MUST_CHECK dns_status dns_embedder_create_for_features(dns_embedder **out,
                                                                   const dns_model *model,
                                                                   size_t dim);
DNS_API void dns_embedder_free(dns_embedder *embedder);

/* What an index made with this embedder says of itself: model, sampling, and the kinds that the
 * model can make (coarse, and of the fine ones the first it has: attention, binary, else the region
 * features). */
DNS_API dns_store_settings dns_embedder_settings(const dns_embedder *embedder);

/* Values of a region vector. */
DNS_API size_t dns_embedder_dim(const dns_embedder *embedder);

/* DNS_ERR_UNSUPPORTED when the settings ask for records of a network that the model lacks, which
 * the message names, or of longer codes than it makes. */
DNS_API DNS_MUST_CHECK dns_status dns_embedder_check(const dns_embedder *embedder,
                                                     const dns_store_settings *settings);

/* Scratch of one thread. */
typedef struct dns_embedder_session dns_embedder_session;

DNS_API DNS_MUST_CHECK dns_status dns_embedder_session_create(dns_embedder_session **out,
                                                              const dns_embedder *embedder);
DNS_API void dns_embedder_session_free(dns_embedder_session *session);

/* One video. Everything is borrowed from the session until its next call. */
typedef struct dns_embedding {
    size_t n_frames; /* at least 4: a shorter video is appended to itself (docs/features.md) */
    size_t n_regions, dim;
    const float *regions; /* X [n_frames, n_regions, dim], unit vectors */
    const float *times;   /* [n_frames] seconds; NULL when not known */
    double duration;      /* seconds */
    size_t width, height;
    size_t n_errors;                        /* of the decoder */
    double decode_seconds, feature_seconds; /* processor time */
} dns_embedding;

/* Decodes a file. Errors: those of dns_media_open and dns_media_next; DNS_ERR_DECODE "no frames";
 * DNS_ERR_UNSUPPORTED when the embedder was made for features. */
DNS_API DNS_MUST_CHECK dns_status dns_embed_file(dns_embedding *out, dns_embedder_session *session,
                                                 const char *path, dns_cancel *cancel);

/* *out = region features x [n_frames, n_regions, dim of the embedder], already whitened, as an
 * embedding: vectors that are not of unit length are brought to it, a video of fewer than 4 frames
 * is appended to itself. Errors: DNS_ERR_ARG "no frames", DNS_ERR_RANGE (a value is not finite). */
DNS_API DNS_MUST_CHECK dns_status dns_embed_features(dns_embedding *out,
                                                     dns_embedder_session *session, const float *x,
                                                     size_t n_frames, size_t n_regions);

/* records[0 .. *n-1] = one of each kind that `kept` names (no meta), at most DNS_KIND_COUNT, from
 * region features, of whatever video they are. Payloads are borrowed from the session until the
 * next call of this function. */
DNS_API DNS_MUST_CHECK dns_status dns_embed_records(dns_record *records, size_t *n,
                                                    dns_embedder_session *session,
                                                    const dns_embedding *embedding,
                                                    const dns_store_settings *settings);

#ifdef __cplusplus
}
#endif

#endif
