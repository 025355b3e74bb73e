/* A budget that keeps a promise about the loss (dnsel/budget.h), from the model's calibration. */
#include "dnsel/budget.h"
#include "dnsel/memory.h"
#include "searcher.h"

static dns_status read_tensor(float **values, const dns_tensor *tensor)
{
    dns_status status = dns_alloc(values, dns_tensor_count(tensor), sizeof **values);
    if (status == DNS_OK)
        dns_tensor_to_f32(*values, tensor);
    return status;
}

dns_status dns_searcher_promise(double *share, const dns_searcher *s, double max_loss)
{
    dns_status status = DNS_OK;
    float *loss = NULL, *shares = NULL;
    size_t level;
    const char *name = dns_model_name(s->model);
    const dns_safetensors *weights = dns_model_weights(s->model, "calibration");
    const dns_tensor *losses = NULL, *levels = NULL;
    *share = 1;
    if (weights != NULL) {
        losses = dns_safetensors_find(weights, "budget.loss");
        levels = dns_safetensors_find(weights, "budget.share");
    }
    if (losses == NULL || levels == NULL)
        DNS_FAIL(DNS_ERR_UNSUPPORTED,
                 "model '%s' has no calibration of budgets, so no loss can be promised", name);
    if (losses->rank != 2 || levels->rank != 1 || losses->shape[1] != levels->shape[0])
        DNS_FAIL(DNS_ERR_SHAPE,
                 "model '%s': 'budget.loss' must be [queries, levels], 'budget.share' [levels]",
                 name);
    DNS_TRY(read_tensor(&loss, losses));
    DNS_TRY(read_tensor(&shares, levels));
    for (size_t i = 0; i < levels->shape[0]; i++)
        if (!(shares[i] >= 0 && shares[i] <= 1) || (i > 0 && shares[i] <= shares[i - 1]))
            DNS_FAIL(DNS_ERR_RANGE, "model '%s': 'budget.share' must grow within 0 to 1", name);
    double bound =
        dns_json_number(dns_json_get(dns_model_section(s->model, "calibration"), "loss_bound"), 1);
    DNS_TRY(
        dns_budget_conformal(&level, loss, losses->shape[0], losses->shape[1], bound, max_loss));
    *share = (double)shares[level];
out:
    dns_free(loss);
    dns_free(shares);
    return status;
}
