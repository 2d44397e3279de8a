#include "engine/resource.h"
#include "table/layout.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct scheme {
    const char *name;
    enum erg_resource_kind kind;
    int takes_count;
    const char *
        options; /* known ones, each followed by a space; NULL: whoever uses the resource checks them */
} schemes[] = {
    {"local", ERG_RESOURCE_LOCAL, 1, NULL},
    {"threads", ERG_RESOURCE_THREADS, 1, NULL},
    {"serial", ERG_RESOURCE_SERIAL, 0, NULL},
    {"ssh", ERG_RESOURCE_SSH, 0, "slots threads python tmp_dir data_ports tags config modules "},
    {"tcp", ERG_RESOURCE_TCP, 0, "slots threads data_ports tags key modules "},
    {"exec", ERG_RESOURCE_EXEC, 0, "slots threads python tmp_dir data_ports tags modules "},
};

#define KNOWN                                                                                      \
    "known are local, local:4, threads, threads:8, serial, ssh://host, tcp://host:port and "       \
    "exec:COMMAND"
enum { COUNT_MAX = ERG_WORKERS_LIMIT };

/* Words people may expect of a tool like this one. */
static const char *const elsewhere[] = {"mpi", "slurm", "pbs", "lsf", "sge", "kubernetes", "cloud"};

static int unknown(const char *string, struct erg_error *err) {
    size_t len = strcspn(string, ":?");
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++)
        if (strlen(elsewhere[i]) == len && memcmp(elsewhere[i], string, len) == 0)
            return erg_error_set(err, ERG_ECONFIG,
                                 "\"%.80s\": this version does not start workers through %s; "
                                 "start them where you have been given hosts, with ssh or exec: %s",
                                 string, elsewhere[i], KNOWN);
    return erg_error_set(err, ERG_ECONFIG, "\"%.80s\" is no resource: %s", string, KNOWN);
}

static const struct scheme *find_scheme(const char *text, size_t len) {
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (strlen(schemes[i].name) == len && memcmp(schemes[i].name, text, len) == 0)
            return &schemes[i];
    return NULL;
}

static int hex(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes in place. 0, or -1 when a percent sign is not followed by two hex digits or hides a NUL. */
static int decode(char *text) {
    char *to = text;
    for (const char *from = text; *from; from++, to++) {
        if (*from != '%') {
            *to = *from;
            continue;
        }
        int high = hex(from[1]), low = high < 0 ? -1 : hex(from[2]);
        if (low < 0 || (high == 0 && low == 0))
            return -1;
        *to = (char)(high * 16 + low);
        from += 2;
    }
    *to = '\0';
    return 0;
}

static int parse_count(const char *string, const char *digits, struct erg_resource *out,
                       struct erg_error *err) {
    char *end;
    errno = 0;
    long n = isdigit((unsigned char)digits[0]) ? strtol(digits, &end, 10) : 0;
    if (n < 1 || n > COUNT_MAX || errno || *end)
        return erg_error_set(
            err, ERG_ECONFIG,
            "\"%.80s\": what follows the colon must be a number of workers, 1 to %d", string,
            COUNT_MAX);
    out->count = (int)n;
    return 0;
}

static int parse_options(const char *string, char *query, struct erg_resource *out,
                         struct erg_error *err) {
    char *rest = query;
    for (char *item; (item = strsep(&rest, "&"));) {
        if (!*item)
            continue;
        char *value = strchr(item, '=');
        if (!value || value == item)
            return erg_error_set(err, ERG_ECONFIG,
                                 "\"%.80s\": \"%.40s\" behind the question mark is not key=value",
                                 string, item);
        *value++ = '\0';
        if (decode(item) != 0 || decode(value) != 0)
            return erg_error_set(
                err, ERG_ECONFIG,
                "\"%.80s\": a percent sign must be followed by two hex digits (%%25 "
                "is the percent sign itself)",
                string);
        if (out->options_len == ERG_RESOURCE_OPTIONS_MAX)
            return erg_error_set(err, ERG_ECONFIG, "\"%.80s\" has more than %d options", string,
                                 ERG_RESOURCE_OPTIONS_MAX);
        if (erg_resource_option(out, item))
            return erg_error_set(err, ERG_ECONFIG, "\"%.80s\": option \"%.40s\" is given twice",
                                 string, item);
        out->options[out->options_len++] = (struct erg_resource_option){item, value};
    }
    return 0;
}

static void trim(char *text) {
    size_t len = strlen(text), skip = strspn(text, " \t\n");
    while (len > skip && isspace((unsigned char)text[len - 1]))
        len--;
    memmove(text, text + skip, len - skip);
    text[len - skip] = '\0';
}

/* "host", "host:port", "[v6]:port" -> host and port, in place. */
static int parse_address(const char *string, char *text, struct erg_resource *out,
                         struct erg_error *err) {
    char *port = NULL, *whole = text;
    if (*text == '[') { /* fe80::1%eth0 may stand there */
        char *end = strchr(text, ']');
        if (!end || (end[1] && end[1] != ':'))
            return erg_error_set(err, ERG_ECONFIG, "\"%.80s\": an IPv6 address is written [::1]:22",
                                 string);
        *end = '\0';
        text++;
        port = end[1] ? end + 2 : NULL;
    } else if ((port = strchr(text, ':'))) {
        *port++ = '\0';
        if (strchr(port, ':'))
            return erg_error_set(err, ERG_ECONFIG, "\"%.80s\": an IPv6 address is written [::1]:22",
                                 string);
    }
    if (!*text || *text == '-')
        return erg_error_set(err, ERG_ECONFIG, "\"%.80s\" names no host", string);
    if (text == whole && strchr(text, '%'))
        return erg_error_set(err, ERG_ECONFIG, "\"%.80s\": the name of a host has no percent sign",
                             string);
    out->host = text;
    if (port) {
        size_t digits = strspn(port, "0123456789");
        out->port = digits && digits <= 5 && !port[digits] ? (int)strtol(port, NULL, 10) : 0;
        if (out->port < 1 || out->port > 65535)
            return erg_error_set(
                err, ERG_ECONFIG,
                "\"%.80s\": what follows the colon must be a port, 1 to 65535 (how "
                "many workers: ?slots=8)",
                string);
    }
    return 0;
}

/* What stands behind "ssh:", "tcp:" or "exec:". */
static int parse_remote(const char *string, char *rest, struct erg_resource *out,
                        struct erg_error *err) {
    if (out->kind == ERG_RESOURCE_EXEC) {
        if (rest && decode(rest) != 0)
            return erg_error_set(err, ERG_ECONFIG,
                                 "\"%.80s\": a percent sign must be followed by two hex digits "
                                 "(%%25 is the percent sign itself)",
                                 string);
        if (!rest || !*rest)
            return erg_error_set(err, ERG_ECONFIG, "\"%.80s\": expected exec:COMMAND", string);
        out->host = rest;
        return 0;
    }
    const char *name = out->kind == ERG_RESOURCE_SSH ? "ssh" : "tcp";
    if (!rest || strncmp(rest, "//", 2) != 0)
        return erg_error_set(err, ERG_ECONFIG, "\"%.80s\": expected %s://%s", string, name,
                             out->kind == ERG_RESOURCE_SSH ? "user@host:port" : "host:port");
    rest += 2;
    size_t len = strlen(rest);
    if (len && rest[len - 1] == '/')
        rest[len - 1] = '\0';
    char *at = strrchr(rest, '@');
    if (at && out->kind == ERG_RESOURCE_SSH) {
        *at = '\0';
        size_t name_len = strcspn(rest, ":");
        if (rest[name_len])
            return erg_error_set(err, ERG_ECONFIG,
                                 "\"ssh://%.*s:...\": no password in a resource, where others can "
                                 "see it; it goes into the configuration file",
                                 (int)name_len, rest);
        if (decode(rest) != 0)
            return erg_error_set(err, ERG_ECONFIG,
                                 "\"%.80s\": a percent sign in the user's name must be followed by "
                                 "two hex digits",
                                 string);
        if (!*rest || *rest == '-')
            return erg_error_set(err, ERG_ECONFIG, "\"%.80s\" names no user before the @", string);
        out->user = rest;
        rest = at + 1;
    }
    if (strpbrk(rest, "/@ \t"))
        return erg_error_set(err, ERG_ECONFIG, "\"%.80s\": expected %s://%s", string, name,
                             out->kind == ERG_RESOURCE_SSH ? "user@host:port" : "host:port");
    int rc = parse_address(string, rest, out, err);
    if (rc == 0 && out->kind == ERG_RESOURCE_TCP && !out->port)
        return erg_error_set(err, ERG_ECONFIG, "\"%.80s\": which port? tcp://%.60s:PORT", string,
                             out->host);
    return rc;
}

static int check_options(const char *string, const struct scheme *scheme, struct erg_resource *out,
                         struct erg_error *err) {
    for (int i = 0; scheme->options && i < out->options_len; i++) {
        const char *key = out->options[i].key;
        size_t len = strlen(key);
        const char *found = scheme->options;
        while ((found = strstr(found, key)) &&
               !(found[len] == ' ' && (found == scheme->options || found[-1] == ' ')))
            found++;
        if (!found || strchr(key, ' '))
            return erg_error_set(err, ERG_ECONFIG,
                                 "\"%.80s\": %s has no option \"%.40s\"; known are %s", string,
                                 scheme->name, key, scheme->options);
    }
    for (int i = 0; scheme->options && i < out->options_len; i++)
        if (!*out->options[i].value)
            return erg_error_set(err, ERG_ECONFIG,
                                 "\"%.80s\": %s is empty: give it a value, or leave it out", string,
                                 out->options[i].key);
    const char *slots = scheme->options ? erg_resource_option(out, "slots") : NULL;
    if (!slots)
        return 0;
    if (parse_count(string, slots, out, NULL) != 0)
        return erg_error_set(err, ERG_ECONFIG,
                             "\"%.80s\": slots must be a number of workers, 1 to %d", string,
                             COUNT_MAX);
    return 0;
}

int erg_resource_parse(const char *string, struct erg_resource *out, struct erg_error *err) {
    size_t len = strlen(string);
    memset(out, 0, sizeof *out);
    if (len >= sizeof out->text)
        return erg_error_set(err, ERG_ECONFIG, "\"%.40s...\" is too long for a resource", string);
    memcpy(out->text, string, len + 1);
    trim(out->text);
    char *query = strchr(out->text, '?');
    if (query)
        *query++ = '\0';
    char *rest = strchr(out->text, ':');
    if (rest)
        *rest++ = '\0';
    const struct scheme *scheme = find_scheme(out->text, strlen(out->text));
    if (!scheme)
        return unknown(string, err);
    out->kind = scheme->kind;
    int rc = 0;
    if (erg_resource_is_remote(out))
        rc = parse_remote(string, rest, out, err);
    else if (rest && !scheme->takes_count)
        return erg_error_set(err, ERG_ECONFIG, "\"%.80s\": %s takes no number", string,
                             scheme->name);
    else if (rest)
        rc = parse_count(string, rest, out, err);
    if (rc == 0 && query)
        rc = parse_options(string, query, out, err);
    return rc == 0 ? check_options(string, scheme, out, err) : rc;
}

const char *erg_resource_option(const struct erg_resource *resource, const char *key) {
    for (int i = 0; i < resource->options_len; i++)
        if (strcmp(resource->options[i].key, key) == 0)
            return resource->options[i].value;
    return NULL;
}
