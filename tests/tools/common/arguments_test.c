#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "program.h"
#include "terminal.h"

struct settings {
    bool verbose;
    const char *out;
    size_t jobs, memory;
    double rate;
    int mode;
    uint64_t seed;
    dns_string_list files;
};

static int run(const dns_invocation *invocation)
{
    return (int)invocation->n_operands;
}

static const struct settings defaults = {
    .jobs = 2, .memory = (size_t)1 << 30, .rate = 0.5, .mode = 1};
static const dns_option options[] = {
    {.name = "verbose",
     .letter = 'v',
     .kind = DNS_OPTION_FLAG,
     .offset = offsetof(struct settings, verbose),
     .help = "talk"},
    {.name = "out",
     .letter = 'o',
     .kind = DNS_OPTION_STRING,
     .offset = offsetof(struct settings, out),
     .value = "FILE",
     .help = "x"},
    {.name = "jobs",
     .letter = 'j',
     .kind = DNS_OPTION_COUNT,
     .offset = offsetof(struct settings, jobs),
     .value = "N",
     .help = "x",
     .minimum = 1,
     .maximum = 64,
     .environment = "DNS_TEST_JOBS"},
    {.name = "memory",
     .kind = DNS_OPTION_BYTES,
     .offset = offsetof(struct settings, memory),
     .value = "SIZE",
     .help = "x"},
    {.name = "rate",
     .kind = DNS_OPTION_NUMBER,
     .offset = offsetof(struct settings, rate),
     .value = "X",
     .help = "x"},
    {.name = "mode",
     .kind = DNS_OPTION_CHOICE,
     .offset = offsetof(struct settings, mode),
     .choices = "fast|exact",
     .help = "x"},
    {.name = "seed",
     .kind = DNS_OPTION_SEED,
     .offset = offsetof(struct settings, seed),
     .value = "N",
     .help = "x"},
    {.name = "file",
     .kind = DNS_OPTION_LIST,
     .offset = offsetof(struct settings, files),
     .value = "FILE",
     .help = "x"},
    {0},
};
static const dns_command command = {.name = "try",
                                    .synopsis = "PATH...",
                                    .summary = "try",
                                    .options = options,
                                    .settings_size = sizeof(struct settings),
                                    .defaults = &defaults,
                                    .min_operands = 1,
                                    .max_operands = 3,
                                    .run = run};

static dns_status parse(dns_arguments *out, const char *line)
{
    static char text[256];
    char *argv[32];
    int argc = 0;
    strncpy(text, line, sizeof text - 1);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " "))
        argv[argc++] = word;
    return dns_arguments_parse(out, &command, argc, argv);
}

static void options_reach_the_settings(void **state)
{
    (void)state;
    dns_arguments a;
    assert_ok(parse(&a, "-vj4 one --out=x --memory 512M --rate 1e-3 --mode fast --seed 7 --file a "
                        "--file b two -- --three"));
    const struct settings *s = a.settings;
    assert_true(s->verbose);
    assert_string_equal(s->out, "x");
    assert_int_equal(s->jobs, 4);
    assert_int_equal(s->memory, 512u << 20);
    assert_true(s->rate == 1e-3);
    assert_int_equal(s->mode, 0);
    assert_int_equal(s->seed, 7);
    assert_int_equal(s->files.n, 2);
    assert_string_equal(s->files.items[1], "b");
    assert_int_equal(a.n_operands, 3);
    assert_string_equal(a.operands[2], "--three");
    dns_arguments_free(&a, &command);
}

static void defaults_hold_and_environment_overrides_them(void **state)
{
    (void)state;
    dns_arguments a;
    setenv("DNS_TEST_JOBS", "5", 1);
    assert_ok(parse(&a, "- --no-verbose"));
    const struct settings *s = a.settings;
    assert_int_equal(s->jobs, 5);
    assert_int_equal(s->mode, 1);
    assert_string_equal(a.operands[0], "-");
    dns_arguments_free(&a, &command);
    unsetenv("DNS_TEST_JOBS");
}

static void mistakes_are_named(void **state)
{
    (void)state;
    dns_arguments a;
    assert_status(parse(&a, "x --job 3"), DNS_ERR_ARG);
    assert_non_null(strstr(dns_status_message(), "--jobs"));
    assert_status(parse(&a, "x --jobs 99"), DNS_ERR_ARG);
    assert_status(parse(&a, "x --jobs three"), DNS_ERR_ARG);
    assert_status(parse(&a, "x --mode slow"), DNS_ERR_ARG);
    assert_non_null(strstr(dns_status_message(), "fast|exact"));
    assert_status(parse(&a, "x --out"), DNS_ERR_ARG);
    assert_status(parse(&a, "x -z"), DNS_ERR_ARG);
    assert_status(parse(&a, "--verbose"), DNS_ERR_ARG);
    assert_status(parse(&a, "a b c d"), DNS_ERR_ARG);
}

static void exit_codes_are_the_documented_ones(void **state)
{
    (void)state;
    assert_int_equal(dns_exit_code(DNS_ERR_BUSY), 11);
    assert_int_equal(dns_exit_code(DNS_ERR_MODEL), 12);
    assert_int_equal(dns_exit_code(DNS_ERR_CORRUPT), 13);
    assert_int_equal(dns_exit_code(DNS_ERR_FULL), 28);
    assert_int_equal(dns_exit_code(DNS_ERR_CANCELLED), 130);
    assert_int_equal(dns_exit_code(DNS_ERR_ARG), 2);
}

static void durations_read_well(void **state)
{
    (void)state;
    char text[32];
    dns_duration_text(text, sizeof text, 59.2);
    assert_string_equal(text, "59 s");
    dns_duration_text(text, sizeof text, 3725);
    assert_string_equal(text, "1 h 02 min");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_reach_the_settings),
        cmocka_unit_test(defaults_hold_and_environment_overrides_them),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(exit_codes_are_the_documented_ones),
        cmocka_unit_test(durations_read_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
