#include "dnsel/archive.h"

#include <zstd.h>

#include "dnsel/memory.h"
#include "dnsel/rounding.h"

enum { ZSTD_LEVEL = 1 };

/* What is packed: i8 [T,R,D], padding to 4 bytes, f32 scales [T,R]. */
static bool plain_size(size_t *size, size_t *n_rows, size_t *scales_at,
                       const size_t shape[DNS_RECORD_RANK])
{
    size_t elements, scales;
    if (!dns_size_multiply(shape[0], shape[1], n_rows) ||
        !dns_size_multiply(*n_rows, shape[2], &elements) || elements > UINT32_MAX ||
        !dns_size_multiply(*n_rows, 4, &scales))
        return false;
    *scales_at = (elements + 3) & ~(size_t)3;
    *size = *scales_at + scales;
    return elements > 0;
}

dns_status dns_archive_pack(dns_record *out, void **block, const float *x, size_t n_frames,
                            size_t n_regions, size_t dim)
{
    dns_status status = DNS_OK;
    size_t size, n_rows, scales_at, shape[DNS_RECORD_RANK] = {n_frames, n_regions, dim};
    uint8_t *plain = NULL, *packed = NULL;
    *out = (dns_record){
        .kind = DNS_KIND_ARCHIVE, .dtype = DNS_I8, .rank = 3, .shape = {n_frames, n_regions, dim}};
    *block = NULL;
    if (!plain_size(&size, &n_rows, &scales_at, shape))
        DNS_FAIL(DNS_ERR_SHAPE, "archive of [%zu,%zu,%zu]", n_frames, n_regions, dim);
    DNS_TRY(dns_alloc(&plain, size, 1));
    DNS_TRY(dns_rows_to_i8((int8_t *)plain, (float *)(void *)(plain + scales_at), x, n_rows, dim));
    size_t bound = ZSTD_compressBound(size);
    DNS_TRY(dns_alloc(&packed, bound, 1));
    size_t n = ZSTD_compress(packed, bound, plain, size, ZSTD_LEVEL);
    if (ZSTD_isError(n))
        DNS_FAIL(DNS_ERR_BACKEND, "zstd: %s", ZSTD_getErrorName(n));
    out->data = packed;
    out->size = n;
    *block = packed;
    packed = NULL;
out:
    dns_free(packed);
    dns_free(plain);
    return status;
}

dns_status dns_archive_unpack(float *x, const dns_record *record)
{
    dns_status status = DNS_OK;
    size_t size, n_rows, scales_at;
    uint8_t *plain = NULL;
    if (record->kind != DNS_KIND_ARCHIVE || !plain_size(&size, &n_rows, &scales_at, record->shape))
        DNS_FAIL(DNS_ERR_ARG, "no archive record");
    if (ZSTD_getFrameContentSize(record->data, record->size) != size)
        DNS_FAIL(DNS_ERR_CORRUPT, "archive: its packed size does not fit its shape");
    DNS_TRY(dns_alloc(&plain, size, 1));
    size_t n = ZSTD_decompress(plain, size, record->data, record->size);
    if (n != size)
        DNS_FAIL(DNS_ERR_CORRUPT, "archive: %s",
                 ZSTD_isError(n) ? ZSTD_getErrorName(n) : "cut short");
    dns_rows_from_i8(x, (const int8_t *)plain, (const float *)(const void *)(plain + scales_at),
                     n_rows, record->shape[2]);
out:
    dns_free(plain);
    return status;
}
