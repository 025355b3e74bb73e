#include "default_model.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dnsel/file.h"

enum { PATH_SIZE = 4096 };

/* The folder that the running program lies in, with a slash at its end. */
static bool program_folder(char *folder, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", folder, size - 1);
    if (n <= 0)
        return false;
    folder[n] = '\0';
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        return false;
    slash[1] = '\0';
    return true;
}

dns_status dns_default_model_open(dns_model **out, const char *given)
{
    static const char *const places[] = {"../models", "../share/dnsel/models"};
    char folder[PATH_SIZE], path[PATH_SIZE + 512];
    *out = NULL;
    if (given != NULL && dns_directory_exists(given))
        return dns_model_open(out, given);
    if (given != NULL && strchr(given, '/') != NULL)
        return dns_status_set(DNS_ERR_NOTFOUND, "%s: no such model directory", given);
    const char *name = given != NULL ? given : "default";
    if (!program_folder(folder, sizeof folder))
        return dns_status_set(DNS_ERR_NOTFOUND, "model '%s': give its directory with --model",
                              name);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        snprintf(path, sizeof path, "%s%s/%.256s", folder, places[i], name);
        if (dns_directory_exists(path))
            return dns_model_open(out, path);
    }
    return dns_status_set(DNS_ERR_NOTFOUND, "model '%s' is neither a directory nor one that ships",
                          name);
}
