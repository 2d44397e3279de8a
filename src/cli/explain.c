/* `ergon explain`: the module ergon.explain runs the program and shows what of it ran in parallel. This process becomes
 * the interpreter, with the alias modules in front of its path (ergon.run). */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static const char usage[] =
    "Usage: ergon explain [--html FILE] [--svg FILE] [--color WHEN] SCRIPT [arguments]\n"
    "       ergon explain [options] -m MODULE [arguments]\n"
    "\n"
    "Runs a Python program and then shows the source of its scheduled functions, statement by\n"
    "statement: which calls of functionals ran ahead, which had to be waited for and how long, "
    "and\n"
    "where running ahead ended and why. The program's own output comes first; what is shown goes "
    "to\n"
    "standard error, or to the files.\n"
    "\n"
    "Options:\n"
    "  --html FILE   make a page of it, with the graph of how results flow between statements\n"
    "  --svg FILE    make that graph alone\n"
    "  --color WHEN  always, never, or auto: in a terminal (the default)\n"
    "  -h, --help    this text\n"
    "\n"
    "The interpreter is the python3 beside this command, else $ERGON_PYTHON, else python3 on "
    "PATH.\n";

static int takes_value(const char *option) {
    return strcmp(option, "--html") == 0 || strcmp(option, "--svg") == 0 ||
           strcmp(option, "--color") == 0;
}

/* The index of the program in argv, or minus the exit status. */
static int find_program(int argc, char **argv) {
    int at = 1;
    while (at < argc && argv[at][0] == '-' && strcmp(argv[at], "-m") != 0) {
        size_t name = strcspn(argv[at], "=");
        if (takes_value(argv[at])) {
            if (at + 1 >= argc) {
                return -erg_cli_wrong("explain", "%s needs a value", argv[at]);
            }
            at += 2;
        } else if (argv[at][name] &&
                   (strncmp(argv[at], "--html=", 7) == 0 || strncmp(argv[at], "--svg=", 6) == 0 ||
                    strncmp(argv[at], "--color=", 8) == 0)) {
            at++;
        } else {
            return -erg_cli_wrong("explain", "unknown option '%s'", argv[at]);
        }
    }
    if (at >= argc) {
        return -erg_cli_wrong("explain", "which program? Name a script or -m MODULE");
    }
    return at;
}

int erg_cli_explain(int argc, char **argv) {
    for (int i = 1; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return erg_cli_end("explain", ERG_CLI_OK);
        }
    }
    int program = find_program(argc, argv);
    if (program < 0) {
        return -program;
    }
    char python[PATH_MAX];
    struct erg_error err;
    if (erg_cli_python(python, sizeof python, &err) < 0) {
        return erg_cli_fail("explain", "%s", err.text);
    }
    char **line = calloc((size_t)argc + 8, sizeof *line);
    if (!line) {
        return erg_cli_fail("explain", "not enough memory");
    }
    size_t n = 0;
    line[n++] = python;
    line[n++] = (char[]){"-P"};
    line[n++] = (char[]){"-m"};
    line[n++] = (char[]){"ergon.run"};
    line[n++] = (char[]){"-m"};
    line[n++] = (char[]){"ergon.explain"};
    memcpy(line + n, argv + 1, (size_t)(argc - 1) * sizeof *line);
    execv(python, line);
    int status = erg_cli_fail("explain", "cannot start %s: %s", python, strerror(errno));
    free(line);
    return status;
}
