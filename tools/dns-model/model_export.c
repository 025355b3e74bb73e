#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/memory.h"
#include "dnsel/model.h"
#include "model_commands.h"

struct settings {
    const char *out;
};

static const struct settings defaults = {0};

static const dns_option options[] = {
    {.name = "out",
     .letter = 'o',
     .kind = DNS_OPTION_STRING,
     .offset = offsetof(struct settings, out),
     .value = "FILE",
     .help = "a .safetensors or .npz file to write; needed"},
    {0},
};

/* What a program that reads the file cannot tell from the tensors: the section without the names of
 * files. */
static dns_status section_text(char **out, const dns_json *section)
{
    size_t size;
    FILE *stream = open_memstream(out, &size);
    if (stream == NULL)
        return dns_status_set(DNS_ERR_NOMEM, "out of memory for a section");
    dns_json_writer w = dns_json_writer_to(stream, false);
    dns_json_put_value(&w, NULL, section);
    dns_status status = dns_json_finish(&w);
    fclose(stream);
    if (status == DNS_OK && size > 0)
        (*out)[size - 1] = '\0';
    return status;
}

static dns_status export(const dns_invocation *invocation, const char *out)
{
    dns_status status = DNS_OK;
    const char *directory = invocation->operands[0], *section = invocation->operands[1];
    dns_model *model = NULL;
    dns_named_tensor *tensors = NULL;
    char *text = NULL;
    DNS_TRY(dns_model_open(&model, directory));
    const dns_safetensors *weights = dns_model_weights(model, section);
    if (weights == NULL)
        DNS_FAIL(DNS_ERR_UNSUPPORTED, "model %s: %s section '%s'%s", directory,
                 dns_model_section(model, section) != NULL ? "no weights in" : "no", section,
                 dns_model_section(model, section) != NULL ? "" : "; 'dns-model info' lists them");
    size_t n = dns_safetensors_count(weights);
    DNS_TRY(dns_alloc(&tensors, n, sizeof *tensors));
    for (size_t i = 0; i < n; i++)
        tensors[i] =
            (dns_named_tensor){dns_safetensors_name(weights, i), *dns_safetensors_at(weights, i)};
    DNS_TRY(section_text(&text, dns_model_section(model, section)));
    const dns_metadata metadata[] = {
        {"model", dns_model_name(model)}, {"name", section}, {"section", text}};
    DNS_TRY(dns_tensors_write(out, tensors, n, metadata, 3));
    if (!invocation->quiet)
        printf("%s: %zu tensors, %zu values to %s\n", section, n, dns_tensors_values(tensors, n),
               out);
out:
    free(text);
    dns_free(tensors);
    dns_model_close(model);
    return status;
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    if (s->out == NULL) {
        dns_complain(invocation, "export: --out FILE is needed");
        return DNS_EXIT_FATAL;
    }
    dns_status status = export(invocation, s->out);
    return status == DNS_OK ? DNS_EXIT_OK : dns_model_fail(invocation, status);
}

const dns_command dns_model_export_command = {
    .name = "export",
    .synopsis = "MODEL SECTION",
    .summary = "write the weights of a section for other programs",
    .description = "Writes the tensors of one section of a model under their published names, as "
                   "safetensors or NumPy's "
                   ".npz by the ending of the file's name. safetensors also get the section's "
                   "settings as metadata.",
    .examples = "dns-model export models/dns fine_attention --out fine_attention.safetensors\n"
                "dns-model export models/dns coarse --out coarse.npz  # numpy.load reads it",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
