#include "versions.h"

#include <stdio.h>

void dns_versions_print(const char *program)
{
    printf("%s (dnsel) %s\n", program, DNS_VERSION);
}
