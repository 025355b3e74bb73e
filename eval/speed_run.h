/* Measuring one item: what speed.c offers the cases of speed_kernels.c and speed_pairs.c. */
#ifndef DNS_SPEED_RUN_H
#define DNS_SPEED_RUN_H

#include <stdint.h>

#include "dnsel/kernels.h"
#include "dnsel/speed.h"

/* What a run of an item does, in the units of dns_speed_peaks. */
typedef struct speed_work {
    double f32, i8, words, bytes;
} speed_work;

typedef struct speed_case {
    const char *name, *what;
    speed_work work;
    double units; /* divides all times: items that are done in a batch; 0 stands for 1 */
    dns_status (*run)(void *data);
    dns_status (*plain)(void *data); /* NULL: no twin */
    double (*loss)(void *data);      /* after `run`; NULL: none */
    void *data;
} speed_case;

/* Measures one item and adds it, unless the filter leaves it out. */
DNS_MUST_CHECK dns_status speed_measure(dns_speed *speed, const speed_case *item);

/* n random numbers of [-scale, scale) or bytes, to be freed with dns_free. */
DNS_MUST_CHECK dns_status speed_floats(float **out, size_t n, double scale);
DNS_MUST_CHECK dns_status speed_bytes(void *out, size_t n);

dns_speed_peaks speed_peaks_measure(unsigned cpu_flags);

/* The cases. */
DNS_MUST_CHECK dns_status speed_rows(dns_speed *speed);
DNS_MUST_CHECK dns_status speed_tiles(dns_speed *speed);
DNS_MUST_CHECK dns_status speed_products(dns_speed *speed);
DNS_MUST_CHECK dns_status speed_pairs(dns_speed *speed);
DNS_MUST_CHECK dns_status speed_backbone(dns_speed *speed);

#endif
