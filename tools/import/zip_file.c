#include "zip_file.h"

#include <stdint.h>
#include <string.h>

#include <zip.h>

#include "dnsel/memory.h"

struct dns_zip {
    zip_t *archive;
    char *source;
};

struct dns_zip_stream {
    const dns_zip *zip;
    zip_file_t *file;
    char *name;
    size_t left;
};

bool dns_zip_recognise(const void *bytes, size_t size)
{
    return size >= 4 && (memcmp(bytes, "PK\3\4", 4) == 0 || memcmp(bytes, "PK\5\6", 4) == 0);
}

dns_status dns_zip_open(dns_zip **out, const void *bytes, size_t size, const char *source)
{
    dns_status status = DNS_OK;
    dns_zip *zip = NULL;
    zip_source_t *memory = NULL;
    zip_error_t error;
    zip_error_init(&error);
    *out = NULL;
    DNS_TRY(dns_alloc(&zip, 1, sizeof *zip));
    DNS_TRY(dns_string_copy(&zip->source, source));
    memory = zip_source_buffer_create(bytes, size, 0, &error);
    if (memory == NULL)
        DNS_FAIL(DNS_ERR_NOMEM, "%s: %s", source, zip_error_strerror(&error));
    zip->archive = zip_open_from_source(memory, ZIP_RDONLY, &error);
    if (zip->archive == NULL)
        DNS_FAIL(DNS_ERR_CORRUPT, "%s: %s", source, zip_error_strerror(&error));
    memory = NULL; /* the archive owns it now */
    *out = zip;
    zip = NULL;
out:
    zip_error_fini(&error);
    zip_source_free(memory);
    dns_zip_close(zip);
    return status;
}

void dns_zip_close(dns_zip *zip)
{
    if (zip == NULL)
        return;
    if (zip->archive != NULL)
        zip_discard(zip->archive);
    dns_free(zip->source);
    dns_free(zip);
}

size_t dns_zip_count(const dns_zip *zip)
{
    zip_int64_t n = zip_get_num_entries(zip->archive, 0);
    return n > 0 ? (size_t)n : 0;
}

const char *dns_zip_name(const dns_zip *zip, size_t index)
{
    const char *name = zip_get_name(zip->archive, index, ZIP_FL_ENC_RAW);
    return name != NULL ? name : "";
}

bool dns_zip_find(size_t *index, const dns_zip *zip, const char *name)
{
    zip_int64_t at = zip_name_locate(zip->archive, name, ZIP_FL_ENC_RAW);
    *index = at >= 0 ? (size_t)at : 0;
    return at >= 0;
}

dns_status dns_zip_size(size_t *size, const dns_zip *zip, size_t index)
{
    enum { DEFLATE_AT_MOST = 1032, SLACK = 1024 };
    const zip_uint64_t wanted =
        ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    const char *name = dns_zip_name(zip, index);
    zip_stat_t about;
    if (zip_stat_index(zip->archive, index, 0, &about) != 0 || (about.valid & wanted) != wanted)
        return dns_status_set(DNS_ERR_CORRUPT, "%s: entry '%s' is damaged", zip->source, name);
    if (about.encryption_method != ZIP_EM_NONE)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "%s: entry '%s' is encrypted", zip->source,
                              name);
    if (about.comp_method != ZIP_CM_STORE && about.comp_method != ZIP_CM_DEFLATE)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "%s: entry '%s' is compressed by method %d",
                              zip->source, name, about.comp_method);
    bool possible = about.comp_method == ZIP_CM_STORE
                        ? about.size == about.comp_size
                        : about.size / DEFLATE_AT_MOST <= about.comp_size + SLACK;
    if (!possible || about.size > SIZE_MAX / 2)
        return dns_status_set(DNS_ERR_CORRUPT,
                              "%s: entry '%s' can't unpack to the %llu bytes that it says",
                              zip->source, name, (unsigned long long)about.size);
    *size = (size_t)about.size;
    return DNS_OK;
}

dns_status dns_zip_read(void **data, size_t *size, const dns_zip *zip, size_t index, size_t limit)
{
    dns_status status = DNS_OK;
    dns_zip_stream *stream = NULL;
    char *bytes = NULL;
    *data = NULL;
    DNS_TRY(dns_zip_size(size, zip, index));
    if (*size > limit)
        DNS_FAIL(DNS_ERR_LIMIT, "%s: entry '%s' has %zu bytes, at most %zu are read", zip->source,
                 dns_zip_name(zip, index), *size, limit);
    DNS_TRY(dns_zip_stream_open(&stream, zip, index));
    DNS_TRY(dns_alloc(&bytes, *size + 1, 1));
    DNS_TRY(dns_zip_stream_read(stream, bytes, *size));
    *data = bytes;
    bytes = NULL;
out:
    dns_free(bytes);
    dns_zip_stream_close(stream);
    return status;
}

dns_status dns_zip_stream_open(dns_zip_stream **out, const dns_zip *zip, size_t index)
{
    dns_status status = DNS_OK;
    dns_zip_stream *stream = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&stream, 1, sizeof *stream));
    DNS_TRY(dns_zip_size(&stream->left, zip, index));
    DNS_TRY(dns_string_copy(&stream->name, dns_zip_name(zip, index)));
    stream->zip = zip;
    stream->file = zip_fopen_index(zip->archive, index, 0);
    if (stream->file == NULL)
        DNS_FAIL(DNS_ERR_CORRUPT, "%s: entry '%s': %s", zip->source, stream->name,
                 zip_strerror(zip->archive));
    *out = stream;
    stream = NULL;
out:
    dns_zip_stream_close(stream);
    return status;
}

static dns_status damaged(const dns_zip_stream *stream, zip_int64_t got)
{
    return dns_status_set(DNS_ERR_CORRUPT, "%s: entry '%s': %s", stream->zip->source, stream->name,
                          got < 0 ? zip_file_strerror(stream->file) : "cut short");
}

dns_status dns_zip_stream_read(dns_zip_stream *stream, void *data, size_t size)
{
    char skipped[4096], *to = data;
    if (size > stream->left)
        return damaged(stream, 0);
    stream->left -= size;
    while (size > 0) {
        size_t piece = data == NULL && size > sizeof skipped ? sizeof skipped : size;
        zip_int64_t got = zip_fread(stream->file, data == NULL ? skipped : to, piece);
        if (got <= 0)
            return damaged(stream, got);
        size -= (size_t)got;
        to += data == NULL ? 0 : got;
    }
    /* libzip compares the checksum on the read after the last byte. */
    zip_int64_t got = stream->left == 0 ? zip_fread(stream->file, skipped, 1) : 0;
    return got < 0 ? damaged(stream, got) : DNS_OK;
}

void dns_zip_stream_close(dns_zip_stream *stream)
{
    if (stream == NULL)
        return;
    if (stream->file != NULL)
        zip_fclose(stream->file);
    dns_free(stream->name);
    dns_free(stream);
}
