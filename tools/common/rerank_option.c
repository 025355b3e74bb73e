#include "rerank_option.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

dns_status dns_rerank_parse(dns_search_options *o, const char *text)
{
    static const struct {
        const char *text;
        dns_budget_kind budget;
    } words[] = {{"auto", DNS_BUDGET_AUTO}, {"all", DNS_BUDGET_ALL}, {"none", DNS_BUDGET_NONE}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(text, words[i].text) == 0) {
            o->budget = words[i].budget;
            return DNS_OK;
        }
    char *end;
    double amount = strtod(text, &end);
    if (end != text && strcmp(end, "%") == 0 && amount >= 0 && amount <= 100) {
        o->budget = DNS_BUDGET_SHARE;
        o->amount = amount / 100;
    } else if (end != text && *end == '\0' && amount >= 0 && amount == floor(amount) &&
               amount < 1e15) {
        o->budget = DNS_BUDGET_COUNT;
        o->amount = amount;
    } else {
        return dns_status_set(DNS_ERR_ARG, "--rerank: '%s' is none of 5%%, 200, all, none, auto",
                              text);
    }
    return DNS_OK;
}
