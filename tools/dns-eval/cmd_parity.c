#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "dnsel/json.h"
#include "dnsel/parity.h"

enum { DIGITS = 6, JSON_VERSION = 1 };

struct settings {
    bool json, failures;
    size_t threads;
};

static const struct settings defaults = {.threads = 0};

static const dns_option options[] = {
    {.name = "json",
     .kind = DNS_OPTION_FLAG,
     .offset = offsetof(struct settings, json),
     .help = "print one JSON document"},
    {.name = "failures",
     .kind = DNS_OPTION_FLAG,
     .offset = offsetof(struct settings, failures),
     .help = "print only what is above its tolerance"},
    {.name = "threads",
     .letter = 'j',
     .kind = DNS_OPTION_COUNT,
     .offset = offsetof(struct settings, threads),
     .value = "N",
     .help = "threads to train with; 0 is one a processor"},
    {0},
};

static void print_item(const dns_parity_item *item, bool first_of_set)
{
    if (first_of_set)
        printf("%s\n", item->set);
    printf("  %-52s %8zu  %9.2e  %9.2e of %-9s <= %7.0e  %s", item->tensor, item->n, item->absolute,
           item->error, item->unit, item->tolerance, item->passed ? "ok" : "ABOVE");
    if (item->n_excused > 0)
        printf(" (%zu left out)", item->n_excused);
    putchar('\n');
}

static void print_text(const dns_parity *parity, bool only_failures)
{
    const char *set = "";
    size_t n_failed = 0, n = dns_parity_count(parity);
    if (n > 0)
        printf("%-54s %8s  %9s  %s\n", "tensor", "entries", "absolute",
               "relative, what to, and tolerance");
    for (size_t i = 0; i < n; i++) {
        const dns_parity_item *item = dns_parity_at(parity, i);
        n_failed += !item->passed;
        if (only_failures && item->passed)
            continue;
        print_item(item, strcmp(set, item->set) != 0);
        set = item->set;
    }
    for (size_t i = 0; i < dns_parity_unknown_count(parity); i++)
        printf("not compared: %s\n", dns_parity_unknown_at(parity, i));
    printf("%zu tensors compared, %zu above their tolerance\n", n, n_failed);
}

static dns_status print_json(const dns_parity *parity, bool only_failures)
{
    dns_json_writer w = dns_json_writer_to(stdout, true);
    dns_json_begin_object(&w, NULL);
    dns_json_put_integer(&w, "version", JSON_VERSION);
    dns_json_put_bool(&w, "passed", dns_parity_passed(parity));
    dns_json_begin_array(&w, "tensors");
    for (size_t i = 0; i < dns_parity_count(parity); i++) {
        const dns_parity_item *item = dns_parity_at(parity, i);
        if (only_failures && item->passed)
            continue;
        dns_json_begin_object(&w, NULL);
        dns_json_put_string(&w, "set", item->set);
        dns_json_put_string(&w, "tensor", item->tensor);
        dns_json_put_integer(&w, "entries", (int64_t)item->n);
        dns_json_put_integer(&w, "left_out", (int64_t)item->n_excused);
        dns_json_put_number(&w, "absolute", item->absolute, DIGITS);
        dns_json_put_number(&w, "relative", item->error, DIGITS);
        dns_json_put_string(&w, "relative_to", item->unit);
        dns_json_put_number(&w, "tolerance", item->tolerance, DIGITS);
        dns_json_put_bool(&w, "passed", item->passed);
        dns_json_end_object(&w);
    }
    dns_json_end_array(&w);
    dns_json_begin_array(&w, "not_compared");
    for (size_t i = 0; i < dns_parity_unknown_count(parity); i++)
        dns_json_put_string(&w, NULL, dns_parity_unknown_at(parity, i));
    dns_json_end_array(&w);
    dns_json_end_object(&w);
    return dns_json_finish(&w);
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    dns_status status = DNS_OK;
    dns_pool *pool = NULL;
    dns_parity *parity = NULL;
    int code = DNS_EXIT_FATAL;
    DNS_TRY(dns_pool_create(&pool, s->threads));
    DNS_TRY(dns_parity_run(&parity, invocation->operands[0], pool));
    if (s->json)
        DNS_TRY(print_json(parity, s->failures));
    else
        print_text(parity, s->failures);
    if (dns_parity_count(parity) == 0)
        dns_complain(invocation, "%s: nothing to compare with", invocation->operands[0]);
    else
        code = dns_parity_passed(parity) ? DNS_EXIT_OK : DNS_EXIT_NONE;
out:
    if (status != DNS_OK)
        code = dns_fail(invocation, status);
    dns_parity_free(parity);
    dns_pool_free(pool);
    return code;
}

const dns_command dns_eval_parity = {
    .name = "parity",
    .synopsis = "DIR",
    .summary = "compare networks and training steps with golden files",
    .description =
        "Runs every network and training step that DIR has golden files for (docs/parity.md), and "
        "prints for every "
        "tensor the largest absolute difference, the same relative to what its tolerance is "
        "relative to, and that "
        "tolerance. Sizes, numbers of heads, learning rates and the rest come from the files.\n\n"
        "Ends with 0 when everything is within its tolerance, with 1 when something is not, with 2 "
        "when there was "
        "nothing to compare with or a file cannot be used.",
    .examples = "dns-eval parity tests/data/golden  # the sets that come with the sources\n"
                "dns-eval parity --json golden      # for programs",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
