#include "support.h"

#include <stdio.h>
#include <string.h>

#include "dnsel/parity.h"
#include "dnsel/safetensors.h"

static void fail_with_worst(const dns_parity *parity, const char *folder)
{
    for (size_t i = 0; i < dns_parity_count(parity); i++) {
        const dns_parity_item *item = dns_parity_at(parity, i);
        if (!item->passed)
            fail_msg("%s: %s %s: %.3g of %s, at most %.3g", folder, item->set, item->tensor,
                     item->error, item->unit, item->tolerance);
    }
    fail_msg("%s: nothing compared", folder);
}

struct set {
    const char *name;
    size_t fewest; /* tensors that must have been compared */
};

/* Everything within its tolerance, and no set left out. */
static void check_folder(const char *folder, const struct set *sets, size_t n_sets)
{
    dns_parity *parity = NULL;
    assert_ok(dns_parity_run(&parity, folder, NULL));
    if (!dns_parity_passed(parity))
        fail_with_worst(parity, folder);
    for (size_t s = 0; s < n_sets; s++) {
        size_t n = 0;
        for (size_t i = 0; i < dns_parity_count(parity); i++)
            n += strcmp(dns_parity_at(parity, i)->set, sets[s].name) == 0;
        if (n < sets[s].fewest)
            fail_msg("%s: %zu tensors of %s, expected %zu", folder, n, sets[s].name,
                     sets[s].fewest);
    }
    dns_parity_free(parity);
}

static void networks_agree_with_the_golden_files_in_the_tree(void **state)
{
    static const struct set sets[] = {
        {"chunks", 14}, {"teacher_clip", 4}, {"teacher_clip.train", 14}};
    (void)state;
    char folder[512];
    test_data_path(folder, sizeof folder, "golden");
    check_folder(folder, sets, 3);
}

static void networks_agree_with_all_golden_files(void **state)
{
    static const struct set sets[] = {
        {"fine_attention", 20}, {"fine_binary.train", 20}, {"teacher_symmetric", 4},
        {"coarse", 18},         {"coarse_full", 49},       {"coarse.train", 40},
        {"selector", 14},       {"selector.train", 20},    {"selector_batch.train", 40},
        {"short", 16}};
    (void)state;
    char folder[4200];
    if (test_shared() == NULL)
        skip();
    snprintf(folder, sizeof folder, "%s/golden", test_shared());
    check_folder(folder, sets, sizeof sets / sizeof *sets);
}

/* Copies a golden file under a name, with one entry of one tensor changed. */
static void copy_changed(const char *from, const char *to, const char *name, const char *tensor,
                         float change)
{
    char golden[512], path[512];
    dns_safetensors *file = NULL;
    dns_named_tensor *tensors = NULL;
    float *values = NULL;
    snprintf(path, sizeof path, "golden/%s.safetensors", from);
    test_data_path(golden, sizeof golden, path);
    assert_ok(dns_safetensors_open(&file, golden));
    size_t n = dns_safetensors_count(file);
    assert_ok(dns_alloc(&tensors, n, sizeof *tensors));
    for (size_t i = 0; i < n; i++) {
        tensors[i] =
            (dns_named_tensor){dns_safetensors_name(file, i), *dns_safetensors_at(file, i)};
        if (strcmp(tensors[i].name, tensor) == 0) {
            assert_ok(dns_alloc(&values, dns_tensor_count(&tensors[i].tensor), sizeof *values));
            dns_tensor_to_f32(values, &tensors[i].tensor);
            values[0] += change;
            tensors[i].tensor.data = values;
        }
    }
    snprintf(path, sizeof path, "%s/%s.safetensors", to, name);
    assert_ok(dns_safetensors_write(path, tensors, n, NULL, 0));
    dns_safetensors_close(file);
    dns_free(values);
    dns_free(tensors);
}

static const dns_parity_item *find_item(const dns_parity *parity, const char *tensor)
{
    for (size_t i = 0; i < dns_parity_count(parity); i++)
        if (strcmp(dns_parity_at(parity, i)->tensor, tensor) == 0)
            return dns_parity_at(parity, i);
    fail_msg("no item '%s'", tensor);
    return NULL;
}

static void a_wrong_entry_is_above_the_tolerance(void **state)
{
    (void)state;
    char folder[300];
    snprintf(folder, sizeof folder, "%s/wrong", test_folder());
    assert_ok(dns_directory_make(folder));
    copy_changed("teacher_clip.weights", folder, "teacher_clip.weights", "", 0);
    copy_changed("teacher_clip.expected", folder, "teacher_clip.expected", "f2f", 1e-3F);
    copy_changed("chunks.inputs", folder, "elsewhere.inputs", "", 0);
    dns_parity *parity = NULL;
    assert_ok(dns_parity_run(&parity, folder, NULL));
    assert_false(dns_parity_passed(parity));
    assert_false(find_item(parity, "f2f")->passed);
    assert_true(find_item(parity, "f2f")->absolute > 9e-4 &&
                find_item(parity, "f2f")->absolute < 1.1e-3);
    assert_true(find_item(parity, "comparator")->passed);
    assert_int_equal(dns_parity_unknown_count(parity), 1);
    assert_string_equal(dns_parity_unknown_at(parity, 0), "elsewhere.inputs.safetensors");
    dns_parity_free(parity);

    copy_changed("teacher_clip.expected", folder, "teacher_clip.expected", "", 0);
    copy_changed("teacher_clip.weights", folder, "teacher_clip.weights",
                 "video_comperator.conv3.bias", 0.01F);
    assert_ok(dns_parity_run(&parity, folder, NULL));
    assert_true(find_item(parity, "f2f")->passed);
    assert_false(find_item(parity, "comparator")->passed);
    dns_parity_free(parity);
}

static void folders_without_golden_files_compare_nothing(void **state)
{
    (void)state;
    char folder[300];
    snprintf(folder, sizeof folder, "%s/empty", test_folder());
    dns_parity *parity = NULL;
    assert_status(dns_parity_run(&parity, folder, NULL), DNS_ERR_NOTFOUND);
    assert_null(parity);
    assert_ok(dns_directory_make(folder));
    assert_ok(dns_parity_run(&parity, folder, NULL));
    assert_int_equal(dns_parity_count(parity), 0);
    assert_false(dns_parity_passed(parity));
    dns_parity_free(parity);
}

static void a_set_without_its_inputs_is_an_error(void **state)
{
    (void)state;
    char folder[300];
    snprintf(folder, sizeof folder, "%s/partial", test_folder());
    assert_ok(dns_directory_make(folder));
    copy_changed("chunks.weights", folder, "chunks.weights", "", 0);
    dns_parity *parity = NULL;
    assert_ok(dns_parity_run(&parity, folder, NULL));
    assert_int_equal(dns_parity_count(parity), 0);
    dns_parity_free(parity);
    copy_changed("chunks.expected", folder, "chunks.expected", "", 0);
    assert_status(dns_parity_run(&parity, folder, NULL), DNS_ERR_NOTFOUND);
    assert_non_null(strstr(dns_status_message(), "chunks.weights"));
}

static void training_is_the_same_for_any_number_of_threads(void **state)
{
    (void)state;
    char folder[512];
    dns_parity *kept = NULL;
    test_data_path(folder, sizeof folder, "golden");
    assert_ok(dns_parity_run(&kept, folder, NULL));
    for (size_t n = 2; n <= 3; n++) {
        dns_pool *pool;
        dns_parity *parity = NULL;
        assert_ok(dns_pool_create(&pool, n));
        assert_ok(dns_parity_run(&parity, folder, pool));
        assert_int_equal(dns_parity_count(parity), dns_parity_count(kept));
        for (size_t i = 0; i < dns_parity_count(kept); i++) {
            if (dns_parity_at(kept, i)->absolute != dns_parity_at(parity, i)->absolute)
                fail_msg("%s differs with %zu threads", dns_parity_at(kept, i)->tensor, n);
        }
        dns_parity_free(parity);
        dns_pool_free(pool);
    }
    dns_parity_free(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_agree_with_the_golden_files_in_the_tree),
        cmocka_unit_test(networks_agree_with_all_golden_files),
        cmocka_unit_test(a_wrong_entry_is_above_the_tolerance),
        cmocka_unit_test(folders_without_golden_files_compare_nothing),
        cmocka_unit_test(a_set_without_its_inputs_is_an_error),
        cmocka_unit_test(training_is_the_same_for_any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
