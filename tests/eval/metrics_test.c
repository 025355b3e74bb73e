#include "support.h"

#include <math.h>

#include "dnsel/metrics.h"

#define assert_near(a, b) assert_true(fabs((a) - (b)) < 1e-12)

static void ranking_is_stable(void **state)
{
    (void)state;
    const double scores[] = {0.5, 0.7, 0.5, NAN, 0.7, 0.1};
    size_t order[6];
    assert_ok(dns_rank(order, scores, 6));
    const size_t expected[] = {1, 4, 0, 2, 5, 3};
    assert_memory_equal(order, expected, sizeof expected);
}

static void average_precisions_equal_values_by_hand(void **state)
{
    (void)state;
    const bool hits[] = {true, false, true, false};
    assert_near(dns_average_precision(hits, 4, 3), (1.0 + 2.0 / 3) / 3);
    assert_near(dns_average_precision(hits, 4, 0), 0.0);
    assert_near(dns_average_precision_trapezoid(hits, 4, 2),
                ((1 + 1.0) / 2 + (0.5 + 2.0 / 3) / 2) / 2);
    /* sklearn.metrics.average_precision_score([1,0,1,0,1], [.9,.8,.8,.3,.1]) = 0.7555555555555555
     */
    const bool labels[] = {true, false, true, false, true};
    const double scores[] = {.9, .8, .8, .3, .1};
    double ap;
    assert_ok(dns_average_precision_grouped(&ap, labels, scores, 5, 3));
    assert_near(ap, 1.0 / 3 + 2.0 / 3 / 3 + 0.6 / 3);
    assert_near(dns_recall_at(hits, 4, 3, 3), 2.0 / 3);
}

static void the_curve_is_the_best_precision_from_there_on(void **state)
{
    (void)state;
    const bool hits[] = {false, true, true, true};
    double curve[DNS_PR_POINTS];
    dns_precision_recall(curve, hits, 4, 4);
    assert_near(curve[0], 0.75);
    assert_near(curve[15], 0.75);
    assert_near(curve[16], 0.0); /* the fourth relevant video was never found */
}

static void the_interval_holds_the_mean(void **state)
{
    (void)state;
    double values[200];
    dns_random random = dns_random_seed(3);
    for (size_t i = 0; i < 200; i++)
        values[i] = dns_random_uniform(&random);
    dns_interval a, b;
    assert_ok(dns_bootstrap_mean(&a, values, 200, 1000, 1));
    assert_ok(dns_bootstrap_mean(&b, values, 200, 1000, 1));
    assert_true(a.low < a.mean && a.mean < a.high && a.low == b.low && a.high == b.high);
    /* sd of a uniform variable 0.289, of the mean of 200 of them 0.0204: the interval is about 0.08
     * wide */
    assert_true(a.high - a.low > 0.06 && a.high - a.low < 0.10);
    assert_status(dns_bootstrap_mean(&a, values, 0, 10, 1), DNS_ERR_ARG);
}

static void students_interval_is_that_of_the_table(void **state)
{
    (void)state;
    const double values[] = {1, 2, 3, 4, 5};
    dns_interval i = dns_student_mean(values, 5);
    assert_near(i.mean, 3.0);
    assert_near(i.high - 3, 2.776 * sqrt(2.5 / 5));
    assert_near(i.low + i.high, 6.0);
    i = dns_student_mean(values, 1);
    assert_true(i.mean == 1 && isnan(i.low) && isnan(i.high));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranking_is_stable),
        cmocka_unit_test(students_interval_is_that_of_the_table),
        cmocka_unit_test(average_precisions_equal_values_by_hand),
        cmocka_unit_test(the_curve_is_the_best_precision_from_there_on),
        cmocka_unit_test(the_interval_holds_the_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
