#include "dnsel/visil.h"

dns_status dns_visil_from_model(dns_visil **out, const dns_model *model, const char *section)
{
    dns_status status = DNS_OK;
    dns_visil *net = NULL;
    const dns_safetensors *file = dns_model_weights(model, section);
    *out = NULL;
    if (file == NULL)
        DNS_FAIL(DNS_ERR_UNSUPPORTED, "model '%s' has no %s network", dns_model_name(model),
                 section);
    DNS_TRY(dns_visil_load(&net, file, "", dns_model_similarity(model), false));
    int64_t dim = dns_json_integer(dns_json_get(dns_model_section(model, section), "dim"), 0);
    if (dim <= 0 && dns_visil_shape_of(net)->dim == 0)
        DNS_FAIL(DNS_ERR_FORMAT, "model '%s': section '%s' has no \"dim\"", dns_model_name(model),
                 section);
    if (dim > 0)
        DNS_TRY(dns_visil_set_dim(net, (size_t)dim));
    *out = net;
    net = NULL;
out:
    dns_visil_free(net);
    return status;
}
