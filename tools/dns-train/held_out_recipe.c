#include "held_out_recipe.h"

#include <string.h>

static const dns_json *provenance_of(const dns_model *model, const char *section)
{
    return dns_json_get(dns_model_section(model, section), "provenance");
}

static bool says(const dns_json *provenance, const char *key, const char *value)
{
    return strcmp(dns_json_string(dns_json_get(provenance, key), ""), value) == 0;
}

static size_t count(const dns_json *provenance, const char *key, size_t otherwise)
{
    return (size_t)dns_json_integer(dns_json_get(provenance, key), (int64_t)otherwise);
}

/* The options by which a section of ours was learnt; false for a section of others. */
static bool fine_options(dns_fine_options *o, const dns_model *model, dns_fine_kind kind)
{
    const char *section = dns_fine_section(kind);
    const dns_json *p = provenance_of(model, section);
    if (dns_model_section(model, section) == NULL || dns_json_get(p, "recipe") == NULL)
        return false;
    *o = dns_fine_options_default(kind, says(p, "recipe", "published") ? DNS_FINE_PUBLISHED
                                                                       : DNS_FINE_MEASURED);
    o->rule.regions = dns_model_similarity(model).regions;
    o->sampler.seed = (uint64_t)dns_json_number(dns_json_get(p, "seed"), 1);
    o->sampler.batch = count(p, "batch", o->sampler.batch);
    o->trainer.schedule.peak = dns_json_number(dns_json_get(p, "rate"), o->trainer.schedule.peak);
    o->trainer.steps = says(p, "kept", "trained") ? count(p, "steps", o->trainer.steps) : 0;
    return true;
}

static dns_status set_fine(dns_held_out_recipe *r, const dns_model *model, const char *section)
{
    dns_status status = DNS_OK;
    dns_fine_kind kind = strcmp(section, "fine_binary") == 0 ? DNS_FINE_BINARY : DNS_FINE_ATTENTION;
    r->options.comparison.rule = dns_model_similarity(model);
    r->fine_name = section;
    if (strcmp(section, "regions") == 0)
        return DNS_OK;
    DNS_TRY(dns_visil_from_model(&r->fine_net, model, section));
    r->options.comparison.net = r->fine_net;
    if (!fine_options(&r->fine, model, kind) ||
        says(provenance_of(model, section), "kept", "plain"))
        return DNS_OK;
    if (r->fine.recipe == DNS_FINE_PUBLISHED && dns_model_section(model, "teacher") != NULL) {
        DNS_TRY(dns_visil_from_model(&r->teacher, model, "teacher"));
        r->taught = (dns_fine_comparison){.net = r->teacher};
        r->fine.teacher = &r->taught;
    } else if (r->fine.recipe == DNS_FINE_PUBLISHED) {
        return DNS_OK; /* learnt from labelled pairs that are not here */
    }
    r->options.fine = &r->fine;
    if (kind == DNS_FINE_BINARY && r->fine.recipe == DNS_FINE_MEASURED &&
        fine_options(&r->float_options, model, DNS_FINE_ATTENTION))
        r->options.float_options = &r->float_options;
out:
    return status;
}

static dns_status set_coarse(dns_held_out_recipe *r, const dns_model *model)
{
    dns_status status = DNS_OK;
    const dns_json *p = provenance_of(model, "coarse");
    r->coarse_name = dns_json_string(dns_json_get(p, "kept"), "as it is");
    DNS_TRY(dns_coarse_from_model(&r->coarse_net, model));
    r->options.coarse_net = r->coarse_net;
    bool contrast = says(p, "kept", "contrast"), published = says(p, "kept", "published");
    if (!says(p, "command", "dns-train coarse") || !(contrast || published))
        return DNS_OK;
    dns_coarse_learning_options *o = &r->coarse;
    *o = dns_coarse_learning_options_default(contrast ? DNS_COARSE_CONTRAST : DNS_COARSE_DISTILLED);
    o->teacher = r->options.comparison;
    o->sampler.seed = (uint64_t)dns_json_number(dns_json_get(p, "seed"), 1);
    o->sampler.batch = count(p, "batch", o->sampler.batch);
    o->steps = count(p, "steps", o->steps);
    o->rate = dns_json_number(dns_json_get(p, "rate"), o->rate);
    o->tau = dns_json_number(dns_json_get(p, "tau"), o->tau);
    o->share = dns_json_number(dns_json_get(p, "share"), o->share);
    o->pull = dns_json_number(dns_json_get(p, "pull"), o->pull);
    if (published)
        o->shape = *dns_coarse_shape_of(r->coarse_net);
    r->options.coarse = o;
out:
    return status;
}

dns_status dns_held_out_recipe_of(dns_held_out_recipe *r, const dns_data_and_model *in,
                                  const char *section)
{
    dns_status status = DNS_OK;
    r->options.trial = dns_trial_options_default();
    r->options.direction = dns_model_similarity(in->model).direction;
    if (section == NULL)
        section = dns_model_section(in->model, "fine_attention") != NULL ? "fine_attention"
                  : dns_model_section(in->model, "fine_binary") != NULL  ? "fine_binary"
                                                                         : "regions";
    DNS_TRY(set_fine(r, in->model, section));
    DNS_TRY(set_coarse(r, in->model));
out:
    return status;
}

void dns_held_out_recipe_free(dns_held_out_recipe *r)
{
    dns_visil_free(r->fine_net);
    dns_visil_free(r->teacher);
    dns_coarse_free(r->coarse_net);
}
