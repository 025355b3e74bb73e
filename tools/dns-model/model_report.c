#include <stdio.h>
#include <string.h>

#include "model_commands.h"

int dns_model_fail(const dns_invocation *invocation, dns_status status)
{
    int code = dns_fail(invocation, status);
    return status == DNS_ERR_LIMIT   ? DNS_EXIT_FORMAT
           : status == DNS_ERR_RANGE ? DNS_EXIT_CORRUPT
                                     : code;
}

const char *dns_file_name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

const char *dns_shown_name(char buffer[DNS_SHOWN_NAME], const char *name)
{
    snprintf(buffer, DNS_SHOWN_NAME, "%s", name);
    for (char *c = buffer; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return buffer;
}

size_t dns_tensors_values(const dns_named_tensor *tensors, size_t n)
{
    size_t values = 0;
    for (size_t i = 0; i < n; i++)
        values += dns_tensor_count(&tensors[i].tensor);
    return values;
}

static bool ends_with(const char *path, const char *ending)
{
    size_t n = strlen(path), k = strlen(ending);
    return n > k && strcmp(path + n - k, ending) == 0;
}

dns_status dns_tensors_write(const char *path, const dns_named_tensor *tensors, size_t n,
                             const dns_metadata *metadata, size_t n_metadata)
{
    if (ends_with(path, ".safetensors"))
        return dns_safetensors_write(path, tensors, n, metadata, n_metadata);
    if (ends_with(path, ".npz"))
        return dns_npz_write(path, tensors, n);
    return dns_status_set(DNS_ERR_ARG, "%s: neither .safetensors nor .npz", path);
}

void dns_tensors_print(const dns_named_tensor *tensors, size_t n)
{
    enum { WIDEST = 60 };
    int width = 0;
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(tensors[i].name);
        if (length <= WIDEST && (int)length > width)
            width = (int)length;
    }
    for (size_t i = 0; i < n; i++) {
        char shape[128], name[DNS_SHOWN_NAME];
        dns_tensor_shape_text(&tensors[i].tensor, shape, sizeof shape);
        printf("  %-*s  %-4s  %s\n", width, dns_shown_name(name, tensors[i].name),
               dns_dtype_name(tensors[i].tensor.dtype), shape);
    }
}

void dns_tensors_put(dns_json_writer *w, const dns_named_tensor *tensors, size_t n)
{
    dns_json_begin_array(w, "tensors");
    for (size_t i = 0; i < n; i++) {
        const dns_tensor *t = &tensors[i].tensor;
        dns_json_begin_object(w, NULL);
        dns_json_put_string(w, "name", tensors[i].name);
        dns_json_put_string(w, "dtype", dns_dtype_name(t->dtype));
        dns_json_begin_array(w, "shape");
        for (size_t k = 0; k < t->rank; k++)
            dns_json_put_integer(w, NULL, (int64_t)t->shape[k]);
        dns_json_end_array(w);
        dns_json_end_object(w);
    }
    dns_json_end_array(w);
}
