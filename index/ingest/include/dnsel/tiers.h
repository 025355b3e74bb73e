/*
 * Another choice of what an index keeps (its tiers): records are made from the region features X
 * that the index itself holds, in an archive or a regions record, so that no video is decoded.
 */
#ifndef DNSEL_TIERS_H
#define DNSEL_TIERS_H

#include "dnsel/ingest.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a change would mean. */
typedef struct dns_tiers_plan {
    size_t n_videos;
    size_t n_make;     /* videos that need records made from X */
    size_t n_shrink;   /* others that need records made of those that they have: shorter codes, more
                          frames merged */
    size_t n_drop;     /* others that only lose records */
    size_t n_homeless; /* of n_make: without an archive or whole regions record */
    size_t dim;        /* of X; 0 without any */
    bool makes[DNS_KIND_COUNT]; /* kinds that some video needs */
} dns_tiers_plan;

/* Compares every video with what `wanted` (kept, dtype, code_bits, merge) asks for; code_bits 0
 * takes codes as long as they are. Looks at headers only. */
DNS_API DNS_MUST_CHECK dns_status dns_tiers_plan_make(dns_tiers_plan *out, dns_store *store,
                                                      const dns_store_settings *wanted);

/* Makes and drops records of every video until it has just the wanted kinds as the wanted types,
 * and writes `wanted` into the settings of the store (open for writing). A video changes in one
 * step; stopped or killed at any moment and run again, it goes on. X is read from a regions record
 * of floats, else from the archive, else from one of int8; one whose frames were merged beyond
 * equal ones is none. What only becomes smaller is made of itself, without X: codes cut to fewer
 * bits, frames merged where so far only equal ones were. `model` may be NULL when nothing is to be
 * made from X.
 *
 * In the report, n_updated videos changed and n_unchanged were as wanted; of the options prune is
 * not looked at. A video that cannot be converted is a failure and stays as it was. Errors:
 * DNS_ERR_UNSUPPORTED, before anything is changed: no video that needs records has X, or the model
 * lacks a network; DNS_ERR_MODEL; DNS_ERR_ARG (a kind as a type that it cannot have); those of
 * writing. With options->dry_run only the counts are made. */
DNS_API DNS_MUST_CHECK dns_status dns_tiers_run(dns_ingest_report *report, dns_store *store,
                                                const dns_model *model,
                                                const dns_store_settings *wanted,
                                                const dns_ingest_options *options);

#ifdef __cplusplus
}
#endif

#endif
