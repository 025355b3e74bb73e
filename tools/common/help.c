/* Help, man pages and completion from the tables. */
#include "program.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const exit_codes[][2] = {
    {"0", "done; something was found"},
    {"1", "nothing was found, or a comparison failed"},
    {"2", "wrong usage, or a fatal error"},
    {"3", "done, but some inputs were skipped (each is named on standard error)"},
    {"10", "there is no index at this place"},
    {"11", "another process is writing to the index"},
    {"12", "made by another model, format or version"},
    {"13", "damaged"},
    {"28", "no space left on the device"},
    {"130", "interrupted; what was finished is saved"},
};

static const dns_option common_options[] = {
    {.name = "quiet", .letter = 'q', .kind = DNS_OPTION_FLAG, .help = "say nothing but errors"},
    {.name = "no-color",
     .kind = DNS_OPTION_FLAG,
     .help = "no colours or cursor movement (also by NO_COLOR)"},
    {.name = "help", .letter = 'h', .kind = DNS_OPTION_FLAG, .help = "this help"},
    {0},
};

/* "-k, --count N" */
static void option_head(char *text, size_t size, const dns_option *o)
{
    const char *value = o->kind == DNS_OPTION_FLAG ? NULL
                        : o->value != NULL         ? o->value
                                                   : o->choices;
    char letter[8] = "";
    if (o->letter != 0)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(text, size, "%s--%s%s%s", letter, o->name, value != NULL ? " " : "",
             value != NULL ? value : "");
}

/* The n-th of "a|b|c". */
static void choice_text(char *text, size_t size, const char *choices, int n)
{
    const char *c = choices;
    while (n-- > 0 && (c = strchr(c, '|')) != NULL)
        c++;
    snprintf(text, size, "%.*s", c != NULL ? (int)strcspn(c, "|") : 0, c != NULL ? c : "");
}

/* The default as text; "" where there is none worth naming. */
static void default_text(char *text, size_t size, const dns_command *command, const dns_option *o)
{
    text[0] = '\0';
    if (command == NULL || command->defaults == NULL)
        return;
    const void *at = (const char *)command->defaults + o->offset;
    size_t bytes;
    switch (o->kind) {
    case DNS_OPTION_STRING:
        if (*(const char *const *)at != NULL)
            snprintf(text, size, "%s", *(const char *const *)at);
        break;
    case DNS_OPTION_COUNT:
        if (*(const size_t *)at != 0)
            snprintf(text, size, "%zu", *(const size_t *)at);
        break;
    case DNS_OPTION_BYTES:
        bytes = *(const size_t *)at;
        if (bytes >= (size_t)1 << 30 && bytes % ((size_t)1 << 30) == 0)
            snprintf(text, size, "%zuG", bytes >> 30);
        else if (bytes > 0)
            snprintf(text, size, "%zuM", bytes >> 20);
        break;
    case DNS_OPTION_SEED:
        snprintf(text, size, "%llu", (unsigned long long)*(const uint64_t *)at);
        break;
    case DNS_OPTION_NUMBER:
        if (*(const double *)at != 0 && isfinite(*(const double *)at))
            snprintf(text, size, "%g", *(const double *)at);
        break;
    case DNS_OPTION_CHOICE:
        choice_text(text, size, o->choices, *(const int *)at);
        break;
    case DNS_OPTION_FLAG:
    case DNS_OPTION_LIST:
        break;
    }
}

/* Words of `text` between column `indent` and 79; the cursor is at `column`. */
static void wrap(const char *text, int indent, int column)
{
    for (const char *word = text; *word != '\0';) {
        int n = (int)strcspn(word, " \n");
        if (column > indent && column + 1 + n > 79) {
            printf("\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            putchar(' ');
            column++;
        }
        printf("%.*s", n, word);
        column += n;
        word += n;
        if (word[0] == '\n' && word[1] == '\n') {
            printf("\n\n%*s", indent, "");
            column = indent;
        }
        word += strspn(word, " \n");
    }
    putchar('\n');
}

static void print_options(const dns_command *command, const dns_option *options)
{
    for (const dns_option *o = options; o != NULL && o->name != NULL; o++) {
        char head[160], value[80];
        option_head(head, sizeof head, o);
        default_text(value, sizeof value, command, o);
        int used = printf("  %s%s", o->letter == 0 ? "    " : "", head);
        if (used > 28) {
            putchar('\n');
            used = 0;
        }
        printf("%*s", 30 - used, "");
        char help[512];
        snprintf(help, sizeof help, "%s%s%s%s", o->help, value[0] != '\0' ? " (default: " : "",
                 value, value[0] != '\0' ? ")" : "");
        wrap(help, 30, 30);
    }
}

/* One example a line, two columns in, however the table writes them. */
static void print_examples(const char *examples)
{
    for (const char *line = examples; *line != '\0';) {
        line += strspn(line, " \n");
        int n = (int)strcspn(line, "\n");
        if (n > 0)
            printf("  %.*s\n", n, line);
        line += n;
    }
}

void dns_help_command(const dns_program *program, const dns_command *command)
{
    const char *operands = command->synopsis != NULL ? command->synopsis : "";
    printf("usage: %s%s%s [options]%s%s\n\n", program->name, command->name != NULL ? " " : "",
           command->name != NULL ? command->name : "", operands[0] != '\0' ? " " : "", operands);
    wrap(command->description != NULL ? command->description : command->summary, 0, 0);
    if (command->examples != NULL) {
        printf("\nExamples:\n");
        print_examples(command->examples);
    }
    printf("\nOptions:\n");
    print_options(command, command->options);
    print_options(NULL, common_options);
}

void dns_help_program(const dns_program *program)
{
    printf("usage: %s COMMAND [options] ...\n\n", program->name);
    wrap(program->description, 0, 0);
    printf("\nCommands:\n");
    for (const dns_command *const *c = program->commands; *c != NULL; c++)
        printf("  %-16s %s\n", (*c)->name, (*c)->summary);
    printf("\n'%s COMMAND --help' explains a command; '%s --version' says what is built in.\n",
           program->name, program->name);
}

/* troff: backslashes and leading dots are escaped; hyphens stay hyphens to copy. */
static void man_text(const char *text)
{
    bool line_start = true;
    for (const char *c = text; *c != '\0'; c++) {
        if (c[0] == '\n' && c[1] == '\n') {
            fputs("\n.PP\n", stdout);
            c++;
            line_start = true;
            continue;
        }
        if (line_start && (*c == '.' || *c == '\''))
            fputs("\\&", stdout);
        if (*c == '\\')
            fputs("\\e", stdout);
        else if (*c == '-')
            fputs("\\-", stdout);
        else
            putchar(*c);
        line_start = *c == '\n';
    }
    putchar('\n');
}

static void man_options(const dns_command *command, const dns_option *options)
{
    for (const dns_option *o = options; o != NULL && o->name != NULL; o++) {
        char head[160], value[80];
        option_head(head, sizeof head, o);
        default_text(value, sizeof value, command, o);
        fputs(".TP\n.B ", stdout);
        man_text(head);
        char help[512];
        snprintf(help, sizeof help, "%s%s%s%s.", o->help, value[0] != '\0' ? " (default: " : "",
                 value, value[0] != '\0' ? ")" : "");
        man_text(help);
    }
}

static void man_command(const dns_program *program, const dns_command *c)
{
    printf(".SS ");
    char head[256];
    snprintf(head, sizeof head, "%s%s%s [options] %s", program->name, c->name != NULL ? " " : "",
             c->name != NULL ? c->name : "", c->synopsis != NULL ? c->synopsis : "");
    man_text(head);
    man_text(c->description != NULL ? c->description : c->summary);
    man_options(c, c->options);
    if (c->examples != NULL) {
        fputs(".PP\nExamples:\n.PP\n.nf\n", stdout);
        man_text(c->examples);
        fputs(".fi\n", stdout);
    }
}

void dns_man_page(const dns_program *program)
{
    printf(".TH %s 1 \"\" \"dnsel %s\" \"dnsel\"\n.SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.B "
           "%s\nCOMMAND [options] ...\n",
           program->name, DNS_VERSION, program->name, program->summary, program->name);
    printf(".SH DESCRIPTION\n");
    man_text(program->description);
    printf(".SH COMMANDS\n");
    if (program->fallback != NULL)
        man_command(program, program->fallback);
    for (const dns_command *const *c = program->commands; *c != NULL; c++)
        if (*c != program->fallback)
            man_command(program, *c);
    printf(".SH OPTIONS OF ALL COMMANDS\n");
    man_options(NULL, common_options);
    printf(".SH EXIT STATUS\n");
    for (size_t i = 0; i < sizeof exit_codes / sizeof exit_codes[0]; i++)
        printf(".TP\n.B %s\n%s\n", exit_codes[i][0], exit_codes[i][1]);
    printf(".SH SEE ALSO\n.BR dns-index (1),\n.BR dns-query (1),\n.BR dns-model (1),\n.BR "
           "dns-train (1),\n"
           ".BR dns-eval (1)\n");
}

static void complete_options(const dns_option *options)
{
    for (const dns_option *o = options; o != NULL && o->name != NULL; o++)
        printf(" --%s", o->name);
}

void dns_bash_completion(const dns_program *program)
{
    char function[64];
    snprintf(function, sizeof function, "_%s", program->name);
    for (char *c = function; *c != '\0'; c++)
        if (*c == '-')
            *c = '_';
    printf(
        "%s()\n{\n    local word=${COMP_WORDS[COMP_CWORD]} options\n    case ${COMP_WORDS[1]} in\n",
        function);
    for (const dns_command *const *c = program->commands; *c != NULL; c++)
        if ((*c)->name != NULL) {
            printf("    %s) options='", (*c)->name);
            complete_options((*c)->options);
            complete_options(common_options);
            printf("' ;;\n");
        }
    printf("    *) options='");
    if (program->fallback != NULL)
        complete_options(program->fallback->options);
    complete_options(common_options);
    printf("' ;;\n    esac\n    if [ \"$COMP_CWORD\" = 1 ] && [[ $word != -* ]]; then\n        "
           "options='");
    for (const dns_command *const *c = program->commands; *c != NULL; c++)
        if ((*c)->name != NULL)
            printf(" %s", (*c)->name);
    printf("'\n    elif [[ $word != -* ]]; then\n        options=\n    fi\n"
           "    COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n}\ncomplete -o default -F %s "
           "%s\n",
           function, program->name);
}
