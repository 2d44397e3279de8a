/* Tunnels: what `ergon tunnel` keeps, and the records of them.
 *
 * Each tunnel is kept by a process of its own (tunnel_keep.c) that starts ssh, starts it anew when the connection breaks,
 * and writes a record: a file NAME = the local port in a folder that only this user may enter. Whoever asks for a list
 * takes away the records of keepers that are gone. One thread. */
#ifndef ERG_CLI_TUNNEL_H
#define ERG_CLI_TUNNEL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

enum { ERG_TUNNEL_WORDS_MAX = 64, ERG_TUNNEL_NAME_MAX = 256 };

struct erg_tunnel {
    const char *host;                  /* what ssh connects to */
    const char *to;                    /* where the other end connects to */
    int port;                          /* that one's port; 0: a free one of the host is chosen */
    int local;                         /* 0: a free one is chosen */
    char *words[ERG_TUNNEL_WORDS_MAX]; /* for ssh, before the host */
    int words_len;
    bool with_caller; /* ends when standard input does */
    bool foreground;
};

struct erg_tunnel_record {
    int32_t pid; /* the keeper */
    uint64_t
        start; /* when it started, in the kernel's ticks: with the pid it names a process for good */
    int64_t since; /* seconds since the epoch */
    int local, port, reconnects;
    bool up;
    char host[ERG_TUNNEL_NAME_MAX], to[ERG_TUNNEL_NAME_MAX];
};

/* Establishes the tunnel and keeps it until it is told to end. Writes "LOCAL PORT\n" to `answer` when it is up for the first
 * time, and closes it. Returns the exit status; when the first attempt fails, *err says why and nothing was written. */
int erg_tunnel_keep(struct erg_tunnel *t, FILE *answer, struct erg_error *err);

/* Writes or replaces the record of a tunnel this process keeps; removes it. */
int erg_tunnel_record_write(const struct erg_tunnel_record *record, struct erg_error *err);
void erg_tunnel_record_remove(int local);

/* Calls `each` for every tunnel of this user, by local port. 0 or a negative erg_err; what `each` returns other than 0 ends it
 * and is returned. */
int erg_tunnel_records(int (*each)(const struct erg_tunnel_record *record, void *arg), void *arg,
                       struct erg_error *err);

/* When a process started, in ticks; 0 when there is none. */
uint64_t erg_tunnel_process_start(int32_t pid);

#endif
