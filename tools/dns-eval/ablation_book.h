/* What an ablation has measured so far: average precisions of the queries of a fold, by method and
 * seed, in a file of JSON lines that is added to as soon as something is known. */
#ifndef DNS_ABLATION_BOOK_H
#define DNS_ABLATION_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dnsel/metrics.h"

enum { DNS_ABLATION_NAME = 64 };

typedef struct dns_ablation_book dns_ablation_book;

/* Opens or begins the file; a last line that was cut off is dropped. DNS_ERR_MODEL when it was
 * begun with other settings (a line of text). */
DNS_MUST_CHECK dns_status dns_ablation_open(dns_ablation_book **out, const char *path,
                                            const char *settings);
void dns_ablation_close(dns_ablation_book *book);

bool dns_ablation_has(const dns_ablation_book *book, const char *method, size_t fold,
                      uint64_t seed);
DNS_MUST_CHECK dns_status dns_ablation_put(dns_ablation_book *book, const char *method, size_t fold,
                                           uint64_t seed, const double *ap, size_t n);

/* Methods in the order in which they came first; NULL behind the last. */
const char *dns_ablation_method(const dns_ablation_book *book, size_t index);

/* *ap = the average precision of every query over all folds, the mean over seeds; to be freed.
 * *n = 0 when the method was not measured. */
DNS_MUST_CHECK dns_status dns_ablation_gather(double **ap, size_t *n, const dns_ablation_book *book,
                                              const char *method);

#endif
