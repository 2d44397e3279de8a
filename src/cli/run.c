/* `ergon run`: what follows is a command line of the Python interpreter. The program runs in a process that
 * is Python's alone (this one becomes it), so that __main__, arguments, exit status, signals and tracebacks
 * are what they are without ergon. The module ergon.run does what only Python knows: where the alias
 * modules lie. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static const char usage[] =
    "Usage: ergon run [--check] [--trace FILE] SCRIPT [arguments]\n"
    "       ergon run [--check] [--trace FILE] -m MODULE [arguments]\n"
    "       ergon run [--check] [--trace FILE] -c CODE [arguments]\n"
    "       ergon run [--check] [--trace FILE] - [arguments]   (the program is on standard input)\n"
    "\n"
    "Runs a Python program as python would, with ergon's alias modules (pathos, dill, ...) in\n"
    "front of the module path. Options of python itself may stand before the program.\n"
    "\n"
    "Options:\n"
    "  --trace FILE  record every task of every pool and save the trace to FILE at the end;\n"
    "                'ergon report FILE' makes a page of it\n"
    "  --check       look whether functionals keep their promise; those that do not are named\n"
    "  -h, --help    this text\n"
    "\n"
    "The interpreter is the python3 beside this command, else $ERGON_PYTHON, else python3 on "
    "PATH.\n";

/* A path that stays right when the program changes its folder. */
static int make_absolute(const char *path, char *to, size_t size) {
    char here[PATH_MAX];
    if (*path == '/') {
        return snprintf(to, size, "%s", path) < (int)size ? 0 : -1;
    }
    if (!getcwd(here, sizeof here)) {
        return -1;
    }
    return snprintf(to, size, "%s/%s", here, path) < (int)size ? 0 : -1;
}

/* Takes `--trace FILE` or `--trace=FILE` at argv[*at]; 0 when it is something else. */
static int take_trace(char **argv, int *at) {
    char path[PATH_MAX];
    const char *file = NULL;
    if (strcmp(argv[*at], "--trace") == 0) {
        file = argv[++*at];
    } else if (strncmp(argv[*at], "--trace=", 8) == 0) {
        file = argv[*at] + 8;
    } else {
        return 0;
    }
    if (!file || !*file) {
        return -erg_cli_wrong("run", "--trace needs a file");
    }
    if (make_absolute(file, path, sizeof path) < 0 || setenv("ERGON_RUN_TRACE", path, 1) != 0) {
        return -erg_cli_fail("run", "--trace: %s: %s", file, strerror(errno));
    }
    return 1;
}

static int start(int count, char **arguments) {
    char python[PATH_MAX];
    struct erg_error err;
    if (erg_cli_python(python, sizeof python, &err) < 0) {
        return erg_cli_fail("run", "%s", err.text);
    }
    char **line = calloc((size_t)count + 6, sizeof *line);
    if (!line) {
        return erg_cli_fail("run", "not enough memory");
    }
    size_t n = 0;
    line[n++] = python;
    line[n++] = (char[]){"-P"}; /* what lies in the current folder is not ours to import */
    line[n++] = (char[]){"-m"};
    line[n++] = (char[]){"ergon.run"};
    memcpy(line + n, arguments, (size_t)count * sizeof *line);
    execv(python, line);
    int status = erg_cli_fail("run", "cannot start %s: %s", python, strerror(errno));
    free(line);
    return status;
}

int erg_cli_run(int argc, char **argv) {
    int at = 1;
    for (; at < argc && argv[at][0] == '-' && argv[at][1] == '-'; at++) {
        if (!argv[at][2]) {
            at++;
            break;
        }
        if (strcmp(argv[at], "--help") == 0) {
            fputs(usage, stdout);
            return erg_cli_end("run", ERG_CLI_OK);
        }
        if (strcmp(argv[at], "--check") == 0) {
            setenv("ERGON_CHECK", "1", 1);
            continue;
        }
        int taken = take_trace(argv, &at);
        if (taken < 0) {
            return -taken;
        }
        if (!taken) {
            return erg_cli_wrong("run", "unknown option '%s'", argv[at]);
        }
    }
    if (at < argc && strcmp(argv[at], "-h") == 0) {
        fputs(usage, stdout);
        return erg_cli_end("run", ERG_CLI_OK);
    }
    if (at >= argc) {
        return erg_cli_wrong(
            "run", "nothing to run: name a script, -m MODULE, -c CODE, or - for standard input");
    }
    return start(argc - at, argv + at);
}
