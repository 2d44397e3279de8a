/* engine/agent_inside: what agent.c (life, links) and agent_task.c (tasks and what they need) know of each other.
 *
 * agent->lock guards everything. Taken by the thread in erg_agent_run and by the pool's completion thread. */
#ifndef ERG_ENGINE_AGENT_INSIDE_H
#define ERG_ENGINE_AGENT_INSIDE_H

#include "base/map.h"
#include "engine/agent.h"
#include "engine/agent_ask.h"
#include "engine/engine.h"
#include "engine/linkio.h"
#include "engine/parcel.h"
#include "engine/pool.h"
#include "table/range.h"
#include "table/record.h"
#include "wire/message.h"
#include "wire/session.h"

#include <pthread.h>

enum agent_stage { AGENT_NEW, AGENT_OPENING, AGENT_READY, AGENT_OVER };
enum { AGENT_BATCH = 256 };

/* What is known of a record of the agent's table, by index. */
struct agent_task {
    uint64_t id;       /* the client's name for it */
    uint32_t messages; /* that still carry its result */
    uint8_t wanted;    /* it was recalled: no result is expected */
    uint8_t hold;      /* its result may stay here */
    uint8_t kept;      /* its result does, until it is dropped */
    uint64_t bytes;    /* then: how much that is */
};

struct erg_agent {
    pthread_mutex_t lock;
    int bell; /* eventfd */
    const struct erg_runtime *runtime;
    char tag[64], python[64];
    char name[128]; /* what the client calls this host */
    uint64_t arena_bytes;
    unsigned char id[16];
    int64_t lease_ns;
    int one_link;
    int64_t patience_ns; /* of the lease, for the way the last link ended */
    enum agent_stage stage;
    int result; /* of erg_agent_run, once OVER */
    struct erg_error failure;
    _Atomic int stopped;
    int closing; /* nobody wants to hear of tasks any more */
    /* links */
    struct erg_session *session;
    struct erg_linkio io;
    int greeted; /* the client's HELLO came over this link */
    int next_in, next_out;
    struct erg_auth *next_auth;
    int64_t alone_since, heard_at, tick_at, ping_at;
    /* the pool */
    struct erg_asks *asks;   /* since OPEN */
    struct erg_peers *peers; /* other agents; NULL: none are known, and nobody listens */
    uint16_t port;           /* where those find us; 0: nowhere */
    struct erg_engine *engine;
    struct erg_pool *pool;
    struct erg_table *table;
    struct erg_member *m;
    uint32_t slots;
    struct agent_task *tasks; /* records_max of them, most never touched */
    size_t tasks_bytes;
    uint64_t kept_bytes;    /* of results that stay */
    struct erg_map by_id;   /* tasks entered and not done -> record */
    struct erg_map funcs;   /* uid -> offset of struct erg_fn_head */
    struct erg_map blobs;   /* uid -> offset of struct erg_blob_head */
    struct erg_map values;  /* id -> record that is DONE */
    struct erg_map dropped; /* offset of a blob's head that workers still look at -> 0 */
    struct erg_map giving; /* offset of a blob's head that is being sent to others -> to how many */
    uint32_t batch[AGENT_BATCH];
    size_t batch_len;
};

/* agent_task.c; lock held */
int erg_agent_on_message(struct erg_agent *a, uint16_t type, const unsigned char *body, size_t len,
                         struct erg_error *err);
int erg_agent_on_bulk(struct erg_agent *a, uint16_t type, const unsigned char *head,
                      size_t head_len, uint64_t data_len, struct erg_bulk *to,
                      struct erg_error *err);
int erg_agent_on_done(struct erg_agent *a, uint16_t type, const unsigned char *head,
                      size_t head_len, struct erg_bulk *got, struct erg_error *err);
void erg_agent_on_drop(struct erg_bulk *got);
/* For other agents (agent_peer.h): a value or an object, by enum erg_drop_kind. ERG_ENOTFOUND: there is none here, or none
 * that can be given away. */
int erg_agent_give(struct erg_agent *a, struct erg_session *to, uint32_t kind, uint64_t id);
int erg_agent_has(struct erg_agent *a, uint32_t kind, uint64_t id);
/* Enters what was gathered. */
void erg_agent_submit(struct erg_agent *a);
/* Tasks of the agent's that have ended. Lock not held. */
void erg_agent_on_complete(void *agent, const erg_handle *tasks, size_t n);

/* agent.c. Wakes the thread in erg_agent_run: any thread */
void erg_agent_ring(struct erg_agent *a);
/* lock held */
int erg_agent_open_pool(struct erg_agent *a, const struct erg_msg_open *open,
                        struct erg_error *err);

#endif
