/* What an ablation measures, unit by unit: every method on the queries of one fold with one seed.
 */
#ifndef DNS_ABLATION_UNITS_H
#define DNS_ABLATION_UNITS_H

#include "ablation_book.h"
#include "dnsel/held_out.h"
#include "dnsel/model.h"
#include "dnsel/routing_study.h"

typedef struct dns_ablation {
    const dns_training_set *set;
    dns_similarity_rule rule; /* of the model: regions of networks, direction of codes */
    dns_ablation_book *book;
    dns_pool *pool;
    dns_cancel *cancel;
    size_t queries; /* of a video; 0: all */
    uint64_t seed;  /* the first; also of trials */
    size_t n_seeds;
    size_t fine_steps, coarse_steps, selector_steps, published_steps; /* published 0: not tried */
    const char *folder;                                               /* of checkpoints */
    void (*say)(void *payload, const char *what);                     /* before each unit */
    void *payload;
} dns_ablation;

/* "mean vector", "plain REGIONS DIRECTION", "codes KIND", "fine attention STATE DIRECTION", "fine
 * binary STATE", "coarse contrast", "coarse published". Every method but routers. */
DNS_MUST_CHECK dns_status dns_ablation_fold(dns_ablation *a, size_t fold);

/* "router NAME SHARE" for every ranker and budget, all folds together, held out as dns-train
 * selector does. */
DNS_MUST_CHECK dns_status dns_ablation_routers(dns_ablation *a, uint64_t seed);

/* The method that a method is to be compared with; NULL: none. `text` is scratch. */
const char *dns_ablation_reference(const char *method, dns_similarity_rule rule,
                                   char text[DNS_ABLATION_NAME]);

#endif
