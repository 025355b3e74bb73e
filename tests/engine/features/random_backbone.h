/* Backbones with random weights, the same on every machine; tests/data/make/backbone_fixtures.py
 * computes what comes out of them. */
#ifndef DNS_TEST_RANDOM_BACKBONE_H
#define DNS_TEST_RANDOM_BACKBONE_H

#include <stddef.h>
#include <stdint.h>

/* Writes `path`: random tensors under the names and shapes that tests/data/features/<name>.tensors
 * lists. Calls may be repeated; the file is then kept. */
void random_backbone_write(const char *name, const char *path);

/* n random pictures of 224x224x3 bytes: steps of colour under noise. */
void random_frames(uint8_t *frames, size_t n);

#endif
