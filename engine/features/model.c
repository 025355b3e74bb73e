#include "dnsel/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/memory.h"
#include "model_manifest.h"

struct section {
    char *name;
    dns_safetensors *weights;
};

struct dns_model {
    char *directory, *name;
    dns_json *manifest;
    struct section *sections; /* those that name a file */
    size_t n_sections, capacity;
    dns_digest digest;
    dns_similarity_rule rule;
};

/* ---- opening ---- */

static dns_status open_weights(void *payload, const char *name, const dns_json *section)
{
    dns_status status = DNS_OK;
    dns_model *model = payload;
    const dns_json *file_value = dns_json_get(section, "file");
    const char *file = dns_json_string(file_value, NULL);
    char *path = NULL;
    dns_digest expected, found;
    if (file_value == NULL)
        return DNS_OK;
    if (file == NULL || !dns_manifest_file_name(file))
        DNS_FAIL(DNS_ERR_FORMAT, "section '%s': 'file' is not the name of a file", name);
    if (!dns_digest_parse(&expected, dns_json_string(dns_json_get(section, "digest"), "")))
        DNS_FAIL(DNS_ERR_FORMAT, "section '%s': no digest", name);
    DNS_TRY(dns_path_join(&path, model->directory, file));
    DNS_TRY(dns_digest_of_file(&found, path));
    if (!dns_digest_equal(&expected, &found))
        DNS_FAIL(DNS_ERR_CORRUPT, "%s: not the file that section '%s' was written with", file,
                 name);
    DNS_TRY(dns_reserve(&model->sections, &model->capacity, model->n_sections + 1,
                        sizeof *model->sections));
    struct section *added = &model->sections[model->n_sections++];
    DNS_TRY(dns_string_copy(&added->name, name));
    DNS_TRY(dns_safetensors_open(&added->weights, path));
out:
    dns_free(path);
    return status;
}

static const char *direction_name(int i)
{
    return dns_direction_name((dns_direction)i);
}

static const char *region_step_name(int i)
{
    return dns_region_step_name((dns_region_step)i);
}

/* *choice = the number of the text `key` among n names; unchanged when there is none. */
static dns_status read_choice(int *choice, const dns_json *section, const char *key,
                              const char *(*name)(int), int n)
{
    const dns_json *value = dns_json_get(section, key);
    const char *text = dns_json_string(value, "");
    if (value == NULL)
        return DNS_OK;
    for (int i = 0; i < n; i++)
        if (strcmp(text, name(i)) == 0) {
            *choice = i;
            return DNS_OK;
        }
    return dns_status_set(DNS_ERR_FORMAT, "similarity: %s '%s'", key, text);
}

static dns_status read_rule(dns_similarity_rule *rule, const dns_json *manifest)
{
    dns_status status = DNS_OK;
    const dns_json *section = dns_json_get(manifest, "similarity");
    int direction = DNS_DIRECTION_MAX, step = DNS_REGIONS_CHAMFER;
    DNS_TRY(read_choice(&direction, section, "direction", direction_name, DNS_DIRECTIONS));
    DNS_TRY(read_choice(&step, section, "regions", region_step_name, DNS_REGION_STEPS));
    *rule = (dns_similarity_rule){(dns_direction)direction, (dns_region_step)step};
out:
    return status;
}

dns_status dns_model_open(dns_model **out, const char *directory)
{
    dns_status status = DNS_OK;
    dns_model *model = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&model, 1, sizeof *model));
    DNS_TRY(dns_string_copy(&model->directory, directory));
    DNS_TRY(dns_manifest_read(&model->manifest, directory));
    DNS_TRY(dns_string_copy(&model->name,
                            dns_json_string(dns_json_get(model->manifest, "name"), "unnamed")));
    DNS_TRY(dns_json_each(model->manifest, open_weights, model));
    DNS_TRY(read_rule(&model->rule, model->manifest));
    DNS_TRY(dns_manifest_digest(&model->digest, model->manifest));
    *out = model;
    model = NULL;
out:
    dns_model_close(model);
    return status == DNS_OK ? DNS_OK : dns_status_context(status, "model %s", directory);
}

void dns_model_close(dns_model *model)
{
    if (model == NULL)
        return;
    for (size_t i = 0; i < model->n_sections; i++) {
        dns_safetensors_close(model->sections[i].weights);
        dns_free(model->sections[i].name);
    }
    dns_free(model->sections);
    dns_json_free(model->manifest);
    dns_free(model->name);
    dns_free(model->directory);
    dns_free(model);
}

/* ---- asking ---- */

const char *dns_model_name(const dns_model *model)
{
    return model->name;
}

const char *dns_model_directory(const dns_model *model)
{
    return model->directory;
}

dns_digest dns_model_digest(const dns_model *model)
{
    return model->digest;
}

const dns_json *dns_model_manifest(const dns_model *model)
{
    return model->manifest;
}

const dns_json *dns_model_section(const dns_model *model, const char *section)
{
    return dns_json_get(model->manifest, section);
}

const dns_safetensors *dns_model_weights(const dns_model *model, const char *section)
{
    for (size_t i = 0; i < model->n_sections; i++)
        if (strcmp(model->sections[i].name, section) == 0)
            return model->sections[i].weights;
    return NULL;
}

dns_similarity_rule dns_model_similarity(const dns_model *model)
{
    return model->rule;
}

dns_status dns_model_digest_of(dns_digest *out, const dns_model *model, const char *const *sections,
                               size_t n_sections)
{
    return dns_manifest_digest_of(out, model->manifest, sections, n_sections);
}
