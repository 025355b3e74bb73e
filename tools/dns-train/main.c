#include "train_commands.h"

static const dns_command *const commands[] = {&dns_train_classifier,  &dns_train_classifier_data,
                                              &dns_train_whitening,   &dns_train_backbone,
                                              &dns_train_projection,  &dns_train_prepare,
                                              &dns_train_ranges,      &dns_train_coarse,
                                              &dns_train_teacher,     &dns_train_fine_attention,
                                              &dns_train_fine_binary, &dns_train_selector,
                                              &dns_train_all,         NULL};

static const dns_program program = {
    .name = "dns-train",
    .summary = "learn the parts of a model",
    .description =
        "Learns the parts of a model directory from your own videos, one command a part. "
        "Every command draws from one seed: the same input gives the same model.",
    .commands = commands,
};

int main(int argc, char **argv)
{
    return dns_program_main(&program, argc, argv);
}
