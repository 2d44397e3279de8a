/* engine/resource: resource strings, the way users write down what a pool consists of.
 *
 *     serial                    run in the caller
 *     local  local:4            worker processes on this host (all cores if no number)
 *     threads  threads:8        worker threads of this process
 *     ssh://user@host:22        an agent on a host that OpenSSH's client reaches; user and port may be left out
 *     tcp://host:port           a server (`ergon server`) that runs there
 *     exec:COMMAND              an agent at the other end of a shell command's standard input and output
 *     NAME:NUMBER?key=value&key=value   options behind a question mark
 *
 * The grammar is the same for every scheme, so that other kinds of places only add a row to the table in resource.c.
 */
#ifndef ERG_ENGINE_RESOURCE_H
#define ERG_ENGINE_RESOURCE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum erg_resource_kind {
    ERG_RESOURCE_SERIAL,
    ERG_RESOURCE_LOCAL,
    ERG_RESOURCE_THREADS,
    ERG_RESOURCE_SSH, /* from here on: places elsewhere */
    ERG_RESOURCE_TCP,
    ERG_RESOURCE_EXEC,
};

enum { ERG_RESOURCE_TEXT_MAX = 1024, ERG_RESOURCE_OPTIONS_MAX = 32 };

/* One "key=value" behind the question mark, percent-decoded; points into erg_resource.text. */
struct erg_resource_option {
    const char *key, *value;
};

struct erg_resource {
    enum erg_resource_kind kind;
    int count;        /* number or "slots"; 0: not given, take every core */
    const char *user; /* ssh: NULL if not given */
    const char *host; /* ssh, tcp; without the brackets of an IPv6 address. exec: the command */
    int port;         /* ssh, tcp: 0 if not given */
    int options_len;
    struct erg_resource_option options[ERG_RESOURCE_OPTIONS_MAX];
    char text[ERG_RESOURCE_TEXT_MAX]; /* storage */
};

/* Parses one string. 0, or ERG_ECONFIG with a sentence naming what is wrong and what is known. Pure; any thread. */
int erg_resource_parse(const char *string, struct erg_resource *out, struct erg_error *err);

/* Is it a place that a link leads to? */
static inline bool erg_resource_is_remote(const struct erg_resource *resource) {
    return resource->kind >= ERG_RESOURCE_SSH;
}

/* The value of an option, NULL if it was not given. */
const char *erg_resource_option(const struct erg_resource *resource, const char *key);

#endif
