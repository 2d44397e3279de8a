#include <ergon/ergon.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

struct command {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
    {"run", "run a Python program, with the alias modules in front of its path", erg_cli_run},
    {"explain", "run a program and show what of it ran in parallel, and what did not and why",
     erg_cli_explain},
    {"server", "let pools elsewhere use this machine", erg_cli_server},
    {"agent", "serve one pool over standard input and output: what pools start on other hosts",
     erg_cli_agent},
    {"report", "make an HTML page of a recorded trace", erg_cli_report},
    {"top", "show the pools of running programs, live", erg_cli_top},
    {"hosts", "say which hosts can be reached, and what they are like", erg_cli_hosts},
    {"tunnel", "make a port lead to a port of another host, through ssh", erg_cli_tunnel},
    {"ports", "print free ports", erg_cli_ports},
    {"doctor", "say what is wrong on this machine", erg_cli_doctor},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static void say(const char *command, const char *format, va_list args) {
    fflush(stdout);
    fprintf(stderr, "ergon%s%s: ", *command ? " " : "", command);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

int erg_cli_fail(const char *command, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(command, format, args);
    va_end(args);
    return ERG_CLI_FAILED;
}

int erg_cli_wrong(const char *command, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(command, format, args);
    va_end(args);
    fprintf(stderr, "Try 'ergon%s%s --help'.\n", *command ? " " : "", command);
    return ERG_CLI_USAGE;
}

int erg_cli_end(const char *command, int status) {
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return erg_cli_fail(command, "cannot write: %s", strerror(errno));
    }
    return status;
}

static int help(void) {
    puts("Usage: ergon COMMAND [arguments]\n\n"
         "Parallel Python on a C engine.\n\nCommands:");
    for (size_t i = 0; i < COMMANDS; i++) {
        printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    }
    puts("\nOptions:\n"
         "  -h, --help     this text\n"
         "  -V, --version  the version\n\n"
         "'ergon COMMAND --help' tells more about a command, as does 'man ergon-COMMAND'.");
    return erg_cli_end("", ERG_CLI_OK);
}

static const struct command *find(const char *name) {
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* How many letters differ (Levenshtein), for short words. */
static size_t distance(const char *a, const char *b) {
    enum { MOST = 32 };
    size_t row[MOST + 1], len = strlen(b);
    if (len > MOST) {
        return MOST;
    }
    for (size_t j = 0; j <= len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; *a; a++, i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= len; j++) {
            size_t replaced = corner + (*a != b[j - 1]);
            corner = row[j];
            size_t moved = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = replaced < moved ? replaced : moved;
        }
    }
    return row[len];
}

static int unknown(const char *name) {
    const struct command *nearest = NULL;
    size_t least = 3; /* farther than this is another word */
    for (size_t i = 0; i < COMMANDS; i++) {
        size_t far = distance(name, commands[i].name);
        if (far < least && far < strlen(commands[i].name)) {
            least = far;
            nearest = &commands[i];
        }
    }
    if (nearest) {
        return erg_cli_wrong("", "no command '%s'; did you mean '%s'?", name, nearest->name);
    }
    size_t len = strlen(name);
    if (len > 3 && strcmp(name + len - 3, ".py") == 0) {
        return erg_cli_wrong("", "no command '%s'; to run a program: ergon run %s", name, name);
    }
    return erg_cli_wrong("", "no command '%s'", name);
}

int main(int argc, char **argv) {
    erg_init(&argc, &argv); /* worker processes of C programs may be forked from this command */
    if (argc < 2) {
        return erg_cli_wrong("", "which command?");
    }
    const char *name = argv[1];
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0) {
        return help();
    }
    if (strcmp(name, "-V") == 0 || strcmp(name, "--version") == 0) {
        printf("ergon %s\n", erg_version());
        return erg_cli_end("", ERG_CLI_OK);
    }
    if (strcmp(name, "help") == 0) {
        char *arguments[] = {argc > 2 ? argv[2] : argv[1], (char[]){"--help"}, NULL};
        const struct command *about = argc > 2 ? find(argv[2]) : NULL;
        return about ? about->run(2, arguments) : argc > 2 ? unknown(argv[2]) : help();
    }
    if (*name == '-') {
        return erg_cli_wrong("", "unknown option '%s'", name);
    }
    const struct command *command = find(name);
    return command ? command->run(argc - 1, argv + 1) : unknown(name);
}
