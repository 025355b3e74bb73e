/* Which model a program uses: --model, $DNS_MODEL, or the one that ships. */
#ifndef DNS_DEFAULT_MODEL_H
#define DNS_DEFAULT_MODEL_H

#include "dnsel/model.h"

#define DNS_MODEL_OPTION(type, field)                                                        \
    {                                                                                        \
        .name = "model", .letter = 'm', .kind = DNS_OPTION_STRING,                           \
        .offset = offsetof(type, field), .value = "DIR",                                     \
        .help = "model directory, or the name of one that ships", .environment = "DNS_MODEL" \
    }

/* Opens `given`, a directory or the name of a shipped model; NULL: "default". Shipped models lie in
 * ../models or
 * ../share/dnsel/models, seen from the program. */
DNS_MUST_CHECK dns_status dns_default_model_open(dns_model **out, const char *given);

#endif
