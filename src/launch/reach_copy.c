#include "launch/reach.h"

#include <stdlib.h>
#include <string.h>

static char **copy_argv(char *const *argv) {
    size_t n = 0;
    while (argv[n])
        n++;
    char **copy = calloc(n + 1, sizeof *copy);
    for (size_t i = 0; copy && i < n; i++)
        if (!(copy[i] = strdup(argv[i]))) {
            while (i > 0)
                free(copy[--i]);
            free(copy);
            return NULL;
        }
    return copy;
}

static int copy_text(const char **to, const char *from) {
    *to = from ? strdup(from) : NULL;
    return from && !*to ? ERG_ENOMEM : 0;
}

static int copy_bytes(const void **to, const void *from, size_t len) {
    void *copy = from ? malloc(len + 1) : NULL;
    if (copy)
        memcpy(copy, from, len);
    *to = copy;
    return from && !copy ? ERG_ENOMEM : 0;
}

int erg_reach_copy(struct erg_reach_spec *to, const struct erg_reach_spec *from) {
    const void *script = NULL, *key = NULL;
    *to = (struct erg_reach_spec){.kind = from->kind,
                                  .name = from->name,
                                  .timeout_ns = from->timeout_ns,
                                  .port = from->port,
                                  .session = from->session,
                                  .script_len = from->script_len};
    int code = 0;
    if (from->argv && !(to->argv = copy_argv(from->argv)))
        code = ERG_ENOMEM;
    code |= copy_text(&to->host, from->host);
    code |= copy_text(&to->user, from->user);
    code |= copy_text(&to->config, from->config);
    code |= copy_text(&to->password, from->password);
    code |= copy_text(&to->command, from->command);
    code |= copy_text(&to->seed, from->seed);
    code |= copy_bytes(&script, from->script, from->script_len);
    code |= copy_bytes(&key, from->key, 32);
    to->script = script;
    to->key = key;
    if (code == 0)
        return 0;
    erg_reach_copy_free(to);
    return ERG_ENOMEM;
}

void erg_reach_copy_free(struct erg_reach_spec *copy) {
    for (char *const *arg = copy->argv; arg && *arg; arg++)
        free(*arg);
    free((void *)copy->argv);
    if (copy->password)
        explicit_bzero((void *)copy->password, strlen(copy->password));
    if (copy->key)
        explicit_bzero((void *)copy->key, 32);
    const void *const parts[] = {copy->host,    copy->user, copy->config, copy->password,
                                 copy->command, copy->seed, copy->script, copy->key};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        free((void *)parts[i]);
    *copy = (struct erg_reach_spec){0};
}
