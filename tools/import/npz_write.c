#include <string.h>

#include <zip.h>

#include "dnsel/checkpoint.h"
#include "dnsel/memory.h"
#include "npy.h"

/* What an archive refers to until it is closed. */
typedef struct npz_entry {
    char header[256 + 64];
    float *widened; /* of bfloat16 */
    char *name;
} npz_entry;

static dns_status prepare(dns_tensor *written, size_t *header_size, npz_entry *entry,
                          const dns_named_tensor *tensor)
{
    dns_status status = DNS_OK;
    *written = tensor->tensor;
    DNS_TRY(dns_string_format(&entry->name, "%s.npy", tensor->name));
    if (written->dtype == DNS_BF16) {
        DNS_TRY(dns_alloc(&entry->widened, dns_tensor_count(written), sizeof(float)));
        dns_tensor_to_f32(entry->widened, written);
        written->dtype = DNS_F32;
        written->data = entry->widened;
    }
    *header_size = dns_npy_write_header(entry->header, written);
out:
    return status;
}

/* Nothing of the moment or the machine goes into the archive. */
static dns_status add_entry(zip_t *archive, npz_entry *entry, const dns_named_tensor *tensor)
{
    enum { DOS_DATE_1980 = 0x21 };
    dns_tensor written;
    size_t header_size;
    dns_status status = prepare(&written, &header_size, entry, tensor);
    if (status != DNS_OK)
        return status;
    zip_buffer_fragment_t pieces[2] = {
        {(zip_uint8_t *)entry->header, header_size},
        {(zip_uint8_t *)(uintptr_t)written.data, dns_tensor_bytes(&written)},
    };
    size_t n_pieces = pieces[1].length > 0 ? 2 : 1;
    zip_source_t *source = zip_source_buffer_fragment(archive, pieces, n_pieces, 0);
    if (source == NULL)
        return dns_status_set(DNS_ERR_NOMEM, "array '%s': %s", tensor->name, zip_strerror(archive));
    zip_int64_t index = zip_file_add(archive, entry->name, source, 0);
    if (index < 0) {
        status = dns_status_set(DNS_ERR_ARG, "array '%s': %s", tensor->name, zip_strerror(archive));
        zip_source_free(source);
        return status;
    }
    if (zip_set_file_compression(archive, (zip_uint64_t)index, ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(archive, (zip_uint64_t)index, 0, DOS_DATE_1980, 0) != 0)
        return dns_status_set(DNS_ERR_BACKEND, "array '%s': %s", tensor->name,
                              zip_strerror(archive));
    return DNS_OK;
}

/* The archive as it lies in `memory` after it was closed. */
static dns_status write_out(const char *path, zip_source_t *memory)
{
    dns_status status = DNS_OK;
    char *bytes = NULL;
    zip_stat_t about;
    if (zip_source_stat(memory, &about) != 0 || zip_source_open(memory) != 0)
        return dns_status_set(DNS_ERR_BACKEND, "%s: %s", path,
                              zip_error_strerror(zip_source_error(memory)));
    DNS_TRY(dns_alloc(&bytes, (size_t)about.size, 1));
    if (zip_source_read(memory, bytes, about.size) != (zip_int64_t)about.size)
        DNS_FAIL(DNS_ERR_BACKEND, "%s: %s", path, zip_error_strerror(zip_source_error(memory)));
    DNS_TRY(dns_file_write(path, bytes, (size_t)about.size));
out:
    zip_source_close(memory);
    dns_free(bytes);
    return status;
}

dns_status dns_npz_write(const char *path, const dns_named_tensor *tensors, size_t n_tensors)
{
    dns_status status = DNS_OK;
    npz_entry *entries = NULL;
    zip_source_t *memory = NULL;
    zip_t *archive = NULL;
    zip_error_t error;
    zip_error_init(&error);
    DNS_TRY(dns_alloc(&entries, n_tensors, sizeof *entries));
    memory = zip_source_buffer_create(NULL, 0, 0, &error);
    archive = memory != NULL ? zip_open_from_source(memory, ZIP_TRUNCATE, &error) : NULL;
    if (archive == NULL)
        DNS_FAIL(DNS_ERR_NOMEM, "%s: %s", path, zip_error_strerror(&error));
    zip_source_keep(memory); /* once for the archive, once for us */
    for (size_t i = 0; i < n_tensors; i++)
        DNS_TRY(add_entry(archive, &entries[i], &tensors[i]));
    if (zip_close(archive) != 0)
        DNS_FAIL(DNS_ERR_BACKEND, "%s: %s", path, zip_strerror(archive));
    archive = NULL;
    DNS_TRY(write_out(path, memory));
out:
    if (archive != NULL)
        zip_discard(archive);
    zip_source_free(memory);
    zip_error_fini(&error);
    for (size_t i = 0; entries != NULL && i < n_tensors; i++) {
        dns_free(entries[i].widened);
        dns_free(entries[i].name);
    }
    dns_free(entries);
    return status;
}
