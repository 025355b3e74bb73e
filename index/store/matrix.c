#include "dnsel/matrix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dnsel/memory.h"
#include "dnsel/rounding.h"
#include "matrix_file.h"

struct dns_matrix {
    const dns_matrix_kind *kind;
    size_t n_rows, dim, row_bytes;
    dns_dtype dtype;
    uint64_t *ids;
    float *scales;
    uint8_t *vectors; /* a mapping: the file's, private, with room for added rows behind it */
    size_t mapped;
    dns_matrix_source source;
    char *reason;
};

/* ---- what rows are made of ---- */

static const dns_matrix_kind kinds[DNS_MATRIX_COUNT] = {
    [DNS_MATRIX_COARSE] = {"coarse.matrix", DNS_KIND_COARSE, false, DNS_F32},
    [DNS_MATRIX_COARSE_I8] = {"coarse-int8.matrix", DNS_KIND_COARSE, true, DNS_I8},
    [DNS_MATRIX_COARSE_BITS] = {"coarse-bits.matrix", DNS_KIND_COARSE, true, DNS_U8},
    [DNS_MATRIX_CODES] = {"codes.matrix", DNS_KIND_CODES, false, DNS_U8},
    [DNS_MATRIX_SELECTOR] = {"selector.matrix", DNS_KIND_SELECTOR, false, DNS_F32},
};

dns_status dns_matrix_kind_get(const dns_matrix_kind **out, dns_matrix_id id)
{
    if ((unsigned)id >= DNS_MATRIX_COUNT)
        return dns_status_set(DNS_ERR_ARG, "unknown matrix %d", (int)id);
    *out = &kinds[id];
    return DNS_OK;
}

const char *dns_matrix_name(dns_matrix_id id)
{
    return (unsigned)id < DNS_MATRIX_COUNT ? kinds[id].name : "unknown";
}

dns_matrix_id dns_matrix_small(const dns_store_settings *settings, dns_dtype dtype)
{
    if (settings->kept[DNS_KIND_CODES] && settings->dtype[DNS_KIND_CODES] == dtype)
        return DNS_MATRIX_CODES;
    return dtype == DNS_I8 ? DNS_MATRIX_COARSE_I8 : DNS_MATRIX_COARSE_BITS;
}

dns_status dns_matrix_row_shape(dns_dtype *dtype, size_t *dim, const dns_matrix_kind *kind,
                                const dns_record *r)
{
    *dtype = kind->rounded ? kind->dtype : r->dtype;
    *dim = kind->rounded && kind->dtype == DNS_U8 ? (r->shape[0] + 7) / 8 : r->shape[0];
    if (kind->rounded && r->dtype != DNS_F32)
        return dns_status_set(DNS_ERR_SHAPE, "%s: made of F32 records alone", kind->name);
    return DNS_OK;
}

dns_status dns_matrix_row_make(void *row, float *scale, const dns_matrix_kind *kind,
                               const dns_record *r)
{
    dns_status status = DNS_OK;
    if (!kind->rounded) {
        memcpy(row, r->data, r->size);
        if (scale != NULL)
            *scale = r->scales[0];
    } else if (kind->dtype == DNS_I8) {
        status = dns_rows_to_i8(row, scale, r->data, 1, r->shape[0]);
    } else {
        status = dns_codes_from_f32(row, r->data, 1, r->shape[0]);
    }
    if (status == DNS_OK)
        return status;
    char text[17];
    dns_id_text(r->id, text);
    return dns_status_context(status, "%s record %s", dns_kind_name(r->kind), text);
}

/* ---- vectors in memory ---- */

static size_t page_up(size_t n)
{
    return (n + DNS_MATRIX_PAGE - 1) / DNS_MATRIX_PAGE * DNS_MATRIX_PAGE;
}

/* Address space for `n_rows` rows, zero, without any memory yet. */
static dns_status reserve_vectors(dns_matrix *m, size_t n_rows)
{
    size_t bytes;
    if (!dns_size_multiply(n_rows, m->row_bytes, &bytes))
        return dns_status_set(DNS_ERR_LIMIT, "%zu vectors of %zu bytes", n_rows, m->row_bytes);
    m->mapped = page_up(bytes > 0 ? bytes : 1);
    void *base = mmap(NULL, m->mapped, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return dns_status_set(DNS_ERR_NOMEM, "no memory for %zu vectors of %zu bytes", n_rows,
                              m->row_bytes);
    m->vectors = base;
    return DNS_OK;
}

static void drop_contents(dns_matrix *m)
{
    if (m->vectors != NULL)
        munmap(m->vectors, m->mapped);
    dns_free(m->ids);
    dns_free(m->scales);
    m->vectors = NULL;
    m->ids = NULL;
    m->scales = NULL;
    m->n_rows = 0;
}

static dns_status set_row(dns_matrix *m, size_t row, const dns_record *r)
{
    dns_dtype dtype;
    size_t dim;
    dns_status status = dns_matrix_row_shape(&dtype, &dim, m->kind, r);
    if (status != DNS_OK)
        return status;
    if (dtype != m->dtype || dim != m->dim) {
        char text[17];
        dns_id_text(r->id, text);
        return dns_status_set(
            DNS_ERR_SHAPE,
            "%s record %s: %zu elements of another type or number than the others (%zu)",
            dns_kind_name(r->kind), text, r->shape[0], m->dim);
    }
    m->ids[row] = r->id;
    return dns_matrix_row_make(m->vectors + row * m->row_bytes,
                               m->scales != NULL ? &m->scales[row] : NULL, m->kind, r);
}

/* ---- from the records ---- */

enum { CHUNK = 1024 };

typedef struct reading {
    dns_matrix *m;
    const dns_snapshot *snapshot;
    dns_cancel *cancel;
} reading;

static dns_status read_chunk(void *payload, size_t task, size_t worker)
{
    reading *job = payload;
    size_t end = (task + 1) * CHUNK < job->m->n_rows ? (task + 1) * CHUNK : job->m->n_rows;
    if (dns_cancelled(job->cancel))
        return dns_status_set(DNS_ERR_CANCELLED, "interrupted");
    for (size_t row = task * CHUNK; row < end; row++) {
        dns_record r;
        dns_status status =
            dns_snapshot_get(&r, job->snapshot, job->m->kind->kind, job->m->ids[row], true);
        if (status == DNS_OK)
            status = set_row(job->m, row, &r);
        if (status != DNS_OK)
            return status;
    }
    return DNS_OK;
}

static dns_status read_records(dns_matrix *m, const dns_snapshot *snapshot,
                               const dns_matrix_options *options)
{
    dns_status status = DNS_OK;
    dns_record first;
    drop_contents(m);
    m->source = DNS_MATRIX_RECORDS;
    DNS_TRY(dns_snapshot_ids(&m->ids, &m->n_rows, snapshot, m->kind->kind));
    if (m->n_rows > 0) {
        DNS_TRY(dns_snapshot_get(&first, snapshot, m->kind->kind, m->ids[0], false));
        DNS_TRY(dns_matrix_row_shape(&m->dtype, &m->dim, m->kind, &first));
        m->row_bytes = m->dim * dns_dtype_size(m->dtype);
        if (m->dtype == DNS_I8)
            DNS_TRY(dns_alloc(&m->scales, m->n_rows, sizeof *m->scales));
    }
    DNS_TRY(reserve_vectors(m, m->n_rows));
    reading job = {m, snapshot, options->cancel};
    DNS_TRY(dns_pool_run(options->pool, (m->n_rows + CHUNK - 1) / CHUNK, read_chunk, &job));
out:
    return status;
}

/* ---- from the file ---- */

static dns_status map_vectors(dns_matrix *m, const dns_matrix_file *file, size_t n_added)
{
    m->dtype = file->dtype;
    m->dim = file->dim;
    m->row_bytes = file->row_bytes;
    dns_status status = reserve_vectors(m, file->n_rows + n_added);
    if (status != DNS_OK || file->n_rows == 0)
        return status;
    size_t bytes = page_up(file->n_rows * m->row_bytes);
    if (mmap(m->vectors, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
             file->fd, DNS_MATRIX_PAGE) == MAP_FAILED)
        return dns_status_set_errno("%s", file->path);
    posix_madvise(m->vectors, bytes, POSIX_MADV_WILLNEED);
    return DNS_OK;
}

typedef struct checking {
    const dns_matrix_file *file;
    const uint8_t *vectors;
    dns_cancel *cancel;
} checking;

static dns_status check_block(void *payload, size_t task, size_t worker)
{
    const checking *job = payload;
    size_t all = job->file->n_rows * job->file->row_bytes, at = task * DNS_MATRIX_BLOCK;
    size_t n = all - at < DNS_MATRIX_BLOCK ? all - at : DNS_MATRIX_BLOCK;
    if (dns_cancelled(job->cancel))
        return dns_status_set(DNS_ERR_CANCELLED, "interrupted");
    if (dns_checksum(job->vectors + at, n) != job->file->checksums[task])
        return dns_status_set(DNS_ERR_CORRUPT, "%s: checksum differs at byte %zu", job->file->path,
                              at + DNS_MATRIX_PAGE);
    return DNS_OK;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Brings the rows of the file to the state of the snapshot. Pages that are written to become
 * private copies. */
static dns_status patch(dns_matrix *m, size_t n_base, const uint64_t *changed, size_t n_changed,
                        const dns_snapshot *snapshot)
{
    dns_status status = DNS_OK;
    size_t *dead = NULL, n_dead = 0;
    m->n_rows = n_base;
    DNS_TRY(dns_alloc(&dead, n_changed, sizeof *dead));
    for (size_t i = 0; i < n_changed; i++) {
        dns_record r;
        const uint64_t *found = bsearch(&changed[i], m->ids, n_base, sizeof *m->ids, compare_ids);
        status = dns_snapshot_get(&r, snapshot, m->kind->kind, changed[i], true);
        if (status == DNS_ERR_NOTFOUND) {
            if (found != NULL)
                dead[n_dead++] = (size_t)(found - m->ids);
            continue;
        }
        if (status != DNS_OK)
            goto out;
        DNS_TRY(set_row(m, found != NULL ? (size_t)(found - m->ids) : m->n_rows++, &r));
    }
    for (size_t i = n_dead; i-- > 0;) { /* descending, so that the last row is a living one */
        size_t last = --m->n_rows, row = dead[i];
        if (row == last)
            continue;
        m->ids[row] = m->ids[last];
        if (m->scales != NULL)
            m->scales[row] = m->scales[last];
        memcpy(m->vectors + row * m->row_bytes, m->vectors + last * m->row_bytes, m->row_bytes);
    }
    status = DNS_OK;
out:
    dns_free(dead);
    return status;
}

static dns_status read_file(dns_matrix *m, const dns_snapshot *snapshot,
                            const dns_matrix_options *options)
{
    dns_status status = DNS_OK;
    dns_matrix_file file = {.fd = -1};
    uint64_t *changed = NULL;
    size_t n_changed, capacity = 0;
    DNS_TRY(dns_matrix_file_open(&file, snapshot, m->kind));
    if (file.generation > dns_snapshot_generation(snapshot))
        DNS_FAIL(DNS_ERR_VERSION, "%s: newer than this snapshot", file.path);
    DNS_TRY(dns_snapshot_changes(&changed, &n_changed, snapshot, file.generation));
    if (file.n_rows == 0 && n_changed > 0)
        DNS_FAIL(DNS_ERR_NOTFOUND, "%s: was empty", file.path);
    DNS_TRY(map_vectors(m, &file, n_changed));
    if (options->check) {
        checking job = {&file, m->vectors, options->cancel};
        DNS_TRY(dns_pool_run(options->pool, file.n_blocks, check_block, &job));
    }
    capacity = file.n_rows;
    DNS_TRY(dns_reserve(&file.ids, &capacity, file.n_rows + n_changed, sizeof *file.ids));
    capacity = file.n_rows;
    if (file.scales != NULL)
        DNS_TRY(dns_reserve(&file.scales, &capacity, file.n_rows + n_changed, sizeof *file.scales));
    m->ids = file.ids;
    m->scales = file.scales;
    file.ids = NULL;
    file.scales = NULL;
    DNS_TRY(patch(m, file.n_rows, changed, n_changed, snapshot));
    m->source = n_changed > 0 ? DNS_MATRIX_PATCHED : DNS_MATRIX_FILE;
    if (n_changed > 0)
        DNS_TRY(dns_string_format(&m->reason, "%zu videos changed since the file was written",
                                  n_changed));
out:
    dns_free(changed);
    dns_matrix_file_close(&file);
    return status;
}

/* Reasons to read the records instead; other failures are failures. */
static bool is_reason(dns_status status)
{
    switch (status) {
    case DNS_ERR_NOTFOUND:
    case DNS_ERR_VERSION:
    case DNS_ERR_FORMAT:
    case DNS_ERR_CORRUPT:
    case DNS_ERR_MODEL:
    case DNS_ERR_SHAPE:
    case DNS_ERR_IO:
        return true;
    default:
        return false;
    }
}

dns_status dns_matrix_open(dns_matrix **out, const dns_snapshot *snapshot, dns_matrix_id id,
                           const dns_matrix_options *given)
{
    dns_status status = DNS_OK;
    dns_matrix *m = NULL;
    dns_matrix_options options = DNS_MATRIX_OPTIONS_INIT;
    if (given != NULL)
        options = *given;
    *out = NULL;
    DNS_TRY(dns_alloc(&m, 1, sizeof *m));
    DNS_TRY(dns_matrix_kind_get(&m->kind, id));
    status = read_file(m, snapshot, &options);
    if (is_reason(status)) {
        dns_free(m->reason);
        m->reason = NULL;
        DNS_TRY(dns_string_copy(&m->reason, dns_status_message()));
        status = read_records(m, snapshot, &options);
    }
    if (status != DNS_OK)
        goto out;
    *out = m;
    m = NULL;
out:
    dns_matrix_close(m);
    return status;
}

void dns_matrix_close(dns_matrix *m)
{
    if (m == NULL)
        return;
    drop_contents(m);
    dns_free(m->reason);
    dns_free(m);
}

dns_matrix_rows dns_matrix_get(const dns_matrix *m)
{
    return (dns_matrix_rows){.n_rows = m->n_rows,
                             .dtype = m->dtype,
                             .dim = m->dim,
                             .ids = m->ids,
                             .vectors = m->vectors,
                             .scales = m->scales,
                             .source = m->source,
                             .reason = m->reason != NULL ? m->reason : ""};
}

/* ---- the file itself ---- */

/* Whole and of the snapshot's state; anything else is the status and text of why not. */
static dns_status check_current(const dns_snapshot *snapshot, const dns_matrix_kind *kind)
{
    dns_status status = DNS_OK;
    dns_matrix_file file = {.fd = -1};
    dns_matrix m = {0};
    DNS_TRY(dns_matrix_file_open(&file, snapshot, kind));
    if (file.generation != dns_snapshot_generation(snapshot))
        DNS_FAIL(DNS_ERR_VERSION, "%s: of generation %llu, the index has %llu", file.path,
                 (unsigned long long)file.generation,
                 (unsigned long long)dns_snapshot_generation(snapshot));
    DNS_TRY(map_vectors(&m, &file, 0));
    checking job = {&file, m.vectors, NULL};
    DNS_TRY(dns_pool_run(NULL, file.n_blocks, check_block, &job));
out:
    drop_contents(&m);
    dns_matrix_file_close(&file);
    return status;
}

dns_status dns_matrix_verify(bool *current, char **reason, const dns_snapshot *snapshot,
                             dns_matrix_id id)
{
    const dns_matrix_kind *kind = NULL;
    if (reason != NULL)
        *reason = NULL;
    *current = false;
    dns_status status = dns_matrix_kind_get(&kind, id);
    if (status != DNS_OK)
        return status;
    status = check_current(snapshot, kind);
    *current = status == DNS_OK;
    if (!is_reason(status))
        return status;
    return reason != NULL ? dns_string_copy(reason, dns_status_message()) : DNS_OK;
}

dns_status dns_matrix_refresh(const dns_snapshot *snapshot, dns_matrix_id id,
                              const dns_progress *progress, dns_cancel *cancel)
{
    bool current;
    if (id == DNS_MATRIX_COARSE_BITS)
        return DNS_OK;
    dns_status status = dns_matrix_verify(&current, NULL, snapshot, id);
    if (status != DNS_OK || current)
        return status;
    return dns_matrix_file_write(snapshot, &kinds[id], progress, cancel);
}

dns_status dns_matrix_refresh_all(const dns_snapshot *snapshot, const dns_progress *progress,
                                  dns_cancel *cancel)
{
    dns_status status = DNS_OK;
    const dns_store_settings *settings = dns_store_settings_get(dns_snapshot_store(snapshot));
    dns_matrix_id small = dns_matrix_small(settings, DNS_I8);
    for (int id = 0; id < DNS_MATRIX_COUNT && status == DNS_OK; id++)
        if (settings->kept[kinds[id].kind] && (!kinds[id].rounded || id == (int)small))
            status = dns_matrix_refresh(snapshot, (dns_matrix_id)id, progress, cancel);
    return status;
}
