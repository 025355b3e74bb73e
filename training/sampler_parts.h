/* The inside of a sampler, shared by the files that draw. */
#ifndef DNS_SAMPLER_PARTS_H
#define DNS_SAMPLER_PARTS_H

#include "dnsel/random.h"
#include "dnsel/sampler.h"

/* The labelled pairs of one query, a range of `pairs`: positives first. */
struct labelled_query {
    uint32_t video;
    size_t first, n_positive, n;
};

struct dns_sampler {
    const dns_training_set *set;
    dns_sampler_options options;
    size_t *drawn; /* [n_drawn] videos that may be drawn */
    size_t *place; /* [n_videos] of a video within `drawn`; SIZE_MAX */
    size_t *hosts; /* [n_hosts] footage to embed in: hosts and all other videos */
    size_t n_drawn, n_hosts, n_scenes;
    uint32_t *neighbours; /* [n_drawn, options.neighbours] videos */
    dns_labelled_pair *pairs;
    struct labelled_query *queries;
    size_t n_queries;
};

size_t dns_sampler_scene(const dns_sampler *sampler, size_t video);

/* Empties the sample and makes room for n scenes or triplets. */
DNS_MUST_CHECK dns_status dns_sample_begin(dns_sample *sample, size_t n);

/* Part of another view of a video, at most `most` frames, that shows what frames first .. end - 1
 * of a view show, as far as it fits. */
typedef struct dns_window {
    size_t first, n;
} dns_window;

dns_window dns_window_over(const dns_training_set *set, size_t video, size_t view, size_t first,
                           size_t end, size_t other, size_t most, dns_random *random);

#endif
