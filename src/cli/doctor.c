/* `ergon doctor`: what is wrong on this machine, a line each. */
#include "cli/doctor.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static const char usage[] =
    "Usage: ergon doctor [--json]\n"
    "\n"
    "Looks at what pools need: the kernel, cores, memory, shared memory, limits, the interpreter,\n"
    "and whether a pool starts and runs a task. One line each, OK, WARN or FAIL, and what to do.\n"
    "The exit status is 1 when something FAILs.\n"
    "\n"
    "Options:\n"
    "  --json      the same for programs\n"
    "  -h, --help  this text\n";

static const char *const verdicts[] = {"OK", "WARN", "FAIL"};

void erg_findings_add(struct erg_findings *findings, enum erg_verdict verdict, const char *name,
                      const char *advice, const char *format, ...) {
    char found[512];
    va_list args;
    va_start(args, format);
    vsnprintf(found, sizeof found, format, args);
    va_end(args);
    json_t *one = json_pack("{s:s, s:s, s:s, s:s}", "name", name, "verdict", verdicts[verdict],
                            "found", found, "advice", advice ? advice : "");
    if (!one) { /* words of the system that are not UTF-8 */
        one = json_pack("{s:s, s:s, s:s, s:s}", "name", name, "verdict", verdicts[verdict], "found",
                        "(cannot be shown)", "advice", advice ? advice : "");
    }
    json_array_append_new(findings->list, one);
}

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static size_t count(const struct erg_findings *findings, const char *verdict) {
    size_t i, found = 0;
    json_t *one;
    json_array_foreach(findings->list, i, one) {
        found += strcmp(text_of(one, "verdict"), verdict) == 0;
    }
    return found;
}

static void show(const struct erg_findings *findings) {
    static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};
    bool colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    size_t i;
    json_t *one;
    json_array_foreach(findings->list, i, one) {
        const char *verdict = text_of(one, "verdict"), *advice = text_of(one, "advice");
        size_t rank = strcmp(verdict, "OK") == 0 ? 0 : strcmp(verdict, "WARN") == 0 ? 1 : 2;
        printf("%s%-4s%s  %-16s %s\n", colour ? colours[rank] : "", verdict,
               colour ? "\033[0m" : "", text_of(one, "name"), text_of(one, "found"));
        if (*advice) {
            printf("%24s%s\n", "-> ", advice);
        }
    }
    size_t failed = count(findings, "FAIL"), warned = count(findings, "WARN");
    if (failed + warned == 0) {
        puts("\nNothing is wrong.");
    } else {
        printf("\n%zu to repair, %zu to know about.\n", failed, warned);
    }
}

static void show_json(const struct erg_findings *findings) {
    json_t *all =
        json_pack("{s:b, s:O}", "ok", count(findings, "FAIL") == 0, "checks", findings->list);
    char *text = all ? json_dumps(all, JSON_INDENT(2)) : NULL;
    if (text) {
        puts(text);
    }
    free(text);
    json_decref(all);
}

int erg_cli_doctor(int argc, char **argv) {
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    bool json = false;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (option == 'h') {
            fputs(usage, stdout);
            return erg_cli_end("doctor", ERG_CLI_OK);
        }
        if (option != 'j') {
            return erg_cli_wrong("doctor", "unknown option '%s'", argv[optind - 1]);
        }
        json = true;
    }
    if (optind != argc) {
        return erg_cli_wrong("doctor", "it takes no arguments");
    }
    struct erg_findings findings = {json_array()};
    erg_doctor_system(&findings);
    erg_doctor_python(&findings);
    if (json) {
        show_json(&findings);
    } else {
        show(&findings);
    }
    int status = count(&findings, "FAIL") ? ERG_CLI_FAILED : ERG_CLI_OK;
    json_decref(findings.list);
    return erg_cli_end("doctor", status);
}
