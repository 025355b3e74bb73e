/* The ranges of a backbone's maps, which int8 needs. */
#ifndef DNS_RANGES_H
#define DNS_RANGES_H

#include "dnsel/extractor.h"
#include "dnsel/file_list.h"
#include "dnsel/progress.h"
#include "json_text.h"

/* *text = the model's backbone section with the ranges of its maps on *n_frames frames that are
 * drawn from the videos, cut as the model cuts frames. Errors: those of dns_model_backbone_graph
 * and dns_frames_draw. */
DNS_MUST_CHECK dns_status dns_ranges_measure(dns_json_text *text, size_t *n_frames,
                                             const dns_model *model, const dns_file_list *videos,
                                             uint64_t seed, dns_cancel *cancel);

#endif
