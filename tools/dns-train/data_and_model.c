#include "data_and_model.h"

dns_status dns_data_and_model_open(dns_data_and_model *out, const char *data, const char *model)
{
    static const char *const sections[] = {"backbone", "whitening", "preprocessing"};
    static const dns_digest unknown;
    dns_status status = DNS_OK;
    dns_digest digest, made;
    *out = (dns_data_and_model){0};
    if (data == NULL || model == NULL)
        DNS_FAIL(DNS_ERR_ARG, "--data and --model are needed");
    DNS_TRY(dns_training_set_open(&out->set, data));
    DNS_TRY(dns_model_open(&out->model, model));
    DNS_TRY(dns_model_digest_of(&digest, out->model, sections, 3));
    made = dns_training_set_features(out->set);
    if (!dns_digest_equal(&made, &unknown) && !dns_digest_equal(&made, &digest))
        DNS_FAIL(DNS_ERR_MODEL,
                 "%s: features of another backbone or whitening than that of model '%s'; run "
                 "dns-train prepare with it",
                 data, dns_model_name(out->model));
out:
    return status;
}

void dns_data_and_model_close(dns_data_and_model *both)
{
    dns_training_set_close(both->set);
    dns_model_close(both->model);
    *both = (dns_data_and_model){0};
}

dns_status dns_model_fine_network(dns_visil **net, const char **section, const dns_model *model)
{
    static const char *const names[] = {"fine_attention", "fine_binary"};
    *net = NULL;
    *section = "regions";
    for (size_t i = 0; i < 2; i++)
        if (dns_model_section(model, names[i]) != NULL) {
            *section = names[i];
            return dns_visil_from_model(net, model, names[i]);
        }
    return DNS_OK;
}
