#include "dnsel/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_SIZE = 1024 };

static _Thread_local char text[TEXT_SIZE];

/* One line, whatever file names or foreign libraries put into it; bytes above 127 are left as they
 * are. */
static void keep_to_one_line(char *line)
{
    size_t n = strlen(line);
    while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r' || line[n - 1] == ' '))
        line[--n] = '\0';
    for (char *c = line; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
}

dns_status dns_status_set(dns_status code, const char *format, ...)
{
    char line[TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    keep_to_one_line(line);
    memcpy(text, line, sizeof text);
    return code;
}

dns_status dns_status_context(dns_status code, const char *format, ...)
{
    char line[2 * TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(line, TEXT_SIZE, format, arguments);
    va_end(arguments);
    size_t used = n < 0 ? 0 : (size_t)n < TEXT_SIZE ? (size_t)n : TEXT_SIZE - 1;
    snprintf(line + used, sizeof line - used, "%s%s", used > 0 ? ": " : "", text);
    keep_to_one_line(line);
    line[TEXT_SIZE - 1] = '\0';
    memcpy(text, line, sizeof text);
    return code;
}

dns_status dns_status_set_errno(const char *format, ...)
{
    int error = errno;
    char line[TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    char reason[128];
    if (strerror_r(error, reason, sizeof reason) != 0)
        snprintf(reason, sizeof reason, "error %d", error);
    dns_status code = DNS_ERR_IO;
    if (error == ENOSPC || error == EDQUOT || error == EFBIG)
        code = DNS_ERR_FULL;
    else if (error == ENOENT)
        code = DNS_ERR_NOTFOUND;
    else if (error == EEXIST)
        code = DNS_ERR_EXISTS;
    else if (error == ENOMEM)
        code = DNS_ERR_NOMEM;
    return dns_status_set(code, "%s: %s", line, reason);
}

const char *dns_status_message(void)
{
    return text;
}

const char *dns_status_name(dns_status code)
{
    switch (code) {
    case DNS_OK:
        return "ok";
    case DNS_ERR_ARG:
        return "argument";
    case DNS_ERR_SHAPE:
        return "shape";
    case DNS_ERR_RANGE:
        return "range";
    case DNS_ERR_NOMEM:
        return "out of memory";
    case DNS_ERR_LIMIT:
        return "limit";
    case DNS_ERR_IO:
        return "input/output";
    case DNS_ERR_NOTFOUND:
        return "not found";
    case DNS_ERR_EXISTS:
        return "exists";
    case DNS_ERR_BUSY:
        return "busy";
    case DNS_ERR_FULL:
        return "disk full";
    case DNS_EOF:
        return "end";
    case DNS_ERR_FORMAT:
        return "format";
    case DNS_ERR_CORRUPT:
        return "corrupt";
    case DNS_ERR_VERSION:
        return "version";
    case DNS_ERR_UNSUPPORTED:
        return "unsupported";
    case DNS_ERR_MODEL:
        return "model";
    case DNS_ERR_CANCELLED:
        return "cancelled";
    case DNS_ERR_TIMEOUT:
        return "timeout";
    case DNS_ERR_DECODE:
        return "decode";
    case DNS_ERR_BACKEND:
        return "back end";
    case DNS_ERR_INTERNAL:
        return "internal";
    }
    return "unknown";
}
