/*
 * A model directory: model.json and *.safetensors (docs/model-format.md). This module knows the
 * sections and their files, not what networks do with them: students and the selector read their
 * own sections.
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

/* Opens a directory and every weights file that model.json names. Errors: DNS_ERR_NOTFOUND;
 * DNS_ERR_FORMAT and DNS_ERR_VERSION (model.json), DNS_ERR_CORRUPT (a weights file whose digest is
 * not the one in model.json). */
DNS_API DNS_MUST_CHECK dns_status dns_model_open(dns_model **out, const char *directory);
DNS_API void dns_model_close(dns_model *model);

DNS_API const char *dns_model_name(const dns_model *model);
DNS_API const char *dns_model_directory(const dns_model *model);
/* Digest over everything that a score depends on: an index records it. Left out are the sections
 * "name", "description", "provenance", "calibration" and "classifier", and "provenance" within
 * sections; the order of members does not count. Weights count through the digests of their files.
 */
DNS_API dns_digest dns_model_digest(const dns_model *model);
/* The same over some sections only, absent ones included: {"backbone", "whitening",
 * "preprocessing"} tells whether stored region features still serve. */
DNS_API DNS_MUST_CHECK dns_status dns_model_digest_of(dns_digest *out, const dns_model *model,
                                                      const char *const *sections,
                                                      size_t n_sections);

/* The whole manifest, and one section of it, for example "backbone", "whitening", "fine_attention";
 * NULL when absent. */
DNS_API const dns_json *dns_model_manifest(const dns_model *model);
DNS_API const dns_json *dns_model_section(const dns_model *model, const char *section);
/* The weights file that a section names in "file"; NULL when it names none. */
DNS_API const dns_safetensors *dns_model_weights(const dns_model *model, const char *section);

/* ---- writing ---- */

/* A section to be put into a model directory. */
typedef struct dns_model_edit {
    const char *section; /* "whitening" */
    /* The section as JSON text; "file" and "digest" are added to it when there are tensors. NULL
     * removes the section. */
    const char *json;
    const dns_named_tensor *tensors; /* NULL: no weights file */
    size_t n_tensors;
} dns_model_edit;

/* Creates a model directory or changes sections of one; the other sections stay as they are. The
 * new manifest replaces the old one in one step after all weights are written, so a crash leaves
 * the old model. Weights go to <section>.safetensors (<section>-<digest>.safetensors while the old
 * ones have that name); files that no section names any more are removed. DNS_ERR_FORMAT when a
 * text is no JSON value, or no object although there are tensors; otherwise the errors of
 * dns_model_open and of writing. */
DNS_API DNS_MUST_CHECK dns_status dns_model_edit_apply(const char *directory,
                                                       const dns_model_edit *edits, size_t n_edits);

/* From "similarity": {"direction": "query" | "target" | "max" | "symmetric", "regions": "chamfer" |
 * "same" | "symmetric"}. Default: max of both directions, all products (chamfer). */
DNS_API dns_similarity_rule dns_model_similarity(const dns_model *model);

#ifdef __cplusplus
}
#endif

#endif
