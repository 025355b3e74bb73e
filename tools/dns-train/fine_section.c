#include "fine_section.h"

#include <math.h>
#include <string.h>

#include "dnsel/memory.h"
#include "dnsel/model.h"
#include "json_text.h"
#include "section_weights.h"

enum { DIGITS = 5 };

static void put_figures(dns_json_writer *w, const dns_fine_choice *choice)
{
    dns_json_begin_object(w, "map");
    for (int k = 0; k < DNS_FINE_CANDIDATES; k++) {
        dns_json_begin_object(w, dns_fine_candidate_name((dns_fine_candidate)k));
        for (int d = 0; d < DNS_DIRECTIONS; d++)
            dns_json_put_number(w, dns_direction_name((dns_direction)d), choice->map[k][d], DIGITS);
        dns_json_end_object(w);
    }
    dns_json_end_object(w);
}

static void put_provenance(dns_json_writer *w, const dns_fine_section_facts *f)
{
    const dns_fine_options *o = f->options;
    const char *section = dns_fine_section(o->kind), *settings = dns_training_set_settings(f->set);
    dns_json *data = NULL;
    char command[48];
    snprintf(command, sizeof command, "dns-train %s", section);
    for (char *c = command; *c != '\0'; c++)
        *c = *c == '_' ? '-' : *c;
    dns_json_begin_object(w, "provenance");
    dns_json_put_string(w, "command", command);
    dns_json_put_string(w, "recipe", o->recipe == DNS_FINE_MEASURED ? "measured" : "published");
    dns_json_put_string(w, "kept", dns_fine_candidate_name(f->choice->candidate));
    dns_json_put_string(w, "trained_direction", dns_direction_name(o->rule.direction));
    dns_json_put_integer(w, "steps", (int64_t)f->report->steps);
    dns_json_put_integer(w, "batch", (int64_t)o->sampler.batch);
    dns_json_put_number(w, "rate", o->trainer.schedule.peak, 9);
    dns_json_put_integer(w, "seed", (int64_t)o->sampler.seed);
    if (isfinite(f->report->loss) && f->report->steps > 0)
        dns_json_put_number(w, "final_loss", f->report->loss, DIGITS);
    dns_json_put_integer(w, "videos", (int64_t)dns_training_set_n_videos(f->set));
    dns_json_put_integer(w, "scenes", (int64_t)dns_training_set_n_scenes(f->set));
    if (dns_json_parse(&data, settings, strlen(settings), "settings") == DNS_OK)
        dns_json_put_value(w, "data", data);
    dns_json_free(data);
    dns_json_begin_object(w, "validation");
    dns_json_put_integer(w, "trainings", (int64_t)f->choice->n_trainings);
    dns_json_put_integer(w, "seeds", (int64_t)f->n_seeds);
    if (f->choice->n_trainings > 0)
        put_figures(w, f->choice);
    dns_json_end_object(w);
    dns_json_end_object(w);
}

static dns_status write_section(dns_json_text *text, const dns_fine_section_facts *f)
{
    dns_status status = dns_json_text_open(text);
    if (status != DNS_OK)
        return status;
    dns_json_writer *w = &text->writer;
    dns_json_begin_object(w, NULL);
    dns_json_put_integer(w, "dim", (int64_t)dns_training_set_dim(f->set));
    put_provenance(w, f);
    dns_json_end_object(w);
    return dns_json_text_finish(text);
}

static dns_status write_rule(dns_json_text *text, const dns_fine_section_facts *f)
{
    dns_status status = dns_json_text_open(text);
    if (status != DNS_OK)
        return status;
    dns_json_writer *w = &text->writer;
    dns_json_begin_object(w, NULL);
    dns_json_put_string(w, "direction", dns_direction_name(f->choice->direction));
    dns_json_put_string(w, "regions", dns_region_step_name(f->options->rule.regions));
    put_provenance(w, f);
    dns_json_end_object(w);
    return dns_json_text_finish(text);
}

dns_status dns_fine_section_write(const char *directory, const dns_fine_section_facts *f)
{
    dns_status status = DNS_OK;
    dns_json_text section = {0}, rule = {0};
    dns_section_weights weights = {0};
    bool none = f->choice->candidate == DNS_FINE_PLAIN && f->options->kind != DNS_FINE_BINARY;
    size_t n_edits = 1;
    DNS_TRY(dns_section_weights_of(&weights, dns_visil_parameters(f->net), DNS_F32));
    DNS_TRY(write_section(&section, f));
    dns_model_edit edits[2] = {
        {dns_fine_section(f->options->kind), section.data, weights.tensors, weights.n}};
    if (none)
        edits[0] = (dns_model_edit){dns_fine_section(f->options->kind), NULL, NULL, 0};
    if (f->options->kind == DNS_FINE_ATTENTION) {
        DNS_TRY(write_rule(&rule, f));
        edits[n_edits++] = (dns_model_edit){"similarity", rule.data, NULL, 0};
    }
    DNS_TRY(dns_model_edit_apply(directory, edits, n_edits));
out:
    dns_section_weights_free(&weights);
    dns_json_text_free(&section);
    dns_json_text_free(&rule);
    return status;
}
