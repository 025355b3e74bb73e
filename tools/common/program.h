/*
 * Command line programs: a program is a table of commands, a command is a table of options and a
 * function. Parsing,
 * --help, --man and shell completion all come from these tables, so they cannot disagree.
 */
#ifndef DNS_PROGRAM_H
#define DNS_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dnsel/status.h"

/* Exit codes of all programs (documented in every man page). */
enum {
    DNS_EXIT_OK = 0,
    DNS_EXIT_NONE = 1, /* nothing found; a comparison failed */
    DNS_EXIT_FATAL = 2,
    DNS_EXIT_PARTIAL = 3, /* some inputs were skipped */
    DNS_EXIT_NO_INDEX = 10,
    DNS_EXIT_LOCKED = 11,
    DNS_EXIT_FORMAT = 12, /* wrong model, format or version */
    DNS_EXIT_CORRUPT = 13,
    DNS_EXIT_FULL = 28,
    DNS_EXIT_INTERRUPTED = 130
};

/* The exit code for a failure: full disk, lock, format, corruption, interruption; DNS_EXIT_FATAL
 * for the rest. */
int dns_exit_code(dns_status status);

typedef enum dns_option_kind {
    DNS_OPTION_FLAG,   /* bool; --name, --no-name */
    DNS_OPTION_STRING, /* const char * */
    DNS_OPTION_LIST,   /* dns_string_list; may be repeated */
    DNS_OPTION_COUNT,  /* size_t */
    DNS_OPTION_SEED,   /* uint64_t */
    DNS_OPTION_NUMBER, /* double */
    DNS_OPTION_BYTES,  /* size_t; 512M, 4G */
    DNS_OPTION_CHOICE  /* int: index into `choices` */
} dns_option_kind;

typedef struct dns_string_list {
    const char **items;
    size_t n;
} dns_string_list;

/* One option. The value goes to `offset` in the command's settings. Tables end with an entry whose
 * name is NULL. */
typedef struct dns_option {
    const char *name;
    char letter; /* 0: none */
    dns_option_kind kind;
    size_t offset;
    const char *value; /* name of the value in help, for example "FILE" */
    const char *help;  /* one sentence, lower case; the default is added where `defaults` has one */
    const char *choices;     /* DNS_OPTION_CHOICE: "exact|count|keyframe" */
    double minimum, maximum; /* for numbers; both 0: no limits */
    const char *environment; /* read when the option is not given; NULL: none */
} dns_option;

struct dns_command;

typedef struct dns_invocation {
    const char *program;
    const struct dns_command *command;
    const void *settings; /* the command's settings, filled */
    char **operands;
    size_t n_operands;
    bool quiet, no_color; /* given to every command */
} dns_invocation;

typedef struct dns_command {
    const char *name;        /* NULL for a program without commands */
    const char *synopsis;    /* operands, for example "INDEX PATH..."; NULL: none */
    const char *summary;     /* one line, lower case, no full stop */
    const char *description; /* paragraphs separated by blank lines */
    const char *examples;    /* one a line: "command  # what it does" */
    const dns_option *options;
    size_t settings_size;
    const void *defaults;                         /* an object of settings_size bytes */
    size_t min_operands, max_operands;            /* max 0: none; SIZE_MAX: any number */
    int (*run)(const dns_invocation *invocation); /* returns an exit code */
} dns_command;

typedef struct dns_program {
    const char *name, *summary, *description;
    const dns_command *const *commands; /* NULL at the end */
    const dns_command
        *fallback; /* runs when the first argument names no command; NULL: that is an error */
} dns_program;

/* Parses, runs, and returns the exit code for main. */
int dns_program_main(const dns_program *program, int argc, char **argv);

/* "dns-index: text" on standard error. */
void dns_complain(const dns_invocation *invocation, const char *format, ...) DNS_PRINTF(2, 3);

/* Complains with the text of the last error and returns dns_exit_code(status). */
int dns_fail(const dns_invocation *invocation, dns_status status);

/* ---- used by program.c, and by tests ---- */

typedef struct dns_arguments {
    void *settings;
    char **operands;
    size_t n_operands;
    bool help, man, quiet, no_color;
} dns_arguments;

/* Parses argv[0 .. argc-1] (without the program's and the command's name). Unknown options are
 * DNS_ERR_ARG with the nearest known one named. Free with dns_arguments_free. */
DNS_MUST_CHECK dns_status dns_arguments_parse(dns_arguments *out, const dns_command *command,
                                              int argc, char **argv);
void dns_arguments_free(dns_arguments *arguments, const dns_command *command);

/* Help, man page (troff) and bash completion from the tables, to standard output. */
void dns_help_program(const dns_program *program);
void dns_help_command(const dns_program *program, const dns_command *command);
void dns_man_page(const dns_program *program);
void dns_bash_completion(const dns_program *program);

#endif
