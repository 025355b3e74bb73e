#include "dnsel/training_checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/file.h"

dns_status dns_checkpoint_save(const dns_parameters *p, const char *path, const char *training,
                               size_t step)
{
    char number[24];
    if (path == NULL)
        return DNS_OK;
    snprintf(number, sizeof number, "%zu", step);
    const dns_metadata metadata[] = {{"step", number}, {"training", training}};
    return dns_parameters_save_checkpoint(p, path, metadata, 2);
}

dns_status dns_checkpoint_load(size_t *step, dns_parameters *p, const char *path,
                               const char *training)
{
    dns_status status = DNS_OK;
    dns_safetensors *file = NULL;
    *step = 0;
    if (path == NULL || !dns_file_exists(path))
        return DNS_OK;
    DNS_TRY(dns_safetensors_open(&file, path));
    const char *found = dns_safetensors_metadata(file, "training"),
               *number = dns_safetensors_metadata(file, "step");
    if (found == NULL || number == NULL || strcmp(found, training) != 0)
        DNS_FAIL(DNS_ERR_MODEL, "%s: checkpoint of another training (%s)", path,
                 found != NULL ? found : "unknown");
    DNS_TRY(dns_parameters_load_checkpoint(p, file));
    *step = (size_t)strtoull(number, NULL, 10);
out:
    dns_safetensors_close(file);
    return status;
}
