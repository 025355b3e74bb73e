/* What is behind a dns_ann. Private. */
#ifndef DNS_ANN_HANDLE_H
#define DNS_ANN_HANDLE_H

#include "dnsel/ann.h"
#include "faiss_shim.h"

struct dns_ann {
    struct faiss_handle faiss;
    char factory[DNS_ANN_FACTORY];
    dns_dtype dtype;
    size_t dim;
};

/* The failure of a function of the shim. */
dns_status dns_ann_from_shim(const struct faiss_error *error);

#endif
