/* The commands of dns-train, one file each. */
#ifndef DNS_TRAIN_COMMANDS_H
#define DNS_TRAIN_COMMANDS_H

#include "program.h"

extern const dns_command dns_train_classifier, dns_train_classifier_data, dns_train_backbone,
    dns_train_prepare, dns_train_projection, dns_train_ranges, dns_train_teacher,
    dns_train_fine_attention, dns_train_fine_binary, dns_train_coarse, dns_train_selector,
    dns_train_all, dns_train_whitening;

#endif
