/* `ergon agent` and `ergon server`: this process becomes the interpreter it is tied to, which lends itself to an agent
 * (python/ergon/_agent.py); what workers run has to be there anyway. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/server_status.h"

static const char agent_usage[] =
    "Usage: ergon agent --stdio [--session ID] [--lease SECONDS]\n"
    "\n"
    "Serves a pool over standard input and output. Pools start this on other hosts; people\n"
    "need not.\n"
    "\n"
    "Options:\n"
    "  --stdio        the link is standard input and output\n"
    "  --session ID   32 hexadecimal digits, chosen by the pool: the agent of that session, which "
    "is\n"
    "                 started in the background if there is none, and outlives this connection.\n"
    "                 Without it the agent is this process, and ends with its connection\n"
    "  --lease SECONDS  how long it lives without a connection; 0, the default: as the pool says\n"
    "  -h, --help     this text\n";

static const char server_usage[] =
    "Usage: ergon server [--host ADDRESS] [--port N] [--key FILE] [--idle SECONDS]\n"
    "       ergon server --through HOST [--port N] [--idle SECONDS]\n"
    "       ergon server --new-key FILE\n"
    "       ergon server --status [--json]\n"
    "\n"
    "Lets pools elsewhere use this machine: Pool(\"tcp://HOST:PORT\"). Both sides need the same\n"
    "key file; who does not hold the key is hung up on, and what travels is encrypted.\n"
    "\n"
    "Options:\n"
    "  --host ADDRESS  where to listen (127.0.0.1: this machine alone); other addresses need "
    "--key\n"
    "  --port N        0, which is the default, takes a free one; it is printed\n"
    "  --key FILE      64 hexadecimal digits, readable by you alone; ~/.config/ergon/key, which "
    "is\n"
    "                  made if it does not exist\n"
    "  --new-key FILE  make such a file, and end\n"
    "  --status        what your servers on this machine do: how long they run, tenants (programs\n"
    "                  that use them), slots, tasks, bytes; the status is 1 when none runs\n"
    "  --json          the same as JSON\n"
    "  --through HOST  start a server on HOST, with ssh, and a tunnel to it; print the resource "
    "for\n"
    "                  pools here, and end both with Ctrl-C or the end of standard input. --port "
    "is\n"
    "                  then the tunnel's port here. HOST needs Ergon\n"
    "  --idle SECONDS  end when nobody was connected for so long; 0, the default: never\n"
    "  -h, --help      this text\n";

static int become(const char *command, int count, char **arguments) {
    char python[PATH_MAX];
    struct erg_error err;
    if (erg_cli_python(python, sizeof python, &err) < 0) {
        return erg_cli_fail(command, "%s", err.text);
    }
    char **line = calloc((size_t)count + 5, sizeof *line);
    if (!line) {
        return erg_cli_fail(command, "not enough memory");
    }
    size_t n = 0;
    line[n++] = python;
    line[n++] = (char[]){"-P"};
    line[n++] = (char[]){"-m"};
    line[n++] = (char[]){"ergon._agent"};
    memcpy(line + n, arguments, (size_t)count * sizeof *line);
    execv(python, line);
    int status = erg_cli_fail(command, "cannot start %s: %s", python, strerror(errno));
    free(line);
    return status;
}

/* `--name VALUE` and `--name=VALUE` of those named; others are wrong. */
static int check(const char *command, int argc, char **argv, const char *const *names) {
    for (int i = 1; i < argc; i++) {
        size_t len = strcspn(argv[i], "=");
        const char *const *name = names;
        while (*name && (strlen(*name) != len || strncmp(*name, argv[i], len) != 0)) {
            name++;
        }
        if (!*name) {
            return erg_cli_wrong(command, "unexpected argument '%s'", argv[i]);
        }
        if (!argv[i][len] && strcmp(*name, "--stdio") != 0 && ++i >= argc) {
            return erg_cli_wrong(command, "%s needs a value", *name);
        }
    }
    return ERG_CLI_OK;
}

static int helps(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            return 1;
        }
    }
    return 0;
}

static int run(const char *usage, const char *const *names, int argc, char **argv) {
    if (helps(argc, argv)) {
        fputs(usage, stdout);
        return erg_cli_end(argv[0], ERG_CLI_OK);
    }
    int status = check(argv[0], argc, argv, names);
    return status == ERG_CLI_OK ? become(argv[0], argc, argv) : status;
}

int erg_cli_agent(int argc, char **argv) {
    static const char *const names[] = {"--stdio", "--session", "--lease", NULL};
    if (argc < 2) {
        return erg_cli_wrong("agent",
                             "pools start agents; to let others use this machine: ergon server");
    }
    return run(agent_usage, names, argc, argv);
}

int erg_cli_server(int argc, char **argv) {
    static const char *const names[] = {"--host", "--port",    "--key", "--new-key",
                                        "--idle", "--through", NULL};
    int status = 0, json = 0, others = 0;
    for (int i = 1; i < argc; i++) {
        int asks = strcmp(argv[i], "--status") == 0, as_json = strcmp(argv[i], "--json") == 0;
        status |= asks;
        json |= as_json;
        others |= !asks && !as_json;
    }
    if (status && !others) {
        return erg_cli_server_status(json);
    }
    return run(server_usage, names, argc, argv);
}
