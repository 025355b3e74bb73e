/* The budget of fine comparisons as text, for every program that searches. */
#ifndef DNS_RERANK_OPTION_H
#define DNS_RERANK_OPTION_H

#include "dnsel/search.h"

/* "5%", "200", "all", "none", "auto". DNS_ERR_ARG. */
DNS_MUST_CHECK dns_status dns_rerank_parse(dns_search_options *options, const char *text);

#endif
