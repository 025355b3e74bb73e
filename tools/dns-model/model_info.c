#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/features_file.h"
#include "dnsel/memory.h"
#include "dnsel/model.h"
#include "dnsel/pickle.h"
#include "dnsel/published.h"
#include "model_commands.h"

struct settings {
    bool json;
};

static const struct settings defaults = {0};

static const dns_option options[] = {
    {.name = "json",
     .kind = DNS_OPTION_FLAG,
     .offset = offsetof(struct settings, json),
     .help = "print one JSON document; of a pickle without tensors, its whole content"},
    {0},
};

static dns_json_writer begin_json(const char *path)
{
    dns_json_writer w = dns_json_writer_to(stdout, true);
    dns_json_begin_object(&w, NULL);
    dns_json_put_integer(&w, "version", DNS_MODEL_JSON_VERSION);
    dns_json_put_string(&w, "path", path);
    return w;
}

static dns_status end_json(dns_json_writer *w)
{
    dns_json_end_object(w);
    return dns_json_finish(w);
}

static dns_status digest_text(char text[33], const char *path)
{
    dns_digest digest;
    dns_status status = dns_digest_of_file(&digest, path);
    if (status == DNS_OK)
        dns_digest_text(&digest, text);
    return status;
}

/* ---- a file of tensors ---- */

static dns_status describe_checkpoint(const char *path, const dns_checkpoint *c, bool json)
{
    const dns_named_tensor *tensors = dns_checkpoint_tensors(c);
    const char *part = dns_checkpoint_part(c),
               *kind = dns_published_name(dns_published_recognise(c));
    const char *metadata = dns_checkpoint_metadata(c);
    size_t n = dns_checkpoint_count(c), values = dns_tensors_values(tensors, n);
    dns_json *tree = NULL;
    char digest[33];
    dns_status status = DNS_OK;
    DNS_TRY(digest_text(digest, path));
    if (json) {
        DNS_TRY(dns_json_parse(&tree, metadata, strlen(metadata), path));
        dns_json_writer w = begin_json(path);
        dns_json_put_string(&w, "container", dns_checkpoint_container(c));
        dns_json_put_string(&w, "kind", *kind != '\0' ? kind : NULL);
        dns_json_put_string(&w, "part", *part != '\0' ? part : NULL);
        dns_json_put_string(&w, "digest", digest);
        dns_json_put_integer(&w, "values", (int64_t)values);
        dns_tensors_put(&w, tensors, n);
        dns_json_put_value(&w, "metadata", tree);
        DNS_TRY(end_json(&w));
    } else {
        printf("%s: %s%s%s, %s%s\n", path, dns_checkpoint_container(c), *part != '\0' ? " / " : "",
               part, *kind != '\0' ? kind : "no known network", *kind != '\0' ? " network" : "");
        printf("digest %s\n%zu tensors, %zu values\n", digest, n, values);
        dns_tensors_print(tensors, n);
        if (strcmp(metadata, "{}") != 0)
            printf("metadata %s\n", metadata);
    }
out:
    dns_json_free(tree);
    return status;
}

/* ---- features ---- */

static dns_status describe_features(const char *path, dns_features_file *file, bool json)
{
    enum { SHOWN = 20 };
    size_t n = dns_features_file_count(file);
    dns_json_writer w;
    if (json) {
        w = begin_json(path);
        dns_json_put_string(&w, "container", dns_features_file_container(file));
        dns_json_put_string(&w, "kind", "features");
        dns_json_begin_array(&w, "videos");
    } else {
        printf("%s: %s, features of %zu videos\n", path, dns_features_file_container(file), n);
    }
    for (size_t i = 0; i < n && (json || i < SHOWN); i++) {
        dns_features_shape shape;
        const char *id = dns_features_file_id(file, i);
        char shown[DNS_SHOWN_NAME];
        bool good = dns_features_file_shape(&shape, file, i) == DNS_OK;
        if (json) {
            dns_json_begin_object(&w, NULL);
            dns_json_put_string(&w, "id", id);
            dns_json_put_integer(&w, "frames", (int64_t)shape.n_frames);
            dns_json_put_integer(&w, "regions", (int64_t)shape.n_regions);
            dns_json_put_integer(&w, "dim", (int64_t)shape.dim);
            dns_json_put_string(&w, "error", good ? NULL : dns_status_message());
            dns_json_end_object(&w);
        } else if (good) {
            printf("  %-24s  [%zu,%zu,%zu]\n", dns_shown_name(shown, id), shape.n_frames,
                   shape.n_regions, shape.dim);
        } else {
            printf("  %-24s  %s\n", dns_shown_name(shown, id), dns_status_message());
        }
    }
    if (!json && n > SHOWN)
        printf("  ... and %zu more\n", n - SHOWN);
    if (!json)
        return DNS_OK;
    dns_json_end_array(&w);
    return end_json(&w);
}

/* ---- a pickle of plain values ---- */

static dns_status describe_pickle(const char *path, const dns_pickle_value *root, bool json)
{
    if (json) {
        dns_json_writer w = begin_json(path);
        dns_json_put_string(&w, "container", "pickle");
        dns_pickle_write_json(&w, "content", root);
        return end_json(&w);
    }
    printf("%s: pickle without tensors, %zu entries\n", path, dns_pickle_size(root));
    for (size_t i = 0; i < dns_pickle_size(root); i++) {
        const char *key = dns_pickle_string(dns_pickle_key_at(root, i), NULL);
        char shown[DNS_SHOWN_NAME];
        if (key != NULL)
            printf("  %-24s  %zu entries\n", dns_shown_name(shown, key),
                   dns_pickle_size(dns_pickle_at(root, i)));
    }
    return DNS_OK;
}

/* ---- a model ---- */

typedef struct model_report {
    const dns_model *model;
    dns_json_writer *w; /* NULL: text */
    dns_named_tensor *tensors;
    size_t capacity;
} model_report;

static dns_status describe_section(void *payload, const char *name, const dns_json *section)
{
    model_report *report = payload;
    const dns_safetensors *weights = dns_model_weights(report->model, name);
    if (dns_json_kind_of(section) != DNS_JSON_OBJECT)
        return DNS_OK;
    size_t n = weights != NULL ? dns_safetensors_count(weights) : 0;
    dns_status status =
        dns_reserve(&report->tensors, &report->capacity, n, sizeof *report->tensors);
    if (status != DNS_OK)
        return status;
    for (size_t i = 0; i < n; i++)
        report->tensors[i] =
            (dns_named_tensor){dns_safetensors_name(weights, i), *dns_safetensors_at(weights, i)};
    if (report->w != NULL) {
        dns_json_begin_object(report->w, name);
        dns_json_put_value(report->w, "settings", section);
        dns_tensors_put(report->w, report->tensors, n);
        dns_json_end_object(report->w);
        return DNS_OK;
    }
    if (weights != NULL)
        printf("%s: %s, %zu tensors, %zu values\n", name,
               dns_json_string(dns_json_get(section, "file"), ""), n,
               dns_tensors_values(report->tensors, n));
    else
        printf("%s: ", name);
    if (weights == NULL) {
        dns_json_writer w = dns_json_writer_to(stdout, false);
        dns_json_put_value(&w, NULL, section);
        return dns_json_finish(&w);
    }
    dns_tensors_print(report->tensors, n);
    return DNS_OK;
}

static dns_status describe_model(const char *path, bool json)
{
    dns_model *model = NULL;
    dns_status status = DNS_OK;
    char digest[33];
    model_report report = {0};
    DNS_TRY(dns_model_open(&model, path));
    dns_digest value = dns_model_digest(model);
    dns_digest_text(&value, digest);
    report.model = model;
    if (json) {
        dns_json_writer w = begin_json(path);
        report.w = &w;
        dns_json_put_string(&w, "container", "model");
        dns_json_put_string(&w, "name", dns_model_name(model));
        dns_json_put_string(&w, "digest", digest);
        dns_json_begin_object(&w, "sections");
        DNS_TRY(dns_json_each(dns_model_manifest(model), describe_section, &report));
        dns_json_end_object(&w);
        DNS_TRY(end_json(&w));
    } else {
        printf("%s: model '%s'\ndigest %s\n", path, dns_model_name(model), digest);
        DNS_TRY(dns_json_each(dns_model_manifest(model), describe_section, &report));
    }
out:
    dns_free(report.tensors);
    dns_model_close(model);
    return status;
}

/* ---- the command ---- */

/* Tensors first; then features, which only HDF5 keeps in a container of its own; then values
 * without tensors. */
static dns_status describe_file(const char *path, bool json)
{
    dns_checkpoint *checkpoint = NULL;
    dns_features_file *features = NULL;
    dns_pickle *pickle = NULL;
    dns_status status = dns_checkpoint_open(&checkpoint, path);
    if (status == DNS_OK) {
        status = describe_checkpoint(path, checkpoint, json);
        dns_checkpoint_close(checkpoint);
        return status;
    }
    char reason[1024];
    snprintf(reason, sizeof reason, "%s", dns_status_message());
    if (status == DNS_ERR_FORMAT) {
        dns_status other = dns_features_file_open(&features, path);
        if (other == DNS_OK)
            status = describe_features(path, features, json);
        else if (other != DNS_ERR_FORMAT)
            status = other;
        else if (dns_pickle_read(&pickle, path) == DNS_OK)
            status = describe_pickle(path, dns_pickle_root(pickle), json);
        else
            status = dns_status_set(DNS_ERR_FORMAT, "%s", reason);
    }
    dns_pickle_free(pickle);
    dns_features_file_close(features);
    return status;
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    const char *path = invocation->operands[0];
    dns_status status =
        dns_directory_exists(path) ? describe_model(path, s->json) : describe_file(path, s->json);
    return status == DNS_OK ? DNS_EXIT_OK : dns_model_fail(invocation, status);
}

const dns_command dns_model_info_command = {
    .name = "info",
    .synopsis = "FILE | MODEL",
    .summary = "say what a file or a model directory holds",
    .description = "Lists tensors with their types and shapes, metadata and the digest of a "
                   "checkpoint, a .npz, .npy or "
                   "safetensors file or a model directory, says which published network it is, "
                   "lists the videos of an "
                   "HDF5 feature file, and the entries of a pickle.",
    .examples = "dns-model info dns_cg_student.pth\n"
                "dns-model info --json models/dns\n"
                "dns-model info --json fivr.pickle  # annotations as JSON",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
