#include "record_codec.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/memory.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "records are little-endian and used in place");

enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_KIND = 5,
    AT_DTYPE = 6,
    AT_RANK = 7,
    AT_ID = 8,
    AT_SHAPE = 16,
    AT_MERGED = 28,
    AT_PAYLOAD = 32,
    AT_MODEL = 40,
    AT_CHECKSUM = 56
};

static const char magic[4] = {'D', 'N', 'S', 'r'};

#define ANY_FLOAT (1u << DNS_F32 | 1u << DNS_F16 | 1u << DNS_I8)

static const dns_kind_rule rules[DNS_KIND_COUNT] = {
    [DNS_KIND_META] = {"meta", 1, false, false, 1u << DNS_U8, true},
    [DNS_KIND_COARSE] = {"coarse", 1, false, false, 1u << DNS_F32, false},
    [DNS_KIND_CODES] = {"codes", 1, false, false, 1u << DNS_I8 | 1u << DNS_U8, false},
    [DNS_KIND_SELECTOR] = {"selector", 1, false, false, 1u << DNS_F32, false},
    [DNS_KIND_FINE_BINARY] = {"fine_binary", 3, true, true, 1u << DNS_U8, false},
    [DNS_KIND_FINE_ATTENTION] = {"fine_attention", 3, true, true, ANY_FLOAT, false},
    [DNS_KIND_REGIONS] = {"regions", 3, true, true, ANY_FLOAT, false},
    [DNS_KIND_ARCHIVE] = {"archive", 3, true, false, 1u << DNS_I8, true},
};

/* Numbers of the format, whatever order dns_dtype has. */
static const struct {
    dns_dtype dtype;
    uint8_t code;
    size_t size;
} dtypes[] = {{DNS_F32, 1, 4}, {DNS_F16, 2, 2}, {DNS_I8, 3, 1}, {DNS_U8, 4, 1}};

enum { N_DTYPES = sizeof dtypes / sizeof *dtypes };

const dns_kind_rule *dns_kind_rule_get(dns_kind kind)
{
    return (unsigned)kind < DNS_KIND_COUNT ? &rules[kind] : NULL;
}

const char *dns_kind_name(dns_kind kind)
{
    return (unsigned)kind < DNS_KIND_COUNT ? rules[kind].name : "unknown";
}

bool dns_kind_parse(dns_kind *kind, const char *text)
{
    for (int i = 0; i < DNS_KIND_COUNT; i++)
        if (strcmp(rules[i].name, text) == 0) {
            *kind = (dns_kind)i;
            return true;
        }
    return false;
}

/* ---- little-endian fields ---- */

static void put_u32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

static void put_u64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof value);
}

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* ---- sizes ---- */

/* Bytes of the elements, and rows of the last dimension; false on overflow or for a dtype that no
 * record has. */
static bool measure(const dns_record *record, size_t *data, size_t *rows)
{
    size_t element = 0, n = 1;
    for (size_t i = 0; i < N_DTYPES; i++)
        if (dtypes[i].dtype == record->dtype)
            element = dtypes[i].size;
    *rows = 1;
    for (size_t i = 0; i < record->rank; i++) {
        if (record->shape[i] == 0 || record->shape[i] > UINT32_MAX)
            return false;
        if (i + 1 < record->rank && !dns_size_multiply(*rows, record->shape[i], rows))
            return false;
        if (!dns_size_multiply(n, record->shape[i], &n))
            return false;
    }
    return element > 0 && dns_size_multiply(n, element, data) && *data <= UINT32_MAX;
}

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static bool has_scales(const dns_record *record)
{
    return record->dtype == DNS_I8 && !rules[record->kind].free_size;
}

/* Where the parts of a payload end; `runs` whether it has run lengths. */
struct layout {
    size_t data, scales, runs;
};

static bool lay_out(struct layout *out, const dns_record *record, bool runs)
{
    size_t rows;
    if (!measure(record, &out->data, &rows))
        return false;
    if (rules[record->kind].free_size)
        out->data = record->size;
    out->scales = has_scales(record) ? round_up(out->data, 4) + 4 * rows : out->data;
    out->runs = runs ? round_up(out->scales, 4) + 2 * record->shape[0] : out->scales;
    return true;
}

size_t dns_record_payload_size(const dns_record *record)
{
    struct layout l;
    if (rules[record->kind].free_size)
        return record->size;
    return lay_out(&l, record, record->runs != NULL) ? l.runs : 0;
}

size_t dns_record_frames(const dns_record *record)
{
    size_t n = 0;
    if (record->runs == NULL)
        return record->shape[0];
    for (size_t i = 0; i < record->shape[0]; i++)
        n += record->runs[i];
    return n;
}

static dns_status check_shape(const dns_record *record)
{
    if ((unsigned)record->kind >= DNS_KIND_COUNT)
        return dns_status_set(DNS_ERR_ARG, "record of unknown kind %d", (int)record->kind);
    const dns_kind_rule *rule = &rules[record->kind];
    size_t data, rows;
    if ((unsigned)record->dtype >= 32 || (rule->dtypes >> record->dtype & 1) == 0)
        return dns_status_set(DNS_ERR_SHAPE, "%s record: element type %d is none of this kind",
                              rule->name, (int)record->dtype);
    if (record->rank != rule->rank || !measure(record, &data, &rows))
        return dns_status_set(
            DNS_ERR_SHAPE, "%s record: rank %zu, shape [%zu,%zu,%zu] is none of this kind",
            rule->name, record->rank, record->shape[0], record->shape[1], record->shape[2]);
    return DNS_OK;
}

static bool runs_are_sound(const dns_record *record)
{
    for (size_t i = 0; i < record->shape[0]; i++)
        if (record->runs[i] == 0)
            return false;
    return isfinite(record->merged) && record->merged >= 0;
}

/* ---- bytes ---- */

static uint64_t checksum_of(const uint8_t *header, const uint8_t *payload, size_t size)
{
    uint64_t parts[2] = {dns_checksum(header, AT_CHECKSUM), dns_checksum(payload, size)};
    return dns_checksum(parts, sizeof parts);
}

dns_status dns_record_encode(uint8_t **value, size_t *size, const dns_record *record)
{
    *value = NULL;
    *size = 0;
    dns_status status = check_shape(record);
    if (status != DNS_OK)
        return status;
    const char *name = rules[record->kind].name;
    bool runs = record->runs != NULL;
    struct layout l;
    lay_out(&l, record, runs);
    size_t payload = l.runs;
    if (record->data == NULL || (has_scales(record) && record->scales == NULL) ||
        (record->size != 0 && record->size != l.data) || l.data == 0)
        return dns_status_set(DNS_ERR_ARG, "%s record: no data, no scales or not %zu bytes", name,
                              l.data);
    if (runs ? !rules[record->kind].merges || !runs_are_sound(record) : record->merged != 0)
        return dns_status_set(DNS_ERR_ARG, "%s record: its run lengths are none", name);
    if (payload > UINT32_MAX - DNS_RECORD_HEADER - 8)
        return dns_status_set(DNS_ERR_LIMIT, "%s record of %zu bytes, at most 4 GiB are kept", name,
                              payload);
    size_t total = round_up(DNS_RECORD_HEADER + payload, 8);
    status = dns_alloc(value, total, 1);
    if (status != DNS_OK)
        return status;
    uint8_t *header = *value, *body = header + DNS_RECORD_HEADER;
    memcpy(header + AT_MAGIC, magic, sizeof magic);
    header[AT_VERSION] = runs ? DNS_RECORD_WITH_RUNS : DNS_RECORD_VERSION;
    header[AT_KIND] = (uint8_t)record->kind;
    for (size_t i = 0; i < N_DTYPES; i++)
        if (dtypes[i].dtype == record->dtype)
            header[AT_DTYPE] = dtypes[i].code;
    header[AT_RANK] = (uint8_t)record->rank;
    put_u64(header + AT_ID, record->id);
    for (size_t i = 0; i < record->rank; i++)
        put_u32(header + AT_SHAPE + 4 * i, (uint32_t)record->shape[i]);
    memcpy(header + AT_MERGED, &record->merged, sizeof record->merged);
    put_u64(header + AT_PAYLOAD, payload);
    memcpy(header + AT_MODEL, record->model.bytes, sizeof record->model.bytes);
    memcpy(body, record->data, l.data);
    if (has_scales(record))
        memcpy(body + round_up(l.data, 4), record->scales, l.scales - round_up(l.data, 4));
    if (runs)
        memcpy(body + round_up(l.scales, 4), record->runs, 2 * record->shape[0]);
    put_u64(header + AT_CHECKSUM, checksum_of(header, body, payload));
    *size = total;
    return DNS_OK;
}

dns_status dns_record_decode(dns_record *out, const uint8_t *value, size_t size, dns_kind kind,
                             uint64_t id)
{
    *out = (dns_record){.kind = kind, .id = id};
    char text[17];
    dns_id_text(id, text);
#define DAMAGED(reason) \
    dns_status_set(DNS_ERR_CORRUPT, "%s record %s: %s", rules[kind].name, text, reason)
    if (size < DNS_RECORD_HEADER || size % 8 != 0 || (uintptr_t)value % 8 != 0)
        return DAMAGED("no record header");
    if (memcmp(value + AT_MAGIC, magic, sizeof magic) != 0)
        return DAMAGED("no record header");
    if (value[AT_VERSION] > DNS_RECORD_WITH_RUNS)
        return dns_status_set(DNS_ERR_VERSION,
                              "%s record %s: format %d, this program reads up to %d",
                              rules[kind].name, text, value[AT_VERSION], DNS_RECORD_WITH_RUNS);
    bool runs = value[AT_VERSION] == DNS_RECORD_WITH_RUNS;
    if (value[AT_VERSION] < DNS_RECORD_VERSION || (runs && !rules[kind].merges) ||
        (!runs && get_u32(value + AT_MERGED) != 0) || value[AT_KIND] != (uint8_t)kind ||
        get_u64(value + AT_ID) != id)
        return DAMAGED("its header belongs to another record or is damaged");
    bool known = false;
    for (size_t i = 0; i < N_DTYPES; i++)
        if (dtypes[i].code == value[AT_DTYPE]) {
            out->dtype = dtypes[i].dtype;
            known = true;
        }
    out->rank = value[AT_RANK];
    if (!known || out->rank > DNS_RECORD_RANK)
        return DAMAGED("its header is damaged");
    for (size_t i = 0; i < DNS_RECORD_RANK; i++)
        out->shape[i] = get_u32(value + AT_SHAPE + 4 * i);
    uint64_t payload = get_u64(value + AT_PAYLOAD);
    memcpy(&out->merged, value + AT_MERGED, sizeof out->merged);
    if (!isfinite(out->merged) || out->merged < 0)
        return DAMAGED("its header is damaged");
    struct layout l;
    out->size = rules[kind].free_size ? (size_t)payload : 0;
    if (check_shape(out) != DNS_OK || !lay_out(&l, out, runs))
        return DAMAGED("its header is damaged");
    out->size = l.data;
    if (payload > size - DNS_RECORD_HEADER ||
        size != round_up(DNS_RECORD_HEADER + (size_t)payload, 8) || payload != l.runs ||
        payload == 0)
        return DAMAGED("its size does not fit its shape");
#undef DAMAGED
    const uint8_t *body = value + DNS_RECORD_HEADER;
    out->header = value;
    out->data = body;
    if (has_scales(out))
        out->scales = (const float *)(const void *)(body + round_up(l.data, 4));
    if (runs)
        out->runs = (const uint16_t *)(const void *)(body + round_up(l.scales, 4));
    memcpy(out->model.bytes, value + AT_MODEL, sizeof out->model.bytes);
    return DNS_OK;
}

bool dns_record_has_key(const uint8_t *value, size_t size, const uint8_t *key, size_t key_size)
{
    return key_size == 8 && size >= DNS_RECORD_HEADER &&
           get_u64(value + AT_ID) == dns_id_from_key(key);
}

dns_status dns_record_check(const dns_record *record)
{
    const uint8_t *payload = record->header + DNS_RECORD_HEADER;
    size_t size = (size_t)get_u64(record->header + AT_PAYLOAD);
    bool same = checksum_of(record->header, payload, size) == get_u64(record->header + AT_CHECKSUM);
    if (same && (record->runs == NULL || runs_are_sound(record)))
        return DNS_OK;
    char text[17];
    dns_id_text(record->id, text);
    return dns_status_set(DNS_ERR_CORRUPT, "%s record %s: %s", rules[record->kind].name, text,
                          same ? "an empty run of frames" : "checksum differs");
}

/* Stored elements [first, first + n) of rows of `dim`. */
static void widen(float *out, const dns_record *record, size_t first, size_t n, size_t dim)
{
    if (record->dtype == DNS_F32)
        memcpy(out, (const float *)record->data + first, n * sizeof *out);
    for (size_t i = 0; record->dtype == DNS_F16 && i < n; i++)
        out[i] = dns_f32_from_f16(((const uint16_t *)record->data)[first + i]);
    for (size_t i = 0; record->dtype == DNS_I8 && i < n; i++)
        out[i] = record->scales[(first + i) / dim] * ((const int8_t *)record->data)[first + i];
}

dns_status dns_record_to_f32(float *out, const dns_record *record)
{
    size_t bytes, rows, dim = record->shape[record->rank - 1];
    if (rules[record->kind].free_size || record->dtype == DNS_U8 || !measure(record, &bytes, &rows))
        return dns_status_set(DNS_ERR_UNSUPPORTED, "%s record: its elements are no numbers",
                              rules[record->kind].name);
    if (record->runs == NULL) {
        widen(out, record, 0, rows * dim, dim);
        return DNS_OK;
    }
    size_t n = rows / record->shape[0] * dim;
    for (size_t i = 0; i < record->shape[0]; i++)
        for (size_t k = 0; k < record->runs[i]; k++, out += n) {
            if (k == 0)
                widen(out, record, i * n, n, dim);
            else
                memcpy(out, out - n, n * sizeof *out);
        }
    return DNS_OK;
}

/* ---- ids ---- */

uint64_t dns_id_of_name(const char *name)
{
    dns_digest digest = dns_digest_of(name, strlen(name));
    return dns_id_from_key(digest.bytes);
}

void dns_id_to_key(uint8_t key[8], uint64_t id)
{
    for (int i = 0; i < 8; i++)
        key[i] = (uint8_t)(id >> (56 - 8 * i));
}

uint64_t dns_id_from_key(const uint8_t key[8])
{
    uint64_t id = 0;
    for (int i = 0; i < 8; i++)
        id = id << 8 | key[i];
    return id;
}

void dns_id_text(uint64_t id, char text[17])
{
    snprintf(text, 17, "%016llx", (unsigned long long)id);
}

bool dns_id_parse(uint64_t *id, const char *text)
{
    uint64_t value = 0;
    size_t n = 0;
    for (; text[n] != '\0'; n++) {
        const char *digits = "0123456789abcdef", *found = strchr(digits, text[n]);
        if (n >= 16 || found == NULL)
            return false;
        value = value << 4 | (uint64_t)(found - digits);
    }
    if (n != 16)
        return false;
    *id = value;
    return true;
}

/* ---- meta ---- */

enum {
    META_FILE_SIZE = 0,
    META_MTIME = 8,
    META_CONTENT = 16,
    META_SETTINGS = 32,
    META_DURATION = 48,
    META_FLAGS = 56,
    META_N_ERRORS = 60,
    META_WIDTH = 64,
    META_HEIGHT = 68,
    META_N_FRAMES = 72,
    META_N_TIMES = 76,
    META_NAME_SIZE = 80,
    META_PATH_SIZE = 84,
    META_FIXED = 88,
    META_NAME_LIMIT = 4096
};

enum { FLAG_IMPORTED = 1, FLAG_DAMAGED = 2 };

dns_status dns_meta_encode(uint8_t **payload, size_t *size, const dns_meta *meta)
{
    *payload = NULL;
    *size = 0;
    if (meta->name == NULL || meta->name[0] == '\0' || strlen(meta->name) >= META_NAME_LIMIT)
        return dns_status_set(DNS_ERR_ARG, "a video's name has 1 to %d bytes", META_NAME_LIMIT - 1);
    /* A file's path is its name: kept once. */
    const char *path = meta->imported && meta->path != NULL ? meta->path : "";
    if (strlen(path) >= META_NAME_LIMIT)
        return dns_status_set(DNS_ERR_ARG, "%s: its path is longer than %d bytes", meta->name,
                              META_NAME_LIMIT - 1);
    if (!isfinite(meta->duration) || meta->duration < 0)
        return dns_status_set(DNS_ERR_RANGE, "%s: duration %g", meta->name, meta->duration);
    size_t n_times = meta->frame_times != NULL ? meta->n_frames : 0;
    size_t name_size = strlen(meta->name) + 1, path_size = strlen(path) + 1;
    *size = META_FIXED + 4 * n_times + name_size + path_size;
    dns_status status = dns_alloc(payload, *size, 1);
    if (status != DNS_OK)
        return status;
    uint8_t *at = *payload;
    put_u64(at + META_FILE_SIZE, meta->file_size);
    put_u64(at + META_MTIME, (uint64_t)meta->mtime_ns);
    memcpy(at + META_CONTENT, meta->content.bytes, 16);
    memcpy(at + META_SETTINGS, meta->settings.bytes, 16);
    memcpy(at + META_DURATION, &meta->duration, 8);
    put_u32(at + META_FLAGS,
            (meta->imported ? FLAG_IMPORTED : 0) | (meta->damaged ? FLAG_DAMAGED : 0));
    put_u32(at + META_N_ERRORS, meta->n_errors);
    put_u32(at + META_WIDTH, meta->width);
    put_u32(at + META_HEIGHT, meta->height);
    put_u32(at + META_N_FRAMES, meta->n_frames);
    put_u32(at + META_N_TIMES, (uint32_t)n_times);
    put_u32(at + META_NAME_SIZE, (uint32_t)name_size);
    put_u32(at + META_PATH_SIZE, (uint32_t)path_size);
    if (n_times > 0)
        memcpy(at + META_FIXED, meta->frame_times, 4 * n_times);
    memcpy(at + META_FIXED + 4 * n_times, meta->name, name_size);
    memcpy(at + META_FIXED + 4 * n_times + name_size, path, path_size);
    return DNS_OK;
}

dns_status dns_meta_decode(dns_meta *out, const dns_record *record)
{
    const uint8_t *at = record->data;
    *out = (dns_meta){0};
    if (record->size < META_FIXED)
        goto damaged;
    size_t n_times = get_u32(at + META_N_TIMES), name_size = get_u32(at + META_NAME_SIZE),
           path_size = get_u32(at + META_PATH_SIZE);
    uint32_t n_frames = get_u32(at + META_N_FRAMES);
    if (name_size < 2 || name_size > META_NAME_LIMIT || path_size < 1 ||
        path_size > META_NAME_LIMIT || (n_times != 0 && n_times != n_frames) ||
        record->size != META_FIXED + 4 * n_times + name_size + path_size)
        goto damaged;
    const char *name = (const char *)at + META_FIXED + 4 * n_times, *path = name + name_size;
    if (memchr(name, '\0', name_size) != name + name_size - 1 ||
        memchr(path, '\0', path_size) != path + path_size - 1)
        goto damaged;
    uint32_t flags = get_u32(at + META_FLAGS);
    *out = (dns_meta){
        .name = name,
        .path = (flags & FLAG_IMPORTED) != 0 ? path : name,
        .imported = (flags & FLAG_IMPORTED) != 0,
        .damaged = (flags & FLAG_DAMAGED) != 0,
        .n_errors = get_u32(at + META_N_ERRORS),
        .file_size = get_u64(at + META_FILE_SIZE),
        .mtime_ns = (int64_t)get_u64(at + META_MTIME),
        .width = get_u32(at + META_WIDTH),
        .height = get_u32(at + META_HEIGHT),
        .n_frames = n_frames,
        .frame_times = n_times > 0 ? (const float *)(const void *)(at + META_FIXED) : NULL,
    };
    memcpy(out->content.bytes, at + META_CONTENT, 16);
    memcpy(out->settings.bytes, at + META_SETTINGS, 16);
    memcpy(&out->duration, at + META_DURATION, 8);
    return DNS_OK;
damaged:;
    char text[17];
    dns_id_text(record->id, text);
    return dns_status_set(DNS_ERR_CORRUPT, "meta record %s: its fields do not fit its size", text);
}
