#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dnsel/backbone.h"
#include "dnsel/memory.h"
#include "dnsel/model.h"
#include "dnsel/published.h"
#include "dnsel/whitening.h"
#include "model_commands.h"

struct settings {
    const char *out, *into;
    int as;
    size_t heads, dims;
};

static const struct settings defaults = {.heads = 8, .dims = 512};

#define SECTIONS                                                                               \
    "auto|fine_attention|fine_binary|coarse|selector|teacher|teacher_symmetric|whitening|itq|" \
    "backbone"
/* In the order of SECTIONS. */
static const dns_published_kind kinds[] = {
    DNS_PUBLISHED_NONE,     DNS_PUBLISHED_FINE_ATTENTION, DNS_PUBLISHED_FINE_BINARY,
    DNS_PUBLISHED_COARSE,   DNS_PUBLISHED_SELECTOR,       DNS_PUBLISHED_TEACHER,
    DNS_PUBLISHED_TEACHER,  DNS_PUBLISHED_WHITENING,      DNS_PUBLISHED_ITQ,
    DNS_PUBLISHED_BACKBONE,
};
enum { AS_TEACHER_SYMMETRIC = 6 };

static const dns_option options[] = {
    {.name = "out",
     .letter = 'o',
     .kind = DNS_OPTION_STRING,
     .offset = offsetof(struct settings, out),
     .value = "FILE",
     .help = "write all tensors as they are to a .safetensors or .npz file"},
    {.name = "into",
     .kind = DNS_OPTION_STRING,
     .offset = offsetof(struct settings, into),
     .value = "MODEL",
     .help = "put the network into a model directory, which is made when it is not there"},
    {.name = "as",
     .kind = DNS_OPTION_CHOICE,
     .offset = offsetof(struct settings, as),
     .choices = SECTIONS,
     .help = "which network it is; auto tells it from the names of the tensors"},
    {.name = "heads",
     .kind = DNS_OPTION_COUNT,
     .offset = offsetof(struct settings, heads),
     .value = "N",
     .minimum = 1,
     .maximum = 1024,
     .help = "attention heads of a coarse network, which its tensors do not tell"},
    {.name = "dims",
     .kind = DNS_OPTION_COUNT,
     .offset = offsetof(struct settings, dims),
     .value = "N",
     .minimum = 1,
     .maximum = 65536,
     .help = "components of a whitening that are kept: 512 for students, 3840 for the teacher"},
    {0},
};

/* What is known while a file goes into a model. */
typedef struct import {
    const dns_invocation *invocation;
    const struct settings *settings;
    const char *path, *section;
    const dns_checkpoint *checkpoint;
    const dns_published *published;
} import;

static void say(const import *in, const char *format, const char *text)
{
    if (!in->invocation->quiet) {
        fprintf(stderr, "%s: ", in->section);
        fprintf(stderr, format, text);
        fputc('\n', stderr);
    }
}

/* ---- sections as JSON ---- */

/* Where the weights came from. The digest of a model leaves "provenance" out. */
static dns_status put_provenance(dns_json_writer *w, const import *in)
{
    dns_digest digest;
    char text[33];
    dns_json *metadata = NULL;
    const char *json = dns_checkpoint_metadata(in->checkpoint);
    dns_status status = DNS_OK;
    DNS_TRY(dns_digest_of_file(&digest, in->path));
    DNS_TRY(dns_json_parse(&metadata, json, strlen(json), in->path));
    dns_digest_text(&digest, text);
    dns_json_begin_object(w, "provenance");
    dns_json_put_string(w, "file", dns_file_name_of(in->path));
    dns_json_put_string(w, "container", dns_checkpoint_container(in->checkpoint));
    dns_json_put_string(w, "digest", text);
    if (in->published->u_length > 0)
        dns_json_put_number(w, "u_length_before_normalisation", in->published->u_length, 9);
    if (dns_json_size(metadata) > 0)
        dns_json_put_value(w, "metadata", metadata);
    dns_json_end_object(w);
out:
    dns_json_free(metadata);
    return status;
}

/* *out = the section, to be freed with free. `put` adds what distinguishes it. */
static dns_status write_section(char **out, const import *in,
                                void (*put)(dns_json_writer *w, const void *payload),
                                const void *payload)
{
    size_t size;
    FILE *stream = open_memstream(out, &size);
    if (stream == NULL)
        return dns_status_set(DNS_ERR_NOMEM, "out of memory for a section");
    dns_json_writer w = dns_json_writer_to(stream, false);
    dns_json_begin_object(&w, NULL);
    if (put != NULL)
        put(&w, payload);
    dns_status status = put_provenance(&w, in);
    dns_json_end_object(&w);
    if (status == DNS_OK)
        status = dns_json_finish(&w);
    fclose(stream);
    return status;
}

/* What a published network wants of the model beside its own section. */
typedef struct companion {
    const char *section, *json;
    bool is_similarity;
    dns_similarity_rule rule;
} companion;

/* Whether a model that may not be there yet has the section; another rule of similarity is worth a
 * word. */
static dns_status has_companion(bool *has, const import *in, const companion *wanted)
{
    dns_model *model;
    dns_status status = dns_model_open(&model, in->settings->into);
    *has = status == DNS_OK && dns_model_section(model, wanted->section) != NULL;
    if (*has && wanted->is_similarity) {
        dns_similarity_rule rule = dns_model_similarity(model);
        if (rule.direction != wanted->rule.direction || rule.regions != wanted->rule.regions)
            say(in, "was published with similarity %s, the model keeps its own", wanted->json);
    }
    dns_model_close(model);
    return status == DNS_ERR_NOTFOUND ? DNS_OK : status;
}

/* Puts the section into the model, and the companion (which may be NULL), unless the model has that
 * already. */
static dns_status apply(const import *in, const char *json, const dns_named_tensor *tensors,
                        size_t n_tensors, const companion *wanted)
{
    dns_model_edit edits[2] = {
        {.section = in->section, .json = json, .tensors = tensors, .n_tensors = n_tensors}};
    bool has = wanted == NULL;
    dns_status status = DNS_OK;
    if (!has) {
        edits[1] = (dns_model_edit){.section = wanted->section, .json = wanted->json};
        DNS_TRY(has_companion(&has, in, wanted));
    }
    DNS_TRY(dns_model_edit_apply(in->settings->into, edits, has ? 1 : 2));
    if (!in->invocation->quiet)
        printf("%s: %zu tensors, %zu values from %s\n", in->section, in->published->n_tensors,
               dns_tensors_values(in->published->tensors, in->published->n_tensors),
               dns_file_name_of(in->path));
out:
    return status;
}

/* ---- networks ---- */

static void put_heads(dns_json_writer *w, const void *payload)
{
    dns_json_put_string(w, "kind", "published");
    dns_json_put_integer(w, "heads", (int64_t) * (const size_t *)payload);
}

/* All published networks but the symmetric teacher compare query rows with all regions. */
static dns_status import_network(const import *in)
{
    static const companion asymmetric = {"similarity",
                                         "{\"direction\": \"query\", \"regions\": \"chamfer\"}",
                                         true,
                                         {DNS_DIRECTION_QUERY, DNS_REGIONS_CHAMFER}};
    static const companion symmetric = {
        "similarity",
        "{\"direction\": \"symmetric\", \"regions\": \"symmetric\"}",
        true,
        {DNS_DIRECTION_SYMMETRIC, DNS_REGIONS_SYMMETRIC}};
    const dns_published *p = in->published;
    bool is_coarse = p->kind == DNS_PUBLISHED_COARSE;
    bool compares = p->kind == DNS_PUBLISHED_FINE_ATTENTION ||
                    p->kind == DNS_PUBLISHED_FINE_BINARY || p->kind == DNS_PUBLISHED_TEACHER;
    const companion *rule = in->settings->as == AS_TEACHER_SYMMETRIC ? &symmetric : &asymmetric;
    char *json = NULL;
    dns_status status = DNS_OK;
    if (is_coarse && p->dim % in->settings->heads != 0)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: %zu heads do not divide %zu", in->path, in->settings->heads,
                 p->dim);
    DNS_TRY(write_section(&json, in, is_coarse ? put_heads : NULL, &in->settings->heads));
    DNS_TRY(apply(in, json, p->tensors, p->n_tensors, compares ? rule : NULL));
out:
    free(json);
    return status;
}

/* ---- whitening ---- */

/* The matrix is computed here from mean, d and V, so that the model holds just the components that
 * it uses. */
static dns_status import_whitening(const import *in)
{
    const dns_published *p = in->published;
    dns_status status = DNS_OK;
    char *draft = NULL, *json = NULL;
    dns_safetensors *file = NULL;
    dns_whitening *whitening = NULL;
    DNS_TRY(dns_directory_make(in->settings->into));
    DNS_TRY(dns_path_join(&draft, in->settings->into, ".whitening.import"));
    DNS_TRY(dns_safetensors_write(draft, p->tensors, p->n_tensors, NULL, 0));
    DNS_TRY(dns_safetensors_open(&file, draft));
    DNS_TRY(dns_whitening_load(&whitening, file, in->settings->dims));
    size_t in_dim = dns_whitening_in_dim(whitening), out_dim = dns_whitening_out_dim(whitening);
    const dns_named_tensor tensors[] = {
        {"pca.DVt",
         dns_tensor_f32(dns_whitening_matrix(whitening), 2, (size_t[]){in_dim, out_dim})},
        {"pca.mean", dns_tensor_f32(dns_whitening_mean(whitening), 1, &in_dim)},
    };
    DNS_TRY(write_section(&json, in, NULL, NULL));
    DNS_TRY(apply(in, json, tensors, 2, NULL));
out:
    if (draft != NULL)
        unlink(draft);
    dns_whitening_free(whitening);
    dns_safetensors_close(file);
    free(json);
    dns_free(draft);
    return status;
}

/* ---- backbone ---- */

typedef struct installed {
    const char *name;
    char digest[33];
} installed;

static void put_backbone(dns_json_writer *w, const void *payload)
{
    const installed *backbone = payload;
    dns_json_put_string(w, "name", backbone->name);
    dns_json_put_string(w, "weights", backbone->digest);
}

/* The first of the known networks whose tensors the file has. */
static dns_status find_backbone(const dns_backbone **out, const dns_safetensors *file,
                                const char *path)
{
    for (size_t i = 0; i < dns_backbone_count(); i++) {
        dns_graph *graph;
        dns_status status = dns_backbone_graph(&graph, dns_backbone_at(i), file, NULL);
        dns_graph_free(graph);
        *out = dns_backbone_at(i);
        if (status == DNS_OK)
            return DNS_OK;
    }
    return dns_status_set(DNS_ERR_UNSUPPORTED, "%s: its tensors are not those of a known backbone",
                          path);
}

/* Weights of a backbone serve many models, so they lie beside them (dnsel/backbone.h); the model
 * keeps their digest. */
static dns_status install_backbone(installed *out, const import *in)
{
    dns_status status = DNS_OK;
    char *path = NULL, *draft = NULL;
    dns_safetensors *file = NULL, *old = NULL;
    const dns_backbone *backbone = NULL;
    dns_digest digest, old_digest;
    DNS_TRY(dns_directory_make(in->settings->into));
    DNS_TRY(dns_path_join(&draft, in->settings->into, ".backbone.import"));
    DNS_TRY(
        dns_safetensors_write(draft, in->published->tensors, in->published->n_tensors, NULL, 0));
    DNS_TRY(dns_safetensors_open(&file, draft));
    DNS_TRY(find_backbone(&backbone, file, in->path));
    DNS_TRY(dns_backbone_digest(&digest, backbone, file));
    DNS_TRY(dns_backbone_path(&path, backbone->name));
    out->name = backbone->name;
    dns_digest_text(&digest, out->digest);
    if (dns_file_exists(path)) {
        DNS_TRY(dns_safetensors_open(&old, path));
        DNS_TRY(dns_backbone_digest(&old_digest, backbone, old));
        if (!dns_digest_equal(&digest, &old_digest))
            DNS_FAIL(DNS_ERR_EXISTS,
                     "%s: other weights of %s are installed there; remove them first", path,
                     backbone->name);
        goto out;
    }
    char *folder_end = strrchr(path, '/');
    if (folder_end != NULL) {
        *folder_end = '\0';
        DNS_TRY(dns_directory_make(path));
        *folder_end = '/';
    }
    DNS_TRY(dns_safetensors_write(path, in->published->tensors, in->published->n_tensors, NULL, 0));
    say(in, "installed as %s", path);
out:
    dns_safetensors_close(old);
    dns_safetensors_close(file);
    if (draft != NULL)
        unlink(draft);
    dns_free(draft);
    dns_free(path);
    return status;
}

/* Published features were made from frames counted at 1 a second, short side 256, centre 224
 * (docs/features.md). */
static dns_status import_backbone(const import *in)
{
    static const companion published = {
        .section = "preprocessing",
        .json = "{\"sampling\": \"count\", \"geometry\": \"short-side-crop\", \"interpolation\": "
                "\"opencv-cubic\", "
                "\"short_side\": 256, \"size\": 224}"};
    installed backbone;
    char *json = NULL;
    dns_status status = DNS_OK;
    DNS_TRY(install_backbone(&backbone, in));
    DNS_TRY(write_section(&json, in, put_backbone, &backbone));
    DNS_TRY(apply(in, json, NULL, 0, strcmp(backbone.name, "resnet50") == 0 ? &published : NULL));
out:
    free(json);
    return status;
}

/* ---- the command ---- */

static dns_status import_into(import *in)
{
    dns_status status = DNS_OK;
    dns_published *published = NULL;
    dns_published_kind kind = kinds[in->settings->as];
    if (kind == DNS_PUBLISHED_NONE)
        kind = dns_published_recognise(in->checkpoint);
    in->section =
        in->settings->as == AS_TEACHER_SYMMETRIC ? "teacher_symmetric" : dns_published_name(kind);
    status = dns_published_select(&published, in->checkpoint, kind);
    if (status != DNS_OK)
        return dns_status_context(status, "%s", in->path);
    in->published = published;
    char number[64];
    if (published->u_length > 0) {
        snprintf(number, sizeof number, "%.9g", published->u_length);
        say(in, "the attention vector had length %s and is normalised", number);
    }
    if (published->n_unused > 0) {
        snprintf(number, sizeof number, "%zu", published->n_unused);
        say(in, "%s tensors of the file are no part of it and are left out", number);
    }
    if (kind == DNS_PUBLISHED_BACKBONE)
        status = import_backbone(in);
    else
        status = kind == DNS_PUBLISHED_WHITENING ? import_whitening(in) : import_network(in);
    dns_published_free(published);
    return status;
}

static dns_status write_plain(const import *in)
{
    const dns_metadata metadata[] = {
        {"container", dns_checkpoint_container(in->checkpoint)},
        {"file", dns_file_name_of(in->path)},
        {"metadata", dns_checkpoint_metadata(in->checkpoint)},
    };
    return dns_tensors_write(in->settings->out, dns_checkpoint_tensors(in->checkpoint),
                             dns_checkpoint_count(in->checkpoint), metadata,
                             sizeof metadata / sizeof *metadata);
}

static dns_status import_file(const dns_invocation *invocation, const char *path)
{
    const struct settings *s = invocation->settings;
import in = {.invocation = invocation, .settings = s, .path = path };
    dns_checkpoint *checkpoint = NULL;
    dns_status status = DNS_OK;
    DNS_TRY(dns_checkpoint_open(&checkpoint, path));
    in.checkpoint = checkpoint;
    DNS_TRY(s->out != NULL ? write_plain(&in) : import_into(&in));
out:
    dns_checkpoint_close(checkpoint);
    return status;
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    if ((s->out == NULL) == (s->into == NULL)) {
        dns_complain(invocation, "import: give one of --out and --into");
        return DNS_EXIT_FATAL;
    }
    if (s->out != NULL && invocation->n_operands > 1) {
        dns_complain(invocation, "import: --out takes one file");
        return DNS_EXIT_FATAL;
    }
    for (size_t i = 0; i < invocation->n_operands; i++) {
        dns_status status = import_file(invocation, invocation->operands[i]);
        if (status != DNS_OK)
            return dns_model_fail(invocation, status);
    }
    return DNS_EXIT_OK;
}

const dns_command dns_model_import_command = {
    .name = "import",
    .synopsis = "FILE...",
    .summary = "read weights of other programs",
    .description = "Reads a PyTorch checkpoint (.pth, both containers), a .npz, .npy or "
                   "safetensors file, or a pickle of arrays. "
                   "Nothing that is in it is run.\n\n"
                   "With --into, the network goes into a section of a model directory under its "
                   "published names, after all shapes "
                   "and values have been looked at; the other sections stay as they are. A model "
                   "without a rule of similarity, or "
                   "for ResNet-50 without preprocessing, gets the published one. A teacher's "
                   "attention vector that is not of unit "
                   "length is divided by its length. Weights of a backbone go to $DNS_BACKBONES or "
                   "the cache, and the model keeps "
                   "their digest.\n\n"
                   "Files are recognised by the names of their tensors: dns_fg_att_student, "
                   "dns_fg_bin_student, dns_cg_student, "
                   "dns_selector_*, visil, visil_symmetric, s2vs_*, pca_*, itq_*, ResNet-50 and "
                   "EfficientNet-Lite.",
    .examples =
        "dns-model import dns_fg_att_student.pth --into models/dns  # the fine attention student\n"
        "dns-model import dns_cg_student.pth --into models/dns --heads 8\n"
        "dns-model import visil_symmetric.pth --into models/visil --as teacher_symmetric\n"
        "dns-model import pca_resnet50_vcdb_1M.pth --into models/dns --dims 512\n"
        "dns-model import resnet50.pth --into models/dns\n"
        "dns-model import efficientnet-lite0.pth --out efficientnet-lite0.safetensors",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 1,
    .max_operands = SIZE_MAX,
    .run = run,
};
