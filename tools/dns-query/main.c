#include "program.h"

extern const dns_command dns_query_classify, dns_query_search;

int main(int argc, char **argv)
{
    static const dns_command *const commands[] = {&dns_query_classify, &dns_query_search, NULL};
    static const dns_program program = {
        .name = "dns-query",
        .summary = "find copies of a video, and others of the same incident",
        .description = "Finds, in an index made by dns-index, the near-duplicates and edited "
                       "copies of a video and other "
                       "videos of the same incident.",
        .commands = commands,
        .fallback = &dns_query_search,
    };
    return dns_program_main(&program, argc, argv);
}
