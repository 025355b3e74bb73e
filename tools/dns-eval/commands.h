/* The commands of dns-eval, one file each. */
#ifndef DNS_EVAL_COMMANDS_H
#define DNS_EVAL_COMMANDS_H

#include "program.h"

extern const dns_command dns_eval_classifier, dns_eval_cpfd_bench, dns_eval_parity,
    dns_eval_protocol, dns_eval_retrieval, dns_eval_speed, dns_eval_scale, dns_eval_make_edits,
    dns_eval_ablation;

#endif
