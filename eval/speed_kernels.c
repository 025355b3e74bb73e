/* Kernels beside their plain twins. */
#include <math.h>

#include "dnsel/cpu.h"
#include "dnsel/memory.h"
#include "speed_run.h"

/* ---- scans over stored rows: as fast as memory gives them ---- */

enum { SCAN_BYTES = 128 << 20, SCAN_DIM = 1024, CODE_BYTES = 64 };

typedef struct scan {
    dns_kernels fast, plain;
    const void *query, *rows;
    void *out;
    size_t n_rows;
} scan;

static dns_status scan_f32(void *data)
{
    scan *s = data;
    s->fast.rows_f32(s->out, s->query, s->rows, s->n_rows, SCAN_DIM);
    return DNS_OK;
}

static dns_status scan_f32_plain(void *data)
{
    scan *s = data;
    s->plain.rows_f32(s->out, s->query, s->rows, s->n_rows, SCAN_DIM);
    return DNS_OK;
}

static dns_status scan_i8(void *data)
{
    scan *s = data;
    s->fast.rows_i8(s->out, s->query, s->rows, s->n_rows, SCAN_DIM);
    return DNS_OK;
}

static dns_status scan_i8_plain(void *data)
{
    scan *s = data;
    s->plain.rows_i8(s->out, s->query, s->rows, s->n_rows, SCAN_DIM);
    return DNS_OK;
}

static dns_status scan_codes(void *data)
{
    scan *s = data;
    s->fast.rows_hamming(s->out, s->query, s->rows, s->n_rows, CODE_BYTES);
    return DNS_OK;
}

static dns_status scan_codes_plain(void *data)
{
    scan *s = data;
    s->plain.rows_hamming(s->out, s->query, s->rows, s->n_rows, CODE_BYTES);
    return DNS_OK;
}

dns_status speed_rows(dns_speed *speed)
{
    dns_status status = DNS_OK;
    float *floats = NULL, *out = NULL;
    void *bytes = NULL;
    scan s;
    dns_kernels_get(&s.fast, dns_cpu_flags());
    dns_kernels_get(&s.plain, 0);
    DNS_TRY(speed_floats(&floats, SCAN_BYTES / 4, 0.05));
    DNS_TRY(speed_bytes(&bytes, SCAN_BYTES));
    DNS_TRY(dns_alloc(&out, SCAN_BYTES / CODE_BYTES, sizeof *out));

    s.query = s.rows = floats;
    s.out = out;
    s.n_rows = SCAN_BYTES / 4 / SCAN_DIM;
    speed_case item = {
        .name = "scan_f32", .what = "1 query, 32,768 vectors of 1024 floats", .data = &s};
    item.work = (speed_work){.f32 = SCAN_BYTES / 2.0, .bytes = SCAN_BYTES};
    item.run = scan_f32;
    item.plain = scan_f32_plain;
    DNS_TRY(speed_measure(speed, &item));

    s.query = s.rows = bytes;
    s.n_rows = SCAN_BYTES / SCAN_DIM;
    item.name = "scan_i8", item.what = "1 query, 131,072 vectors of 1024 bytes";
    item.work = (speed_work){.i8 = SCAN_BYTES * 2.0, .bytes = SCAN_BYTES};
    item.run = scan_i8;
    item.plain = scan_i8_plain;
    DNS_TRY(speed_measure(speed, &item));

    s.n_rows = SCAN_BYTES / CODE_BYTES;
    item.name = "scan_codes", item.what = "1 query, 2,097,152 codes of 512 bits";
    item.work = (speed_work){.words = SCAN_BYTES / 8.0, .bytes = SCAN_BYTES};
    item.run = scan_codes;
    item.plain = scan_codes_plain;
    DNS_TRY(speed_measure(speed, &item));
out:
    dns_free(out);
    dns_free(bytes);
    dns_free(floats);
    return status;
}

/* ---- the kernels of f2f and the comparator, alone ---- */

/* 30 query and 60 target frames of 9 regions; the third layer of the published comparator on 30 x
 * 60 frames. */
enum {
    N_ROWS = 272, /* 30 * 9, made a multiple of DNS_LANES */
    N_FRAMES = 60,
    N_REGIONS = 9,
    DIM = 512,
    N_PRODUCTS = 270 * N_FRAMES * N_REGIONS,
    CONV_ROWS = 7,
    CONV_COLUMNS = 15,
    CONV_IN = 64 / DNS_LANES,
    CONV_OUT = 128 / DNS_LANES,
    CONV_ROW = (CONV_COLUMNS + 2) * DNS_LANES,
    CONV_PLANE = (CONV_ROWS + 2) * CONV_ROW,
    CONV_PRODUCTS = CONV_ROWS * CONV_COLUMNS * 64 * 128 * 9
};

typedef struct tiles {
    dns_kernels fast, plain;
    float *floats;  /* [N_ROWS or N_FRAMES * N_REGIONS, DIM] */
    uint8_t *bytes; /* the same */
    int32_t *sums;
    float *out, *reference;
} tiles;

static dns_status tile_f32(void *data)
{
    tiles *t = data;
    t->fast.max_f32(t->out, t->floats, N_ROWS, t->floats, N_FRAMES, N_REGIONS, DIM);
    return DNS_OK;
}

static dns_status tile_f32_plain(void *data)
{
    tiles *t = data;
    t->plain.max_f32(t->out, t->floats, N_ROWS, t->floats, N_FRAMES, N_REGIONS, DIM);
    return DNS_OK;
}

/* As many query frames as fill two blocks. */
static dns_status tile_both_with(const tiles *t, const dns_kernels *k)
{
    for (size_t b = 0; b < 2; b++)
        k->both_f32(t->out, t->floats + b * N_REGIONS * DNS_LANES * DIM, t->floats, N_FRAMES,
                    N_REGIONS, DIM);
    return DNS_OK;
}

static dns_status tile_both(void *data)
{
    return tile_both_with(data, &((tiles *)data)->fast);
}

static dns_status tile_both_plain(void *data)
{
    return tile_both_with(data, &((tiles *)data)->plain);
}

static dns_status tile_i8(void *data)
{
    tiles *t = data;
    t->fast.max_i8(t->out, t->bytes, N_ROWS, (const int8_t *)t->bytes, t->reference, t->sums,
                   N_FRAMES, N_REGIONS, DIM);
    return DNS_OK;
}

static dns_status tile_i8_plain(void *data)
{
    tiles *t = data;
    t->plain.max_i8(t->out, t->bytes, N_ROWS, (const int8_t *)t->bytes, t->reference, t->sums,
                    N_FRAMES, N_REGIONS, DIM);
    return DNS_OK;
}

static dns_status tile_codes(void *data)
{
    tiles *t = data;
    t->fast.min_hamming((uint32_t *)(void *)t->out, (const uint64_t *)(const void *)t->floats,
                        N_ROWS, t->bytes, N_FRAMES, N_REGIONS, DIM / 64);
    return DNS_OK;
}

static dns_status tile_codes_plain(void *data)
{
    tiles *t = data;
    t->plain.min_hamming((uint32_t *)(void *)t->out, (const uint64_t *)(const void *)t->floats,
                         N_ROWS, t->bytes, N_FRAMES, N_REGIONS, DIM / 64);
    return DNS_OK;
}

static dns_status rows_to_i8_with(const tiles *t, const dns_kernels *k)
{
    for (size_t r = 0; r < N_FRAMES * N_REGIONS; r++)
        t->out[r] = k->row_to_i8((int8_t *)t->bytes + r * DIM, t->floats + r * DIM, DIM);
    return DNS_OK;
}

static dns_status rows_to_i8(void *data)
{
    return rows_to_i8_with(data, &((tiles *)data)->fast);
}

static dns_status rows_to_i8_plain(void *data)
{
    return rows_to_i8_with(data, &((tiles *)data)->plain);
}

static dns_status conv_f32_with(const tiles *t, const dns_kernels *k)
{
    for (size_t y = 0; y < CONV_ROWS; y++)
        k->conv_f32(t->out, CONV_COLUMNS * DNS_LANES, t->floats + y * CONV_ROW, CONV_ROW,
                    CONV_PLANE, CONV_IN, t->floats, t->floats, CONV_OUT, CONV_COLUMNS);
    return DNS_OK;
}

static dns_status conv_i8_with(const tiles *t, const dns_kernels *k)
{
    for (size_t y = 0; y < CONV_ROWS; y++)
        k->conv_i8(t->out, CONV_COLUMNS * DNS_LANES, t->bytes + y * CONV_ROW, CONV_ROW, CONV_PLANE,
                   CONV_IN, (const int8_t *)t->bytes, t->floats, t->floats, CONV_OUT, CONV_COLUMNS);
    return DNS_OK;
}

static dns_status conv_f32(void *data)
{
    return conv_f32_with(data, &((tiles *)data)->fast);
}

static dns_status conv_f32_plain(void *data)
{
    return conv_f32_with(data, &((tiles *)data)->plain);
}

static dns_status conv_i8(void *data)
{
    return conv_i8_with(data, &((tiles *)data)->fast);
}

static dns_status conv_i8_plain(void *data)
{
    return conv_i8_with(data, &((tiles *)data)->plain);
}

dns_status speed_tiles(dns_speed *speed)
{
    static const char frames[] = "270 x 540 regions of 512";
    static const char layer[] = "64 to 128 channels on 7 x 15";
    dns_status status = DNS_OK;
    tiles t = {0};
    size_t n = N_FRAMES * N_REGIONS * DIM;
    dns_kernels_get(&t.fast, dns_cpu_flags());
    dns_kernels_get(&t.plain, 0);
    DNS_TRY(speed_floats(&t.floats, n, 0.05));
    DNS_TRY(speed_bytes(&t.bytes, n));
    DNS_TRY(dns_alloc(&t.sums, N_FRAMES * N_REGIONS, sizeof *t.sums));
    DNS_TRY(dns_alloc(&t.out, N_FRAMES * N_ROWS, sizeof *t.out));
    DNS_TRY(speed_floats(&t.reference, N_FRAMES * N_REGIONS, 1.0));
    const speed_case cases[] = {
        {.name = "max_f32",
         .what = frames,
         .work.f32 = 2.0 * N_PRODUCTS * DIM,
         .run = tile_f32,
         .plain = tile_f32_plain,
         .data = &t},
        {.name = "both_f32",
         .what = "288 x 540 regions of 512, both ways",
         .work.f32 = 2.0 * 288 * N_FRAMES * N_REGIONS * DIM,
         .run = tile_both,
         .plain = tile_both_plain,
         .data = &t},
        {.name = "max_i8",
         .what = frames,
         .work.i8 = 2.0 * N_PRODUCTS * DIM,
         .run = tile_i8,
         .plain = tile_i8_plain,
         .data = &t},
        {.name = "min_hamming",
         .what = "270 x 540 codes of 512 bits",
         .work.words = N_PRODUCTS * (DIM / 64.0),
         .run = tile_codes,
         .plain = tile_codes_plain,
         .data = &t},
        {.name = "row_to_i8",
         .what = "540 rows of 512",
         .work.bytes = 4.0 * N_FRAMES * N_REGIONS * DIM,
         .run = rows_to_i8,
         .plain = rows_to_i8_plain,
         .data = &t},
        {.name = "conv_f32",
         .what = layer,
         .work.f32 = 2.0 * CONV_PRODUCTS,
         .run = conv_f32,
         .plain = conv_f32_plain,
         .data = &t},
        {.name = "conv_i8",
         .what = layer,
         .work.i8 = 2.0 * CONV_PRODUCTS,
         .run = conv_i8,
         .plain = conv_i8_plain,
         .data = &t},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        DNS_TRY(speed_measure(speed, &cases[i]));
out:
    dns_free(t.reference);
    dns_free(t.out);
    dns_free(t.sums);
    dns_free(t.bytes);
    dns_free(t.floats);
    return status;
}
