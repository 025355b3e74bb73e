/* Edited copies of single frames, drawn from the kinds of dnsel/edits.h that need nothing but the
 * picture. */
#ifndef DNS_FRAME_EDITS_H
#define DNS_FRAME_EDITS_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/random.h"
#include "dnsel/status.h"

/* A dns_frame_editor (dnsel/whitening_training.h): edits an RGB frame [size][size][3] in place by a
 * kind and strengths drawn from `random`. `payload` is not used. */
dns_status dns_frame_edit(void *payload, uint8_t *frame, size_t size, dns_random *random);

#endif
