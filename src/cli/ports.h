/* Free ports for the subcommands that need one. One thread. */
#ifndef ERG_CLI_PORTS_H
#define ERG_CLI_PORTS_H

#include <stdbool.h>

#include "base/error.h"

/* Binds a free TCP port of `host`, one from `low` to `high` unless both are 0. The descriptor, the caller's to close, with
 * the port in *port; or a negative erg_err. */
int erg_cli_port_bind(const char *host, int low, int high, int *port, struct erg_error *err);

/* Is `text` a whole number from `low` to `high`? Then it is in *to. */
bool erg_cli_number(const char *text, long low, long high, int *to);

#endif
