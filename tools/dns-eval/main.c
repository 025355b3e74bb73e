#include "commands.h"

static const dns_command *const commands[] = {&dns_eval_classifier, &dns_eval_cpfd_bench,
                                              &dns_eval_parity,     &dns_eval_protocol,
                                              &dns_eval_retrieval,  &dns_eval_speed,
                                              &dns_eval_scale,      &dns_eval_make_edits,
                                              &dns_eval_ablation,   NULL};

static const dns_program program = {
    .name = "dns-eval",
    .summary = "measure networks, indexes and searches",
    .description = "Compares the networks with reference outputs, scores rankings by the published "
                   "protocols, and measures speed and storage.",
    .commands = commands,
};

int main(int argc, char **argv)
{
    return dns_program_main(&program, argc, argv);
}
