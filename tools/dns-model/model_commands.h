/* The commands of dns-model, and what they share. */
#ifndef DNS_MODEL_COMMANDS_H
#define DNS_MODEL_COMMANDS_H

#include "dnsel/checkpoint.h"
#include "dnsel/json.h"
#include "program.h"

extern const dns_command dns_model_import_command, dns_model_export_command, dns_model_info_command,
    dns_model_verify_command;

enum { DNS_MODEL_JSON_VERSION = 1 };

/* dns_fail for files from outside: one that is too large for any limit is not of this kind (12),
 * one with values that are not finite is damaged (13). */
int dns_model_fail(const dns_invocation *invocation, dns_status status);

/* The file's own name, without folders. Borrowed. */
const char *dns_file_name_of(const char *path);

enum { DNS_SHOWN_NAME = 200 };

/* A name from a file as it may go to a terminal: control characters become '?', and it is cut off.
 * Returns `buffer`. */
const char *dns_shown_name(char buffer[DNS_SHOWN_NAME], const char *name);

/* Number of values in all tensors. */
size_t dns_tensors_values(const dns_named_tensor *tensors, size_t n);

/* Writes tensors to a .safetensors or .npz, by the ending of the name (anything else: DNS_ERR_ARG);
 * `metadata` goes into safetensors only. */
DNS_MUST_CHECK dns_status dns_tensors_write(const char *path, const dns_named_tensor *tensors,
                                            size_t n, const dns_metadata *metadata,
                                            size_t n_metadata);

/* "name dtype shape" a line, and the same as a JSON array under "tensors". */
void dns_tensors_print(const dns_named_tensor *tensors, size_t n);
void dns_tensors_put(dns_json_writer *w, const dns_named_tensor *tensors, size_t n);

#endif
