/*
 * A model directory: model.json and *.safetensors (docs/model-format.md). This module knows the sections and their files,
 * not what networks do with them: students and the selector read their own sections.
 */
#ifndef DNSEL_MODEL_H
#define DNSEL_MODEL_H

#include "dnsel/json.h"
#include "dnsel/safetensors.h"
#include "dnsel/similarity_rule.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Immutable after opening; shared freely; outlives everything that was loaded from it. */
typedef struct dns_model dns_model;

/* Opens a directory and every weights file that model.json names. Errors: DNS_ERR_NOTFOUND; DNS_ERR_FORMAT and
 * DNS_ERR_VERSION (model.json), DNS_ERR_CORRUPT (a weights file whose digest is not the one in model.json). */
DNS_API DNS_MUST_CHECK dns_status dns_model_open(dns_model **out, const char *directory);
DNS_API void dns_model_close(dns_model *model);

DNS_API const char *dns_model_name(const dns_model *model);
DNS_API const char *dns_model_directory(const dns_model *model);
/* Digest over everything that a score depends on: an index records it. */
DNS_API dns_digest dns_model_digest(const dns_model *model);

/* The whole manifest, and one section of it, for example "backbone", "whitening", "fine_attention"; NULL when absent. */
DNS_API const dns_json *dns_model_manifest(const dns_model *model);
DNS_API const dns_json *dns_model_section(const dns_model *model, const char *section);
/* The weights file that a section names in "file"; NULL when it names none. */
DNS_API const dns_safetensors *dns_model_weights(const dns_model *model, const char *section);

/* From "similarity": {"direction": "max", "regions": "chamfer"}. Default: max of both, 9x9. */
DNS_API dns_similarity_rule dns_model_similarity(const dns_model *model);

#ifdef __cplusplus
}
#endif

#endif
