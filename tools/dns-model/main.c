#include "model_commands.h"

static const dns_command *const commands[] = {&dns_model_import_command, &dns_model_export_command,
                                              &dns_model_info_command, &dns_model_verify_command,
                                              NULL};

static const dns_program program = {
    .name = "dns-model",
    .summary = "import, export, look at and check models",
    .description = "Models are directories of model.json and weights in safetensors "
                   "(docs/model-format.md). Published "
                   "checkpoints are read without running anything that is in them.",
    .commands = commands,
};

int main(int argc, char **argv)
{
    return dns_program_main(&program, argc, argv);
}
