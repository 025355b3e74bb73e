/* What evaluation commands read: annotations, score files, and scores made by searching an index.
 */
#ifndef DNS_EVAL_INPUTS_H
#define DNS_EVAL_INPUTS_H

#include "dnsel/protocol.h"
#include "dnsel/search.h"

/* Annotations as JSON, as a published pickle (read without running any of it), or as text with
 * pairs. */
DNS_MUST_CHECK dns_status dns_read_annotations(dns_json **out, const char *path);

/* A matrix [queries, database] in safetensors, NumPy (.npy, .npz) or HDF5 under the name "scores"
 * or alone in its file, with id lists, one id a line, in `queries` and `database` (NULL:
 * X.queries.txt and X.database.txt beside X.scores.*); or JSON {query: {id: score}}. */
DNS_MUST_CHECK dns_status dns_read_scores(dns_scores **out, const char *path, const char *queries,
                                          const char *database);

/* The ids that annotations use for the videos of an index: an imported row's own id; of a file its
 * name, without its extension unless `extensions`. */
typedef struct dns_index_ids {
    uint64_t *keys;
    char **texts;
    size_t n;
} dns_index_ids;
DNS_MUST_CHECK dns_status dns_index_ids_read(dns_index_ids *out, dns_store *store, bool extensions);
/* Position of a 64-bit id; SIZE_MAX when the index does not hold it. */
size_t dns_index_ids_find(const dns_index_ids *ids, uint64_t key);
void dns_index_ids_free(dns_index_ids *ids);

/* Scores of those videos of the index that are named in `queries` against all of it. */
DNS_MUST_CHECK dns_status dns_scores_from_index(dns_scores **out, dns_searcher *searcher,
                                                const dns_index_ids *ids, const dns_json *queries,
                                                const dns_search_options *options,
                                                const dns_progress *progress);

#endif
