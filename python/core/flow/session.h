/* What the files of a session share: session.c (the real function: calls and waiting), entry.c (calls under way), ahead.c
 * (passes), suspended.c (sessions of generators and coroutines). Nobody else looks inside. The session owns its entries; both are
 * touched by the thread the session is current in, with the GIL. Functions that return int give 0, or -1 with an exception,
 * unless they say otherwise. */
#ifndef ERG_CORE_FLOW_SESSION_H
#define ERG_CORE_FLOW_SESSION_H

#include "flow.h"

#include "../pool/pool.h"

enum { FL_BUCKETS = 1024, FL_CHEAP_CALLS = 4, FL_JOBS_MAX = 10000 };
static const double FL_CHEAP = 40e-6, FL_DEAR = 150e-6; /* seconds a call takes */

struct fl_entry {
    struct fl_entry *chain;         /* in its bucket */
    struct fl_entry *older, *newer; /* in order of entering */
    struct fl_sig sig;
    PyObject *functional; /* strong */
    uint64_t site;        /* where it is called; 0: not known */
    struct pl_task task;
    struct fl_job *job;          /* an async functional's, instead of the task; strong */
    PyObject *value, *exception; /* once decoded; strong */
    uint64_t pass;               /* the last one that met it */
    uint64_t entered_ns;
    size_t bytes; /* of the result, once done */
    int done;
    int here; /* the call has to be made here, or what it raised cannot be made here */
};

struct fl_session {
    struct fl_session *outer;
    uint64_t serial; /* no other has had it */
    struct flow_state *st;
    struct pl_core *core;
    PyObject *pool;   /* strong: it keeps core */
    PyObject *helper; /* module ergon._functional; strong, like those that follow */
    PyTypeObject *raised, *returned;
    PyObject *unpickled[2]; /* classes; borrowed */
    void *base;
    struct fl_entry **buckets; /* made with the first call */
    struct fl_entry *oldest, *newest;
    unsigned count, cap; /* of entries; of those that are tasks */
    unsigned jobs;
    PyObject *coroutine; /* whose session it is; borrowed. NULL: not a coroutine's */
    uint64_t rest_until; /* jobs that end before then start no pass */
    size_t bytes;        /* of results nobody took */
    uint64_t pass;
    int passing;
    int trusted;      /* > 0: Python code may run during a pass */
    int dirty;        /* the function made a call no pass had foreseen */
    int blocked;      /* the last pass left something out for want of a result */
    int capped;       /* … or because enough was under way */
    int guessable;    /* … or a way it might have guessed */
    int bold;         /* calls of async functionals are entered on a guess */
    unsigned arrived; /* entries done since the last pass */
    struct fl_entry *awaited;
    struct fl_place place;
    PyObject *sent;        /* what workers are given for the call that was compared last; strong */
    PyObject *const *args; /* of the call that is waited for */
    uint64_t sites[16];    /* bits of the places passes met calls at */
    unsigned at_place;     /* functional calls from this place in a row */
    unsigned quick;       /* calls in a row that were foreseen and done when they were wanted … */
    uint64_t quick_since; /* … since then */
};

/* A call is quicker here than it could be anywhere else. */
static inline int fl_is_cheap(const struct fl_functional *f) {
    return f->cheap >= FL_CHEAP_CALLS && f->cost < FL_CHEAP && !f->remote_only;
}

/* --- entry.c ----------------------------------------------------------------------------------------------- */
/* Notes that a pass calls from where it is, and names that place; 0: not known. */
uint64_t fl_site_meet(struct fl_run *run);
/* Where the real function is; 0: native code calls, and no pass has met that there. */
uint64_t fl_site_real(const struct fl_session *s);
/* What an equal call has in common; leaves in session->sent what workers are given for it. */
int fl_entry_signature(struct fl_session *s, struct fl_run *run, PyObject *functional,
                       PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                       struct fl_sig *sig);
/* The oldest that is the same call, or NULL; `unmet`: and that this pass has not met. */
struct fl_entry *fl_entry_find(struct fl_session *s, PyObject *functional, const struct fl_sig *sig,
                               int unmet, uint64_t site);
/* Begins the call, the one compared last, in a worker or on the event loop. NULL with an exception. */
struct fl_entry *fl_entry_enter(struct fl_session *s, PyObject *functional,
                                const struct fl_sig *sig, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames);
void fl_entry_unlink(struct fl_session *s, struct fl_entry *e); /* the caller's from now on */
void fl_entry_free(struct fl_session *s, struct fl_entry *e);   /* cancels it if it still runs */
int fl_entry_done(struct fl_session *s, struct fl_entry *e);    /* 1 or 0 */
/* Of one that is done: fills value or exception. */
void fl_entry_decode(struct fl_session *s, struct fl_entry *e);
/* The result for a caller with these arguments: new reference. */
PyObject *fl_entry_value(struct fl_session *s, struct fl_entry *e, PyObject *const *args,
                         Py_ssize_t nargs, PyObject *kwnames);
/* The arguments as a tuple and a dict (NULL for none). */
int fl_pack(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject **tuple,
            PyObject **dict);

/* --- ahead.c ------------------------------------------------------------------------------------------------ */
int fl_session_arrivals(struct fl_session *s); /* looks which calls are done; -1: likewise */
int fl_session_wants_pass(struct fl_session *s, PyObject *functional);
/* From the call of `functional`, which gives `value`; NULL: from where the session's coroutine is suspended. -1: a signal's
 * handler raised. */
int fl_session_pass(struct fl_session *s, PyObject *functional, PyObject *value, int *failed);

/* --- session.c ---------------------------------------------------------------------------------------------- */
struct fl_session *fl_session_new(struct flow_state *st); /* NULL with an exception */
void fl_session_end(struct fl_session *s);                /* keeps a pending exception */
/* From now on calls of this thread belong to s; NULL: to nobody. */
void fl_session_make_current(struct fl_session *s);
int fl_session_prepare(struct fl_session *s); /* before the first call; once */
/* For `ergon explain`: what became of a call, by the line it is made in; since: when waiting began, or 0. */
void fl_session_explain(struct fl_session *s, PyObject *functional, const char *what,
                        uint64_t since);

#endif
