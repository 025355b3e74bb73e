#include "dnsel/visil.h"

dns_status dns_visil_from_model(dns_visil **out, const dns_model *model, const char *section)
{
    const dns_safetensors *file = dns_model_weights(model, section);
    *out = NULL;
    if (file == NULL)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "model '%s' has no %s network",
                              dns_model_name(model), section);
    return dns_visil_load(out, file, "", dns_model_similarity(model), false);
}
