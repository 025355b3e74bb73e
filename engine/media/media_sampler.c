#include "media_sampler.h"

#include <math.h>

dns_sampler dns_sampler_make(const dns_media_options *options, double frame_rate, double duration)
{
    dns_sampler s = {.sampling = options->sampling, .last = -INFINITY};
    double rate = frame_rate > 0 && frame_rate <= 144 ? frame_rate : 25;
    s.step = (size_t)nearbyint(rate); /* half to even, as Python's round */
    s.gap = options->gap_seconds;
    if (duration > 0)
        s.gap = fmin(s.gap, duration / 4);
    s.gap = fmax(s.gap, 1);
    return s;
}

bool dns_sampler_keep(dns_sampler *s, double time, bool is_key, double next_key)
{
    bool keep = false;
    switch (s->sampling) {
    case DNS_SAMPLING_EXACT:
        keep = time >= s->next_second;
        break;
    case DNS_SAMPLING_COUNT:
        keep = s->step == 0 || s->n_seen % s->step == 0;
        break;
    case DNS_SAMPLING_KEYFRAME:
        keep = (is_key && time >= s->next_second) ||
               (time >= 0 && time >= s->last + s->gap && time <= next_key - 1);
        break;
    }
    s->n_seen++;
    if (keep) {
        s->next_second = floor(time) + 1;
        s->last = time;
    }
    return keep;
}

double dns_clock_seconds(const dns_clock *c, int64_t stamp)
{
    int64_t ticks;
    if (__builtin_sub_overflow(stamp, c->origin, &ticks))
        return 0;
    return (double)ticks * c->unit_num / c->unit_den;
}

double dns_clock_time(dns_clock *c, bool has_stamp, int64_t stamp)
{
    if (has_stamp && !c->has_origin) {
        c->origin = stamp;
        c->has_origin = true;
        c->shift = c->has_last ? c->last + c->period : 0;
    }
    double time = has_stamp ? dns_clock_seconds(c, stamp) + c->shift : -INFINITY;
    if (c->has_last && time <= c->last) {
        double next = c->last + c->period;
        if (has_stamp && time < c->last - 1) /* the stamps start again: so do we, from here */
            c->shift += next - time;
        time = next;
    } else if (!has_stamp) {
        time = 0;
    }
    c->last = time;
    c->has_last = true;
    return time;
}
