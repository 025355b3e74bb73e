/* FFmpeg's log kept to its last line, and its error codes translated. */
#ifndef DNS_MEDIA_MESSAGE_H
#define DNS_MEDIA_MESSAGE_H

#include "dnsel/status.h"

/* Silences FFmpeg for the process; the last error line of each thread is kept. Cheap after the
 * first call. */
void dns_av_silence(void);

/* Forgets the kept line of this thread, before a call whose errors are to be told. */
void dns_av_forget(void);

/* Translates an AVERROR; the text is "what: FFmpeg's reason (kept line)". */
dns_status dns_av_status(int error, const char *what);

#endif
