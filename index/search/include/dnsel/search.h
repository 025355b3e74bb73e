/*
 * Answers: the coarse student ranks every video of an index, a router decides for which that is not
 * good enough, and a fine comparison re-ranks those (docs/query.md). One sorted list comes out.
 */
#ifndef DNSEL_SEARCH_H
#define DNSEL_SEARCH_H

#include "dnsel/embedder.h"
#include "dnsel/pool.h"
#include "dnsel/router.h"
#include "dnsel/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the fine comparison reads. */
typedef enum dns_fine {
    DNS_FINE_AUTO,      /* the first of those below that the index keeps */
    DNS_FINE_ATTENTION, /* fine attention student */
    DNS_FINE_BINARY,    /* fine binary student */
    DNS_FINE_REGIONS,   /* Chamfer similarity of the region features themselves, no network */
    DNS_FINE_NONE
} dns_fine;

/* "auto", "attention", "binary", "regions", "none". */
DNS_API const char *dns_fine_name(dns_fine fine);

/* What the networks' comparator computes in (dnsel/mapcnn.h); int8 is 3 to 4 times as fast where
 * the processor has VNNI, and changes a score by less than 0.01. */
typedef enum dns_comparator_choice {
    DNS_COMPARATOR_MODEL, /* what the network's section of the model says; otherwise f32 */
    DNS_COMPARATOR_FLOAT,
    DNS_COMPARATOR_I8
} dns_comparator_choice;

/* An index and a model, ready to answer. One query at a time; make one searcher a thread, or let
 * `pool` split each query. */
typedef struct dns_searcher dns_searcher;

typedef struct dns_searcher_options {
    dns_pool *pool; /* fine comparisons are shared out over it; may be NULL */
    dns_fine fine;
    dns_comparator_choice comparator;
    /* Binary codes of the index are compared with the numbers that the query's would be made of
     * (dns_visil_index), as dns_searcher_query_settings then asks. A stored query has only its
     * codes, and is compared by them. */
    bool asymmetric;
} dns_searcher_options;

/* `store` and `model` must outlive it. Errors: DNS_ERR_MODEL when the model did not make the index;
 * DNS_ERR_UNSUPPORTED when index or model lack what `fine` names, or `asymmetric` is not of binary
 * codes; those of loading networks. */
DNS_API DNS_MUST_CHECK dns_status dns_searcher_open(dns_searcher **out, dns_store *store,
                                                    const dns_model *model,
                                                    const dns_searcher_options *options);
DNS_API void dns_searcher_close(dns_searcher *searcher);

/* What it compares with: never AUTO. */
DNS_API dns_fine dns_searcher_fine(const dns_searcher *searcher);
/* Whether expected and fine scores share a scale, so that they may stand in one list. */
DNS_API bool dns_searcher_is_calibrated(const dns_searcher *searcher);
/* From which score on two videos are near-duplicates: the number "threshold" of the model's section
 * "calibration", else of "similarity"; else 0.75, a fine score of 1/2: halfway from videos that
 * have nothing in common to copies, in theory. */
DNS_API double dns_searcher_threshold(const dns_searcher *searcher);
/* The router that the model names. */
DNS_API dns_router_options dns_searcher_model_router(const dns_searcher *searcher);
/* Whether this router can be asked for: what it reads is in index and model. PAIR needs a
 * classifier of pairs in the section "classifier" of the model, learnt from vectors of this model.
 */
DNS_API bool dns_searcher_offers(const dns_searcher *searcher, dns_router router);
/* *share = the smallest share of videos to compare finely (DNS_BUDGET_SHARE) with which the
 * expected loss of a query is at most max_loss: conformal risk control (dns_budget_conformal) over
 * the section "calibration" of the model: tensors "budget.loss" [queries, levels] and
 * "budget.share" [levels], ascending, and by choice the number "loss_bound" (1). Errors:
 * DNS_ERR_UNSUPPORTED (the model has none), DNS_ERR_SHAPE, DNS_ERR_RANGE, DNS_ERR_NOTFOUND (no
 * share keeps this promise), DNS_ERR_ARG. */
DNS_API DNS_MUST_CHECK dns_status dns_searcher_promise(double *share, const dns_searcher *searcher,
                                                       double max_loss);
/* One line that says which networks rank: "coarse: mean vector; fine: regions, Chamfer of both
 * directions". Borrowed. */
DNS_API const char *dns_searcher_networks(const dns_searcher *searcher);

/* How coarse scores are found. The answer depends on the best by coarse score alone as a rule;
 * those are looked for among rounded vectors, a few times as many as needed, and scored exactly
 * from their records. An approximate index that cannot be used gives way to a scan, and the answer
 * says why. Where it depends on every video (k = 0, a router that is not the coarse one, a budget
 * or k as large as the index) all are scored exactly, whatever was asked for. */
typedef enum dns_coarse_scan {
    DNS_SCAN_AUTO,  /* the fastest that finds the same as EXACT as a rule */
    DNS_SCAN_EXACT, /* every vector as it is */
    DNS_SCAN_INT8,  /* rounded to 8 bits */
    DNS_SCAN_CODES, /* signs, 1 bit a dimension; loses some */
    DNS_SCAN_FAISS, /* dnsel/coarse_ann.h: no scan of all; loses some */
    DNS_SCAN_COUNT
} dns_coarse_scan;

/* "auto", "exact", "int8", "codes", "faiss". */
DNS_API const char *dns_coarse_scan_name(dns_coarse_scan scan);

enum { DNS_SCAN_NOTE = 288 };

/* How many videos get a fine comparison. */
typedef enum dns_budget_kind {
    DNS_BUDGET_AUTO,  /* all of up to 1,000 videos, of more the larger of 1,000 and 5 % */
    DNS_BUDGET_SHARE, /* floor(amount * videos) */
    DNS_BUDGET_COUNT,
    DNS_BUDGET_ALL,
    DNS_BUDGET_NONE
} dns_budget_kind;

typedef struct dns_search_options {
    size_t k; /* results wanted; 0: all videos */
    dns_coarse_scan scan;
    dns_budget_kind budget;
    double amount;     /* of SHARE (0 to 1) and COUNT */
    bool model_router; /* the router that the model names, `router` otherwise */
    dns_router_options router;
    double max_seconds; /* 0: none. As many fine comparisons, the most promising first, as will fit
                         * by what earlier ones of this searcher cost; what was reached is said */
    double min_score;   /* results below are left out; -INFINITY: none */
    uint64_t
        first_id; /* videos with a smaller id are left out before anything is ranked; 0: none */
    bool exclude_self; /* leave out the stored video that is itself the query */
    bool exhaustive;   /* make every comparison to its end, which changes no result */
    dns_cancel *cancel;
} dns_search_options;

DNS_API dns_search_options dns_search_options_default(void); /* k = 10, AUTO, the model's router */

typedef enum dns_stage { DNS_STAGE_COARSE, DNS_STAGE_FINE } dns_stage;

typedef struct dns_result {
    uint64_t id;
    char *name; /* the external id: 16 digits of a file, the name of an imported row */
    char *path;
    dns_stage stage; /* that gave the score */
    float score;  /* the list is sorted by it: fine / 2 + 1/2, or the coarse score on that scale */
    float coarse; /* cosine of coarse vectors */
    float fine;   /* in [-1, 1]; NaN when not compared */
    float expected;   /* score to expect from the coarse score alone, on the scale of `score` */
    float confidence; /* that the coarse score alone is wrong (selector); NaN without a selector */
    float
        probability; /* of a near-duplicate from coarse data alone; NaN unless the router is PAIR */
} dns_result;

typedef struct dns_answer {
    dns_result *results; /* score descending, then id ascending */
    size_t n_results;
    uint64_t generation;  /* of the one state of the index that was searched */
    size_t n_videos;      /* ranked by the coarse student */
    size_t n_scored;      /* of them those with an exact coarse score: results are of these */
    dns_coarse_scan scan; /* that found them */
    char scan_note[DNS_SCAN_NOTE]; /* why not the one that was asked for; "" when it was */
    size_t n_wanted;               /* fine comparisons by the budget, */
    size_t n_planned;              /* of them those that would fit into max_seconds, */
    size_t n_pairs;                /* and those made; */
    size_t n_left;    /* of these, left before their end: they could not come into the list */
    size_t n_missing; /* of the wanted ones, videos without a record to compare */
    dns_router router;
    double open_seconds, coarse_seconds, route_seconds, fine_seconds;
} dns_answer;

/* The query as records: from dns_embed_records for a file, or borrowed from a snapshot for a stored
 * video. Kinds that the searcher does not need may be missing. */
typedef struct dns_query {
    const dns_record *records;
    size_t n_records;
    bool stored; /* it is the video `id` of the index */
    uint64_t id;
    double duration; /* seconds, of dns_embedding or the stored video; read by router PAIR */
} dns_query;

/* Errors: DNS_ERR_ARG (a needed kind is missing), DNS_ERR_SHAPE, DNS_ERR_CORRUPT (names the video),
 * DNS_ERR_CANCELLED. */
DNS_API DNS_MUST_CHECK dns_status dns_search(dns_answer **out, dns_searcher *searcher,
                                             const dns_query *query,
                                             const dns_search_options *options);
DNS_API void dns_answer_free(dns_answer *answer);

/* The kinds that a query needs, and their types: settings for dns_embed_records. */
DNS_API dns_store_settings dns_searcher_query_settings(const dns_searcher *searcher);

/* The records of a stored video as a query. Borrowed from the searcher until its next call of this
 * kind. DNS_ERR_NOTFOUND. */
DNS_API DNS_MUST_CHECK dns_status dns_searcher_stored_query(dns_query *out, dns_searcher *searcher,
                                                            const char *text);

#ifdef __cplusplus
}
#endif

#endif
