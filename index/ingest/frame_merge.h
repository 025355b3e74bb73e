/*
 * Records of frames made smaller: codes cut to their first bits, and consecutive frames that are
 * alike stored once, with how many they are.
 */
#ifndef DNS_FRAME_MERGE_H
#define DNS_FRAME_MERGE_H

#include "dnsel/store.h"

/* Codes of `n` regions cut in place from `from` bytes to the first `to` of each. */
void dns_cut_codes(uint8_t *codes, size_t n, size_t from, size_t to);

/* Merges the frames of a record [n, R, D] whose elements, scales (I8 only) and run lengths lie in
 * `data`, `scales` and `runs` [n], in place: a frame joins the run before it unless one of its
 * vectors is further than `distance` from that of the run's first frame. Codes are vectors of unit
 * length. Returns the number of stored frames that are left. */
size_t dns_merge_frames(void *data, float *scales, uint16_t *runs, const dns_record *record,
                        float distance);

#endif
