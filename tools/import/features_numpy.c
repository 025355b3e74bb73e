/* Features in .npy and .npz files, and in safetensors, which lie in memory in the same way. */
#include <stdlib.h>
#include <string.h>

#include "dnsel/memory.h"
#include "dnsel/safetensors.h"
#include "features_backend.h"
#include "npy.h"
#include "zip_file.h"

static const size_t max_whole = (size_t)4 << 30;

/* `n` elements, in whatever order of bytes, as f32. */
static void to_f32(float *out, dns_dtype dtype, void *data, size_t n, bool is_swapped)
{
    dns_tensor tensor = {.dtype = dtype, .rank = 1, .shape = {n}, .data = data};
    if (is_swapped)
        dns_bytes_swap(data, n, dns_dtype_size(dtype));
    dns_tensor_to_f32(out, &tensor);
}

/* ---- .npy ---- */

static bool recognise_npy(const dns_features_file *file)
{
    return dns_npy_recognise(file->mapping.data, file->mapping.size);
}

static dns_status open_npy(dns_features_file *file)
{
    const char *slash = strrchr(file->path, '/'), *name = slash != NULL ? slash + 1 : file->path;
    size_t n = strlen(name);
    npy_header *header;
    dns_status status = dns_alloc(&header, 1, sizeof *header);
    if (status != DNS_OK)
        return status;
    file->handle = header;
    status = dns_npy_parse(header, file->mapping.data, file->mapping.size, file->path);
    if (status != DNS_OK)
        return status;
    if (header->count * dns_dtype_size(header->dtype) > file->mapping.size - header->offset)
        return dns_status_set(DNS_ERR_CORRUPT, "%s: cut short", file->path);
    return dns_features_add(file, name, n > 4 && strcmp(name + n - 4, ".npy") == 0 ? n - 4 : n, 0,
                            0);
}

static dns_status copy_shape(size_t shape[8], size_t *rank, const npy_header *header)
{
    memcpy(shape, header->shape, sizeof header->shape);
    *rank = header->rank;
    return DNS_OK;
}

static dns_status shape_npy(size_t shape[8], size_t *rank, dns_features_file *file,
                            const features_video *video)
{
    return copy_shape(shape, rank, file->handle);
}

/* Frames of a whole array in memory, row-major or not. */
static dns_status read_array(float *out, const npy_header *header, const void *data, size_t first,
                             size_t n_frames, size_t width)
{
    size_t element = dns_dtype_size(header->dtype), n = n_frames * width;
    strided frames = {.element = element, .rank = header->rank};
    void *raw;
    dns_status status = dns_alloc(&raw, n, element);
    if (status != DNS_OK)
        return status;
    memcpy(frames.shape, header->shape, sizeof frames.shape);
    dns_strided_fill(&frames, header->is_column_major);
    frames.shape[0] = n_frames;
    dns_strided_copy(raw, (const char *)data + first * frames.strides[0] * element, &frames);
    to_f32(out, header->dtype, raw, n, header->is_swapped);
    dns_free(raw);
    return DNS_OK;
}

static dns_status read_npy(float *out, dns_features_file *file, const features_video *video,
                           size_t first, size_t n_frames, size_t width)
{
    const npy_header *header = file->handle;
    return read_array(out, header, file->mapping.data + header->offset, first, n_frames, width);
}

const features_backend dns_features_npy = {"npy",    recognise_npy, open_npy,
                                           dns_free, shape_npy,     read_npy};

/* ---- .npz ---- */

static bool recognise_npz(const dns_features_file *file)
{
    return dns_zip_recognise(file->mapping.data, file->mapping.size);
}

/* Reads a member's header; the stream then stands at its data. */
static dns_status open_member(dns_zip_stream **out, npy_header *header, const dns_zip *zip,
                              size_t index)
{
    dns_status status = DNS_OK;
    char *bytes = NULL;
    dns_zip_stream *stream = NULL;
    size_t size, length, start = 10;
    *out = NULL;
    DNS_TRY(dns_zip_size(&size, zip, index));
    DNS_TRY(dns_zip_stream_open(&stream, zip, index));
    DNS_TRY(dns_alloc(&bytes, DNS_NPY_HEADER_LIMIT, 1));
    DNS_TRY(dns_zip_stream_read(stream, bytes, start));
    if (bytes[6] > 1) {
        DNS_TRY(dns_zip_stream_read(stream, bytes + start, 2));
        start += 2;
    }
    length = (size_t)(unsigned char)bytes[8] | (size_t)(unsigned char)bytes[9] << 8;
    if (length > DNS_NPY_HEADER_LIMIT - start)
        DNS_FAIL(DNS_ERR_CORRUPT, "a header of %zu bytes", length);
    DNS_TRY(dns_zip_stream_read(stream, bytes + start, length));
    DNS_TRY(dns_npy_parse(header, bytes, start + length, "array"));
    if (header->count * dns_dtype_size(header->dtype) > size - header->offset)
        DNS_FAIL(DNS_ERR_CORRUPT, "an array of more bytes than its member");
    *out = stream;
    stream = NULL;
out:
    dns_zip_stream_close(stream);
    dns_free(bytes);
    return status;
}

typedef struct npz_file {
    dns_zip *zip;
    size_t features; /* the member with the frames of all videos */
} npz_file;

static size_t put_utf8(char *out, uint32_t c)
{
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; --i > 0; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    return n;
}

/* A video for each run of equal ids; an id is a row of characters of 4 bytes, ended by zeros. */
static dns_status add_runs(dns_features_file *file, const npy_header *header,
                           const unsigned char *rows)
{
    dns_status status = DNS_OK;
    char *id = NULL;
    size_t width = 4 * header->characters, n_rows = header->count;
    DNS_TRY(dns_alloc(&id, width + 1, 1));
    for (size_t first = 0, end; first < n_rows; first = end) {
        for (end = first + 1;
             end < n_rows && memcmp(rows + first * width, rows + end * width, width) == 0; end++)
            continue;
        size_t n = 0;
        for (const unsigned char *c = rows + first * width; c < rows + (first + 1) * width;
             c += 4) {
            uint32_t code =
                (uint32_t)c[0] | (uint32_t)c[1] << 8 | (uint32_t)c[2] << 16 | (uint32_t)c[3] << 24;
            if (code > 0x10ffff)
                DNS_FAIL(DNS_ERR_CORRUPT, "video_ids: not text");
            if (code > 0)
                n += put_utf8(id + n, code);
        }
        DNS_TRY(dns_features_add(file, id, n, first, end - first));
    }
out:
    dns_free(id);
    return status;
}

static dns_status open_runs(dns_features_file *file, const npz_file *npz, size_t ids)
{
    dns_status status = DNS_OK;
    dns_zip_stream *stream = NULL;
    void *bytes = NULL;
    size_t size;
    npy_header of_ids, of_features;
    DNS_TRY(dns_zip_read(&bytes, &size, npz->zip, ids, max_whole));
    DNS_TRY(dns_npy_parse_text(&of_ids, bytes, size, "video_ids"));
    DNS_TRY(open_member(&stream, &of_features, npz->zip, npz->features));
    if (of_ids.is_swapped || of_ids.is_column_major || of_features.is_column_major)
        DNS_FAIL(DNS_ERR_UNSUPPORTED, "video_ids and features are not row-major and little-endian");
    if (of_ids.rank != 1 || of_features.rank == 0 || of_ids.count != of_features.shape[0] ||
        of_ids.count * 4 * of_ids.characters > size - of_ids.offset)
        DNS_FAIL(DNS_ERR_CORRUPT, "video_ids do not fit features");
    DNS_TRY(add_runs(file, &of_ids, (unsigned char *)bytes + of_ids.offset));
out:
    dns_zip_stream_close(stream);
    dns_free(bytes);
    return status;
}

static dns_status open_npz(dns_features_file *file)
{
    dns_status status = DNS_OK;
    npz_file *npz;
    size_t ids;
    DNS_TRY(dns_alloc(&npz, 1, sizeof *npz));
    file->handle = npz;
    DNS_TRY(dns_zip_open(&npz->zip, file->mapping.data, file->mapping.size, file->path));
    if (dns_zip_find(&ids, npz->zip, "video_ids.npy") &&
        dns_zip_find(&npz->features, npz->zip, "features.npy")) {
        status = open_runs(file, npz, ids);
        return status == DNS_OK ? DNS_OK : dns_status_context(status, "%s", file->path);
    }
    for (size_t i = 0; i < dns_zip_count(npz->zip); i++) {
        const char *name = dns_zip_name(npz->zip, i);
        size_t n = strlen(name);
        if (n > 4 && strcmp(name + n - 4, ".npy") == 0)
            DNS_TRY(dns_features_add(file, name, n - 4, i, 0));
    }
    if (file->n_videos == 0)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: a zip archive without arrays", file->path);
out:
    return status;
}

static void close_npz(void *handle)
{
    npz_file *npz = handle;
    dns_zip_close(npz->zip);
    dns_free(npz);
}

static size_t member_of(const npz_file *npz, const features_video *video)
{
    return video->n_rows > 0 ? npz->features : video->position;
}

static dns_status shape_npz(size_t shape[8], size_t *rank, dns_features_file *file,
                            const features_video *video)
{
    const npz_file *npz = file->handle;
    npy_header header;
    dns_zip_stream *stream;
    dns_status status = open_member(&stream, &header, npz->zip, member_of(npz, video));
    if (status != DNS_OK)
        return status;
    dns_zip_stream_close(stream);
    return copy_shape(shape, rank, &header);
}

static dns_status read_npz(float *out, dns_features_file *file, const features_video *video,
                           size_t first, size_t n_frames, size_t width)
{
    const npz_file *npz = file->handle;
    dns_status status = DNS_OK;
    dns_zip_stream *stream = NULL;
    npy_header header;
    void *raw = NULL;
    DNS_TRY(open_member(&stream, &header, npz->zip, member_of(npz, video)));
    size_t element = dns_dtype_size(header.dtype), n = n_frames * width;
    first += video->n_rows > 0 ? video->position : 0;
    if (header.is_column_major) {
        size_t whole = header.count * element;
        if (whole > max_whole)
            DNS_FAIL(DNS_ERR_LIMIT, "column-major, and %zu bytes", whole);
        DNS_TRY(dns_alloc(&raw, whole, 1));
        DNS_TRY(dns_zip_stream_read(stream, raw, whole));
        DNS_TRY(read_array(out, &header, raw, first, n_frames, width));
    } else {
        DNS_TRY(dns_zip_stream_read(stream, NULL, first * width * element));
        DNS_TRY(dns_alloc(&raw, n, element));
        DNS_TRY(dns_zip_stream_read(stream, raw, n * element));
        to_f32(out, header.dtype, raw, n, header.is_swapped);
    }
out:
    dns_free(raw);
    dns_zip_stream_close(stream);
    return status;
}

const features_backend dns_features_npz = {"npz",     recognise_npz, open_npz,
                                           close_npz, shape_npz,     read_npz};

/* ---- safetensors ---- */

static bool recognise_safetensors(const dns_features_file *file)
{
    return file->mapping.size > 8 && file->mapping.data[8] == '{';
}

static void close_safetensors(void *handle)
{
    dns_safetensors_close(handle);
}

static dns_status open_safetensors(dns_features_file *file)
{
    dns_safetensors *tensors = NULL;
    dns_status status = DNS_OK;
    DNS_TRY(
        dns_safetensors_open_memory(&tensors, file->mapping.data, file->mapping.size, file->path));
    file->handle = tensors;
    for (size_t i = 0; i < dns_safetensors_count(tensors); i++) {
        const char *name = dns_safetensors_name(tensors, i);
        DNS_TRY(dns_features_add(file, name, strlen(name), i, 0));
    }
out:
    return status;
}

static dns_status shape_safetensors(size_t shape[8], size_t *rank, dns_features_file *file,
                                    const features_video *video)
{
    const dns_tensor *tensor = dns_safetensors_at(file->handle, video->position);
    memcpy(shape, tensor->shape, sizeof tensor->shape);
    *rank = tensor->rank;
    return DNS_OK;
}

static dns_status read_safetensors(float *out, dns_features_file *file, const features_video *video,
                                   size_t first, size_t n_frames, size_t width)
{
    dns_tensor frames = *dns_safetensors_at(file->handle, video->position);
    frames.shape[0] = n_frames;
    frames.data = (const char *)frames.data + first * width * dns_dtype_size(frames.dtype);
    dns_tensor_to_f32(out, &frames);
    return DNS_OK;
}

const features_backend dns_features_safetensors = {"safetensors",     recognise_safetensors,
                                                   open_safetensors,  close_safetensors,
                                                   shape_safetensors, read_safetensors};
