#include "dnsel/memory.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

static dns_status out_of_memory(size_t count, size_t size)
{
    return dns_status_set(DNS_ERR_NOMEM, "out of memory for %zu elements of %zu bytes", count,
                          size);
}

static void *allocate_zeroed(size_t count, size_t size)
{
    size_t bytes;
    if (!dns_size_multiply(count, size, &bytes) || bytes > PTRDIFF_MAX - ALIGNMENT)
        return NULL;
    if (bytes == 0)
        bytes = 1;
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    void *block = aligned_alloc(ALIGNMENT, bytes);
    if (block != NULL)
        memset(block, 0, bytes);
    return block;
}

dns_status dns_alloc(void *out, size_t count, size_t size)
{
    void *block = allocate_zeroed(count, size);
    memcpy(out, &block, sizeof block);
    return block != NULL ? DNS_OK : out_of_memory(count, size);
}

dns_status dns_reserve(void *block, size_t *capacity, size_t needed, size_t size)
{
    if (needed <= *capacity)
        return DNS_OK;
    size_t wanted = *capacity < 8 ? 8 : *capacity + *capacity / 2;
    if (wanted < needed)
        wanted = needed;
    void *grown = allocate_zeroed(wanted, size);
    if (grown == NULL)
        return out_of_memory(wanted, size);
    void *old;
    memcpy(&old, block, sizeof old);
    if (old != NULL)
        memcpy(grown, old, *capacity * size);
    free(old);
    memcpy(block, &grown, sizeof grown);
    *capacity = wanted;
    return DNS_OK;
}

dns_status dns_string_copy(char **out, const char *text)
{
    size_t n = strlen(text) + 1;
    dns_status status = dns_alloc(out, n, 1);
    if (status == DNS_OK)
        memcpy(*out, text, n);
    return status;
}

dns_status dns_string_format(char **out, const char *format, ...)
{
    *out = NULL;
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (n < 0)
        return dns_status_set(DNS_ERR_ARG, "bad format '%s'", format);
    dns_status status = dns_alloc(out, (size_t)n + 1, 1);
    if (status != DNS_OK)
        return status;
    va_start(arguments, format);
    vsnprintf(*out, (size_t)n + 1, format, arguments);
    va_end(arguments);
    return DNS_OK;
}

void dns_free(void *block)
{
    free(block);
}
