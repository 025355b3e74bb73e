/* A learnt network and how it was chosen, as a section of a model. */
#ifndef DNS_FINE_SECTION_H
#define DNS_FINE_SECTION_H

#include "dnsel/fine_learning.h"

typedef struct dns_fine_section_facts {
    const dns_training_set *set;
    const dns_fine_options *options;
    const dns_fine_choice *choice;
    const dns_trainer_report *report;
    size_t n_seeds;
    const dns_visil *net;
} dns_fine_section_facts;

/* Puts the network into the model, or removes that section when regions without a
 * network won; codes without a comparator are a network. With
 * fine_attention the rule of similarity becomes that of the choice. */
DNS_MUST_CHECK dns_status dns_fine_section_write(const char *directory,
                                                 const dns_fine_section_facts *facts);

#endif
