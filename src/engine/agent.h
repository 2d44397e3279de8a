/* engine/agent: the part of a pool that runs on another host, or beside the client as a process of its own.
 *
 * An agent owns an ordinary pool of local workers, and enters into it the tasks that its one client sends over a
 * session (wire/session.h). It outlives its links: while none is there it goes on working, and keeps the results, until
 * the lease is over: a short one when the client itself has closed the link (one that lives comes back at once), the whole
 * one, which is longer than the client tries to come back, when the link broke or only went silent. It ends when the client says BYE, when
 * the client's keeper says that it has died (launch/will.h), when the lease runs out, or when it is stopped; its workers end with it.
 *
 *     erg_agent_new     erg_agent_attach (any thread, whenever a link comes)     erg_agent_run     erg_agent_free
 *
 * The process that runs one needs no other thread and no Python: workers come from the runtime's zygote. */
#ifndef ERG_ENGINE_AGENT_H
#define ERG_ENGINE_AGENT_H

#include "base/error.h"
#include "engine/runtime.h"

#include <stdint.h>

struct erg_agent;
struct erg_auth;

struct erg_agent_config {
    const struct erg_runtime *runtime; /* must outlive the agent */
    const char *tag;                   /* what the client must have as well: "cp311-linux-x86_64" */
    const char *python;                /* the runtime's version, for people */
    unsigned char session[16];         /* zero: the one of the first client */
    int64_t
        lease_ns; /* how long it lives without a link; 0: 30 s. The client's OPEN may say another */
    int one_link; /* it ends with its first link */
    uint64_t
        arena_bytes; /* what its pool may hold of arguments and results; 0: the table's default */
};

int erg_agent_new(const struct erg_agent_config *config, struct erg_agent **agent,
                  struct erg_error *err);
/* A link to the client: bytes come from fd_in and go to fd_out (the same descriptor twice is fine); both are taken over
 * and made non-blocking. auth: NULL for a plain link, else taken over. An older link is closed. Any thread. */
int erg_agent_attach(struct erg_agent *agent, int fd_in, int fd_out, struct erg_auth *auth,
                     struct erg_error *err);
/* Serves in the calling thread until it is over. 0: the client said goodbye; ERG_ETIMEOUT: the lease ran out;
 * ERG_ECLOSED: stopped; else what went wrong. */
int erg_agent_run(struct erg_agent *agent, struct erg_error *err);
/* Makes erg_agent_run return. Any thread, async-signal-safe. */
void erg_agent_stop(struct erg_agent *agent);
/* Output of workers on its way to the client; what nobody fetches for long is dropped. Any thread. */
void erg_agent_log(struct erg_agent *agent, uint32_t level, const char *bytes, size_t len);
/* Ends the pool and its workers (bounded, a few seconds). NULL is fine. */
void erg_agent_free(struct erg_agent *agent);

#endif
