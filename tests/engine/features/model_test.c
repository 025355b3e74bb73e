#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/file.h"
#include "dnsel/model.h"

static const size_t two = 2;
static const float ones[2] = {1, 1}, twos[2] = {2, 2};

static dns_named_tensor pair(const char *name, const float *values)
{
    return (dns_named_tensor){name, dns_tensor_f32(values, 1, &two)};
}

/* A new folder for a model, which does not exist yet. */
static const char *new_directory(void)
{
    static char path[512];
    static unsigned count;
    snprintf(path, sizeof path, "%s/models/m%u", test_folder(), count++);
    return path;
}

static const char *in(const char *directory, const char *name)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static const char *make_model(void)
{
    const char *directory = new_directory();
    const dns_named_tensor tensor = pair("a", ones);
    const dns_model_edit edits[] = {
        {"whitening", "{\"dim\": 512, \"provenance\": {\"seed\": 1}}", &tensor, 1},
        {"similarity", "{\"direction\": \"query\", \"regions\": \"same\"}", NULL, 0}};
    assert_ok(dns_model_edit_apply(directory, edits, 2));
    return directory;
}

static dns_digest digest_of(const char *directory)
{
    dns_model *model;
    assert_ok(dns_model_open(&model, directory));
    dns_digest digest = dns_model_digest(model);
    dns_model_close(model);
    return digest;
}

static void assert_digest(const char *directory, dns_digest expected, bool equal)
{
    dns_digest digest = digest_of(directory);
    assert_int_equal(dns_digest_equal(&digest, &expected), equal);
}

static void edit(const char *directory, const char *section, const char *json)
{
    assert_ok(dns_model_edit_apply(directory, &(dns_model_edit){section, json, NULL, 0}, 1));
}

static void a_written_model_is_read_back(void **state)
{
    const char *directory = make_model();
    dns_model *model;
    assert_ok(dns_model_open(&model, directory));
    assert_string_equal(dns_model_directory(model), directory);
    assert_string_equal(dns_model_name(model), strrchr(directory, '/') + 1);
    assert_int_equal(
        dns_json_integer(dns_json_get(dns_model_section(model, "whitening"), "dim"), 0), 512);
    assert_null(dns_model_section(model, "fine"));
    assert_null(dns_model_weights(model, "similarity"));
    size_t shape = 0;
    const float *values;
    assert_ok(dns_safetensors_f32(&values, dns_model_weights(model, "whitening"), "a", 1, &shape));
    assert_memory_equal(values, ones, sizeof ones);
    assert_string_equal(dns_json_string(dns_json_get(dns_model_manifest(model), "schema"), ""),
                        "dnsel.model/1");
    dns_similarity_rule rule = dns_model_similarity(model);
    assert_int_equal(rule.direction, DNS_DIRECTION_QUERY);
    assert_int_equal(rule.regions, DNS_REGIONS_SAME);
    dns_model_close(model);
}

static void the_digest_covers_what_scores_depend_on(void **state)
{
    const char *directory = make_model();
    dns_digest digest = digest_of(directory);
    edit(directory, "name", "\"other\"");
    edit(directory, "provenance", "{\"by\": \"someone\"}");
    edit(directory, "calibration", "[1, 2]");
    edit(directory, "classifier", "{\"classes\": 3}");
    assert_digest(directory, digest, true);
    edit(directory, "similarity", "{\"regions\": \"same\", \"direction\": \"query\"}");
    assert_digest(directory, digest, true);
    edit(directory, "similarity", "{\"regions\": \"same\", \"direction\": \"max\"}");
    assert_digest(directory, digest, false);
    edit(directory, "similarity", "{\"regions\": \"same\", \"direction\": \"query\"}");
    assert_digest(directory, digest, true);

    /* Other weights count; where they came from does not. */
    const dns_named_tensor same = pair("a", ones), other = pair("a", twos);
    dns_model_edit weights = {"whitening", "{\"provenance\": {\"seed\": 2}, \"dim\": 512}", &same,
                              1};
    assert_ok(dns_model_edit_apply(directory, &weights, 1));
    dns_digest again = digest_of(directory);
    weights.tensors = &other;
    assert_ok(dns_model_edit_apply(directory, &weights, 1));
    assert_digest(directory, again, false);
}

static void a_digest_over_some_sections_ignores_the_others(void **state)
{
    static const char *const features[] = {"backbone", "whitening"};
    const char *directory = make_model();
    dns_digest before, after;
    dns_model *model;
    assert_ok(dns_model_open(&model, directory));
    assert_ok(dns_model_digest_of(&before, model, features, 2));
    dns_model_close(model);
    edit(directory, "similarity", "{}");
    assert_ok(dns_model_open(&model, directory));
    assert_ok(dns_model_digest_of(&after, model, features, 2));
    assert_true(dns_digest_equal(&before, &after));
    assert_ok(dns_model_digest_of(&after, model, features, 1));
    assert_false(dns_digest_equal(&before, &after));
    dns_model_close(model);
    edit(directory, "backbone", "{}");
    assert_ok(dns_model_open(&model, directory));
    assert_ok(dns_model_digest_of(&after, model, features, 2));
    assert_false(dns_digest_equal(&before, &after));
    dns_model_close(model);
}

static void replaced_weights_leave_no_old_file(void **state)
{
    const char *directory = make_model();
    const dns_named_tensor other = pair("a", twos);
    dns_model *model;
    assert_true(dns_file_exists(in(directory, "whitening.safetensors")));
    assert_ok(dns_model_open(&model, directory)); /* a reader that is under way */
    const dns_model_edit change = {"whitening", "{}", &other, 1};
    assert_ok(dns_model_edit_apply(directory, &change, 1));
    assert_false(dns_file_exists(in(directory, "whitening.safetensors")));
    size_t shape = 0;
    const float *values;
    assert_ok(dns_safetensors_f32(&values, dns_model_weights(model, "whitening"), "a", 1, &shape));
    assert_memory_equal(values, ones, sizeof ones);
    dns_model_close(model);
    assert_ok(dns_model_open(&model, directory));
    assert_ok(dns_safetensors_f32(&values, dns_model_weights(model, "whitening"), "a", 1, &shape));
    assert_memory_equal(values, twos, sizeof twos);
    dns_model_close(model);

    assert_ok(dns_model_edit_apply(directory, &change, 1)); /* the same bytes again */
    assert_ok(dns_model_open(&model, directory));
    dns_model_close(model);
    edit(directory, "whitening", NULL);
    assert_ok(dns_model_open(&model, directory));
    assert_null(dns_model_section(model, "whitening"));
    assert_null(dns_model_weights(model, "whitening"));
    dns_model_close(model);
}

static void bad_edits_change_nothing(void **state)
{
    const char *directory = make_model();
    const dns_named_tensor tensor = pair("a", twos);
    dns_digest digest = digest_of(directory);
    dns_model_edit bad = {"whitening", "[1]", &tensor, 1};
    assert_status(dns_model_edit_apply(directory, &bad, 1), DNS_ERR_FORMAT);
    bad.json = "{";
    assert_status(dns_model_edit_apply(directory, &bad, 1), DNS_ERR_FORMAT);
    bad = (dns_model_edit){"../escape", "{}", &tensor, 1};
    assert_status(dns_model_edit_apply(directory, &bad, 1), DNS_ERR_ARG);
    bad.section = "schema";
    assert_status(dns_model_edit_apply(directory, &bad, 1), DNS_ERR_ARG);
    assert_digest(directory, digest, true);
}

/* ---- damaged models ---- */

static dns_status open_text(const char *text)
{
    const char *directory = make_model();
    dns_model *model;
    assert_ok(dns_file_write(in(directory, "model.json"), text, strlen(text)));
    dns_status status = dns_model_open(&model, directory);
    assert_true((status == DNS_OK) == (model != NULL));
    dns_model_close(model);
    return status;
}

#define HEAD "{\"schema\": \"dnsel.model/1\", "

static void damaged_models_are_refused(void **state)
{
    dns_model *model;
    assert_status(dns_model_open(&model, "/nowhere/at/all"), DNS_ERR_NOTFOUND);
    assert_null(model);
    assert_ok(open_text(HEAD "\"name\": \"x\"}"));
    assert_status(open_text("{\"schema\": \"dnsel.model/2\"}"), DNS_ERR_VERSION);
    assert_status(open_text("{\"schema\": \"something\"}"), DNS_ERR_FORMAT);
    assert_status(open_text("[]"), DNS_ERR_FORMAT);
    assert_status(open_text("{"), DNS_ERR_FORMAT);
    assert_status(open_text(HEAD "\"a\": {\"file\": \"whitening.safetensors\"}}"), DNS_ERR_FORMAT);
    assert_status(
        open_text(HEAD
                  "\"a\": {\"file\": \"../x\", \"digest\": \"00000000000000000000000000000000\"}}"),
        DNS_ERR_FORMAT);
    assert_status(open_text(HEAD "\"a\": {\"file\": 3}}"), DNS_ERR_FORMAT);
    assert_status(open_text(HEAD "\"a\": {\"file\": \"whitening.safetensors\", "
                                 "\"digest\": \"00000000000000000000000000000000\"}}"),
                  DNS_ERR_CORRUPT);
    assert_status(open_text(HEAD "\"a\": {\"file\": \"absent\", "
                                 "\"digest\": \"00000000000000000000000000000000\"}}"),
                  DNS_ERR_NOTFOUND);
    assert_status(open_text(HEAD "\"similarity\": {\"direction\": \"sideways\"}}"), DNS_ERR_FORMAT);
    assert_status(open_text(HEAD "\"similarity\": {\"regions\": 7}}"), DNS_ERR_FORMAT);
}

static void one_changed_byte_of_the_weights_is_noticed(void **state)
{
    const char *directory = make_model();
    const char *path = in(directory, "whitening.safetensors");
    dns_model *model;
    char *bytes;
    size_t size;
    assert_ok(dns_file_read(&bytes, &size, path, 1 << 20));
    bytes[size - 1] ^= 1;
    assert_ok(dns_file_write(path, bytes, size));
    assert_status(dns_model_open(&model, directory), DNS_ERR_CORRUPT);
    assert_non_null(strstr(dns_status_message(), "whitening"));
    dns_free(bytes);
}

static const char *fuzzed_directory;

static void open_fuzzed(const uint8_t *bytes, size_t size)
{
    dns_model *model;
    assert_ok(dns_file_write(in(fuzzed_directory, "model.json"), bytes, size));
    if (dns_model_open(&model, fuzzed_directory) == DNS_OK) {
        (void)dns_model_similarity(model);
        dns_model_close(model);
    }
}

static void any_manifest_is_survived(void **state)
{
    fuzzed_directory = make_model();
    char *bytes;
    size_t size;
    assert_ok(dns_file_read(&bytes, &size, in(fuzzed_directory, "model.json"), 1 << 20));
    test_fuzz(bytes, size, 200, open_fuzzed);
    dns_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_written_model_is_read_back),
        cmocka_unit_test(the_digest_covers_what_scores_depend_on),
        cmocka_unit_test(a_digest_over_some_sections_ignores_the_others),
        cmocka_unit_test(replaced_weights_leave_no_old_file),
        cmocka_unit_test(bad_edits_change_nothing),
        cmocka_unit_test(damaged_models_are_refused),
        cmocka_unit_test(one_changed_byte_of_the_weights_is_noticed),
        cmocka_unit_test(any_manifest_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
