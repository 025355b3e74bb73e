/* Zip archives in memory, on top of libzip: entries by name, whole or in pieces, sizes believed
 * only when possible. */
#ifndef DNS_ZIP_FILE_H
#define DNS_ZIP_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "dnsel/status.h"

typedef struct dns_zip dns_zip;
typedef struct dns_zip_stream dns_zip_stream;

/* A local file header, or the end record of an archive without entries. */
bool dns_zip_recognise(const void *bytes, size_t size);

/* `bytes` are borrowed until close; `source` is copied. An archive that can't be read is
 * DNS_ERR_CORRUPT. Encrypted entries and methods other than stored and deflated are
 * DNS_ERR_UNSUPPORTED when they are opened, and an entry that says it is larger than deflate could
 * make it, or does not have the checksum that it should, is DNS_ERR_CORRUPT. */
dns_status dns_zip_open(dns_zip **out, const void *bytes, size_t size, const char *source);
void dns_zip_close(dns_zip *zip);

size_t dns_zip_count(const dns_zip *zip);
/* "" for an entry that was damaged. Borrowed. */
const char *dns_zip_name(const dns_zip *zip, size_t index);
/* False when there is no entry of that name. */
bool dns_zip_find(size_t *index, const dns_zip *zip, const char *name);

/* *size = bytes of the entry when unpacked. */
dns_status dns_zip_size(size_t *size, const dns_zip *zip, size_t index);
/* *data = the entry and a NUL after it, to be freed with dns_free. Larger than `limit`:
 * DNS_ERR_LIMIT. */
dns_status dns_zip_read(void **data, size_t *size, const dns_zip *zip, size_t index, size_t limit);

/* From the beginning of an entry to wherever the reader stops; the checksum is looked at when it is
 * read to the end. */
dns_status dns_zip_stream_open(dns_zip_stream **out, const dns_zip *zip, size_t index);
/* Just `size` bytes, DNS_ERR_CORRUPT when the entry ends before; `data` NULL skips them. */
dns_status dns_zip_stream_read(dns_zip_stream *stream, void *data, size_t size);
void dns_zip_stream_close(dns_zip_stream *stream);

#endif
