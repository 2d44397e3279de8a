/* `ergon server --status [--json]`: what the servers on this machine do; those of other users only for root. */
#ifndef ERG_CLI_SERVER_STATUS_H
#define ERG_CLI_SERVER_STATUS_H

/* Prints it. The status for exit: 1 also when no server runs. */
int erg_cli_server_status(int json);

#endif
