/*
 * From region features to the records of one video: one maker a kind, according to the networks
 * that the model has.
 */
#ifndef DNS_RECORD_MAKERS_H
#define DNS_RECORD_MAKERS_H

#include "dnsel/embedder.h"

/* The model's networks; immutable. */
typedef struct dns_record_makers dns_record_makers;
typedef struct dns_record_session dns_record_session;

DNS_MUST_CHECK dns_status dns_record_makers_create(dns_record_makers **out, const dns_model *model,
                                                   size_t dim);
void dns_record_makers_free(dns_record_makers *makers);

/* The kinds that an index of this model keeps unless told otherwise, and their types. */
void dns_record_makers_kept(const dns_record_makers *makers, bool kept[DNS_KIND_COUNT],
                            dns_dtype dtype[DNS_KIND_COUNT]);

DNS_MUST_CHECK dns_status dns_record_session_create(dns_record_session **out,
                                                    const dns_record_makers *makers);
void dns_record_session_free(dns_record_session *session);

/* As dns_embed_records. DNS_ERR_UNSUPPORTED for a kind whose network the model lacks. */
DNS_MUST_CHECK dns_status dns_record_make(dns_record *records, size_t *n,
                                          dns_record_session *session,
                                          const dns_embedding *embedding,
                                          const dns_store_settings *settings);

/* Whether a record is what the settings ask for of its kind. */
bool dns_record_fits(const dns_record *record, const dns_store_settings *settings);

/* Whether the record that the settings ask for can be made of this one: of the same type, its codes
 * as long or longer, no frames merged but equal ones. */
bool dns_record_can_shrink(const dns_record *record, const dns_store_settings *settings);

/* *out = that record, borrowed as those of dns_record_make: the same bytes as if made from X. A
 * session is one for this alone with makers NULL. */
DNS_MUST_CHECK dns_status dns_record_shrink(dns_record *out, dns_record_session *session,
                                            const dns_record *record,
                                            const dns_store_settings *settings);

/* Bits of the codes that the model's fine_binary network makes; 0 without one. */
size_t dns_record_makers_code_bits(const dns_record_makers *makers);

#endif
