/* How the networks of a model were trained, read from what it says of them, so that they can be
 * trained again without one fold. */
#ifndef DNS_HELD_OUT_RECIPE_H
#define DNS_HELD_OUT_RECIPE_H

#include "data_and_model.h"
#include "dnsel/held_out.h"

/* Start with {0}, always free; `options` points into it, so it is not to be moved. */
typedef struct dns_held_out_recipe {
    dns_held_out_options options;
    dns_fine_options fine, float_options;
    dns_coarse_learning_options coarse;
    dns_visil *fine_net, *teacher;
    dns_coarse *coarse_net;
    dns_fine_comparison taught;          /* by the teacher */
    const char *fine_name, *coarse_name; /* for people */
} dns_held_out_recipe;

/* Networks that dns-train learnt are to be learnt again by the same recipe; others, imported ones
 * above all, are taken as they are for all folds. `section` is "fine_attention", "fine_binary",
 * "regions", or NULL for the first of these that the model has. */
DNS_MUST_CHECK dns_status dns_held_out_recipe_of(dns_held_out_recipe *out,
                                                 const dns_data_and_model *in, const char *section);
void dns_held_out_recipe_free(dns_held_out_recipe *recipe);

#endif
