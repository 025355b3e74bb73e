/* Labelled pairs of videos from files, for the published recipes. */
#ifndef DNS_LABELLED_PAIRS_H
#define DNS_LABELLED_PAIRS_H

#include "dnsel/sampler.h"

/*
 * *pairs [*n] = pairs of videos that are in the set, to be freed with dns_free. Two kinds of files:
 *
 *     CSV      columns query, video, positive (0 or 1) and perhaps similarity (in [-1, 1]; NaN
 *              without)
 *     pickle   {'index': [id, ...], 'pairs': {q: {'positives': {v: s}, 'negatives': {v: s}}}}, as
 *              published for DnS (docs/training.md)
 *
 * A video is meant by its path, its file name, or the file name without extension. Pairs with
 * others are left out. Errors: those of reading; DNS_ERR_FORMAT; DNS_ERR_NOTFOUND when no pair is
 * left.
 */
DNS_MUST_CHECK dns_status dns_labelled_pairs_read(dns_labelled_pair **pairs, size_t *n,
                                                  const char *path, const dns_training_set *set);

#endif
