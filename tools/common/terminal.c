#include "terminal.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "program.h"

static dns_cancel interrupted;

static void on_signal(int number)
{
    (void)number;
    if (atomic_exchange(&interrupted.wanted, true))
        _exit(DNS_EXIT_INTERRUPTED);
}

dns_cancel *dns_interrupt_catch(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return &interrupted;
}

void dns_duration_text(char *text, size_t size, double seconds)
{
    long s = (long)(seconds + 0.5);
    if (s < 60)
        snprintf(text, size, "%ld s", s);
    else if (s < 3600)
        snprintf(text, size, "%ld min %02ld s", s / 60, s % 60);
    else
        snprintf(text, size, "%ld h %02ld min", s / 3600, s / 60 % 60);
}

dns_terminal dns_terminal_open(dns_progress_style style, bool quiet)
{
    if (style == DNS_PROGRESS_AUTO)
        style = quiet || !isatty(STDERR_FILENO) ? DNS_PROGRESS_NONE : DNS_PROGRESS_AUTO;
    double now = dns_seconds();
    return (dns_terminal){.style = style, .start = now, .last = now - 1};
}

static void draw(dns_terminal *t, size_t done, size_t total, const char *unit, double rate,
                 double left)
{
    char duration[32] = "";
    if (left >= 0)
        dns_duration_text(duration, sizeof duration, left);
    fprintf(stderr, "\r\033[K%zu", done);
    if (total > 0)
        fprintf(stderr, " of %zu", total);
    fprintf(stderr, " %s, %.3g/s%s%s", unit, rate, left >= 0 ? ", left: " : "", duration);
    fflush(stderr);
    t->line_open = true;
}

static void report(void *payload, size_t done, size_t total, const char *unit)
{
    dns_terminal *t = payload;
    double now = dns_seconds();
    bool last = total > 0 && done >= total;
    if (t->style == DNS_PROGRESS_NONE || (now - t->last < 0.1 && !last))
        return;
    double rate = now > t->start ? (double)done / (now - t->start) : 0;
    double left = total > 0 && rate > 0 ? (double)(total - done) / rate : -1;
    size_t tenth = total > 0 ? done * 10 / total : 0;
    if (t->style == DNS_PROGRESS_AUTO) {
        draw(t, done, total, unit, rate, left);
    } else if (t->style == DNS_PROGRESS_JSON) {
        fprintf(stderr,
                "{\"schema\":\"dnsel.progress/"
                "1\",\"done\":%zu,\"total\":%zu,\"unit\":\"%s\",\"rate\":%.4g,\"left_s\":%.4g}\n",
                done, total, unit, rate, left < 0 ? 0 : left);
    } else if (tenth != t->last_tenth || last) {
        fprintf(stderr, "%zu of %zu %s, %.3g/s\n", done, total, unit, rate);
        t->last_tenth = tenth;
    }
    t->last = now;
}

dns_progress dns_terminal_progress(dns_terminal *terminal)
{
    return (dns_progress){terminal, report};
}

void dns_terminal_close(dns_terminal *terminal)
{
    if (terminal->line_open)
        fputc('\n', stderr);
    terminal->line_open = false;
}
