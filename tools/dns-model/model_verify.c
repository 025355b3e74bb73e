#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/backbone.h"
#include "dnsel/coarse.h"
#include "dnsel/memory.h"
#include "dnsel/model.h"
#include "dnsel/published.h"
#include "dnsel/visil.h"
#include "dnsel/whitening.h"
#include "model_commands.h"

struct settings {
    bool json;
};

static const struct settings defaults = {0};

static const dns_option options[] = {
    {.name = "json",
     .kind = DNS_OPTION_FLAG,
     .offset = offsetof(struct settings, json),
     .help = "print one JSON document"},
    {0},
};

/* ---- what a section's network takes and gives ---- */

typedef struct dims {
    size_t in, out; /* values of a vector; 0: nothing to compare */
} dims;

static dns_status check_student(dims *out, const dns_model *model, const char *section)
{
    dns_visil *net;
    dns_status status = dns_visil_from_model(&net, model, section);
    if (status == DNS_OK)
        out->in = dns_visil_shape_of(net)->dim;
    dns_visil_free(net);
    return status;
}

/* Teachers have a whitening of their own. */
static dns_status check_teacher(dims *out, const dns_model *model, const char *section)
{
    dims own;
    return check_student(&own, model, section);
}

static dns_status check_coarse(dims *out, const dns_model *model, const char *section)
{
    dns_coarse *net;
    dns_status status = dns_coarse_from_model(&net, model);
    if (status == DNS_OK)
        out->in = dns_coarse_shape_of(net)->dim;
    dns_coarse_free(net);
    return status;
}

static dns_status check_whitening(dims *out, const dns_model *model, const char *section)
{
    dns_whitening *whitening = NULL;
    if (dns_model_weights(model, section) == NULL)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "no weights");
    dns_status status = dns_whitening_load(&whitening, dns_model_weights(model, section), 0);
    if (status == DNS_OK)
        *out = (dims){dns_whitening_in_dim(whitening), dns_whitening_out_dim(whitening)};
    dns_whitening_free(whitening);
    return status;
}

/* A network with the published tensors. */
static dns_status check_published(dims *out, const dns_model *model, const char *section,
                                  dns_published_kind kind)
{
    dns_status status = DNS_OK;
    dns_checkpoint *checkpoint = NULL;
    dns_published *published = NULL;
    if (dns_model_weights(model, section) == NULL)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "no weights");
    DNS_TRY(
        dns_checkpoint_open(&checkpoint, dns_safetensors_path(dns_model_weights(model, section))));
    DNS_TRY(dns_published_select(&published, checkpoint, kind));
    out->in = published->dim;
out:
    dns_published_free(published);
    dns_checkpoint_close(checkpoint);
    return status;
}

static dns_status check_selector(dims *out, const dns_model *model, const char *section)
{
    return check_published(out, model, section, DNS_PUBLISHED_SELECTOR);
}

static dns_status check_itq(dims *out, const dns_model *model, const char *section)
{
    return check_published(out, model, section, DNS_PUBLISHED_ITQ);
}

/* A backbone that is not installed here is no fault of the model. */
static dns_status check_backbone(dims *out, const dns_model *model, const char *section)
{
    dns_status status = DNS_OK;
    const dns_json *settings = dns_model_section(model, section);
    const dns_backbone *backbone;
    dns_safetensors *base = NULL;
    dns_graph *graph = NULL;
    dns_digest found, expected;
    char *path = NULL;
    DNS_TRY(dns_backbone_find(&backbone, dns_json_string(dns_json_get(settings, "name"), "")));
    out->out = backbone->region_dim;
    DNS_TRY(dns_backbone_path(&path, backbone->name));
    if (!dns_file_exists(path))
        goto out;
    DNS_TRY(dns_safetensors_open(&base, path));
    DNS_TRY(dns_backbone_digest(&found, backbone, base));
    if (!dns_digest_parse(&expected, dns_json_string(dns_json_get(settings, "weights"), "")) ||
        !dns_digest_equal(&found, &expected))
        DNS_FAIL(DNS_ERR_MODEL, "%s: not the weights of %s that the model was made with", path,
                 backbone->name);
    DNS_TRY(dns_backbone_graph(&graph, backbone, base, dns_model_weights(model, section)));
out:
    dns_graph_free(graph);
    dns_safetensors_close(base);
    dns_free(path);
    return status;
}

static const struct check {
    const char *section;
    dns_status (*check)(dims *out, const dns_model *model, const char *section);
} checks[] = {
    {"backbone", check_backbone},
    {"whitening", check_whitening},
    {"fine_attention", check_student},
    {"fine_binary", check_student},
    {"coarse", check_coarse},
    {"teacher", check_teacher},
    {"teacher_symmetric", check_teacher},
    {"selector", check_selector},
    {"itq", check_itq},
};
enum { N_CHECKS = sizeof checks / sizeof *checks };

/* ---- values ---- */

static dns_status check_values(const dns_safetensors *weights)
{
    enum { PIECE = 4096 };
    float values[PIECE];
    for (size_t i = 0; weights != NULL && i < dns_safetensors_count(weights); i++) {
        dns_tensor piece = *dns_safetensors_at(weights, i);
        size_t n = dns_tensor_count(&piece), size = dns_dtype_size(piece.dtype);
        const char *data = piece.data;
        for (size_t first = 0; first < n; first += PIECE) {
            piece.rank = 1;
            piece.shape[0] = n - first < PIECE ? n - first : PIECE;
            piece.data = data + first * size;
            dns_tensor_to_f32(values, &piece);
            for (size_t k = 0; k < piece.shape[0]; k++)
                if (!isfinite(values[k]))
                    return dns_status_set(DNS_ERR_RANGE, "tensor '%s': entry %zu is not finite",
                                          dns_safetensors_name(weights, i), first + k);
        }
    }
    return DNS_OK;
}

/* ---- the whole ---- */

typedef struct verification {
    const dns_invocation *invocation;
    const dns_model *model;
    dns_json_writer *w; /* NULL: text */
    int code;           /* the worst so far */
} verification;

/* What a section's network takes and gives. */
static dns_status measure(dims *out, const dns_model *model, const char *name)
{
    *out = (dims){0, 0};
    for (size_t i = 0; i < N_CHECKS; i++)
        if (strcmp(checks[i].section, name) == 0)
            return checks[i].check(out, model, name);
    return DNS_OK;
}

/* Region vectors go from the backbone through the whitening to the networks. */
static dns_status check_section(const dns_model *model, const char *name)
{
    dims found, before = {0, 0};
    const char *giver = strcmp(name, "whitening") == 0 ? "backbone" : "whitening";
    dns_status status = DNS_OK;
    DNS_TRY(check_values(dns_model_weights(model, name)));
    DNS_TRY(measure(&found, model, name));
    if (found.in > 0 && dns_model_section(model, giver) != NULL &&
        measure(&before, model, giver) == DNS_OK && before.out != found.in)
        DNS_FAIL(DNS_ERR_SHAPE, "takes vectors of %zu values, but the %s gives %zu", found.in,
                 giver, before.out);
out:
    return status;
}

static int exit_code(dns_status status)
{
    if (status == DNS_ERR_RANGE)
        return DNS_EXIT_CORRUPT;
    return status == DNS_ERR_NOTFOUND ? DNS_EXIT_FORMAT : dns_exit_code(status);
}

static dns_status verify_section(void *payload, const char *name, const dns_json *section)
{
    verification *v = payload;
    if (dns_json_kind_of(section) != DNS_JSON_OBJECT)
        return DNS_OK;
    dns_status status = check_section(v->model, name);
    const char *text = status == DNS_OK ? NULL : dns_status_message();
    if (v->w != NULL) {
        dns_json_begin_object(v->w, name);
        dns_json_put_bool(v->w, "passed", status == DNS_OK);
        dns_json_put_string(v->w, "error", text);
        dns_json_end_object(v->w);
    } else if (status != DNS_OK) {
        dns_complain(v->invocation, "%s: %s", name, text);
    } else if (!v->invocation->quiet) {
        printf("%s: ok\n", name);
    }
    int code = exit_code(status);
    v->code = code > v->code ? code : v->code;
    return DNS_OK;
}

/* A model without one of its files is damaged. */
static dns_status open_model(dns_model **out, const char *directory)
{
    char *manifest = NULL;
    dns_status status = dns_model_open(out, directory);
    if (status == DNS_ERR_NOTFOUND && dns_path_join(&manifest, directory, "model.json") == DNS_OK &&
        dns_file_exists(manifest))
        status = DNS_ERR_CORRUPT;
    dns_free(manifest);
    return status;
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    dns_status status = DNS_OK;
    dns_model *model = NULL;
    verification v = {.invocation = invocation};
    dns_json_writer w;
    DNS_TRY(open_model(&model, invocation->operands[0]));
    v.model = model;
    if (s->json) {
        w = dns_json_writer_to(stdout, true);
        v.w = &w;
        dns_json_begin_object(&w, NULL);
        dns_json_put_integer(&w, "version", DNS_MODEL_JSON_VERSION);
        dns_json_put_string(&w, "path", invocation->operands[0]);
        dns_json_begin_object(&w, "sections");
    }
    DNS_TRY(dns_json_each(dns_model_manifest(model), verify_section, &v));
    if (s->json) {
        dns_json_end_object(&w);
        dns_json_put_bool(&w, "passed", v.code == DNS_EXIT_OK);
        dns_json_end_object(&w);
        DNS_TRY(dns_json_finish(&w));
    }
out:
    dns_model_close(model);
    return status == DNS_OK ? v.code : dns_model_fail(invocation, status);
}

const dns_command dns_model_verify_command = {
    .name = "verify",
    .synopsis = "MODEL",
    .summary = "check a model directory",
    .description =
        "Reads all weights of a model: their digests are those in model.json, every value is "
        "finite, every network has "
        "the tensors and shapes that it needs, and the vectors that one section gives are what the "
        "next one takes. The "
        "weights of the backbone are compared with their digest where they are installed.\n\n"
        "Ends with 13 when something is damaged, with 12 when something does not fit.",
    .examples = "dns-model verify models/dns",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
