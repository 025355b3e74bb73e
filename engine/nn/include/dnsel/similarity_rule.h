/*
 * How two videos are compared: properties of a model, not of the code (docs/networks/teacher.md).
 */
#ifndef DNSEL_SIMILARITY_RULE_H
#define DNSEL_SIMILARITY_RULE_H

#include "dnsel/f2f.h"
#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* From the map of frame similarities to one score. */
typedef enum dns_direction {
    DNS_DIRECTION_QUERY,    /* mean over query rows of the maximum over targets: published */
    DNS_DIRECTION_TARGET,   /* mean over target columns of the maximum over queries */
    DNS_DIRECTION_MAX,      /* the larger of both */
    DNS_DIRECTION_SYMMETRIC /* the mean of both */
} dns_direction;

enum { DNS_DIRECTIONS = DNS_DIRECTION_SYMMETRIC + 1 };

/* From the regions of two frames to their similarity. */
typedef enum dns_region_step {
    DNS_REGIONS_CHAMFER,  /* all products, maximum over target regions, mean over query regions:
                             published */
    DNS_REGIONS_SAME,     /* mean of the products of regions in the same position */
    DNS_REGIONS_SYMMETRIC /* the mean of the Chamfer similarities of both directions: the symmetric
                             ViSiL teacher */
} dns_region_step;

enum { DNS_REGION_STEPS = DNS_REGIONS_SYMMETRIC + 1 };

/* The kernels' name of it. */
static inline dns_f2f_step dns_f2f_step_of(dns_region_step regions)
{
    return regions == DNS_REGIONS_SAME        ? DNS_F2F_SAME
           : regions == DNS_REGIONS_SYMMETRIC ? DNS_F2F_SYMMETRIC
                                              : DNS_F2F_MAX;
}

typedef struct dns_similarity_rule {
    dns_direction direction;
    dns_region_step regions;
} dns_similarity_rule;

/* As in model.json: "query", "target", "max", "symmetric"; "chamfer", "same", "symmetric". */
DNS_API const char *dns_direction_name(dns_direction direction);
DNS_API const char *dns_region_step_name(dns_region_step step);

#ifdef __cplusplus
}
#endif

#endif
