/* coarse.faiss for a search. */
#ifndef DNS_COARSE_ANN_OPEN_H
#define DNS_COARSE_ANN_OPEN_H

#include <sys/types.h>
#include <time.h>

#include "dnsel/coarse_ann.h"

/* The file as a searcher holds it; zero it first. */
struct dns_coarse_ann {
    dns_ann *ann; /* NULL: there is none that can be used */
    uint64_t file_generation;
    uint64_t generation; /* that `changed` and `why` are of */
    bool looked;
    /* Which file it is. */
    dev_t device;
    ino_t inode;
    struct timespec modified;
    uint64_t *changed; /* [n_changed] ids, ascending, since the file was written */
    size_t n_changed;
    char why[256]; /* there is none */
};

/* Opens the file, or the one that has taken its place, and finds out what changed since. A file
 * that cannot be used is no error: `why` tells. */
DNS_MUST_CHECK dns_status dns_coarse_ann_open(struct dns_coarse_ann *a,
                                              const dns_snapshot *snapshot);
void dns_coarse_ann_close(struct dns_coarse_ann *a);

#endif
