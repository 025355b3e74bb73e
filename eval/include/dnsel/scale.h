/*
 * What an index costs at a size: bytes, time to build and to open, milliseconds a query by stage,
 * memory. The corpus is generated (dnsel/made_corpus.h), all else is what dns-index and dns-query
 * use: the store, its matrices, and the searcher.
 */
#ifndef DNSEL_SCALE_H
#define DNSEL_SCALE_H

#include "dnsel/coarse_recall.h"
#include "dnsel/made_corpus.h"
#include "dnsel/search.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_scale_options {
    dns_made_corpus corpus;
    size_t n_videos; /* below 2^32 */
    /* The first n_fine videos get fine binary codes, 576 bytes a frame: of FIVR-200K's size all of
     * them are 14.7 GB. */
    size_t n_fine;
    bool kept[DNS_KIND_COUNT]; /* codes, selector and fine_binary are looked at */
    size_t n_queries;
    size_t query_frames; /* the first so many of a query are asked for; 0: all */
    bool exhaustive;     /* as in dns_search_options */
    /* A budget is asked of a first query whatever it takes, of others while it took less than this
     * for each of n_queries. */
    double max_seconds;
    /* Rows in memory, beyond those of the index, that growth is measured to: of floats and codes;
     * and, beyond those, of codes alone (64 bytes a row), with the router. 0: none. */
    size_t n_growth, n_growth_codes;
    dns_pool *pool;
    const dns_progress *progress; /* may be NULL, as all of these */
    dns_cancel *cancel;
} dns_scale_options;

/* 225,960 videos, 20,000 of them with fine codes; all four tiers; 20 queries of 30 frames
 * and 2 seconds. */
DNS_API dns_scale_options dns_scale_options_default(void);

/* Bytes that the records will take, pages of the index left out. */
DNS_API uint64_t dns_scale_bytes(const dns_scale_options *options);

typedef struct dns_scale_built {
    size_t n_before, n_written; /* videos */
    uint64_t bytes_written;     /* of records */
    double seconds; /* 0 when nothing was written; includes matrices, FAISS and the last flush */
    double made_seconds; /* of them, for generating */
} dns_scale_built;

/* Makes directory/model and directory/index.dns, or goes on where it stopped: an index of the same
 * corpus and tiers is kept and lengthened. Errors: DNS_ERR_MODEL when one of another corpus or
 * other tiers is there, DNS_ERR_EXISTS when it has more videos, DNS_ERR_FULL before anything is
 * written when the disk has no room, DNS_ERR_ARG, DNS_ERR_CANCELLED (what was made is kept), and
 * those of the store. */
DNS_API DNS_MUST_CHECK dns_status dns_scale_build(dns_scale_built *out, const char *directory,
                                                  const dns_scale_options *options);

enum { DNS_SCALE_BUDGETS = 4, DNS_SCALE_GROWTH = 6, DNS_SCALE_CANDIDATES = 1000 };
DNS_API extern const double dns_scale_budgets[DNS_SCALE_BUDGETS]; /* 0, 0.01, 0.05, 0.30 */

/* Seconds are medians over the queries. */
typedef struct dns_scale_budget {
    double scan, route; /* every video's coarse score; which pairs to compare finely */
    double fine;        /* comparisons, and the answer's order */
    double pair;  /* one comparison: fine without the answer, over pairs made; 0 without any */
    double cpu;   /* the same in seconds of the processor, which other programs do not lengthen */
    double whole; /* NaN when pairs are wanted and none was made; scan, route, answer, and `wanted`
                     comparisons at `pair` each */
    size_t asked; /* queries */
    size_t wanted, made; /* pairs a query; fewer are made where videos have no codes */
    size_t left;         /* of those made, left before their end */
} dns_scale_budget;

/* Reading all rows of a tier: scanned, and merely read from memory in the same run. Best times. */
typedef struct dns_scale_scan {
    uint64_t bytes; /* 0: the tier is not kept */
    double scan, read;
} dns_scale_scan;

typedef struct dns_scale_growth {
    size_t n;
    /* Seconds: of floats, of codes, and choosing 5 % by coarse score; 0: not measured. */
    double scan, codes, route;
} dns_scale_growth;

typedef struct dns_scale_report {
    dns_store_stat stat;
    double cold_open,
        cold_query;    /* files dropped from the page cache: open all, then answer once */
    double cold_share; /* of the files' pages that were really dropped */
    double warm_open, warm_query;
    dns_router router;
    dns_scale_budget budgets[DNS_SCALE_BUDGETS];
    size_t found;  /* queries whose original came first by coarse vectors alone */
    double answer; /* seconds of putting the answer into order */
    dns_scale_scan floats, codes;
    double recall; /* of the first 10 by floats, those among the first 1000 by codes */
    dns_coarse_recall scans[DNS_SCAN_COUNT]; /* as queries make them */
    uint64_t memory, mapped_memory; /* bytes resident after all queries: own, and of mapped files */
    dns_scale_growth
        growth[DNS_SCALE_GROWTH]; /* the first rows of the index; then made in memory */
    size_t n_growth;
    /* Of n, least squares of logarithms over the sizes that were measured; NaN for fewer than two.
     */
    double scan_exponent, codes_exponent, route_exponent;
} dns_scale_report;

/* Measures the index that dns_scale_build made with the same options. Page caches are dropped for
 * its files only. */
DNS_API DNS_MUST_CHECK dns_status dns_scale_measure(dns_scale_report *out, const char *directory,
                                                    const dns_scale_options *options);

#ifdef __cplusplus
}
#endif

#endif
