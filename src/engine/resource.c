#include "engine/resource.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct scheme {
    const char *name;
    enum erg_resource_kind kind;
    int takes_count;
} schemes[] = {
    {"local", ERG_RESOURCE_LOCAL, 1},
    {"threads", ERG_RESOURCE_THREADS, 1},
    {"serial", ERG_RESOURCE_SERIAL, 0},
};

#define KNOWN "known are local, local:4, threads, threads:8 and serial"
enum { COUNT_MAX = 1000 };

static int unknown(const char *string, struct erg_error *err) {
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
    char *count = strchr(out->text, ':');
    if (count)
        *count++ = '\0';
    const struct scheme *scheme = find_scheme(out->text, strlen(out->text));
    if (!scheme)
        return unknown(string, err);
    out->kind = scheme->kind;
    if (count && !scheme->takes_count)
        return erg_error_set(err, ERG_ECONFIG, "\"%.80s\": %s takes no number", string,
                             scheme->name);
    int rc = count ? parse_count(string, count, out, err) : 0;
    return rc == 0 && query ? parse_options(string, query, out, err) : rc;
}

const char *erg_resource_option(const struct erg_resource *resource, const char *key) {
    for (int i = 0; i < resource->options_len; i++)
        if (strcmp(resource->options[i].key, key) == 0)
            return resource->options[i].value;
    return NULL;
}
