/* engine/remote_inside: what the files of a pool's places know of each other: remote.c (threads, the interface),
 * remote_link.c (links of a place), remote_lease.c (tasks that are there), remote_need.c (what they need), remote_task.c
 * (sending), remote_result.c (what comes back), remote_away.c (results that stay), remote_peer.c (straight from one place
 * to another), remote_again.c (results that were lost), remote_will.c (what is said when we have died), remote_balance.c. remote->lock guards everything that is not marked
 * otherwise. */
#ifndef ERG_ENGINE_REMOTE_INSIDE_H
#define ERG_ENGINE_REMOTE_INSIDE_H

#include "base/map.h"
#include "engine/linkio.h"
#include "engine/parcel.h"
#include "engine/peer_address.h"
#include "engine/remote.h"
#include "launch/reach.h"
#include "launch/will.h"
#include "sched/lease.h"
#include "sched/retry.h"
#include "table/away.h"
#include "table/lease.h"
#include "table/record.h"

#include <pthread.h>
#include <stdatomic.h>

#define MS ((int64_t)1000000)
#define SECOND (1000 * MS)
#define NEVER INT64_MAX

/* Something that was sent to a place and stays there: a function, an object, another task's result. */
struct sent {
    uint64_t id;     /* uid, or handle */
    uint64_t offset; /* functions, objects: of its head here */
    uint32_t kind;   /* enum erg_drop_kind */
    uint32_t users;  /* tasks at the place that need it */
    int arrived; /* a task that needed it has come back: smaller messages may pass its own no more */
    int small;   /* it went the fast way: nothing can pass it */
    int64_t idle_at;   /* since when nobody needs it */
    erg_handle last;   /* the task that was found to need it last */
    uint64_t away;     /* VALUE that only the place has: of its struct erg_away here; 0 */
    int fetching;      /* it was asked for */
    uint32_t from;     /* it is coming straight from the agent of that number: not there yet; 0 */
    int rooted;        /* it cannot be given to other places by this one */
    int spreading;     /* it was sent, and others wait until the place says that it has it */
    int64_t spread_at; /* since when */
    uint64_t bytes;    /* `from`: how much that is */
};

/* A task at a place. */
struct leased {
    struct place *place; /* NULL: free */
    erg_handle task;
    uint64_t bytes;
    int64_t sent_at;
    uint32_t next; /* in the list of free ones */
    uint8_t lane;
    uint8_t chunk; /* it can be cut */
    uint8_t cut_asked;
    uint8_t recalled;
    uint8_t left;        /* its task was begun anew elsewhere; a worker there still has it */
    uint8_t parked;      /* not sent: results that it reads are on their way here */
    uint64_t last_block; /* CHUNK: of the results that came so far */
    uint64_t fn, came;   /* for traces: record.fn when it was sent; bytes of a chunk's results */
    uint32_t nneeds, needs_cap;
    struct sent **needs, *few_needs[2];
    uint32_t before, after; /* in the place's list, oldest first; ERG_NIL */
};

/* A way to a place that is being gone, or left, by a thread of its own: both may take a while. It frees itself. */
struct errand {
    struct erg_remote *remote;
    struct place *place;               /* NULL: nobody waits for it any more */
    const struct erg_reach_spec *spec; /* NULL: an end, not a beginning; else &way */
    struct erg_reach_spec way;         /* what it points to is the place's */
    int cancel_fd;
    struct erg_reached reached;
    int code; /* of erg_reach */
    struct erg_error err;
};

struct place {
    struct erg_remote *remote;
    uint32_t number;
    char *name, *labels;
    struct erg_reach_spec reach; /* what it points to is ours */
    char *tag;
    void *init;
    size_t init_len;
    int64_t connect_ns, reconnect_ns;
    int64_t deaf_until; /* whoever reads our output did not: what is printed there is dropped */
    uint32_t want_slots;
    int64_t stop_limit_ns, grace_ns;
    uint32_t max_tasks;
    uint32_t queues; /* it serves */
    /* its state */
    enum erg_place_state state;
    enum erg_place_state told; /* in its row of the table */
    int willed;                /* the keeper has its will */
    struct erg_error failure;
    unsigned char id[16];
    int64_t reconnect_until; /* BROKEN: then it is LOST */
    int id_given;            /* by whoever made the spec, whose command names it as well */
    struct erg_session *session;
    struct erg_linkio io;
    struct errand *connecting;
    struct erg_reached reached; /* what the link came from */
    int has_reached;
    int greeted, watched_out, said_bye;
    int doomed; /* a message has made an end of it: failure says why; acted on once the session is done reading */
    int dirty;        /* something was queued since it was last written */
    int64_t since;    /* when the state began */
    int64_t start_at; /* the next attempt to connect; NEVER */
    int64_t again_at,
        again_wait; /* LOST: when it is tried anew (NEVER), and how long it waited for that */
    int reviving;   /* it is LOST, and being tried anew: there is a session */
    int64_t backoff;
    int64_t heard_at, ping_at, tick_at;
    int64_t
        starved_until; /* none is sent before: there was no memory to do it with, or it is late with others; 0 */
    int64_t mute_at; /* since when nothing can be written to the link; NEVER */
    uint32_t slots, cores;
    int32_t pid;
    char host[128], python[64];
    struct erg_lease lease;
    struct erg_map sent[4]; /* by enum erg_drop_kind: id -> struct sent */
    uint32_t first, last;   /* of its leased tasks */
    uint32_t chunks;        /* among them */
    uint32_t left, parked;  /* among them: see struct leased */
    uint64_t tasks, tasks_lost, bytes_in, bytes_out;
    uint64_t busy_ns;
    uint64_t asking; /* bytes of its questions that wait for an answer */
    /* its agent, to the others' (remote_peer.c) */
    uint16_t port_low, port_high; /* where it may listen */
    uint32_t peer;                /* its number, once it listens; 0 */
    uint16_t peer_port;
    unsigned char peer_key[32];
    char peer_address[64];
    enum erg_peer_scope peer_scope;
    uint32_t serving;      /* places that fetch from it */
    int64_t served_at;     /* since when, or when the last of them was done */
    struct erg_map met;    /* numbers of agents that it has heard of */
    struct erg_map cut;    /* of those it could not reach -> until when none is asked for */
    uint64_t bytes_direct; /* that came straight from others */
};

struct name_set {
    char *names; /* NUL-separated, sorted as given; the key */
    size_t len;
    uint32_t queue;
};

/* Questions of workers elsewhere: remote_ask.c. */
struct asked {
    struct erg_question *first, *last, *current;
    pthread_cond_t more;
    pthread_t thread;
    int running, stop;
    erg_asked_fn *fn; /* NULL: nobody answers */
    void *ctx;
};

struct erg_remote {
    pthread_mutex_t lock;
    struct erg_member *owner, *m;
    struct erg_table *table;
    int bell_fd; /* not ours */
    int epoll, wake_fd;
    pthread_t reader, scout;
    int threads;      /* started so far */
    int errands;      /* under way */
    _Atomic int stop; /* the threads end */
    int stopping, cancelling, down;
    struct place *places;
    int nplaces;
    _Atomic uint32_t leased_count;
    _Atomic uint64_t finished;
    _Atomic uint32_t beyond; /* erg_remote_beyond */
    struct leased *leases;
    uint32_t leases_cap, leases_free;
    uint32_t *lease_of; /* by record: lease + 1 */
    size_t lease_of_bytes;
    struct erg_retry retry;
    struct name_set sets[ERG_QUEUES - ERG_QUEUE_NAMED];
    int nsets;
    int64_t
        now; /* about: when somebody last looked at the clock. It costs as much as sending a task */
    int64_t balance_at, sweep_at;
    uint64_t lineage;     /* bytes kept at most to run tasks again whose results are away */
    uint64_t again_bytes; /* kept for that now */
    struct lost *lost;    /* results that can be made again: remote_again.c */
    struct erg_map lost_by;
    uint32_t nlost;
    int64_t again_at;  /* when to look at them */
    uint64_t rows;     /* struct erg_place_row in the table, one for each place */
    uint32_t held;     /* results that are away: entries of the places' maps with `away` */
    uint32_t coming;   /* entries of the places' maps with `from` */
    uint32_t peers;    /* numbers given to agents so far */
    uint32_t parked;   /* leases that are */
    int64_t unpark_at; /* when they are looked at again, whatever happens */
    uint32_t wanted_seen;
    uint32_t turn; /* the place that is served first */
    void (*on_run)(void *ctx, const struct erg_elsewhere *run);
    void *on_run_ctx;
    struct asked asked;
    struct erg_keeper keeper;
    char *const *keeper_argv;       /* NULL: none */
    int64_t keeper_at, keeper_wait; /* when the next one may be started */
    int64_t tell_at;                /* it is told nothing before */
};

/* remote.c */
int64_t erg_remote_now(void);
void erg_remote_tell_pool(struct erg_remote *r);
/* The reader looks at everything again. */
void erg_remote_ring(struct erg_remote *r);

/* remote_link.c: lock held */
void erg_site_start(struct place *p, int64_t now);
void erg_site_on_event(struct place *p, int which, uint32_t events, int64_t now);
enum { EVENT_IN, EVENT_OUT, EVENTS };
/* What is due; returns when to look again. */
int64_t erg_site_look(struct place *p, int64_t now);
void erg_site_write(struct place *p);
void erg_site_bye(struct place *p, int64_t now);
int erg_site_gone(const struct place *p);
/* What is under way there is given up: nothing of the arena is sent any more. */
void erg_site_let_go(struct place *p);
/* A way was found, or not. */
void erg_site_on_reached(struct errand *e, int64_t now);
/* Lets go of what is being reached or was. */
void erg_site_abandon(struct place *p);
void erg_site_fini(struct place *p);
int erg_site_send(struct place *p, enum erg_lane lane, uint16_t type, const void *head, size_t len);

/* The lease of an agent, from the last it heard of us. */
int64_t erg_site_lease_ns(const struct place *p);

/* remote_will.c: lock held */
enum { TAG_WAKE, TAG_KEEPER }; /* of the epoll events that are no place's */
/* The keeper is there while agents are, and knows of this one. */
void erg_will_look(struct place *p, int64_t now);
/* Its socket is readable. */
void erg_will_on_event(struct erg_remote *r);
/* Every agent was said goodbye to: it is ended. */
void erg_will_end(struct erg_remote *r);

/* remote_lease.c: lock held */
struct leased *erg_leased_at(struct erg_remote *r, uint32_t i);
struct leased *erg_remote_find(struct erg_remote *r, erg_handle task);
/* *i: of the new one. ERG_ENOMEM. */
int erg_leased_new(struct erg_remote *r, struct place *p, uint32_t index, uint32_t *i);
void erg_leased_free(struct erg_remote *r, struct leased *l);
/* It keeps what was sent over there. 0 or ERG_ENOMEM. */
int erg_leased_needs(struct leased *l, struct sent *s);
/* It came back: what it needed has arrived, then. */
void erg_leased_arrived(struct leased *l);
/* Its result is in place: frees it, and the record is done, or run again. */
void erg_leased_finish(struct leased *l, enum erg_outcome outcome, uint64_t run_ns);
/* It was not sent, or its result cannot be kept: it fails with these words, and is not run again. */
void erg_leased_fail(struct leased *l, const char *words);
/* The same; its result stays there, as erg_away_keep has noted. */
void erg_leased_finish_away(struct leased *l, uint64_t run_ns);
/* Its task, a pure one, is begun anew by whoever is free elsewhere, once; over there it is cancelled. */
void erg_leased_leave(struct leased *l);
/* The place has let go of a task that was left there, if it is one. */
void erg_site_on_left(struct place *p, erg_handle task);
/* Tasks of the place will not come back (the session is freed): retried, or failed with these words. */
void erg_site_lose_tasks(struct place *p, enum erg_outcome outcome, const char *words);
void erg_remote_tasks_fini(struct erg_remote *r);

/* remote_need.c: lock held */
struct packing {
    struct place *place;
    struct leased *lease;
};
int erg_site_send_parcel(struct place *p, enum erg_lane lane, uint16_t type, const void *head,
                         size_t len, const struct erg_parcel_out *out);
int erg_site_send_func(struct packing *k, uint64_t offset);
/* An erg_parcel_name for a struct packing: what the task refers to is sent, if it is not there. */
int erg_site_name_ref(void *ctx, const struct erg_ref *ref, struct erg_entry *entry);
/* NULL: it was not sent, or is there no more. */
struct sent *erg_site_sent(struct place *p, uint32_t kind, uint64_t id);
struct sent *erg_site_sent_new(struct place *p, uint32_t kind, uint64_t id, uint64_t offset);
/* The place has it no more, or never had. */
void erg_site_unsent(struct place *p, struct sent *s);
/* No place drops the object's head from now on but all of them. */
void erg_site_mark_blob(struct erg_remote *r, uint64_t offset);
/* What nobody needs over there is dropped. */
void erg_site_sweep(struct place *p, int64_t now);
/* The agent is gone, and what it had with it. */
void erg_site_drop_all(struct place *p);

/* remote_ask.c: lock held */
int erg_site_on_ask(struct place *p, const unsigned char *body, size_t len, struct erg_error *err);
int erg_site_on_ask_bulk(struct place *p, uint64_t data_len, struct erg_bulk *to,
                         struct erg_error *err);
int erg_site_on_ask_done(const unsigned char *head, size_t head_len, struct erg_bulk *got,
                         struct erg_error *err);
/* The place's session is being freed. */
void erg_site_forget_asks(struct place *p);
/* Not held: ends the thread. */
void erg_remote_asks_stop(struct erg_remote *r);

/* remote_task.c: lock held */
void erg_remote_dispatch(struct erg_remote *r);
/* A task that was parked: everything it reads is here, or there. */
void erg_leased_send(struct leased *l);
/* The task, RUNNING by the place member, goes to p, or to a place that has more of what it reads, or back. */
void erg_remote_place(struct place *p, uint32_t index);

/* remote_away.c: lock held */
/* The result of the task stays there. ERG_EPROTOCOL; ERG_ENOMEM: it does not, and the task is to be failed. */
int erg_away_keep(struct leased *l, const struct erg_msg_result *m, struct erg_error *err);
void erg_away_fetch(struct place *p, struct sent *s);
/* Fetches what is wanted. */
void erg_away_look(struct erg_remote *r);
/* A value that was fetched. parcel: sealed; NULL: there is none. 1: it was taken over. */
int erg_away_came(struct place *p, const struct erg_msg_value *m, struct erg_parcel *parcel);
/* Nobody has the record of a held value any more? */
int erg_away_due(struct erg_remote *r, const struct sent *s);
/* Then: frees its struct. */
void erg_away_forget(struct place *p, struct sent *s);
/* It will not come. */
void erg_away_lose(struct place *p, struct sent *s);
/* The place, among p and those with room, that has most of what the task reads. */
struct place *erg_away_nearest(struct place *p, uint32_t index,
                               uint32_t (*room_of)(const struct place *));
/* 1: something that the task reads is neither at p nor here, or shall not go there from here; it is being fetched. */
int erg_away_missing(struct place *p, uint32_t index);
/* Something came, or was lost: tasks that waited for it are sent. */
void erg_away_unpark(struct erg_remote *r);

/* remote_again.c: lock held */
/* The record, RUNNING by us, gets a result that is away. 1: too much is kept for such, it shall come home at once. */
int erg_again_note(struct erg_remote *r, uint32_t index, struct erg_away *a);
/* It is settled or will not be, or cannot be made again. */
void erg_again_forget(struct erg_remote *r, struct erg_away *a);
/* Its value is about to be settled as HERE: the record's arguments are freed. */
void erg_again_not_needed(struct erg_remote *r, struct erg_away *a);
/* The place that has the value is lost. 1: it can be made again, and has left the place's map. */
int erg_again_keep(struct place *p, struct sent *s);
/* 1: the task's result was lost, and is being made again from now on. */
int erg_again_wanted(struct erg_remote *r, erg_handle task);
/* What is wanted is begun, what has ended is handed over; returns when to look again. */
int64_t erg_again_look(struct erg_remote *r, int64_t now);
/* All are wanted; how many. */
uint32_t erg_again_bring_home(struct erg_remote *r);
/* The pool is terminated: none will come. */
void erg_again_end(struct erg_remote *r);
void erg_again_fini(struct erg_remote *r);

/* remote_peer.c: lock held */
/* The value or object (enum erg_drop_kind; `offset` of an object's head) shall come to p straight from a place that has it. 1:
 * it will, or there will be one to fetch it from: look again when erg_away_unpark does; 0: it has to go another way. */
int erg_peer_fetch(struct place *p, uint32_t kind, uint64_t id, uint64_t offset, uint64_t bytes);
/* The same for the object with that head, which lies here: 0, also when p has it, or is one of those it is to spread from. */
int erg_peer_wait(struct place *p, uint64_t offset);
/* Who has waited for others for a while need not any more. When to look again; NEVER. */
int64_t erg_peer_look(struct erg_remote *r, int64_t now);
/* The object was sent to p. */
void erg_peer_spread(struct place *p, struct sent *s, uint64_t bytes);
/* It is not waited for any more. */
void erg_peer_forget(struct place *p, struct sent *s);
int erg_peer_on_message(struct place *p, uint16_t type, const unsigned char *body, size_t len,
                        struct erg_error *err);
/* The place's agent is gone. */
void erg_peer_gone(struct place *p);

/* remote_result.c: lock held */
int erg_site_on_message(struct place *p, uint16_t type, const unsigned char *body, size_t len,
                        struct erg_error *err);
int erg_site_on_bulk(struct place *p, uint16_t type, const unsigned char *head, size_t head_len,
                     uint64_t data_len, struct erg_bulk *to, struct erg_error *err);
int erg_site_on_done(struct place *p, uint16_t type, const unsigned char *head, size_t head_len,
                     struct erg_bulk *got, struct erg_error *err);
void erg_site_on_drop(struct erg_bulk *got);

/* remote_balance.c: lock held */
void erg_remote_balance(struct erg_remote *r, int64_t now);

#endif
