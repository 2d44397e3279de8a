/* launch/ssh: the command line of OpenSSH's client, and how it learns a password. */
#ifndef ERG_LAUNCH_SSH_H
#define ERG_LAUNCH_SSH_H

#include "launch/reach.h"

/* The arguments for a host; one allocation, to be freed with free(). NULL: no memory. */
char **erg_ssh_argv(const struct erg_reach_spec *spec);

/* A folder (0700) with the program ssh asks, and a pipe (0600) with the answer in it. The program answers questions for a
 * password only: none for passphrases, and none whether an unknown host shall be trusted. */
struct erg_askpass {
    char folder[64];
    char program[80];
    char pipe[80];
    int fd; /* keeps the answer in the pipe; -1: there is none */
};
int erg_askpass_open(struct erg_askpass *a, const char *password, struct erg_error *err);
/* The variables that make ssh use it, as "NAME=value"; three of them. */
void erg_askpass_environment(const struct erg_askpass *a, char out[3][128]);
/* Removes everything. */
void erg_askpass_close(struct erg_askpass *a);

#endif
