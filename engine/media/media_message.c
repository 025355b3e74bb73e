#include "media_message.h"

#include <libavutil/error.h>
#include <libavutil/log.h>
#include <string.h>
#include <threads.h>

static _Thread_local char last_line[256];

static void keep_line(void *context, int level, const char *format, va_list arguments)
{
    if (level > AV_LOG_ERROR)
        return;
    int print_prefix = 1;
    av_log_format_line2(context, level, format, arguments, last_line, sizeof last_line,
                        &print_prefix);
    last_line[strcspn(last_line, "\n")] = '\0';
}

static void silence(void)
{
    av_log_set_callback(keep_line);
}

void dns_av_silence(void)
{
    static once_flag once = ONCE_FLAG_INIT;
    call_once(&once, silence);
}

void dns_av_forget(void)
{
    last_line[0] = '\0';
}

static dns_status code_of(int error)
{
    switch (error) {
    case AVERROR(ENOMEM):
        return DNS_ERR_NOMEM;
    case AVERROR(EIO):
        return DNS_ERR_IO;
    case AVERROR(ENOSPC):
        return DNS_ERR_FULL;
    case AVERROR_DECODER_NOT_FOUND:
    case AVERROR_ENCODER_NOT_FOUND:
    case AVERROR_PATCHWELCOME:
        return DNS_ERR_UNSUPPORTED;
    default:
        return DNS_ERR_DECODE;
    }
}

dns_status dns_av_status(int error, const char *what)
{
    char reason[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(error, reason, sizeof reason);
    if (last_line[0] == '\0')
        return dns_status_set(code_of(error), "%s: %s", what, reason);
    return dns_status_set(code_of(error), "%s: %s (%s)", what, reason, last_line);
}
