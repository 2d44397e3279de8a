/* engine/server: agents for whoever holds a key.
 *
 * Listens on TCP; whoever proves to hold the key (wire/auth.h) gets an agent for the session it names, in a thread of this
 * process, or is led back to the one it had. Who does not is hung up on without a word. */
#ifndef ERG_ENGINE_SERVER_H
#define ERG_ENGINE_SERVER_H

#include "base/error.h"
#include "engine/agent.h"

#include <stdint.h>

struct erg_server_config {
    const char *host;              /* NULL: 127.0.0.1 */
    uint16_t port;                 /* 0: any; announced */
    const unsigned char *key;      /* 32 bytes */
    int64_t idle_ns;               /* ends when nobody was there for so long; 0: never */
    struct erg_agent_config agent; /* session is not looked at */
    void (*announce)(void *ctx, uint16_t port); /* it listens; in the calling thread */
    void *ctx;
    int stop_fd; /* ends when it becomes readable; -1 */
};

/* Serves in the calling thread; agents that are left are ended before it returns. 0: stopped or idle; ERG_ESYSTEM and
 * ERG_ENOTFOUND when it cannot listen there. */
int erg_server_run(const struct erg_server_config *config, struct erg_error *err);

/* 1 when nobody but this machine can reach that address. */
int erg_server_is_local(const char *host);

#endif
