#include "program.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "versions.h"

int dns_exit_code(dns_status status)
{
    switch (status) {
    case DNS_OK:
        return DNS_EXIT_OK;
    case DNS_ERR_BUSY:
        return DNS_EXIT_LOCKED;
    case DNS_ERR_FORMAT:
    case DNS_ERR_VERSION:
    case DNS_ERR_UNSUPPORTED:
    case DNS_ERR_MODEL:
    case DNS_ERR_SHAPE:
        return DNS_EXIT_FORMAT;
    case DNS_ERR_CORRUPT:
        return DNS_EXIT_CORRUPT;
    case DNS_ERR_FULL:
        return DNS_EXIT_FULL;
    case DNS_ERR_CANCELLED:
        return DNS_EXIT_INTERRUPTED;
    default:
        return DNS_EXIT_FATAL;
    }
}

void dns_complain(const dns_invocation *invocation, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", invocation->program);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

int dns_fail(const dns_invocation *invocation, dns_status status)
{
    const char *text = dns_status_message();
    dns_complain(invocation, "%s", text[0] != '\0' ? text : dns_status_name(status));
    return dns_exit_code(status);
}

static const dns_command *find_command(const dns_program *program, const char *name)
{
    for (const dns_command *const *c = program->commands; *c != NULL; c++)
        if ((*c)->name != NULL && strcmp((*c)->name, name) == 0)
            return *c;
    return NULL;
}

static int run_command(const dns_program *program, const dns_command *command, int argc,
                       char **argv)
{
    dns_invocation invocation = {.program = program->name, .command = command};
    dns_arguments arguments;
    if (dns_arguments_parse(&arguments, command, argc, argv) != DNS_OK) {
        dns_complain(&invocation, "%s%s%s", command->name != NULL ? command->name : "",
                     command->name != NULL ? ": " : "", dns_status_message());
        return DNS_EXIT_FATAL;
    }
    int code = DNS_EXIT_OK;
    if (arguments.help) {
        dns_help_command(program, command);
    } else if (arguments.man) {
        dns_man_page(program);
    } else {
        invocation.settings = arguments.settings;
        invocation.operands = arguments.operands;
        invocation.n_operands = arguments.n_operands;
        invocation.quiet = arguments.quiet;
        invocation.no_color = arguments.no_color;
        code = command->run(&invocation);
    }
    dns_arguments_free(&arguments, command);
    if (fflush(stdout) != 0 && code == DNS_EXIT_OK) {
        dns_complain(&invocation, "standard output could not be written");
        code = DNS_EXIT_FATAL;
    }
    return code;
}

int dns_program_main(const dns_program *program, int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is a full disk, not the end */
    signal(SIGPIPE, SIG_DFL); /* `dns-query ... | head` ends quietly */
    const char *first = argc > 1 ? argv[1] : "--help";
    if (strcmp(first, "--version") == 0) {
        dns_versions_print(program->name);
        return DNS_EXIT_OK;
    }
    if (strcmp(first, "--man") == 0) {
        dns_man_page(program);
        return DNS_EXIT_OK;
    }
    if (strcmp(first, "--bash-completion") == 0) {
        dns_bash_completion(program);
        return DNS_EXIT_OK;
    }
    const dns_command *command = find_command(program, first);
    if (command != NULL)
        return run_command(program, command, argc - 2, argv + 2);
    if (program->fallback != NULL)
        return run_command(program, program->fallback, argc > 1 ? argc - 1 : 0, argv + 1);
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || strcmp(first, "help") == 0) {
        dns_help_program(program);
        return argc > 1 ? DNS_EXIT_OK : DNS_EXIT_FATAL;
    }
    fprintf(stderr, "%s: unknown command '%s'; --help lists them\n", program->name, first);
    return DNS_EXIT_FATAL;
}
