/* launch/reach: gets a link to an agent on another host.
 *
 * Three ways: OpenSSH's own client (the user's configuration, agent, jump hosts and ControlMaster work as in a shell), a
 * TCP connection to a server with mutual challenge, or any command whose stdin and stdout are the link. What runs on the
 * other side answers in lines before the link begins:
 *
 *     ERGON1 need            send what is to be installed: the seed file follows, its length first (u64, little-endian)
 *     ERGON1 fail TEXT       it cannot be, and why
 *     ERGON1 ready           the link begins with the next byte
 *
 * What stands before that (a login shell that greets, with or without an end of its line) is skipped, 64 KiB of it at most. `script` is written to
 * the other side before anything is read: what it needs to get that far (python/ergon/_seed.py).
 *
 * erg_reach blocks, so it is called in a thread of the caller's own; several may be under way. What is reached belongs
 * to the caller, who ends it with erg_reached_close (also when the link is closed already). */
#ifndef ERG_LAUNCH_REACH_H
#define ERG_LAUNCH_REACH_H

#include "base/error.h"
#include "launch/guard.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct erg_auth;

enum erg_reach_kind { ERG_REACH_EXEC, ERG_REACH_SSH, ERG_REACH_TCP };

/* Everything belongs to the caller and is only read. */
struct erg_reach_spec {
    enum erg_reach_kind kind;
    const char *name;   /* the resource as the user wrote it, for words */
    int64_t timeout_ns; /* until the link is there; 0: 60 s */
    /* EXEC: the program (looked for on PATH) and its arguments */
    char *const *argv;
    /* SSH, TCP */
    const char *host;
    uint16_t port; /* SSH: 0 for what the configuration says */
    /* SSH; strings may be NULL */
    const char *user;
    const char *config; /* another configuration file */
    const char *
        password; /* handed over through a pipe in a folder nobody else can enter, never argv or environment */
    const char *command; /* what the host's shell runs */
    /* EXEC, SSH */
    const void *script;
    size_t script_len;
    const char *seed; /* file sent when it is asked for; NULL: none */
    /* TCP */
    const unsigned char *key;     /* 32 bytes */
    const unsigned char *session; /* 16 bytes: whose agent is asked for (wire/auth.h) */
};

/* A copy of everything a spec points to, except name, session and timeout. 0 or ERG_ENOMEM. */
int erg_reach_copy(struct erg_reach_spec *to, const struct erg_reach_spec *from);
/* Frees it; a password is wiped. Zeroed is fine. */
void erg_reach_copy_free(struct erg_reach_spec *copy);

struct erg_reached {
    int fd_in,
        fd_out; /* of the link, non-blocking, close-on-exec; the same number for TCP. Whoever takes them over
                              sets them to -1 */
    struct erg_auth
        *auth; /* TCP: the challenge is over; for erg_link_new. Taken over likewise: NULL */
    pid_t pid; /* of ssh or the command; 0 for TCP */
    int pidfd; /* -1 for TCP */
    int words; /* what it wrote on stderr, a file without a name; -1 for TCP */
    struct erg_guard guard; /* ends it and what it has started when we are killed; none for TCP */
};

/* cancel_fd: gives up with ERG_ECANCELLED when it becomes readable; -1: never. Fails with ERG_ELAUNCH (the text begins with
 * the name and has ssh's own last words), ERG_ETIMEOUT, ERG_EACCESS (a server with another key). */
int erg_reach(const struct erg_reach_spec *spec, int cancel_fd, struct erg_reached *out,
              struct erg_error *err);

/* The last words of what connects, on one line, "" when it said nothing. */
const char *erg_reached_words(const struct erg_reached *r, char *buffer, size_t size);

/* Would it be the same again, however often it is tried: a changed key, a refused password? By the words it failed with:
 * ssh says so in no other way. */
int erg_reach_lasting(const char *words);

/* Closes what is left of the link; ends the program and what it has started (its process group: SIGTERM, after a second
 * SIGKILL) and reaps it. */
void erg_reached_close(struct erg_reached *r);

#endif
