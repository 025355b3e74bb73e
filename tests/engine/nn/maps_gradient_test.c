/* The layers that work on pairs: frame similarity, comparator, clipping, video similarity. */
#include "gradient.h"

#include <stdio.h>
#include <string.h>

#include "dnsel/comparator.h"
#include "dnsel/frame_similarity.h"
#include "dnsel/video_similarity.h"

/* ---- frame similarity ---- */

enum { QUERY = 5, TARGET = 7, REGIONS = 4, DIM = 6 };

struct frames {
    dns_real x[QUERY * REGIONS * DIM], y[TARGET * REGIONS * DIM];
    dns_real dx[QUERY * REGIONS * DIM], dy[TARGET * REGIONS * DIM];
    dns_real sim[QUERY * TARGET], c[QUERY * TARGET];
    dns_frame_pair pair;
    dns_region_step step;
    dns_frame_trace trace;
    dns_frame_scratch scratch;
};

static double frames_loss(void *payload)
{
    struct frames *f = payload;
    assert_ok(dns_frame_similarity_forward(f->sim, NULL, &f->pair, f->step, &f->scratch));
    return gradient_dot(f->sim, f->c, QUERY * TARGET);
}

static double product(const struct frames *f, size_t i, size_t o, size_t j, size_t p)
{
    return gradient_dot(f->x + (i * REGIONS + o) * DIM, f->y + (j * REGIONS + p) * DIM, DIM);
}

/* The definition, written out. */
static double expected_similarity(const struct frames *f, size_t i, size_t j)
{
    double rows = 0, columns = 0, same = 0;
    for (size_t a = 0; a < REGIONS; a++) {
        double row = -INFINITY, column = -INFINITY;
        for (size_t b = 0; b < REGIONS; b++) {
            row = fmax(row, product(f, i, a, j, b));
            column = fmax(column, product(f, i, b, j, a));
        }
        rows += row / REGIONS;
        columns += column / REGIONS;
        same += product(f, i, a, j, a) / REGIONS;
    }
    return f->step == DNS_REGIONS_SAME      ? same
           : f->step == DNS_REGIONS_CHAMFER ? rows
                                            : (rows + columns) / 2;
}

static void frame_similarity_matches_definition_and_finite_differences(void **state)
{
    (void)state;
    static struct frames f;
    dns_random random = dns_random_seed(1);
    gradient_fill(&random, f.x, QUERY * REGIONS * DIM);
    gradient_fill(&random, f.y, TARGET * REGIONS * DIM);
    gradient_fill(&random, f.c, QUERY * TARGET);
    f.pair = (dns_frame_pair){f.x, f.y, QUERY, TARGET, REGIONS, DIM, NULL, NULL};
    for (f.step = DNS_REGIONS_CHAMFER; f.step <= DNS_REGIONS_SYMMETRIC; f.step++) {
        memset(f.dx, 0, sizeof f.dx);
        memset(f.dy, 0, sizeof f.dy);
        assert_ok(dns_frame_similarity_forward(f.sim, &f.trace, &f.pair, f.step, &f.scratch));
        for (size_t i = 0; i < QUERY * TARGET; i++)
            assert_true(fabs(f.sim[i] - expected_similarity(&f, i / TARGET, i % TARGET)) < 1e-12);
        assert_ok(
            dns_frame_similarity_backward(f.dx, NULL, f.c, &f.trace, &f.pair, f.step, &f.scratch));
        assert_ok(
            dns_frame_similarity_backward(NULL, f.dy, f.c, &f.trace, &f.pair, f.step, &f.scratch));
        gradient_of arrays[] = {{"dx", f.x, f.dx, QUERY * REGIONS * DIM},
                                {"dy", f.y, f.dy, TARGET * REGIONS * DIM}};
        gradient_check(frames_loss, &f, arrays, 2, 1000, 1e-8);
    }
    f.pair.n_regions = 257;
    assert_status(
        dns_frame_similarity_forward(f.sim, NULL, &f.pair, DNS_REGIONS_CHAMFER, &f.scratch),
        DNS_ERR_LIMIT);
    dns_frame_trace_free(&f.trace);
    dns_frame_scratch_free(&f.scratch);
}

/* With gates: the same as comparing the weighted vectors, and the gradients of the gates. One gate
 * is negative. */
static void gates_weigh_regions_and_have_their_gradient(void **state)
{
    (void)state;
    static struct frames f;
    dns_real weighted_x[QUERY * REGIONS * DIM], weighted_y[TARGET * REGIONS * DIM],
        expected[QUERY * TARGET];
    dns_real gx[QUERY * REGIONS], gy[TARGET * REGIONS], dgx[QUERY * REGIONS], dgy[TARGET * REGIONS];
    dns_random random = dns_random_seed(2);
    gradient_fill(&random, f.x, QUERY * REGIONS * DIM);
    gradient_fill(&random, f.y, TARGET * REGIONS * DIM);
    gradient_fill(&random, f.c, QUERY * TARGET);
    for (size_t i = 0; i < QUERY * REGIONS; i++)
        gx[i] = (dns_real)(dns_random_uniform(&random) - (i == 3));
    for (size_t i = 0; i < TARGET * REGIONS; i++)
        gy[i] = (dns_real)(dns_random_uniform(&random) - (i == 5));
    for (size_t i = 0; i < QUERY * REGIONS * DIM; i++)
        weighted_x[i] = f.x[i] * gx[i / DIM];
    for (size_t i = 0; i < TARGET * REGIONS * DIM; i++)
        weighted_y[i] = f.y[i] * gy[i / DIM];
    const dns_frame_pair weighted = {weighted_x, weighted_y, QUERY, TARGET,
                                     REGIONS,    DIM,        NULL,  NULL};
    f.pair = (dns_frame_pair){f.x, f.y, QUERY, TARGET, REGIONS, DIM, gx, gy};
    for (f.step = DNS_REGIONS_CHAMFER; f.step <= DNS_REGIONS_SYMMETRIC; f.step++) {
        memset(dgx, 0, sizeof dgx);
        memset(dgy, 0, sizeof dgy);
        assert_ok(dns_frame_similarity_forward(expected, NULL, &weighted, f.step, &f.scratch));
        frames_loss(&f);
        assert_ok(dns_frame_similarity_forward(f.sim, &f.trace, &f.pair, f.step, &f.scratch));
        for (size_t i = 0; i < QUERY * TARGET; i++)
            assert_true(fabs(f.sim[i] - expected[i]) < 1e-12);
        dns_frame_gates_backward(dgx, NULL, f.c, &f.trace, &f.pair, f.step);
        dns_frame_gates_backward(NULL, dgy, f.c, &f.trace, &f.pair, f.step);
        gradient_of arrays[] = {{"dx_gate", gx, dgx, QUERY * REGIONS},
                                {"dy_gate", gy, dgy, TARGET * REGIONS}};
        gradient_check(frames_loss, &f, arrays, 2, 1000, 1e-8);
    }
    assert_status(dns_frame_similarity_backward(f.dx, f.dy, f.c, &f.trace, &f.pair,
                                                DNS_REGIONS_SAME, &f.scratch),
                  DNS_ERR_ARG);
    dns_frame_trace_free(&f.trace);
    dns_frame_scratch_free(&f.scratch);
}

/* ---- comparator ---- */

enum { ROWS = 11, COLUMNS = 14, C1 = 3, C2 = 4, C3 = 5, OUT_MOST = 6 };

struct head {
    dns_real map[ROWS * COLUMNS], dmap[ROWS * COLUMNS], out[OUT_MOST], c[OUT_MOST];
    dns_real weights[4][C3 * C2 * 9], biases[4][C3], dweights[4][C3 * C2 * 9], dbiases[4][C3];
    uint8_t row_mask[ROWS], column_mask[COLUMNS];
    dns_comparator net;
    dns_comparator_input input;
    dns_comparator_trace trace;
    dns_comparator_scratch scratch;
};

static const size_t sizes[4] = {C1 * 9, C2 *C1 * 9, C3 *C2 * 9, C3}, widths[4] = {C1, C2, C3, 1};

static void make_head(struct head *h, uint64_t seed, dns_padding padding)
{
    memset(h, 0, sizeof *h);
    dns_random random = dns_random_seed(seed);
    gradient_fill(&random, h->map, ROWS * COLUMNS);
    gradient_fill(&random, h->c, OUT_MOST);
    h->net = (dns_comparator){.channels = {C1, C2, C3}, .padding = padding};
    for (size_t l = 0; l < 4; l++) {
        gradient_fill(&random, h->weights[l], sizes[l]);
        gradient_fill(&random, h->biases[l], widths[l]);
        h->net.weight[l] = h->weights[l];
        h->net.bias[l] = h->biases[l];
    }
    h->input = (dns_comparator_input){.map = h->map, .rows = ROWS, .columns = COLUMNS};
}

static void free_head(struct head *h)
{
    dns_comparator_trace_free(&h->trace);
    dns_comparator_scratch_free(&h->scratch);
}

/* The network written out cell by cell, channels first, as the paper's library stores it. */
static double cell(const double *map, size_t rows, size_t columns, long y, long x,
                   dns_padding padding)
{
    if (y < 0 || x < 0 || y >= (long)rows || x >= (long)columns) {
        if (padding == DNS_PADDING_ZERO)
            return 0;
        y = y < 0 ? 0 : y >= (long)rows ? (long)rows - 1 : y;
        x = x < 0 ? 0 : x >= (long)columns ? (long)columns - 1 : x;
    }
    return map[(size_t)y * columns + (size_t)x];
}

static void written_out(double *out, const struct head *h)
{
    static double maps[4][C3][ROWS * COLUMNS];
    uint8_t rm[ROWS], cm[COLUMNS];
    size_t rows = ROWS, columns = COLUMNS, in = 1;
    for (size_t i = 0; i < ROWS; i++)
        rm[i] = h->input.row_mask == NULL ? 1 : h->row_mask[i];
    for (size_t i = 0; i < COLUMNS; i++)
        cm[i] = h->input.column_mask == NULL ? 1 : h->column_mask[i];
    for (size_t i = 0; i < ROWS * COLUMNS; i++)
        maps[0][0][i] = (double)h->map[i];
    for (size_t l = 0; l < 3; l++) {
        for (size_t o = 0; o < widths[l]; o++) {
            for (size_t y = 0; y < rows; y++) {
                for (size_t x = 0; x < columns; x++) {
                    double sum = (double)h->biases[l][o];
                    for (size_t c = 0; c < in; c++)
                        for (size_t k = 0; k < 9; k++)
                            sum += (double)h->weights[l][(o * in + c) * 9 + k] *
                                   cell(maps[l][c], rows, columns, (long)(y + k / 3) - 1,
                                        (long)(x + k % 3) - 1, h->net.padding);
                    maps[l + 1][o][y * columns + x] = rm[y] && cm[x] ? fmax(0, sum) : 0;
                }
            }
            for (size_t y = 0; l < 2 && y < rows / 2; y++) {
                for (size_t x = 0; x < columns / 2; x++) {
                    const double *m = maps[l + 1][o] + 2 * y * columns + 2 * x;
                    maps[l + 1][o][y * (columns / 2) + x] =
                        fmax(fmax(m[0], m[1]), fmax(m[columns], m[columns + 1]));
                }
            }
        }
        if (l < 2) {
            rows /= 2;
            columns /= 2;
            for (size_t i = 0; i < rows; i++)
                rm[i] = rm[2 * i] | rm[2 * i + 1];
            for (size_t i = 0; i < columns; i++)
                cm[i] = cm[2 * i] | cm[2 * i + 1];
        }
        in = widths[l];
    }
    for (size_t i = 0; i < rows * columns; i++) {
        out[i] = (double)h->biases[3][0];
        for (size_t c = 0; c < C3; c++)
            out[i] += (double)h->weights[3][c] * maps[3][c][i];
    }
}

static double head_loss(void *payload)
{
    struct head *h = payload;
    assert_ok(dns_comparator_forward(h->out, &h->trace, &h->net, &h->input, &h->scratch));
    return gradient_dot(h->out, h->c, OUT_MOST);
}

static void check_head(struct head *h, const char *what)
{
    double expected[OUT_MOST];
    head_loss(h);
    written_out(expected, h);
    for (size_t i = 0; i < OUT_MOST; i++) {
        if (!(fabs((double)h->out[i] - expected[i]) < 1e-10))
            fail_msg("%s: out[%zu] %.12g, expected %.12g", what, i, (double)h->out[i], expected[i]);
    }
    dns_comparator_gradient gradient;
    for (size_t l = 0; l < 4; l++) {
        gradient.weight[l] = h->dweights[l];
        gradient.bias[l] = h->dbiases[l];
    }
    assert_ok(dns_comparator_backward(h->dmap, &gradient, h->c, &h->trace, &h->net, &h->input,
                                      &h->scratch));
    gradient_of arrays[9] = {{"dmap", h->map, h->dmap, ROWS * COLUMNS}};
    static const char *names[] = {"dw1", "dw2", "dw3", "dw4", "db1", "db2", "db3", "db4"};
    for (size_t l = 0; l < 4; l++) {
        arrays[1 + l] = (gradient_of){names[l], h->weights[l], h->dweights[l], sizes[l]};
        arrays[5 + l] = (gradient_of){names[4 + l], h->biases[l], h->dbiases[l], widths[l]};
    }
    gradient_check(head_loss, h, arrays, 9, 1000, 1e-7);
}

static void comparator_matches_definition_and_finite_differences(void **state)
{
    (void)state;
    static struct head h;
    for (int padding = DNS_PADDING_ZERO; padding <= DNS_PADDING_EDGE; padding++) {
        for (int masked = 0; masked < 2; masked++) {
            make_head(&h, 3, padding);
            for (size_t i = 0; i < ROWS; i++)
                h.row_mask[i] = i < 7;
            for (size_t i = 0; i < COLUMNS; i++)
                h.column_mask[i] =
                    i < 9 && i != 4; /* a hole is no padding, but masks may have one */
            h.input.row_mask = masked ? h.row_mask : NULL;
            h.input.column_mask = masked ? h.column_mask : NULL;
            char what[64];
            snprintf(what, sizeof what, "padding %d, masked %d", padding, masked);
            check_head(&h, what);
            free_head(&h);
        }
    }
}

static void padded_cells_hold_the_last_bias(void **state)
{
    (void)state;
    static struct head h;
    make_head(&h, 15, DNS_PADDING_ZERO);
    memset(h.row_mask, 1, 5);
    memset(h.column_mask, 1, 4);
    h.input.row_mask = h.row_mask;
    h.input.column_mask = h.column_mask;
    head_loss(&h);
    assert_true(h.out[0] != h.biases[3][0]);
    assert_true(h.out[1] == h.biases[3][0] && h.out[2] == h.biases[3][0]);
    assert_true(h.out[3] != h.biases[3][0]); /* row 1 of the output has frame 4 */
    assert_true(h.out[5] == h.biases[3][0]);
    h.input.rows = 3;
    assert_status(dns_comparator_forward(h.out, &h.trace, &h.net, &h.input, &h.scratch),
                  DNS_ERR_SHAPE);
    h.input.rows = ROWS;
    h.input.columns = 3;
    assert_status(dns_comparator_forward(h.out, &h.trace, &h.net, &h.input, &h.scratch),
                  DNS_ERR_SHAPE);
    free_head(&h);
}

/* Maps larger than one band of rows. */
static void bands_join_without_a_seam(void **state)
{
    (void)state;
    enum { LARGE = 200 };
    static struct head h;
    make_head(&h, 6, DNS_PADDING_ZERO);
    dns_real *map = NULL, *large = NULL, *small = NULL;
    assert_ok(dns_alloc(&map, LARGE * LARGE, sizeof *map));
    assert_ok(dns_alloc(&large, LARGE * LARGE / 16, sizeof *large));
    assert_ok(dns_alloc(&small, LARGE * LARGE / 16, sizeof *small));
    dns_random random = dns_random_seed(7);
    gradient_fill(&random, map, LARGE * LARGE);
    h.input = (dns_comparator_input){.map = map, .rows = LARGE, .columns = LARGE};
    assert_ok(dns_comparator_forward(large, &h.trace, &h.net, &h.input, &h.scratch));
    /* 40 of the rows, cut where the receptive field of the output rows 24..27 ends. */
    h.input = (dns_comparator_input){.map = map + 80 * LARGE, .rows = 40, .columns = LARGE};
    assert_ok(dns_comparator_forward(small, &h.trace, &h.net, &h.input, &h.scratch));
    for (size_t i = 0; i < 4 * LARGE / 4; i++)
        assert_true(fabs(large[24 * LARGE / 4 + i] - small[4 * LARGE / 4 + i]) < 1e-12);
    free_head(&h);
    dns_free(map);
    dns_free(large);
    dns_free(small);
}

/* ---- clipping and video similarity ---- */

struct scores {
    dns_real x[ROWS * COLUMNS], clipped[ROWS * COLUMNS], dx[ROWS * COLUMNS];
    uint8_t row_mask[ROWS], column_mask[COLUMNS];
    dns_score_map map;
    dns_direction direction;
};

static double scores_loss(void *payload)
{
    struct scores *s = payload;
    dns_hardtanh_forward(s->clipped, s->x, ROWS * COLUMNS);
    return 3 * (double)dns_video_similarity_forward(&s->map, s->direction) +
           0.25 * dns_range_penalty(NULL, s->x, ROWS * COLUMNS, 0);
}

static void video_similarity_matches_finite_differences(void **state)
{
    (void)state;
    static struct scores s;
    dns_random random = dns_random_seed(8);
    for (int masked = 0; masked < 2; masked++) {
        for (s.direction = DNS_DIRECTION_QUERY; s.direction <= DNS_DIRECTION_SYMMETRIC;
             s.direction++) {
            for (size_t i = 0; i < ROWS * COLUMNS;
                 i++) /* most within the range, so that maxima are not all clipped */
                s.x[i] = (dns_real)(dns_random_normal(&random) * 0.5 - 0.5);
            for (size_t i = 0; i < ROWS; i++)
                s.row_mask[i] = i != 2 && i < 9;
            for (size_t i = 0; i < COLUMNS; i++)
                s.column_mask[i] = i % 3 != 0;
            s.map = (dns_score_map){s.clipped, ROWS, COLUMNS, masked ? s.row_mask : NULL,
                                    masked ? s.column_mask : NULL};
            memset(s.dx, 0, sizeof s.dx);
            scores_loss(&s);
            dns_video_similarity_backward(s.dx, 3, &s.map, s.direction);
            dns_hardtanh_backward(s.dx, s.dx, s.x, ROWS * COLUMNS);
            dns_range_penalty(s.dx, s.x, ROWS * COLUMNS, 0.25);
            gradient_check(scores_loss, &s, &(gradient_of){"dx", s.x, s.dx, ROWS * COLUMNS}, 1,
                           1000, 1e-8);
        }
    }
}

static void directions_mean_what_they_say(void **state)
{
    (void)state;
    dns_real map[] = {.1, .5, .2, .3, .4, -.6}; /* rows' maxima .5 .4, columns' .3 .5 .2 */
    uint8_t first_row[] = {1, 0}, none[] = {0, 0}, last_columns[] = {0, 1, 1};
    dns_score_map m = {map, 2, 3, NULL, NULL};
    assert_true(fabs(dns_video_similarity_forward(&m, DNS_DIRECTION_QUERY) - 0.45) < 1e-12);
    assert_true(fabs(dns_video_similarity_forward(&m, DNS_DIRECTION_TARGET) - 1.0 / 3) < 1e-12);
    assert_true(fabs(dns_video_similarity_forward(&m, DNS_DIRECTION_MAX) - 0.45) < 1e-12);
    assert_true(fabs(dns_video_similarity_forward(&m, DNS_DIRECTION_SYMMETRIC) -
                     (0.45 + 1.0 / 3) / 2) < 1e-12);
    m.row_mask = first_row;
    m.column_mask = last_columns;
    assert_true(fabs(dns_video_similarity_forward(&m, DNS_DIRECTION_QUERY) - 0.5) < 1e-12);
    assert_true(fabs(dns_video_similarity_forward(&m, DNS_DIRECTION_TARGET) - 0.35) < 1e-12);
    m.row_mask = none;
    dns_real dmap[6] = {0};
    assert_true(dns_video_similarity_forward(&m, DNS_DIRECTION_MAX) == 0);
    dns_video_similarity_backward(dmap, 1, &m, DNS_DIRECTION_TARGET);
    for (size_t i = 0; i < 6; i++)
        assert_true(dmap[i] == 0);
}

static void the_range_penalty_counts_what_lies_beyond(void **state)
{
    (void)state;
    dns_real x[] = {-1.5, -1, 0, 1, 3}, y[5], dx[5] = {0}, dy[5] = {1, 1, 1, 1, 1};
    assert_true(dns_range_penalty(dx, x, 5, 2) == 2.5);
    assert_true(dx[0] == -2 && dx[1] == 0 && dx[2] == 0 && dx[3] == 0 && dx[4] == 2);
    dns_hardtanh_forward(y, x, 5);
    assert_true(y[0] == -1 && y[2] == 0 && y[4] == 1);
    dns_hardtanh_backward(dx, dy, x, 5);
    assert_true(dx[0] == 0 && dx[1] == 0 && dx[2] == 1 && dx[3] == 0 && dx[4] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_similarity_matches_definition_and_finite_differences),
        cmocka_unit_test(gates_weigh_regions_and_have_their_gradient),
        cmocka_unit_test(comparator_matches_definition_and_finite_differences),
        cmocka_unit_test(padded_cells_hold_the_last_bias),
        cmocka_unit_test(bands_join_without_a_seam),
        cmocka_unit_test(video_similarity_matches_finite_differences),
        cmocka_unit_test(directions_mean_what_they_say),
        cmocka_unit_test(the_range_penalty_counts_what_lies_beyond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
