/* The speed measurements: that they measure, not what. */
#include <math.h>
#include <string.h>

#include "dnsel/cpu.h"
#include "dnsel/speed.h"
#include "support.h"

static void an_item_is_measured_with_its_twin(void **state)
{
    (void)state;
    dns_speed *speed;
    dns_speed_options options = dns_speed_defaults();
    options.filter = "min_hamming";
    options.seconds = 0.01;
    assert_ok(dns_speed_run(&speed, &options));
    assert_int_equal(dns_speed_count(speed), 1);
    const dns_speed_item *item = dns_speed_at(speed, 0);
    assert_string_equal(item->name, "min_hamming");
    assert_true(strlen(item->what) > 0);
    assert_true(item->n_runs >= 5);
    assert_true(item->minimum > 0 && item->median >= item->minimum);
    assert_true(item->plain > 0);
    assert_true(item->loss == 0);
    assert_true(strlen(dns_speed_processor(speed)) > 0);
    dns_speed_peaks peaks = dns_speed_peaks_of(speed);
    assert_true(peaks.f32 > 0 && peaks.bytes > 0);
    assert_true((peaks.i8 > 0) == ((dns_cpu_flags() & DNS_CPU_VNNI) != 0));
    assert_true((item->floor > 0) == (peaks.words > 0));
    char features[64];
    dns_cpu_text(features, sizeof features, dns_cpu_flags());
    assert_string_equal(dns_speed_features(speed), features);
    dns_speed_free(speed);
    dns_speed_free(NULL);
}

static void bytes_lose_little_against_floats(void **state)
{
    (void)state;
    dns_speed *speed;
    dns_speed_options options = dns_speed_defaults();
    options.filter = "_i8";
    options.seconds = 1e-6;
    assert_ok(dns_speed_run(&speed, &options));
    size_t n_compared = 0;
    for (size_t i = 0; i < dns_speed_count(speed); i++) {
        const dns_speed_item *item = dns_speed_at(speed, i);
        bool of_scores =
            strncmp(item->name, "pair_", 5) == 0 || strncmp(item->name, "f2f_", 4) == 0;
        n_compared += of_scores;
        if (of_scores && !(item->loss < 0.01))
            fail_msg("%s: loses %g", item->name, item->loss);
    }
    assert_int_equal(n_compared, 5);
    dns_speed_free(speed);
}

static void a_frame_is_timed_where_the_backbone_is_installed(void **state)
{
    (void)state;
    dns_speed *speed;
    dns_speed_options options = dns_speed_defaults();
    options.filter = "frame_";
    options.seconds = 1e-6;
    dns_status status = dns_speed_run(&speed, &options);
    if (status == DNS_ERR_NOTFOUND)
        skip();
    assert_ok(status);
    bool bytes = (dns_cpu_flags() & DNS_CPU_VNNI) != 0;
    assert_int_equal(dns_speed_count(speed), bytes ? 2 : 1);
    assert_true(dns_speed_at(speed, 0)->floor > 0 && dns_speed_at(speed, 0)->loss == 0);
    if (bytes) {
        assert_string_equal(dns_speed_at(speed, 1)->name, "frame_int8");
        assert_true(dns_speed_at(speed, 1)->loss > 0 && dns_speed_at(speed, 1)->loss < 0.05);
    }
    dns_speed_free(speed);
}

static void once_runs_each_item_once(void **state)
{
    (void)state;
    dns_speed *speed;
    dns_speed_options options = dns_speed_defaults();
    options.once = true;
    options.filter = "conv_";
    assert_ok(dns_speed_run(&speed, &options));
    assert_int_equal(dns_speed_count(speed), 2);
    for (size_t i = 0; i < 2; i++) {
        const dns_speed_item *item = dns_speed_at(speed, i);
        assert_true(item->n_runs == 1 && item->minimum > 0 && item->plain == 0);
        assert_true(item->floor == 0);
    }
    assert_true(dns_speed_peaks_of(speed).f32 == 0);
    dns_speed_free(speed);
}

/* Every group of items is found by the names of its items. */
static void networks_are_measured_whole(void **state)
{
    static const char *const names[] = {"selector_scalar", "selector_mlp", "rank"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        dns_speed *speed;
        dns_speed_options options = dns_speed_defaults();
        options.once = true;
        options.filter = names[i];
        assert_ok(dns_speed_run(&speed, &options));
        assert_int_equal(dns_speed_count(speed), 1);
        assert_string_equal(dns_speed_at(speed, 0)->name, names[i]);
        dns_speed_free(speed);
    }
}

static size_t n_reports;

static void count(void *payload, size_t done, size_t total, const char *unit)
{
    (void)total, (void)unit;
    n_reports++;
    atomic_store(&((dns_cancel *)payload)->wanted, done == 2);
}

static void unknown_names_and_cancelling_end_the_run(void **state)
{
    (void)state;
    dns_speed *speed;
    dns_cancel cancel = {false};
    const dns_progress progress = {&cancel, count};
    dns_speed_options options = dns_speed_defaults();
    options.filter = "nothing";
    options.seconds = 1e-6;
    assert_status(dns_speed_run(&speed, &options), DNS_ERR_NOTFOUND);
    assert_null(speed);
    options.filter = "f2f_";
    options.progress = &progress;
    options.cancel = &cancel;
    assert_status(dns_speed_run(&speed, &options), DNS_ERR_CANCELLED);
    assert_null(speed);
    assert_int_equal(n_reports, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_item_is_measured_with_its_twin),
        cmocka_unit_test(bytes_lose_little_against_floats),
        cmocka_unit_test(once_runs_each_item_once),
        cmocka_unit_test(networks_are_measured_whole),
        cmocka_unit_test(a_frame_is_timed_where_the_backbone_is_installed),
        cmocka_unit_test(unknown_names_and_cancelling_end_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
