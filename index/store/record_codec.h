/* Records as bytes: what record.c gives to the other files of this room. */
#ifndef DNS_STORE_RECORD_CODEC_H
#define DNS_STORE_RECORD_CODEC_H

#include "dnsel/record.h"

/* One place for the names and shapes of kinds. */
typedef struct dns_kind_rule {
    const char *name;
    size_t rank;
    bool by_frame;   /* shape[0] is U */
    bool merges;     /* may have runs */
    unsigned dtypes; /* a bit each, 1u << dns_dtype */
    bool free_size;  /* the payload's size does not follow from the shape */
} dns_kind_rule;

const dns_kind_rule *dns_kind_rule_get(dns_kind kind);

/* *value = header and payload as one block of *size bytes, a multiple of 8; free with dns_free.
 * Takes id and model from the record. DNS_ERR_ARG, DNS_ERR_SHAPE, DNS_ERR_LIMIT. */
DNS_MUST_CHECK dns_status dns_record_encode(uint8_t **value, size_t *size,
                                            const dns_record *record);

/* Reads a header back and checks everything but the checksum. `value` is 8-byte aligned. */
DNS_MUST_CHECK dns_status dns_record_decode(dns_record *out, const uint8_t *value, size_t size,
                                            dns_kind kind, uint64_t id);

/* Whether a value is a record of the id that its key says. */
bool dns_record_has_key(const uint8_t *value, size_t size, const uint8_t *key, size_t key_size);

/* The payload of a meta record; free with dns_free. DNS_ERR_ARG. */
DNS_MUST_CHECK dns_status dns_meta_encode(uint8_t **payload, size_t *size, const dns_meta *meta);
DNS_MUST_CHECK dns_status dns_meta_decode(dns_meta *out, const dns_record *record);

/* Keys: 8 bytes, big-endian, so that LMDB's order is the order of ids. */
void dns_id_to_key(uint8_t key[8], uint64_t id);
uint64_t dns_id_from_key(const uint8_t key[8]);

#endif
