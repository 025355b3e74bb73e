/* What every command needs that trains a network of a model on a prepared set. */
#ifndef DNS_DATA_AND_MODEL_H
#define DNS_DATA_AND_MODEL_H

#include "dnsel/model.h"
#include "dnsel/training_set.h"
#include "dnsel/visil.h"

typedef struct dns_data_and_model {
    dns_training_set *set;
    dns_model *model;
} dns_data_and_model;

/* Opens both. DNS_ERR_MODEL when the features were made by another backbone, whitening or
 * preprocessing than the model has; DNS_ERR_ARG when a path is NULL. Close it after failures too.
 */
DNS_MUST_CHECK dns_status dns_data_and_model_open(dns_data_and_model *out, const char *data,
                                                  const char *model);
void dns_data_and_model_close(dns_data_and_model *both);

/* *net = the network that compares finely, "fine_attention" or else "fine_binary"; NULL when the
 * model has neither, and regions are compared themselves. *section names it. */
DNS_MUST_CHECK dns_status dns_model_fine_network(dns_visil **net, const char **section,
                                                 const dns_model *model);

#endif
