/* NumPy's arrays: .npy, .npz, and as they lie in pickles. */
#include <stdio.h>
#include <string.h>

#include "checkpoint_parts.h"
#include "dnsel/memory.h"
#include "npy.h"

static dns_status add_array(dns_checkpoint *c, const char *name, const npy_header *header,
                            const void *data, size_t size, const char *source)
{
    dns_tensor tensor;
    void *owned = NULL;
    dns_status status = DNS_OK;
    DNS_TRY(dns_checkpoint_spend(c, header->count * dns_dtype_size(header->dtype), source));
    DNS_TRY(dns_npy_tensor(&tensor, &owned, header, data, size, source));
    DNS_TRY(dns_checkpoint_own(c, owned));
    DNS_TRY(dns_checkpoint_add(c, name, &tensor));
out:
    return status;
}

dns_status dns_checkpoint_read_npy(dns_checkpoint *c, const void *bytes, size_t size,
                                   const char *source)
{
    npy_header header;
    dns_status status = dns_npy_parse(&header, bytes, size, source);
    if (status != DNS_OK)
        return status;
    return add_array(c, "array", &header, (const char *)bytes + header.offset, size - header.offset,
                     source);
}

static dns_status read_entry(dns_checkpoint *c, const dns_zip *zip, size_t index,
                             const char *source)
{
    dns_status status = DNS_OK;
    void *bytes = NULL;
    size_t size = 0, n = strlen(dns_zip_name(zip, index));
    char *name = NULL;
    npy_header header;
    DNS_TRY(dns_zip_size(&size, zip, index));
    DNS_TRY(dns_checkpoint_spend(c, size, source));
    DNS_TRY(dns_zip_read(&bytes, &size, zip, index, size));
    DNS_TRY(dns_npy_parse(&header, bytes, size, source));
    DNS_TRY(dns_string_format(&name, "%.*s", (int)(n - 4), dns_zip_name(zip, index)));
    DNS_TRY(
        add_array(c, name, &header, (char *)bytes + header.offset, size - header.offset, source));
out:
    if (status != DNS_OK)
        dns_status_context(status, "array '%s'", dns_zip_name(zip, index));
    dns_free(name);
    dns_free(bytes);
    return status;
}

dns_status dns_checkpoint_read_npz(dns_checkpoint *c, const dns_zip *zip, const char *source)
{
    for (size_t i = 0; i < dns_zip_count(zip); i++) {
        size_t n = strlen(dns_zip_name(zip, i));
        if (n <= 4 || strcmp(dns_zip_name(zip, i) + n - 4, ".npy") != 0)
            return dns_status_set(DNS_ERR_FORMAT,
                                  "%s: a zip archive of something else than arrays ('%s')", source,
                                  dns_zip_name(zip, i));
        dns_status status = read_entry(c, zip, i, source);
        if (status != DNS_OK)
            return status;
    }
    return DNS_OK;
}

/* ---- in pickles ---- */

static bool is_named(const dns_pickle_value *value, const char *name)
{
    return dns_pickle_kind_of(value) == DNS_PICKLE_OBJECT &&
           strcmp(dns_pickle_name(value), name) == 0;
}

bool dns_is_pickled_array(const dns_pickle_value *value)
{
    return is_named(value, "numpy.core.multiarray._reconstruct") ||
           is_named(value, "numpy.core.multiarray.scalar") ||
           is_named(value, "numpy.core.numeric._frombuffer");
}

static dns_status read_dtype(npy_header *out, const dns_pickle_value *dtype, const char *source)
{
    const char *code = dns_pickle_string(dns_pickle_at(dns_pickle_arguments(dtype), 0), "");
    const char *order = dns_pickle_string(dns_pickle_at(dns_pickle_state(dtype), 1), "");
    if (!is_named(dtype, "numpy.dtype"))
        return dns_status_set(DNS_ERR_CORRUPT, "%s: a pickled array without a type", source);
    out->is_swapped = strcmp(order, ">") == 0;
    if (!dns_npy_dtype(&out->dtype, code, strlen(code)))
        return dns_status_set(DNS_ERR_UNSUPPORTED, "%s: a pickled array of type '%s'", source,
                              code);
    return DNS_OK;
}

static dns_status read_shape(npy_header *out, const dns_pickle_value *shape, const char *source)
{
    strided array = {.element = dns_dtype_size(out->dtype), .rank = dns_pickle_size(shape)};
    size_t extent;
    bool good = array.rank <= DNS_TENSOR_RANK;
    for (size_t i = 0; good && i < array.rank; i++) {
        int64_t n = dns_pickle_integer(dns_pickle_at(shape, i), -1);
        good = n >= 0;
        array.shape[i] = (size_t)n;
    }
    if (good)
        dns_strided_fill(&array, false);
    if (!good || !dns_strided_measure(&out->count, &extent, &array))
        return dns_status_set(DNS_ERR_CORRUPT, "%s: a pickled array of impossible size", source);
    out->rank = array.rank;
    memcpy(out->shape, array.shape, sizeof out->shape);
    return DNS_OK;
}

dns_status dns_checkpoint_numpy(dns_tensor *out, dns_checkpoint *c, const dns_pickle_value *value,
                                const char *source)
{
    const dns_pickle_value *arguments = dns_pickle_arguments(value),
                           *state = dns_pickle_state(value);
    const dns_pickle_value *dtype, *shape = NULL, *data;
    npy_header header = {0};
    if (is_named(value, "numpy.core.multiarray.scalar")) {
        dtype = dns_pickle_at(arguments, 0);
        data = dns_pickle_at(arguments, 1);
    } else if (is_named(value, "numpy.core.numeric._frombuffer")) {
        data = dns_pickle_at(arguments, 0);
        dtype = dns_pickle_at(arguments, 1);
        shape = dns_pickle_at(arguments, 2);
        header.is_column_major =
            strcmp(dns_pickle_string(dns_pickle_at(arguments, 3), "C"), "F") == 0;
    } else { /* (version, shape, dtype, is column-major, data), the first not in the oldest ones */
        size_t first = dns_pickle_size(state) == 4 ? 0 : 1;
        shape = dns_pickle_at(state, first);
        dtype = dns_pickle_at(state, first + 1);
        header.is_column_major = dns_pickle_bool(dns_pickle_at(state, first + 2), false);
        data = dns_pickle_at(state, first + 3);
    }
    size_t size;
    const char *bytes = dns_pickle_bytes(data, &size);
    if (bytes == NULL)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "%s: a pickled array without its data", source);
    dns_status status = DNS_OK;
    void *owned = NULL;
    DNS_TRY(read_dtype(&header, dtype, source));
    DNS_TRY(read_shape(&header, shape, source));
    DNS_TRY(dns_checkpoint_spend(c, size, source));
    DNS_TRY(dns_npy_tensor(out, &owned, &header, bytes, size, source));
    DNS_TRY(dns_checkpoint_own(c, owned));
out:
    return status;
}
