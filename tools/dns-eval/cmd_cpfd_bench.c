#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "dnsel/json.h"
#include "dnsel/priv_s.h"

struct settings {
    int suite, kind;
    const char *seeds;
    size_t jobs;
    bool json;
};

/* "3" or "0-4". */
static dns_status parse_seeds(dns_priv_s_options *out, const char *text)
{
    char *end = NULL;
    unsigned long long first = 0, last = 0;
    bool good = *text >= '0' && *text <= '9';
    if (good) {
        first = last = strtoull(text, &end, 10);
        if (*end == '-' && end[1] >= '0' && end[1] <= '9')
            last = strtoull(end + 1, &end, 10);
        good = *end == '\0';
    }
    if (!good || last < first)
        return dns_status_set(DNS_ERR_ARG, "--seeds %s: wanted is a number or FIRST-LAST", text);
    out->first_seed = first;
    out->last_seed = last;
    return DNS_OK;
}

static void print_text(const dns_priv_s_report *r)
{
    printf("PRIV-S, kind %s, seeds %llu to %llu: macro F1\n", dns_priv_s_kind_name(r->kind),
           (unsigned long long)r->first_seed, (unsigned long long)(r->first_seed + r->n_seeds - 1));
    printf("  %-14s %8s %9s   %s\n", "method", "mean", "deviation",
           "difference to PFD in points, 95 % interval, seeds won");
    for (size_t i = 0; i < DNS_PRIV_S_METHODS; i++) {
        const dns_priv_s_method *m = &r->methods[i];
        printf("  %-14s %8.4f %9.4f   %+6.2f [%+6.2f, %+6.2f] %zu/%zu\n", m->name, m->mean,
               m->deviation, 100 * m->difference, 100 * m->low, 100 * m->high, m->n_wins,
               r->n_seeds);
    }
    printf("alpha of PFD %g; teacher out of fold: accuracy %.3f, AUROC of its confidence %.3f\n",
           r->pfd_alpha, r->teacher_accuracy, r->auroc);
    printf("share of teacher - base gained: PFD %.3f, CPFD %.3f; share of teacher - PFD removed: "
           "%.3f\n",
           r->closed_pfd, r->closed_cpfd, r->removed);
    printf("CPFD - PFD without failures: %+.2f points; %.1f students a second on one thread\n",
           r->without_failures, r->students_per_second);
    for (size_t i = 0; i < r->n_gates; i++)
        printf("  %s  %-40s %+6.2f (%.1f)\n", r->gates[i].passed ? "pass" : "FAIL",
               r->gates[i].name, r->gates[i].value, r->gates[i].threshold);
}

static void put_method(dns_json_writer *w, const dns_priv_s_method *m, size_t n_seeds)
{
    dns_json_begin_object(w, NULL);
    dns_json_put_string(w, "method", m->name);
    dns_json_put_number(w, "mean", m->mean, 17);
    dns_json_put_number(w, "deviation", m->deviation, 17);
    dns_json_put_number(w, "difference_to_pfd", m->difference, 17);
    dns_json_put_number(w, "low", m->low, 17);
    dns_json_put_number(w, "high", m->high, 17);
    dns_json_put_integer(w, "seeds_won", (int64_t)m->n_wins);
    dns_json_begin_array(w, "macro_f1");
    for (size_t i = 0; i < n_seeds; i++)
        dns_json_put_number(w, NULL, m->macro_f1[i], 17);
    dns_json_end_array(w);
    dns_json_end_object(w);
}

static dns_status print_json(const dns_priv_s_report *r)
{
    dns_json_writer w = dns_json_writer_to(stdout, true);
    dns_json_begin_object(&w, NULL);
    dns_json_put_string(&w, "schema", "dnsel.cpfd-bench/1");
    dns_json_put_string(&w, "suite", "priv-s");
    dns_json_put_string(&w, "kind", dns_priv_s_kind_name(r->kind));
    dns_json_put_integer(&w, "first_seed", (int64_t)r->first_seed);
    dns_json_put_integer(&w, "seeds", (int64_t)r->n_seeds);
    dns_json_begin_array(&w, "methods");
    for (size_t i = 0; i < DNS_PRIV_S_METHODS; i++)
        put_method(&w, &r->methods[i], r->n_seeds);
    dns_json_end_array(&w);
    dns_json_put_number(&w, "pfd_alpha", r->pfd_alpha, 17);
    dns_json_put_number(&w, "teacher_accuracy", r->teacher_accuracy, 17);
    dns_json_put_number(&w, "auroc", r->auroc, 17);
    dns_json_put_number(&w, "gap_closed_pfd", r->closed_pfd, 17);
    dns_json_put_number(&w, "gap_closed_cpfd", r->closed_cpfd, 17);
    dns_json_put_number(&w, "pfd_gap_removed", r->removed, 17);
    dns_json_put_number(&w, "without_failures", r->without_failures, 17);
    dns_json_put_number(&w, "students_per_second", r->students_per_second, 6);
    dns_json_begin_array(&w, "gates");
    for (size_t i = 0; i < r->n_gates; i++) {
        dns_json_begin_object(&w, NULL);
        dns_json_put_string(&w, "gate", r->gates[i].name);
        dns_json_put_number(&w, "value", r->gates[i].value, 17);
        dns_json_put_number(&w, "threshold", r->gates[i].threshold, 17);
        dns_json_put_bool(&w, "passed", r->gates[i].passed);
        dns_json_end_object(&w);
    }
    dns_json_end_array(&w);
    dns_json_put_bool(&w, "passed", r->passed);
    dns_json_end_object(&w);
    return dns_json_finish(&w);
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    dns_status status = DNS_OK;
    dns_pool *pool = NULL;
    dns_priv_s_report report = {0};
    dns_priv_s_options options = {.kind = (dns_priv_s_kind)s->kind};
    bool passed = false;
    DNS_TRY(parse_seeds(&options, s->seeds));
    DNS_TRY(dns_pool_create(&pool, s->jobs));
    DNS_TRY(dns_priv_s_run(&report, &options, pool));
    if (s->json)
        DNS_TRY(print_json(&report));
    else
        print_text(&report);
    passed = report.passed;
out:
    dns_priv_s_report_free(&report);
    dns_pool_free(pool);
    if (status != DNS_OK)
        return dns_fail(invocation, status);
    return passed ? DNS_EXIT_OK : DNS_EXIT_NONE;
}

static const struct settings defaults = {.seeds = "0-4"};
#define AT(field) offsetof(struct settings, field)
static const dns_option options[] = {
    {.name = "suite",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(suite),
     .choices = "priv-s",
     .help = "which benchmark"},
    {.name = "kind",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(kind),
     .choices = "missing|noise|mislead|mixed",
     .help = "how privileged features fail; the gates are those of missing"},
    {.name = "seeds",
     .kind = DNS_OPTION_STRING,
     .offset = AT(seeds),
     .value = "FIRST-LAST",
     .help = "worlds to be drawn"},
    {.name = "jobs",
     .letter = 'j',
     .kind = DNS_OPTION_COUNT,
     .offset = AT(jobs),
     .value = "N",
     .help = "threads; 0 is one a processor",
     .maximum = 256},
    {.name = "json", .kind = DNS_OPTION_FLAG, .offset = AT(json), .help = "one JSON document"},
    {0},
};
const dns_command dns_eval_cpfd_bench = {
    .name = "cpfd-bench",
    .synopsis = "",
    .summary = "measure privileged feature distillation on a synthetic world",
    .description =
        "Trains students with and without a teacher that sees privileged features, and compares "
        "their macro F1 seed by seed. With seeds 0-4 and kind missing, the exit code is 1 when a "
        "figure falls below what the method must reach. The world and the gates: "
        "docs/classifier.md.",
    .examples = "  dns-eval cpfd-bench --seeds 0-4\n  dns-eval cpfd-bench --kind mixed --json\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .run = run,
};
