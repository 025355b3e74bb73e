/* What --version prints. */
#ifndef DNS_VERSIONS_H
#define DNS_VERSIONS_H

void dns_versions_print(const char *program);

#endif
