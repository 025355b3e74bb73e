/*
 * How fast the loops of search are on this machine: each beside its plain C twin, and as a share of
 * what the machine can do, which is measured in the same run. Everything runs on the calling
 * thread; times are processor seconds of that thread, so that other work on the machine disturbs
 * little more than caches and clock.
 */
#ifndef DNSEL_SPEED_H
#define DNSEL_SPEED_H

#include <stdbool.h>
#include <stddef.h>

#include "dnsel/progress.h"
#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What one thread reaches, best of several tries; 0 for what the processor (or DNS_CPU_MASK) does
 * not have. */
typedef struct dns_speed_peaks {
    double f32;   /* operations a second: multiply and add count two */
    double i8;    /* operations a second on bytes, by VNNI */
    double words; /* 64-bit words whose bits are counted, a second */
    double bytes; /* bytes read a second from a buffer of 256 MiB */
} dns_speed_peaks;

typedef struct dns_speed_item {
    const char *name; /* "f2f_f32": unique, by which --filter selects */
    const char *what; /* "30 x 60 frames, 9 regions, 512" */
    size_t n_runs;
    double minimum, median; /* seconds */
    double plain;           /* the fewest seconds of the plain twin; 0 without a twin */
    double floor; /* seconds that the work takes at the peaks above; 0 when a peak is not known */
    double loss;  /* largest difference of its results from those in floats; 0 for floats */
} dns_speed_item;

typedef struct dns_speed_options {
    const char *filter; /* only items whose name contains this; NULL: all */
    double seconds;     /* for each item, at least 5 runs all the same */
    bool once; /* no peaks, no twins: after one run that warms up, one more of each item, within a
                  function `dns_speed_counted`, for tools that count instructions there */
    const dns_progress *progress;
    dns_cancel *cancel;
} dns_speed_options;

/* 0.3 seconds an item: a whole run takes about half a minute. */
DNS_API dns_speed_options dns_speed_defaults(void);

typedef struct dns_speed dns_speed;

/* *out = the measurements. DNS_ERR_NOTFOUND when the filter selects nothing, DNS_ERR_CANCELLED,
 * DNS_ERR_NOMEM (some 300 MB are used). */
DNS_API DNS_MUST_CHECK dns_status dns_speed_run(dns_speed **out, const dns_speed_options *options);
DNS_API void dns_speed_free(dns_speed *speed);

/* Borrowed. */
DNS_API const char *dns_speed_processor(const dns_speed *speed); /* model name */
DNS_API const char *
dns_speed_features(const dns_speed *speed); /* instruction sets in use (dnsel/cpu.h) */
DNS_API dns_speed_peaks dns_speed_peaks_of(const dns_speed *speed);
DNS_API size_t dns_speed_count(const dns_speed *speed);
DNS_API const dns_speed_item *dns_speed_at(const dns_speed *speed, size_t index);

#ifdef __cplusplus
}
#endif

#endif
