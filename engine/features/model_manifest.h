/* model.json: read, told apart from other files, digested. */
#ifndef DNS_MODEL_MANIFEST_H
#define DNS_MODEL_MANIFEST_H

#include "dnsel/file.h"
#include "dnsel/json.h"

#define DNS_MANIFEST_FILE "model.json"
#define DNS_MANIFEST_SCHEMA "dnsel.model/1"

/* *out = the manifest of a directory, an object of this schema. DNS_ERR_NOTFOUND, DNS_ERR_FORMAT,
 * DNS_ERR_VERSION. */
dns_status dns_manifest_read(dns_json **out, const char *directory);

/* Whether a text names a file in the directory itself. */
bool dns_manifest_file_name(const char *text);

/* Digests as in dnsel/model.h. */
dns_status dns_manifest_digest(dns_digest *out, const dns_json *manifest);
dns_status dns_manifest_digest_of(dns_digest *out, const dns_json *manifest,
                                  const char *const *sections, size_t n_sections);

#endif
