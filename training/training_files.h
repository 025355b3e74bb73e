/* What reader and writer of a training set share: names and versions in its folder. */
#ifndef DNS_TRAINING_FILES_H
#define DNS_TRAINING_FILES_H

#include "dnsel/record.h"

#define DNS_TRAINING_SCHEMA "dnsel.training/1"

/* Of a view's record in the index: "PATH#LABEL". Free with dns_free. */
DNS_MUST_CHECK dns_status dns_training_view_name(char **out, const char *path, const char *label);
DNS_MUST_CHECK dns_status dns_training_view_id(uint64_t *id, const char *path, const char *label);

#endif
