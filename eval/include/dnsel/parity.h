/*
 * Parity: our networks and training steps against reference outputs in a folder of golden files
 * (docs/parity.md). Names of files and tensors say what is compared; all sizes come from the files.
 */
#ifndef DNSEL_PARITY_H
#define DNSEL_PARITY_H

#include <stdbool.h>
#include <stddef.h>

#include "dnsel/pool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One tensor that was compared. */
typedef struct dns_parity_item {
    const char *set;    /* "fine_attention", "coarse.train" */
    const char *tensor; /* as the file names it */
    size_t n;           /* entries that were compared */
    size_t n_excused;   /* entries where rounding decides, left out */
    double absolute;    /* largest absolute difference */
    double error;       /* the same in `unit` */
    double tolerance;   /* of error */
    const char *unit;   /* what the error is divided by: "largest", "spread", ... */
    bool passed;        /* error <= tolerance; false when anything is not a number */
} dns_parity_item;

typedef struct dns_parity dns_parity;

/* Runs everything that the folder has files for. A set that cannot be run as it is (a tensor
 * missing, sizes that do not fit) is an error, with its name in the text. DNS_ERR_NOTFOUND when
 * there is no such folder. */
DNS_API DNS_MUST_CHECK dns_status dns_parity_run(dns_parity **out, const char *directory,
                                                 dns_pool *pool);
DNS_API void dns_parity_free(dns_parity *parity);

DNS_API size_t dns_parity_count(const dns_parity *parity);
DNS_API const dns_parity_item *dns_parity_at(const dns_parity *parity, size_t index);
/* Whether every item passed; false without items. */
DNS_API bool dns_parity_passed(const dns_parity *parity);

/* Files and tensors of the folder that nothing was compared with, sorted: "file" or "file: tensor".
 */
DNS_API size_t dns_parity_unknown_count(const dns_parity *parity);
DNS_API const char *dns_parity_unknown_at(const dns_parity *parity, size_t index);

#ifdef __cplusplus
}
#endif

#endif
