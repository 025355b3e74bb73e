/* From argv to a settings struct. */
#include "program.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/memory.h"

static const dns_option *find_option(const dns_command *command, const char *name, size_t length)
{
    for (const dns_option *o = command->options; o != NULL && o->name != NULL; o++)
        if (strlen(o->name) == length && strncmp(o->name, name, length) == 0)
            return o;
    return NULL;
}

static const dns_option *find_letter(const dns_command *command, char letter)
{
    for (const dns_option *o = command->options; o != NULL && o->name != NULL; o++)
        if (o->letter == letter)
            return o;
    return NULL;
}

/* Levenshtein distance, for names of up to 31 letters. */
static size_t distance(const char *a, const char *b)
{
    size_t row[32], n = strlen(b);
    if (n > 31)
        return 99;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[n];
}

static dns_status unknown_option(const dns_command *command, const char *name)
{
    const char *nearest = NULL;
    size_t best = 3;
    for (const dns_option *o = command->options; o != NULL && o->name != NULL; o++) {
        size_t d = distance(name, o->name);
        if (d < best) {
            best = d;
            nearest = o->name;
        }
    }
    if (nearest != NULL)
        return dns_status_set(DNS_ERR_ARG, "unknown option --%s; did you mean --%s?", name,
                              nearest);
    return dns_status_set(DNS_ERR_ARG, "unknown option --%s; --help lists them", name);
}

static dns_status bad_value(const dns_option *o, const char *text, const char *wanted)
{
    return dns_status_set(DNS_ERR_ARG, "--%s: '%s' is not %s", o->name, text, wanted);
}

static dns_status parse_number(double *out, const dns_option *o, const char *text, bool whole)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (o->kind == DNS_OPTION_BYTES && end != text && *end != '\0') {
        static const char units[] = "kMGT";
        const char *unit = strchr(units, *end == 'K' ? 'k' : *end);
        if (unit != NULL) {
            value *= pow(1024.0, (double)(unit - units + 1));
            end++;
            if (*end == 'i')
                end++;
            if (*end == 'B')
                end++;
        }
    }
    if (end == text || *end != '\0' || !isfinite(value) ||
        (whole && (value < 0 || value != floor(value) || value > 9e15)))
        return bad_value(o, text,
                         o->kind == DNS_OPTION_BYTES ? "a size such as 512M"
                         : whole                     ? "a whole number"
                                                     : "a number");
    if ((o->minimum != 0 || o->maximum != 0) && (value < o->minimum || value > o->maximum))
        return dns_status_set(DNS_ERR_ARG, "--%s: %s is outside %g to %g", o->name, text,
                              o->minimum, o->maximum);
    *out = value;
    return DNS_OK;
}

static dns_status parse_choice(int *out, const dns_option *o, const char *text)
{
    size_t length = strlen(text);
    int index = 0;
    for (const char *c = o->choices; c != NULL; index++) {
        const char *bar = strchr(c, '|');
        size_t n = bar != NULL ? (size_t)(bar - c) : strlen(c);
        if (n == length && strncmp(c, text, n) == 0) {
            *out = index;
            return DNS_OK;
        }
        c = bar != NULL ? bar + 1 : NULL;
    }
    return dns_status_set(DNS_ERR_ARG, "--%s: '%s' is none of %s", o->name, text, o->choices);
}

static dns_status append(dns_string_list *list, const char *text)
{
    const char **grown;
    dns_status status = dns_alloc(&grown, list->n + 1, sizeof *grown);
    if (status != DNS_OK)
        return status;
    if (list->n > 0)
        memcpy(grown, list->items, list->n * sizeof *grown);
    grown[list->n] = text;
    dns_free(list->items);
    list->items = grown;
    list->n++;
    return DNS_OK;
}

static dns_status assign(void *settings, const dns_option *o, const char *text)
{
    void *target = (char *)settings + o->offset;
    dns_status status = DNS_OK;
    double number;
    switch (o->kind) {
    case DNS_OPTION_FLAG:
        *(bool *)target = strcmp(text, "0") != 0 && strcmp(text, "false") != 0;
        break;
    case DNS_OPTION_STRING:
        *(const char **)target = text;
        break;
    case DNS_OPTION_LIST:
        status = append(target, text);
        break;
    case DNS_OPTION_COUNT:
    case DNS_OPTION_BYTES:
        status = parse_number(&number, o, text, o->kind == DNS_OPTION_COUNT);
        if (status == DNS_OK)
            *(size_t *)target = (size_t)number;
        break;
    case DNS_OPTION_SEED:
        status = parse_number(&number, o, text, true);
        if (status == DNS_OK)
            *(uint64_t *)target = (uint64_t)number;
        break;
    case DNS_OPTION_NUMBER:
        status = parse_number(target, o, text, false);
        break;
    case DNS_OPTION_CHOICE:
        status = parse_choice(target, o, text);
        break;
    }
    return status;
}

struct cursor {
    int argc, at;
    char **argv;
};

static dns_status take_value(const char **value, struct cursor *c, const char *attached,
                             const dns_option *o)
{
    if (attached != NULL) {
        *value = attached;
        return DNS_OK;
    }
    if (c->at >= c->argc)
        return dns_status_set(DNS_ERR_ARG, "--%s needs a value (%s)", o->name,
                              o->value != NULL ? o->value : o->choices);
    *value = c->argv[c->at++];
    return DNS_OK;
}

static dns_status parse_long(dns_arguments *a, const dns_command *command, struct cursor *c,
                             const char *text)
{
    const char *equals = strchr(text, '=');
    size_t length = equals != NULL ? (size_t)(equals - text) : strlen(text);
    const char *attached = equals != NULL ? equals + 1 : NULL, *value = NULL;
    const dns_option *o = find_option(command, text, length);
    if (o == NULL) {
        struct {
            const char *name;
            bool *target;
        } common[] = {
            {"help", &a->help}, {"man", &a->man}, {"quiet", &a->quiet}, {"no-color", &a->no_color}};
        for (size_t i = 0; i < sizeof common / sizeof common[0]; i++)
            if (attached == NULL && strcmp(text, common[i].name) == 0) {
                *common[i].target = true;
                return DNS_OK;
            }
        if (attached == NULL && strncmp(text, "no-", 3) == 0) {
            o = find_option(command, text + 3, length - 3);
            if (o != NULL && o->kind == DNS_OPTION_FLAG)
                return assign(a->settings, o, "0");
        }
        return unknown_option(command, text);
    }
    if (o->kind == DNS_OPTION_FLAG && attached == NULL)
        return assign(a->settings, o, "1");
    dns_status status = take_value(&value, c, attached, o);
    return status == DNS_OK ? assign(a->settings, o, value) : status;
}

/* -k5, -k 5, -q, -qj4 */
static dns_status parse_letters(dns_arguments *a, const dns_command *command, struct cursor *c,
                                const char *text)
{
    for (; *text != '\0'; text++) {
        const dns_option *o = find_letter(command, *text);
        if (o == NULL && (*text == 'h' || *text == 'q')) {
            *(*text == 'h' ? &a->help : &a->quiet) = true;
            continue;
        }
        if (o == NULL)
            return dns_status_set(DNS_ERR_ARG, "unknown option -%c; --help lists them", *text);
        if (o->kind == DNS_OPTION_FLAG) {
            dns_status status = assign(a->settings, o, "1");
            if (status != DNS_OK)
                return status;
            continue;
        }
        const char *value = NULL;
        dns_status status = take_value(&value, c, text[1] != '\0' ? text + 1 : NULL, o);
        return status == DNS_OK ? assign(a->settings, o, value) : status;
    }
    return DNS_OK;
}

static dns_status apply_environment(dns_arguments *a, const dns_command *command)
{
    for (const dns_option *o = command->options; o != NULL && o->name != NULL; o++) {
        const char *text = o->environment != NULL ? getenv(o->environment) : NULL;
        if (text == NULL || *text == '\0')
            continue;
        dns_status status = assign(a->settings, o, text);
        if (status != DNS_OK)
            return dns_status_context(status, "environment variable %s", o->environment);
    }
    return DNS_OK;
}

static dns_status check_operands(const dns_arguments *a, const dns_command *command)
{
    if (a->help || a->man)
        return DNS_OK;
    if (a->n_operands < command->min_operands)
        return dns_status_set(DNS_ERR_ARG, "expected %s; --help explains", command->synopsis);
    if (a->n_operands > command->max_operands)
        return dns_status_set(DNS_ERR_ARG, "unexpected argument '%s'; --help explains",
                              a->operands[command->max_operands]);
    return DNS_OK;
}

dns_status dns_arguments_parse(dns_arguments *out, const dns_command *command, int argc,
                               char **argv)
{
    dns_status status = DNS_OK;
    dns_arguments a = {0};
    struct cursor c = {argc, 0, argv};
    bool only_operands = false;
    DNS_TRY(dns_alloc(&a.settings, 1, command->settings_size));
    if (command->settings_size > 0)
        memcpy(a.settings, command->defaults, command->settings_size);
    DNS_TRY(dns_alloc(&a.operands, (size_t)argc + 1, sizeof *a.operands));
    DNS_TRY(apply_environment(&a, command));
    while (c.at < argc) {
        char *text = argv[c.at++];
        if (only_operands || text[0] != '-' || text[1] == '\0')
            a.operands[a.n_operands++] = text;
        else if (strcmp(text, "--") == 0)
            only_operands = true;
        else if (text[1] == '-')
            DNS_TRY(parse_long(&a, command, &c, text + 2));
        else
            DNS_TRY(parse_letters(&a, command, &c, text + 1));
    }
    DNS_TRY(check_operands(&a, command));
    if (getenv("NO_COLOR") != NULL)
        a.no_color = true;
    *out = a;
    a = (dns_arguments){0};
out:
    dns_arguments_free(&a, command);
    return status;
}

void dns_arguments_free(dns_arguments *a, const dns_command *command)
{
    for (const dns_option *o = command->options;
         a->settings != NULL && o != NULL && o->name != NULL; o++)
        if (o->kind == DNS_OPTION_LIST)
            dns_free(((dns_string_list *)(void *)((char *)a->settings + o->offset))->items);
    dns_free(a->settings);
    dns_free(a->operands);
    *a = (dns_arguments){0};
}
