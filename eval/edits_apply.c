#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/edits.h"
#include "dnsel/memory.h"

dns_status dns_edit_apply_pictures(dns_pictures *out, const dns_pictures *original,
                                   const dns_pictures *host, const dns_edit_plan *plan)
{
    *out = (dns_pictures){0};
    bool needs_host = plan->base == DNS_EDIT_PIP;
    if (original->width != plan->width || original->height != plan->height)
        return dns_status_set(DNS_ERR_ARG, "pictures of %zux%zu, the edit is for %zux%zu",
                              original->width, original->height, plan->width, plan->height);
    if (needs_host && host == NULL)
        return dns_status_set(DNS_ERR_ARG, "edit '%s' needs other footage",
                              dns_edit_name(plan->kind));
    dns_pictures inputs[2] = {*original, needs_host ? *host : (dns_pictures){0}};
    return dns_remake_pictures(out, inputs, needs_host ? 2 : 1, plan->filter, plan->quality);
}

dns_edit_file_options dns_edit_file_options_default(void)
{
    return (dns_edit_file_options){.short_side = 360, .max_seconds = 60};
}

/* What has to be known of a file beforehand. */
typedef struct footage {
    size_t width, height;
    double rate, duration;
} footage;

static dns_status look_at(footage *out, const char *path, const dns_edit_file_options *o)
{
    dns_media *media = NULL;
    dns_media_options options = dns_media_options_default();
    options.cancel = o->cancel;
    dns_status status = dns_media_open(&media, path, &options);
    if (status != DNS_OK)
        return status;
    dns_media_facts facts = dns_media_info(media);
    dns_media_close(media);
    out->width = facts.width;
    out->height = facts.height;
    out->rate = facts.frame_rate > 0 ? fmin(fmax(facts.frame_rate, 5), 30) : 25;
    out->duration = facts.duration;
    size_t shorter = facts.width < facts.height ? facts.width : facts.height;
    if (shorter < 16)
        return dns_status_set(DNS_ERR_ARG, "%s: pictures of %zux%zu are too small to be edited",
                              path, facts.width, facts.height);
    if (shorter > o->short_side) {
        double scale = (double)o->short_side / (double)shorter;
        out->width = (size_t)lrint((double)facts.width * scale / 2) * 2;
        out->height = (size_t)lrint((double)facts.height * scale / 2) * 2;
    }
    return DNS_OK;
}

/* Characters of the filter without its "[out]", so that more may follow. */
static int chain_length(const dns_edit_plan *p)
{
    return (int)(strlen(p->filter) - strlen("[out]"));
}

/* `seconds` of what there is, at `place`; all of it when that is not more. */
static dns_remake_input part(const char *path, double duration, double seconds, double place)
{
    double spare = duration > seconds ? duration - seconds : 0;
    return (dns_remake_input){.path = path, .start = spare * place, .duration = seconds};
}

/* The new file: parts of the original and of the host, and what joins them. */
typedef struct assembly {
    dns_remake_input inputs[DNS_REMAKE_INPUTS];
    size_t n_inputs;
    double before; /* seconds of host in front */
    char *description;
} assembly;

/* The original between two parts of the host, all brought to one size and rate. */
static dns_status surround(assembly *a, const dns_edit_plan *p, const char *host,
                           const footage *ground, double rate)
{
    if (ground->duration < 2)
        return dns_status_set(DNS_ERR_ARG, "%s: too short to surround anything", host);
    double around = fmin(p->around, ground->duration), before = around * p->share;
    double start = (ground->duration - around) * p->host_place;
    /* Chroma has half the size, so padding wants even ones. */
    size_t width = p->width / 2 * 2, height = p->height / 2 * 2;
    char fit[192];
    snprintf(
        fit, sizeof fit,
        "fps=%.4f,scale=%zu:%zu:force_original_aspect_ratio=decrease,pad=%zu:%zu:-1:-1,setsar=1",
        rate, width, height, width, height);
    a->inputs[1] = (dns_remake_input){host, start, before};
    a->inputs[2] = (dns_remake_input){host, start + before, around - before};
    a->n_inputs = 3;
    a->before = before;
    return dns_string_format(&a->description,
                             "%.*s,setpts=PTS/%.4f,%s[middle];[1]%s[head];[2]%s[rear];"
                             "[head][middle][rear]concat=n=3:v=1:a=0[out]",
                             chain_length(p), p->filter, p->speed, fit, fit, fit);
}

static dns_status assemble(assembly *a, const dns_edit_plan *p, const char *original,
                           const footage *source, const char *host, double rate,
                           const dns_edit_file_options *o)
{
    dns_status status = DNS_OK;
    footage ground = {0};
    double seconds = p->excerpt > 0 ? fmin(p->excerpt, o->max_seconds) : o->max_seconds;
    a->inputs[0] = part(original, source->duration, seconds, p->place);
    a->n_inputs = 1;
    if (p->uses_host)
        DNS_TRY(look_at(&ground, host, o));
    if (p->kind == DNS_EDIT_EMBED) {
        DNS_TRY(surround(a, p, host, &ground, rate));
        goto out;
    }
    if (p->kind == DNS_EDIT_PIP) {
        a->inputs[1] = part(host, ground.duration, fmin(source->duration, seconds), p->host_place);
        a->n_inputs = 2;
    }
    DNS_TRY(dns_string_format(&a->description, "%.*s,setpts=PTS/%.4f[out]", chain_length(p),
                              p->filter, p->speed));
out:
    return status;
}

dns_status dns_edit_apply_file(dns_edit_plan *plan, dns_edit_facts *facts, const char *path,
                               const char *original, const char *host, dns_edit_kind kind,
                               dns_random *random, const dns_edit_file_options *options)
{
    dns_status status = DNS_OK;
    dns_edit_file_options o = options != NULL ? *options : dns_edit_file_options_default();
    footage source = {0};
    assembly a = {0};
    size_t n_frames = 0;
    if (dns_edit_needs_host(kind) && host == NULL)
        DNS_FAIL(DNS_ERR_ARG, "edit '%s' needs other footage", dns_edit_name(kind));
    DNS_TRY(look_at(&source, original, &o));
    dns_edit_draw(plan, kind, source.width, source.height, random);
    dns_remake_options r = dns_remake_options_default();
    r.rate = plan->rate > 0 ? fmin(plan->rate, source.rate) : source.rate;
    r.quality = plan->quality;
    r.cancel = o.cancel;
    DNS_TRY(assemble(&a, plan, original, &source, host, r.rate, &o));
    DNS_TRY(dns_remake_file(path, a.inputs, a.n_inputs, a.description, &r, &n_frames));
    facts->duration = (double)n_frames / r.rate;
    facts->start = a.before;
    facts->end = facts->duration;
    if (plan->kind == DNS_EDIT_EMBED)
        facts->end = a.before + fmin(a.inputs[0].duration, source.duration) / plan->speed;
out:
    dns_free(a.description);
    return status;
}
