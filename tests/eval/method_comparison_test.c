#include "dnsel/method_comparison.h"

#include <math.h>
#include <string.h>

#include "support.h"

enum { N = 90, DIM = 3, K = 2 };

static const char *const names[] = {"no", "yes"};
static const size_t block_sizes[] = {1};

struct world {
    float x[N * DIM], y[N * K], privileged[N];
    uint8_t labelled[N];
    int64_t groups[N];
    dns_labelled_rows rows;
};

/* A class that the privileged number tells and x tells a little. */
static void make_world(struct world *w, uint64_t seed)
{
    dns_random random = dns_random_seed(seed);
    memset(w, 0, sizeof *w);
    for (size_t i = 0; i < N; i++) {
        const size_t label = dns_random_below(&random, K);
        w->labelled[i] = i % 3 != 2;
        w->y[i * K + label] = w->labelled[i];
        for (size_t j = 0; j < DIM; j++)
            w->x[i * DIM + j] = (float)(dns_random_normal(&random) + (j == label));
        w->privileged[i] = (float)((double)label + 0.1 * dns_random_normal(&random));
        w->groups[i] = -1;
    }
    w->rows = (dns_labelled_rows){.task = DNS_LABEL_CLASS,
                                  .n = N,
                                  .dim = DIM,
                                  .n_labels = K,
                                  .x = w->x,
                                  .y = w->y,
                                  .labelled = w->labelled,
                                  .groups = w->groups,
                                  .labels = names,
                                  .n_blocks = 1,
                                  .block_sizes = block_sizes,
                                  .privileged = w->privileged};
}

static dns_comparison_options options(void)
{
    const dns_classifier_plan plan = {
        .hidden = 8, .epochs = 20, .batch = 16, .rate = 1e-2, .weight_decay = 1e-2};
    dns_classifier_plan teacher = plan;
    teacher.epochs = 80;
    return (dns_comparison_options){.teachers = {.folds = 3, .teacher = teacher},
                                    .students = plan,
                                    .how = DNS_CPFD_STUDENT_INIT,
                                    .folds = 3,
                                    .n_seeds = 3,
                                    .bootstrap_rounds = 200};
}

static void the_teacher_wins_where_it_alone_knows(void **state)
{
    (void)state;
    static struct world w;
    make_world(&w, 1);
    dns_method_comparison c;
    dns_comparison_options o = options();
    assert_ok(dns_method_comparison_run(&c, &w.rows, NULL, &o, NULL));
    assert_int_equal(c.n_seeds, 3);
    assert_int_equal(c.n_rows, 60);
    const dns_compared_method *base = &c.methods[DNS_CPFD_BASE],
                              *teacher = &c.methods[DNS_COMPARED_TEACHER];
    assert_true(teacher->measured && teacher->mean.mean > 0.95);
    assert_true(base->mean.mean > 0.5 && base->mean.mean < 0.95);
    assert_true(base->to_base.mean == 0 && base->to_base_rows.high == 0);
    assert_true(teacher->to_base_rows.low > 0 && teacher->to_base.low > 0);
    assert_true(teacher->to_base_rows.low <= teacher->to_base.mean &&
                teacher->to_base.mean <= teacher->to_base_rows.high);
    assert_true(
        fabs(c.closed_cpfd - c.methods[DNS_CPFD_CPFD].to_base.mean / teacher->to_base.mean) < 1e-9);
    dns_method_comparison_free(&c);
}

static void threads_and_names_of_seeds_do_not_matter(void **state)
{
    (void)state;
    static struct world w;
    make_world(&w, 2);
    dns_pool *pool;
    dns_method_comparison a, b;
    dns_comparison_options o = options();
    assert_ok(dns_pool_create(&pool, 3));
    assert_ok(dns_method_comparison_run(&a, &w.rows, NULL, &o, NULL));
    assert_ok(dns_method_comparison_run(&b, &w.rows, NULL, &o, pool));
    assert_memory_equal(a.storage, b.storage, DNS_COMPARED * 3 * sizeof *a.storage);
    dns_method_comparison_free(&b);
    o.first_seed = 1;
    o.n_seeds = 1;
    assert_ok(dns_method_comparison_run(&b, &w.rows, NULL, &o, pool));
    for (size_t m = 0; m < DNS_COMPARED; m++)
        assert_true(a.methods[m].macro_f1[1] == b.methods[m].macro_f1[0]);
    assert_true(isnan(b.methods[0].mean.low));
    dns_method_comparison_free(&a);
    dns_method_comparison_free(&b);
    dns_pool_free(pool);
}

static void other_rows_are_measured_on_when_given(void **state)
{
    (void)state;
    static struct world w, other;
    make_world(&w, 3);
    make_world(&other, 4);
    dns_method_comparison c;
    dns_comparison_options o = options();
    o.folds = 0;
    other.rows.n = 30;
    assert_ok(dns_method_comparison_run(&c, &w.rows, &other.rows, &o, NULL));
    assert_int_equal(c.n_rows, 20);
    assert_true(c.methods[DNS_COMPARED_TEACHER].measured);
    dns_method_comparison_free(&c);
    other.rows.n_blocks = 0; /* no privileged features to show a teacher */
    assert_ok(dns_method_comparison_run(&c, &w.rows, &other.rows, &o, NULL));
    assert_false(c.methods[DNS_COMPARED_TEACHER].measured);
    assert_true(c.methods[DNS_CPFD_CPFD].measured && isnan(c.closed_cpfd));
    dns_method_comparison_free(&c);
    w.rows.n_blocks = 0;
    assert_ok(dns_method_comparison_run(&c, &w.rows, &other.rows, &o, NULL));
    assert_false(c.methods[DNS_CPFD_PFD].measured);
    assert_true(c.methods[DNS_CPFD_SELF].measured);
    dns_method_comparison_free(&c);
    other.rows.dim = 2;
    assert_status(dns_method_comparison_run(&c, &w.rows, &other.rows, &o, NULL), DNS_ERR_SHAPE);
    o.n_seeds = 0;
    assert_status(dns_method_comparison_run(&c, &w.rows, NULL, &o, NULL), DNS_ERR_ARG);
    o = options();
    o.folds = 61;
    assert_status(dns_method_comparison_run(&c, &w.rows, NULL, &o, NULL), DNS_ERR_ARG);
}

static void a_wish_to_stop_is_heard(void **state)
{
    (void)state;
    static struct world w;
    make_world(&w, 5);
    dns_cancel cancel = {true};
    dns_method_comparison c;
    dns_comparison_options o = options();
    o.students.cancel = &cancel;
    assert_status(dns_method_comparison_run(&c, &w.rows, NULL, &o, NULL), DNS_ERR_CANCELLED);
    dns_cpfd *cpfd = NULL;
    o.teachers.teacher.cancel = &cancel;
    assert_status(dns_cpfd_create(&cpfd, &w.rows, &o.teachers, NULL), DNS_ERR_CANCELLED);
    assert_null(cpfd);
}

static void groups_are_never_split(void **state)
{
    (void)state;
    static struct world w;
    make_world(&w, 6);
    size_t folds[N], leader[N], n_groups, sizes[4] = {0};
    for (size_t i = 0; i < N; i++)
        w.groups[i] = i % 2 == 0 ? (int64_t)(i % 14) : -1;
    assert_ok(dns_labelled_rows_deal(folds, &w.rows, 4, 9));
    assert_ok(dns_labelled_rows_leaders(leader, &n_groups, &w.rows));
    assert_int_equal(n_groups, 7 + 30);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(folds[i] == SIZE_MAX, w.labelled[i] == 0);
        for (size_t j = 0; j < N; j++)
            if (w.labelled[i] && w.labelled[j] && w.groups[i] >= 0 && w.groups[i] == w.groups[j])
                assert_true(folds[i] == folds[j] && leader[i] == leader[j]);
        if (w.labelled[i])
            sizes[folds[i]]++;
    }
    for (size_t f = 0; f < 4; f++)
        assert_in_range(sizes[f], 12, 18);
    assert_status(dns_labelled_rows_deal(folds, &w.rows, 1, 9), DNS_ERR_ARG);
    assert_status(dns_labelled_rows_deal(folds, &w.rows, 38, 9), DNS_ERR_ARG);
    dns_row_file *some = NULL;
    bool kept[N] = {false};
    kept[4] = kept[7] = true;
    assert_ok(dns_row_file_select(&some, &w.rows, kept));
    const dns_labelled_rows *r = dns_row_file_rows(some);
    assert_true(r->n == 2 && r->groups[0] == 4 && r->groups[1] == -1);
    assert_memory_equal(r->x, w.x + 4 * DIM, DIM * sizeof *r->x);
    assert_memory_equal(r->privileged + 1, w.privileged + 7, sizeof *r->privileged);
    dns_row_file_free(some);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_teacher_wins_where_it_alone_knows),
        cmocka_unit_test(threads_and_names_of_seeds_do_not_matter),
        cmocka_unit_test(other_rows_are_measured_on_when_given),
        cmocka_unit_test(a_wish_to_stop_is_heard),
        cmocka_unit_test(groups_are_never_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
