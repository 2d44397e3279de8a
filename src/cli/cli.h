/* The `ergon` command: a table of subcommands, one file each.
 *
 * A subcommand gets its own name as argv[0] and returns the exit status: 0, 1 when it could not do its
 * work, 2 when it was called wrongly. Only this room prints. One thread. */
#ifndef ERG_CLI_CLI_H
#define ERG_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum { ERG_CLI_OK = 0, ERG_CLI_FAILED = 1, ERG_CLI_USAGE = 2 };

int erg_cli_agent(int argc, char **argv);
int erg_cli_server(int argc, char **argv);
int erg_cli_run(int argc, char **argv);
int erg_cli_explain(int argc, char **argv);
int erg_cli_report(int argc, char **argv);
int erg_cli_doctor(int argc, char **argv);
int erg_cli_hosts(int argc, char **argv);
int erg_cli_ports(int argc, char **argv);
int erg_cli_top(int argc, char **argv);
int erg_cli_tunnel(int argc, char **argv);

/* One line on stderr, "ergon COMMAND: …"; returns ERG_CLI_FAILED. */
int erg_cli_fail(const char *command, const char *format, ...) ERG_PRINTF(2, 3);

/* The same, followed by where help is; returns ERG_CLI_USAGE. */
int erg_cli_wrong(const char *command, const char *format, ...) ERG_PRINTF(2, 3);

/* Ends output on stdout: returns `status`, or ERG_CLI_FAILED with a message when it could not be written. */
int erg_cli_end(const char *command, int status);

/* The path of the Python interpreter this command is tied to, into `to`: python3 or python in the folder
 * the command itself lies in, else $ERGON_PYTHON, else python3 on PATH. */
int erg_cli_python(char *to, size_t size, struct erg_error *err);

#endif
