/* Progress on standard error, and Ctrl-C. */
#ifndef DNS_TERMINAL_H
#define DNS_TERMINAL_H

#include <stdbool.h>

#include "dnsel/progress.h"

/* The choices of --progress, in this order. */
#define DNS_PROGRESS_CHOICES "auto|none|plain|json"
typedef enum dns_progress_style {
    DNS_PROGRESS_AUTO, /* a moving line on a terminal, nothing otherwise */
    DNS_PROGRESS_NONE,
    DNS_PROGRESS_PLAIN, /* a line every ten per cent */
    DNS_PROGRESS_JSON   /* one object a line: {"done":..,"total":..,"unit":..,"rate":..,"left_s":..}
                         */
} dns_progress_style;

typedef struct dns_terminal {
    dns_progress_style style;
    double start, last;
    size_t last_tenth;
    bool line_open;
} dns_terminal;

/* `quiet` and a standard error that is no terminal turn AUTO into NONE. */
dns_terminal dns_terminal_open(dns_progress_style style, bool quiet);
/* A dns_progress that draws on `terminal`, which must outlive it. */
dns_progress dns_terminal_progress(dns_terminal *terminal);
/* Ends a moving line, so that other text may follow. */
void dns_terminal_close(dns_terminal *terminal);

/* "1 h 23 min", "12 s". */
void dns_duration_text(char *text, size_t size, double seconds);

/* Ctrl-C and SIGTERM set the returned flag (the record in hand is finished and saved); a second one
 * ends the process at once with code 130. */
dns_cancel *dns_interrupt_catch(void);

#endif
