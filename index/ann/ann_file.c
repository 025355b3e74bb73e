/* An index as a file: a header of ours with checksums (docs/ann.md), then FAISS's own bytes, which
 * FAISS reads with too much trust to be given anything else than what it wrote. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ann_handle.h"
#include "dnsel/file.h"
#include "dnsel/memory.h"

#include <faiss/c_api/IndexBinary_c.h>
#include <faiss/c_api/Index_c.h>

enum { VERSION = 1, KIND_F32 = 1, KIND_CODES = 2 };

static const char magic[8] = "dnselann";

struct header {
    char magic[8];
    uint32_t version, kind;
    uint64_t dim, n_vectors, payload_size;
    uint8_t payload_digest[16];
    uint8_t source[16];
    uint64_t generation;
    char factory[DNS_ANN_FACTORY];
    uint64_t checksum; /* of all bytes before */
};

_Static_assert(sizeof(struct header) == 152, "as in docs/ann.md");

static uint64_t header_checksum(const struct header *header)
{
    return dns_checksum(header, offsetof(struct header, checksum));
}

/* ---- writing ---- */

struct sink {
    FILE *stream;
    dns_hasher *hasher;
    uint64_t size;
    int error; /* errno of the write that went wrong */
};

static bool write_payload(void *payload, const void *data, size_t size)
{
    struct sink *sink = payload;
    if (size == 0)
        return true;
    errno = 0;
    if (fwrite(data, 1, size, sink->stream) != size) {
        sink->error = errno != 0 ? errno : EIO;
        return false;
    }
    dns_hasher_add(sink->hasher, data, size);
    sink->size += size;
    return true;
}

static void fill_header(struct header *header, const dns_ann *ann, const dns_ann_origin *origin,
                        const struct sink *sink)
{
    dns_digest digest = dns_hasher_digest(sink->hasher);
    *header = (struct header){.version = VERSION,
                              .kind = ann->dtype == DNS_U8 ? KIND_CODES : KIND_F32,
                              .dim = ann->dim,
                              .n_vectors = dns_ann_get_info(ann).n_vectors,
                              .payload_size = sink->size};
    memcpy(header->magic, magic, sizeof magic);
    memcpy(header->factory, ann->factory, sizeof header->factory);
    memcpy(header->payload_digest, digest.bytes, sizeof digest.bytes);
    if (origin != NULL) {
        memcpy(header->source, origin->source.bytes, sizeof header->source);
        header->generation = origin->generation;
    }
    header->checksum = header_checksum(header);
}

dns_status dns_ann_save(const dns_ann *ann, const char *path, const dns_ann_origin *origin)
{
    dns_status status = DNS_OK;
    dns_replacement *replacement = NULL;
    struct header header = {.version = 0};
    struct sink sink = {0};
    struct faiss_error error;
    DNS_TRY(dns_hasher_create(&sink.hasher));
    DNS_TRY(dns_replacement_open(&replacement, &sink.stream, path));
    if (fwrite(&header, sizeof header, 1, sink.stream) != 1)
        DNS_TRY(dns_status_set_errno("%s", path));
    if (!dns_faiss_write(&ann->faiss, write_payload, &sink, &error)) {
        errno = sink.error;
        DNS_TRY(sink.error != 0 ? dns_status_set_errno("%s", path) : dns_ann_from_shim(&error));
    }
    fill_header(&header, ann, origin, &sink);
    if (fseek(sink.stream, 0, SEEK_SET) != 0 || fwrite(&header, sizeof header, 1, sink.stream) != 1)
        DNS_TRY(dns_status_set_errno("%s", path));
    status = dns_replacement_commit(replacement);
    replacement = NULL;
out:
    dns_replacement_abandon(replacement);
    dns_hasher_free(sink.hasher);
    return status;
}

/* ---- reading ---- */

static dns_status check_header(const struct header *header, const dns_mapping *file,
                               const char *path)
{
    if (file->size < sizeof magic || memcmp(file->data, magic, sizeof magic) != 0)
        return dns_status_set(DNS_ERR_FORMAT, "%s: not an index of vectors", path);
    if (file->size < sizeof *header)
        return dns_status_set(DNS_ERR_CORRUPT, "%s: ends within its header", path);
    if (header->version != VERSION)
        return dns_status_set(DNS_ERR_VERSION, "%s: version %u, this dnsel reads %d", path,
                              header->version, VERSION);
    if (header->checksum != header_checksum(header))
        return dns_status_set(DNS_ERR_CORRUPT, "%s: the header does not fit its checksum", path);
    if (header->payload_size != file->size - sizeof *header)
        return dns_status_set(DNS_ERR_CORRUPT, "%s: %zu bytes, expected %llu", path, file->size,
                              (unsigned long long)(header->payload_size + sizeof *header));
    if ((header->kind != KIND_F32 && header->kind != KIND_CODES) ||
        memchr(header->factory, '\0', DNS_ANN_FACTORY) == NULL)
        return dns_status_set(DNS_ERR_CORRUPT, "%s: the header makes no sense", path);
    return DNS_OK;
}

static dns_status check_payload(const struct header *header, const dns_mapping *file,
                                const char *path)
{
    dns_digest digest = dns_digest_of(file->data + sizeof *header, file->size - sizeof *header);
    if (memcmp(digest.bytes, header->payload_digest, sizeof digest.bytes) != 0)
        return dns_status_set(DNS_ERR_CORRUPT, "%s: the contents do not fit their checksum", path);
    return DNS_OK;
}

static dns_status read_mapped(dns_ann *ann, const char *path)
{
    dns_status status = DNS_OK;
    struct faiss_error error;
    FILE *stream = fopen(path, "rb");
    if (stream == NULL || fseek(stream, sizeof(struct header), SEEK_SET) != 0)
        DNS_TRY(dns_status_set_errno("%s", path));
    if (!dns_faiss_read_mapped(&ann->faiss, ann->dtype == DNS_U8, stream, &error))
        DNS_TRY(dns_ann_from_shim(&error));
out:
    if (stream != NULL)
        fclose(stream);
    return status;
}

/* What FAISS read must be what the header says: everything after goes by it. */
static bool agrees(const dns_ann *ann, const struct header *header)
{
    return ann->dtype == DNS_U8
               ? (uint64_t)faiss_IndexBinary_d(ann->faiss.codes) == 8 * header->dim &&
                     (uint64_t)faiss_IndexBinary_ntotal(ann->faiss.codes) == header->n_vectors
               : (uint64_t)faiss_Index_d(ann->faiss.f32) == header->dim &&
                     (uint64_t)faiss_Index_ntotal(ann->faiss.f32) == header->n_vectors;
}

dns_status dns_ann_load(dns_ann **out, dns_ann_origin *origin, const char *path,
                        const dns_ann_load_options *options)
{
    dns_status status = DNS_OK;
    dns_ann_load_options chosen = DNS_ANN_LOAD_OPTIONS_INIT;
    dns_mapping file = {0};
    dns_ann *ann = NULL;
    struct header header = {.version = 0};
    struct faiss_error error;
    *out = NULL;
    if (options != NULL)
        chosen = *options;
    DNS_TRY(dns_mapping_open(&file, path));
    if (file.size >= sizeof header)
        memcpy(&header, file.data, sizeof header);
    DNS_TRY(check_header(&header, &file, path));
    if (!chosen.trusted)
        DNS_TRY(check_payload(&header, &file, path));
    DNS_TRY(dns_alloc(&ann, 1, sizeof *ann));
    memcpy(ann->factory, header.factory, sizeof ann->factory);
    ann->dtype = header.kind == KIND_CODES ? DNS_U8 : DNS_F32;
    ann->dim = (size_t)header.dim;
    if (chosen.map)
        DNS_TRY(read_mapped(ann, path));
    else if (!dns_faiss_read(&ann->faiss, ann->dtype == DNS_U8, file.data + sizeof header,
                             file.size - sizeof header, &error))
        DNS_TRY(dns_ann_from_shim(&error));
    if (!agrees(ann, &header))
        DNS_FAIL(DNS_ERR_CORRUPT, "%s: the contents do not fit the header", path);
    if (origin != NULL) {
        memcpy(origin->source.bytes, header.source, sizeof header.source);
        origin->generation = header.generation;
    }
    *out = ann;
    ann = NULL;
out:
    dns_ann_free(ann);
    dns_mapping_close(&file);
    return status;
}
