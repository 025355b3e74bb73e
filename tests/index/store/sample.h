/* Made-up videos for the tests of the store. */
#ifndef DNS_TEST_STORE_SAMPLE_H
#define DNS_TEST_STORE_SAMPLE_H

#include "dnsel/store.h"

enum { SAMPLE_DIM = 64, SAMPLE_REGIONS = 9, SAMPLE_FRAMES = 24 };

/* A folder that did not exist before, in the folder of the test. */
void sample_folder(char path[256], const char *name);

/* meta, coarse F32, codes U8, selector, fine_binary, fine_attention I8 and regions F16. */
dns_store_settings sample_settings(void);

/* Video number i: contents depend on i and `version` only, frames 4 .. SAMPLE_FRAMES-1. Its name,
 * also for lookups. */
const char *sample_name(size_t i);
dns_status sample_put(dns_batch *batch, size_t i, unsigned version);

/* Compares all records of video i with what was put; checks all checksums. */
void sample_expect(const dns_snapshot *snapshot, size_t i, unsigned version);

/* The same without failing the test: 1 right, 0 an error was reported, -1 something else came back.
 * A video that should not be there is asked for with `present` false. */
int sample_compare(const dns_snapshot *snapshot, size_t i, unsigned version, bool present);

/* Overwrites bytes of the stored record of a video, and if wanted makes its checksum right again.
 * `at` counts from the record's header. */
void sample_patch(const char *directory, dns_kind kind, uint64_t id, size_t at, const void *bytes,
                  size_t size, bool fix_checksum);
/* The same of a record of another version of the format. */
void sample_patch_version(const char *directory, dns_kind kind, uint8_t version, uint64_t id,
                          size_t at, const void *bytes, size_t size, bool fix_checksum);

/* A whole index of n videos, one batch. */
void sample_index(const char *directory, size_t n);

#endif
