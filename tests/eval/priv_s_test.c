#include "dnsel/priv_s.h"

#include <math.h>
#include <string.h>

#include "support.h"

static void one_seed_orders_the_methods_as_it_must(void **state)
{
    (void)state;
    const dns_priv_s_options options = {
        .kind = DNS_PRIV_S_MISSING, .first_seed = 2, .last_seed = 2};
    dns_priv_s_report r;
    assert_ok(dns_priv_s_run(&r, &options, NULL));
    const dns_priv_s_method *m = r.methods;
    assert_int_equal(r.n_seeds, 1);
    assert_true(m[DNS_PRIV_S_PFD].mean > m[DNS_PRIV_S_BASE].mean + 0.03);
    assert_true(m[DNS_PRIV_S_PFD].mean > m[DNS_PRIV_S_SELF].mean + 0.03);
    assert_true(m[DNS_PRIV_S_CPFD].mean > m[DNS_PRIV_S_PFD].mean);
    assert_true(m[DNS_PRIV_S_CPFD].mean > m[DNS_PRIV_S_SHUFFLED].mean);
    assert_true(m[DNS_PRIV_S_TEACHER].mean > m[DNS_PRIV_S_CPFD].mean);
    for (size_t i = 0; i < DNS_PRIV_S_METHODS; i++) {
        assert_true(m[i].mean > 0.4 && m[i].mean < 0.9);
        assert_true(m[i].macro_f1[0] == m[i].mean);
        assert_true(fabs(m[i].difference - (m[i].mean - m[DNS_PRIV_S_PFD].mean)) < 1e-12);
        assert_int_equal(m[i].n_wins, m[i].difference > 0);
        assert_true(isnan(m[i].low));
    }
    assert_true(r.auroc > 0.65 && r.auroc < 1);
    assert_int_equal(r.n_gates, DNS_PRIV_S_GATES);
    bool passed = true;
    for (size_t i = 0; i < r.n_gates; i++)
        passed = passed && r.gates[i].passed;
    assert_int_equal(passed, r.passed);
    dns_priv_s_report_free(&r);
}

static void seeds_must_be_a_range(void **state)
{
    (void)state;
    dns_priv_s_report r;
    assert_status(dns_priv_s_run(&r, &(dns_priv_s_options){.first_seed = 2, .last_seed = 1}, NULL),
                  DNS_ERR_ARG);
    assert_status(
        dns_priv_s_run(&r, &(dns_priv_s_options){.first_seed = 0, .last_seed = UINT64_MAX}, NULL),
        DNS_ERR_ARG);
    assert_string_equal(dns_priv_s_kind_name(DNS_PRIV_S_MIXED), "mixed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_seed_orders_the_methods_as_it_must),
        cmocka_unit_test(seeds_must_be_a_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
