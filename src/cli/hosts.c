/* `ergon hosts`: the module ergon.hosts does the work, because the configuration file and the registered hosts are
 * read in Python. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static const char usage[] =
    "Usage: ergon hosts [-F FILE] [-t SECONDS] [--json] [HOST...]\n"
    "\n"
    "Says which hosts can be reached, with cores, load, free memory, Python, latency and "
    "bandwidth.\n"
    "HOST is a name as ssh takes it, user@name, or ssh://user@name:22. Without hosts: those of "
    "the\n"
    "configuration file. The status is 1 when one of them cannot be reached.\n"
    "\n"
    "Options:\n"
    "  -F, --config FILE      the configuration file for OpenSSH\n"
    "  -t, --timeout SECONDS  how long to wait for a host (15)\n"
    "      --json             print JSON\n"
    "  -h, --help             this text\n";

int erg_cli_hosts(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return erg_cli_end("hosts", ERG_CLI_OK);
        }
    }
    char python[PATH_MAX];
    struct erg_error err;
    if (erg_cli_python(python, sizeof python, &err) < 0) {
        return erg_cli_fail("hosts", "%s", err.text);
    }
    char **line = calloc((size_t)argc + 4, sizeof *line);
    if (!line) {
        return erg_cli_fail("hosts", "not enough memory");
    }
    line[0] = python;
    line[1] = (char[]){"-P"};
    line[2] = (char[]){"-m"};
    line[3] = (char[]){"ergon.hosts"};
    memcpy(line + 4, argv + 1, (size_t)(argc - 1) * sizeof *line);
    execv(python, line);
    int status = erg_cli_fail("hosts", "cannot start %s: %s", python, strerror(errno));
    free(line);
    return status;
}
