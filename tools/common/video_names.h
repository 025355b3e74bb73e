/* Videos of an index by what people call them. */
#ifndef DNS_VIDEO_NAMES_H
#define DNS_VIDEO_NAMES_H

#include "dnsel/store.h"

typedef struct dns_video_names dns_video_names;

/* Of the videos `ids` [n], ascending; these and the snapshot are borrowed. */
DNS_MUST_CHECK dns_status dns_video_names_create(dns_video_names **out,
                                                 const dns_snapshot *snapshot, const uint64_t *ids,
                                                 size_t n);
void dns_video_names_free(dns_video_names *names);

/* *place = number of the video among `ids`, from its path, name or id as dns_snapshot_find takes
 * them, or from its file name, with or without extension. DNS_ERR_NOTFOUND; DNS_ERR_ARG when
 * several videos have this file name. */
DNS_MUST_CHECK dns_status dns_video_names_find(size_t *place, const dns_video_names *names,
                                               const char *text);

#endif
