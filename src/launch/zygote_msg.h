/* launch/zygote_msg: what owner and zygote say to each other.
 *
 * One struct per datagram of a SOCK_SEQPACKET socket pair, descriptors beside it (SCM_RIGHTS). Both ends are the
 * same library on the same host, still every message is checked: the program on the other side may be another
 * build, or the descriptor something else altogether.
 *
 *     owner -> zygote   HELLO   fds: owner's pidfd, bell
 *                       FORK    id, member, generation, max_tasks; fd: table
 *                       WILL    id: of an agent elsewhere; fd: what is to be said to it when the owner has died
 *                               (launch/will.h); none: nothing any more
 *                       BYE
 *     zygote -> owner   READY   pid
 *                       FORKED  id, pid; fd: the worker's pidfd. pid < 0: -errno, nothing was forked
 *                       EXITED  pid, status (wait(2) format)
 *                       FAILED  text: the zygote cannot work; it ends
 *     worker -> owner   UP      pid: it serves (through the zygote's socket, as the next one)
 *                       UNABLE  pid, text: this worker cannot start; it exits
 *
 * A worker's EXITED always follows its FORKED. Who dies in the middle leaves at most an unread message behind.
 */
#ifndef ERG_LAUNCH_ZYGOTE_MSG_H
#define ERG_LAUNCH_ZYGOTE_MSG_H

#include "base/error.h"

#include <stdint.h>

enum erg_zmsg_kind {
    ERG_Z_HELLO = 1,
    ERG_Z_FORK,
    ERG_Z_BYE,
    ERG_Z_READY,
    ERG_Z_FORKED,
    ERG_Z_EXITED,
    ERG_Z_FAILED,
    ERG_Z_UP,
    ERG_Z_UNABLE,
    ERG_Z_WILL,
    ERG_Z_KINDS
};

enum { ERG_ZMSG_TEXT = 240, ERG_ZMSG_FDS = 2 };

struct erg_zmsg {
    uint32_t magic; /* filled in by send */
    uint32_t kind;
    uint32_t id;
    uint32_t member;
    uint32_t generation;
    uint32_t max_tasks;
    int32_t pid;
    int32_t status;
    char text[ERG_ZMSG_TEXT]; /* NUL-terminated */
};

/* Sends one message; the descriptors stay the caller's. flags: MSG_DONTWAIT or 0. 0; ERG_EAGAIN when it would
 * block; ERG_ECLOSED when the other side is gone; ERG_ESYSTEM with errno set otherwise. */
int erg_zmsg_send(int sock, struct erg_zmsg *msg, const int *fds, int fds_len, int flags);

/* Receives one message; *fds_len descriptors (at most ERG_ZMSG_FDS, close-on-exec) become the caller's. 0;
 * ERG_EAGAIN; ERG_ECLOSED; ERG_EPROTOCOL (nothing is handed out); ERG_ESYSTEM with errno set. */
int erg_zmsg_recv(int sock, struct erg_zmsg *msg, int *fds, int *fds_len, int flags);

#endif
