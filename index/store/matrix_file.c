#include "matrix_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dnsel/memory.h"

enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_KIND = 8,
    AT_DTYPE = 12,
    AT_DIM = 16,
    AT_N_ROWS = 24,
    AT_GENERATION = 32,
    AT_IDENTITY = 40,
    AT_MODEL = 56,
    AT_TAIL_CHECKSUM = 72,
    AT_CHECKSUM = 80
};

static const char magic[4] = {'D', 'N', 'S', 'm'};

static const struct {
    dns_dtype dtype;
    uint32_t code; /* as in records */
    size_t size;
} dtypes[] = {{DNS_F32, 1, 4}, {DNS_I8, 3, 1}, {DNS_U8, 4, 1}};

static dns_status path_of(char **path, const dns_snapshot *snapshot, const dns_matrix_kind *kind)
{
    return dns_path_join(path, dns_store_directory(dns_snapshot_store(snapshot)), kind->name);
}

static size_t page_up(size_t n)
{
    return (n + DNS_MATRIX_PAGE - 1) / DNS_MATRIX_PAGE * DNS_MATRIX_PAGE;
}

/* Sizes of the parts; false when they cannot be. */
static bool measure(dns_matrix_file *f, size_t element, size_t *tail_at, size_t *tail_size)
{
    size_t vectors, limit = (size_t)1 << 46;
    if (f->n_rows > limit / 16 || !dns_size_multiply(f->dim, element, &f->row_bytes) ||
        !dns_size_multiply(f->n_rows, f->row_bytes, &vectors) || vectors > limit)
        return false;
    f->n_blocks = (vectors + DNS_MATRIX_BLOCK - 1) / DNS_MATRIX_BLOCK;
    *tail_at = DNS_MATRIX_PAGE + page_up(vectors);
    *tail_size = 8 * f->n_rows + (f->dtype == DNS_I8 ? 4 * f->n_rows : 0) + 8 * f->n_blocks;
    return true;
}

/* ---- reading ---- */

static dns_status read_at(void *out, const dns_matrix_file *f, size_t size, size_t at)
{
    uint8_t *bytes = out;
    while (size > 0) {
        ssize_t got = pread(f->fd, bytes, size, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return dns_status_set_errno("%s", f->path);
        if (got == 0)
            return dns_status_set(DNS_ERR_CORRUPT, "%s: cut short", f->path);
        bytes += got;
        at += (size_t)got;
        size -= (size_t)got;
    }
    return DNS_OK;
}

static uint32_t u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint64_t u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static dns_status read_header(dns_matrix_file *f, size_t *tail_at, size_t *tail_size,
                              uint64_t *tail_checksum, const dns_snapshot *snapshot,
                              const dns_matrix_kind *kind)
{
    uint8_t header[AT_CHECKSUM + 8];
    const dns_store *store = dns_snapshot_store(snapshot);
    size_t element = 0;
    dns_digest identity = dns_store_identity(store), model = dns_store_settings_get(store)->model;
    dns_status status = read_at(header, f, sizeof header, 0);
    if (status != DNS_OK)
        return status;
    if (memcmp(header, magic, sizeof magic) != 0)
        return dns_status_set(DNS_ERR_FORMAT, "%s: no matrix file", f->path);
    if (u32(header + AT_VERSION) > DNS_MATRIX_VERSION)
        return dns_status_set(DNS_ERR_VERSION, "%s: format %u, this program reads up to %d",
                              f->path, u32(header + AT_VERSION), DNS_MATRIX_VERSION);
    if (u64(header + AT_CHECKSUM) != dns_checksum(header, AT_CHECKSUM))
        return dns_status_set(DNS_ERR_CORRUPT, "%s: checksum of its header differs", f->path);
    if (memcmp(header + AT_IDENTITY, identity.bytes, 16) != 0)
        return dns_status_set(DNS_ERR_FORMAT, "%s: of another index", f->path);
    if (memcmp(header + AT_MODEL, model.bytes, 16) != 0)
        return dns_status_set(DNS_ERR_MODEL, "%s: made by another model", f->path);
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (dtypes[i].code == u32(header + AT_DTYPE)) {
            f->dtype = dtypes[i].dtype;
            element = dtypes[i].size;
        }
    f->dim = (size_t)u64(header + AT_DIM);
    f->n_rows = (size_t)u64(header + AT_N_ROWS);
    f->generation = u64(header + AT_GENERATION);
    *tail_checksum = u64(header + AT_TAIL_CHECKSUM);
    if (kind->rounded && f->dtype != kind->dtype)
        element = 0;
    if (u32(header + AT_KIND) != (uint32_t)kind->kind || element == 0 ||
        !measure(f, element, tail_at, tail_size))
        return dns_status_set(DNS_ERR_CORRUPT, "%s: a damaged header", f->path);
    return DNS_OK;
}

dns_status dns_matrix_file_open(dns_matrix_file *f, const dns_snapshot *snapshot,
                                const dns_matrix_kind *kind)
{
    dns_status status = DNS_OK;
    size_t tail_at = 0, tail_size = 0;
    uint64_t tail_checksum = 0;
    uint8_t *tail = NULL;
    struct stat info;
    *f = (dns_matrix_file){.fd = -1};
    DNS_TRY(path_of(&f->path, snapshot, kind));
    f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f->fd < 0 || fstat(f->fd, &info) != 0) {
        status = dns_status_set_errno("%s", f->path);
        goto out;
    }
    DNS_TRY(read_header(f, &tail_at, &tail_size, &tail_checksum, snapshot, kind));
    if ((uint64_t)info.st_size != tail_at + tail_size)
        DNS_FAIL(DNS_ERR_CORRUPT, "%s: %lld bytes, its header says %zu", f->path,
                 (long long)info.st_size, tail_at + tail_size);
    DNS_TRY(dns_alloc(&tail, tail_size, 1));
    DNS_TRY(read_at(tail, f, tail_size, tail_at));
    if (dns_checksum(tail, tail_size) != tail_checksum)
        DNS_FAIL(DNS_ERR_CORRUPT, "%s: checksum of its ids differs", f->path);
    DNS_TRY(dns_alloc(&f->ids, f->n_rows, sizeof *f->ids));
    DNS_TRY(dns_alloc(&f->checksums, f->n_blocks, sizeof *f->checksums));
    memcpy(f->ids, tail, 8 * f->n_rows);
    size_t at = 8 * f->n_rows;
    if (f->dtype == DNS_I8) {
        DNS_TRY(dns_alloc(&f->scales, f->n_rows, sizeof *f->scales));
        memcpy(f->scales, tail + at, 4 * f->n_rows);
        at += 4 * f->n_rows;
    }
    memcpy(f->checksums, tail + at, 8 * f->n_blocks);
out:
    dns_free(tail);
    return status;
}

void dns_matrix_file_close(dns_matrix_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    dns_free(f->path);
    dns_free(f->ids);
    dns_free(f->scales);
    dns_free(f->checksums);
    *f = (dns_matrix_file){.fd = -1};
}

/* ---- writing ---- */

/* The vectors go out through a buffer of one block, so that each block's checksum is known when it
 * is full. */
typedef struct writing {
    FILE *stream;
    uint8_t *block;
    size_t n_in_block;
    dns_matrix_file *file;
    size_t n_written; /* blocks */
} writing;

static dns_status put(writing *w, const void *bytes, size_t size)
{
    return fwrite(bytes, 1, size, w->stream) == size ? DNS_OK
                                                     : dns_status_set_errno("%s", w->file->path);
}

static dns_status flush_block(writing *w)
{
    w->file->checksums[w->n_written++] = dns_checksum(w->block, w->n_in_block);
    dns_status status = put(w, w->block, w->n_in_block);
    w->n_in_block = 0;
    return status;
}

static dns_status put_vector(writing *w, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        size_t room = DNS_MATRIX_BLOCK - w->n_in_block, n = size < room ? size : room;
        memcpy(w->block + w->n_in_block, bytes, n);
        w->n_in_block += n;
        bytes += n;
        size -= n;
        if (w->n_in_block == DNS_MATRIX_BLOCK) {
            dns_status status = flush_block(w);
            if (status != DNS_OK)
                return status;
        }
    }
    return DNS_OK;
}

static dns_status put_vectors(writing *w, const dns_snapshot *snapshot, const dns_matrix_kind *kind,
                              const dns_progress *progress, dns_cancel *cancel)
{
    dns_status status = DNS_OK;
    dns_matrix_file *f = w->file;
    dns_cursor *cursor = NULL;
    dns_record r;
    dns_dtype dtype;
    size_t row = 0, dim;
    uint8_t *made = NULL;
    double told = dns_seconds();
    DNS_TRY(dns_alloc(&made, f->row_bytes, 1));
    DNS_TRY(dns_cursor_create(&cursor, snapshot, kind->kind, 0));
    while ((status = dns_cursor_next(&r, cursor)) == DNS_OK) {
        DNS_TRY(dns_record_check(&r));
        DNS_TRY(dns_matrix_row_shape(&dtype, &dim, kind, &r));
        if (dtype != f->dtype || dim != f->dim || row == f->n_rows)
            DNS_FAIL(DNS_ERR_SHAPE, "%s: vectors of different lengths or types", f->path);
        if (dns_cancelled(cancel))
            DNS_FAIL(DNS_ERR_CANCELLED, "interrupted");
        f->ids[row] = r.id;
        DNS_TRY(dns_matrix_row_make(made, f->scales != NULL ? &f->scales[row] : NULL, kind, &r));
        DNS_TRY(put_vector(w, made, f->row_bytes));
        row++;
        if (progress != NULL && progress->report != NULL && dns_seconds() - told > 0.1) {
            progress->report(progress->payload, row, f->n_rows, "vectors");
            told = dns_seconds();
        }
    }
    if (status != DNS_EOF)
        goto out;
    status = DNS_OK;
    if (row != f->n_rows)
        DNS_FAIL(DNS_ERR_CORRUPT, "%s: %zu records where %zu were counted", f->path, row,
                 f->n_rows);
    if (w->n_in_block > 0)
        DNS_TRY(flush_block(w));
    static const uint8_t zeros[DNS_MATRIX_PAGE];
    size_t bytes = f->n_rows * f->row_bytes;
    DNS_TRY(put(w, zeros, page_up(bytes) - bytes));
out:
    dns_free(made);
    dns_cursor_free(cursor);
    return status;
}

static dns_status put_tail(writing *w, size_t tail_size, uint64_t *checksum)
{
    dns_matrix_file *f = w->file;
    uint8_t *tail;
    dns_status status = dns_alloc(&tail, tail_size, 1);
    if (status != DNS_OK)
        return status;
    size_t at = 8 * f->n_rows;
    memcpy(tail, f->ids, at);
    if (f->scales != NULL) {
        memcpy(tail + at, f->scales, 4 * f->n_rows);
        at += 4 * f->n_rows;
    }
    memcpy(tail + at, f->checksums, 8 * f->n_blocks);
    *checksum = dns_checksum(tail, tail_size);
    status = put(w, tail, tail_size);
    dns_free(tail);
    return status;
}

static void make_header(uint8_t header[DNS_MATRIX_PAGE], const dns_matrix_file *f,
                        const dns_snapshot *snapshot, const dns_matrix_kind *kind,
                        uint64_t tail_checksum)
{
    const dns_store *store = dns_snapshot_store(snapshot);
    dns_digest identity = dns_store_identity(store), model = dns_store_settings_get(store)->model;
    uint32_t version = DNS_MATRIX_VERSION, kind_number = (uint32_t)kind->kind, code = 0;
    uint64_t dim = f->dim, n_rows = f->n_rows, generation = dns_snapshot_generation(snapshot);
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (dtypes[i].dtype == f->dtype)
            code = dtypes[i].code;
    memset(header, 0, DNS_MATRIX_PAGE);
    memcpy(header + AT_MAGIC, magic, sizeof magic);
    memcpy(header + AT_VERSION, &version, 4);
    memcpy(header + AT_KIND, &kind_number, 4);
    memcpy(header + AT_DTYPE, &code, 4);
    memcpy(header + AT_DIM, &dim, 8);
    memcpy(header + AT_N_ROWS, &n_rows, 8);
    memcpy(header + AT_GENERATION, &generation, 8);
    memcpy(header + AT_IDENTITY, identity.bytes, 16);
    memcpy(header + AT_MODEL, model.bytes, 16);
    memcpy(header + AT_TAIL_CHECKSUM, &tail_checksum, 8);
    uint64_t checksum = dns_checksum(header, AT_CHECKSUM);
    memcpy(header + AT_CHECKSUM, &checksum, 8);
}

dns_status dns_matrix_file_write(const dns_snapshot *snapshot, const dns_matrix_kind *kind,
                                 const dns_progress *progress, dns_cancel *cancel)
{
    dns_status status = DNS_OK;
    dns_matrix_file f = {.fd = -1, .dtype = DNS_F32};
    dns_replacement *replacement = NULL;
    writing w = {.file = &f};
    uint8_t *header = NULL;
    size_t element = 0, tail_at, tail_size;
    uint64_t tail_checksum;
    dns_cursor *cursor = NULL;
    dns_record first;
    DNS_TRY(path_of(&f.path, snapshot, kind));
    f.n_rows = dns_snapshot_count(snapshot, kind->kind);
    if (f.n_rows > 0) {
        DNS_TRY(dns_cursor_create(&cursor, snapshot, kind->kind, 0));
        status = dns_cursor_next(&first, cursor);
        if (status == DNS_EOF)
            status = dns_status_set(DNS_ERR_CORRUPT, "%s: no records where %zu were counted",
                                    f.path, f.n_rows);
        if (status != DNS_OK)
            goto out;
        DNS_TRY(dns_matrix_row_shape(&f.dtype, &f.dim, kind, &first));
    }
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (dtypes[i].dtype == f.dtype)
            element = dtypes[i].size;
    if (element == 0 || !measure(&f, element, &tail_at, &tail_size))
        DNS_FAIL(DNS_ERR_SHAPE, "%s: records that are no vectors", f.path);
    DNS_TRY(dns_alloc(&f.ids, f.n_rows, sizeof *f.ids));
    DNS_TRY(dns_alloc(&f.checksums, f.n_blocks, sizeof *f.checksums));
    if (f.dtype == DNS_I8)
        DNS_TRY(dns_alloc(&f.scales, f.n_rows, sizeof *f.scales));
    DNS_TRY(dns_alloc(&w.block, DNS_MATRIX_BLOCK, 1));
    DNS_TRY(dns_alloc(&header, DNS_MATRIX_PAGE, 1));
    DNS_TRY(dns_replacement_open(&replacement, &w.stream, f.path));
    DNS_TRY(put(&w, header, DNS_MATRIX_PAGE)); /* place for it */
    DNS_TRY(put_vectors(&w, snapshot, kind, progress, cancel));
    DNS_TRY(put_tail(&w, tail_size, &tail_checksum));
    make_header(header, &f, snapshot, kind, tail_checksum);
    if (fseek(w.stream, 0, SEEK_SET) != 0) {
        status = dns_status_set_errno("%s", f.path);
        goto out;
    }
    DNS_TRY(put(&w, header, DNS_MATRIX_PAGE));
    status = dns_replacement_commit(replacement);
    replacement = NULL;
out:
    dns_replacement_abandon(replacement);
    dns_cursor_free(cursor);
    dns_free(header);
    dns_free(w.block);
    dns_matrix_file_close(&f);
    return status;
}
