#include "json_text.h"

#include <stdlib.h>

dns_status dns_json_text_open(dns_json_text *text)
{
    text->stream = open_memstream(&text->data, &text->size);
    if (text->stream == NULL)
        return dns_status_set(DNS_ERR_NOMEM, "a text");
    text->writer = dns_json_writer_to(text->stream, false);
    return DNS_OK;
}

dns_status dns_json_text_finish(dns_json_text *text)
{
    dns_status status = dns_json_finish(&text->writer);
    if (fclose(text->stream) != 0 && status == DNS_OK)
        status = dns_status_set_errno("a text");
    text->stream = NULL;
    return status;
}

void dns_json_text_free(dns_json_text *text)
{
    if (text->stream != NULL)
        fclose(text->stream);
    free(text->data);
}
