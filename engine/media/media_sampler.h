/* Which frames are kept, and the time of a frame: plain arithmetic, no FFmpeg. */
#ifndef DNS_MEDIA_SAMPLER_H
#define DNS_MEDIA_SAMPLER_H

#include "dnsel/media.h"

/* Feed it frames in order of time. */
typedef struct dns_sampler {
    dns_sampling sampling;
    double gap;         /* seconds, for KEYFRAME */
    size_t step;        /* for COUNT; 0 keeps all */
    size_t n_seen;      /* for COUNT */
    double next_second; /* the second that is not yet served */
    double last;        /* time of the last kept frame */
} dns_sampler;

/* `frame_rate` is the container's, 0 when absent; `duration` in seconds, 0 when unknown. */
dns_sampler dns_sampler_make(const dns_media_options *options, double frame_rate, double duration);

/* Whether to keep the next frame. `next_key` is the time of the next key frame, INFINITY when
 * unknown: KEYFRAME fills no gap within a second of its end. */
bool dns_sampler_keep(dns_sampler *sampler, double time, bool is_key, double next_key);

/* Times of frames as they come out of the decoder: from time stamps where they are good, otherwise
 * one period after the frame before. Never goes backwards. */
typedef struct dns_clock {
    double unit_num, unit_den; /* a tick is num/den seconds */
    double period;             /* seconds between frames, to fill in */
    bool has_origin, has_last;
    int64_t origin; /* the stamp that is 0 seconds */
    double shift, last;
} dns_clock;

/* `has_stamp` false: no time stamp. */
double dns_clock_time(dns_clock *clock, bool has_stamp, int64_t stamp);

/* (stamp - origin) in seconds: exact division, so that 30 ticks of 1/30 are 1.0. */
double dns_clock_seconds(const dns_clock *clock, int64_t stamp);

#endif
