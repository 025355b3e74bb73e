#include "dnsel/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

static double clock_seconds(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double dns_seconds(void)
{
    return clock_seconds(CLOCK_MONOTONIC);
}

double dns_thread_seconds(void)
{
    return clock_seconds(CLOCK_THREAD_CPUTIME_ID);
}

void dns_logger_print(const dns_logger *logger, dns_message_level level, const char *format, ...)
{
    if (logger == NULL || logger->write == NULL)
        return;
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    logger->write(logger->payload, level, line);
}
