#include "dnsel/similarity_rule.h"

static const char *const directions[DNS_DIRECTIONS] = {"query", "target", "max", "symmetric"};
static const char *const steps[] = {"chamfer", "same", "symmetric"};

const char *dns_direction_name(dns_direction direction)
{
    return directions[direction];
}

const char *dns_region_step_name(dns_region_step step)
{
    return steps[step];
}
