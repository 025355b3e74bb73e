/* Measuring one item: what speed.c offers the cases of the other speed_*.c. */
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

/* Runs it once. A function of its own, whose name eval/instructions gives to callgrind. */
__attribute__((noinline)) dns_status dns_speed_counted(const speed_case *item);

/* n random numbers of [-scale, scale) or bytes, to be freed with dns_free. */
DNS_MUST_CHECK dns_status speed_floats(float **out, size_t n, double scale);
DNS_MUST_CHECK dns_status speed_bytes(void *out, size_t n);

/* Operations of the published comparator on h x w: of its first layer (0), which is in floats
 * always, or of the others (1). */
double speed_comparator_work(size_t h, size_t w, size_t layer);

dns_speed_peaks speed_peaks_measure(unsigned cpu_flags);

/* The cases, in groups that are prepared together; speed.c has a list of them with the names of
 * their items. */
DNS_MUST_CHECK dns_status speed_rows(dns_speed *speed);
DNS_MUST_CHECK dns_status speed_tiles(dns_speed *speed);
DNS_MUST_CHECK dns_status speed_products(dns_speed *speed);
DNS_MUST_CHECK dns_status speed_coarse(dns_speed *speed);
DNS_MUST_CHECK dns_status speed_selector(dns_speed *speed);
DNS_MUST_CHECK dns_status speed_students(dns_speed *speed);
DNS_MUST_CHECK dns_status speed_teacher(dns_speed *speed);
DNS_MUST_CHECK dns_status speed_backbone(dns_speed *speed);

#endif
