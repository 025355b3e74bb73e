#include "index_tool.h"

int dns_index_open_failed(const dns_invocation *invocation, const char *directory,
                          dns_status status)
{
    if (status != DNS_ERR_NOTFOUND)
        return dns_fail(invocation, status);
    dns_complain(invocation, "%s: no index here; make one with: dns-index build %s FOLDER",
                 directory, directory);
    return DNS_EXIT_NO_INDEX;
}

int main(int argc, char **argv)
{
    static const dns_command *const commands[] = {&dns_index_build,
                                                  &dns_index_add,
                                                  &dns_index_remove,
                                                  &dns_index_list,
                                                  &dns_index_stat,
                                                  &dns_index_verify,
                                                  &dns_index_repair,
                                                  &dns_index_import,
                                                  &dns_index_tiers,
                                                  &dns_index_ann,
                                                  NULL};
    static const dns_program program = {
        .name = "dns-index",
        .summary = "make and keep an index of videos",
        .description = "Makes and keeps an index of videos, in which dns-query finds copies and "
                       "other videos of the same "
                       "incident.",
        .commands = commands,
    };
    return dns_program_main(&program, argc, argv);
}
