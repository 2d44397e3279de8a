/* core/flow: schedule and functional: sequential Python, run in parallel by running ahead.
 *
 * A scheduled function is run by CPython itself, unchanged: what it returns, raises, prints and changes is what
 * sequential execution gives, because it is sequential execution. While it waits for a functional call, a *pass*
 * runs ahead of it: a second interpreter of bytecode that starts from the very state the function is in, on private
 * copies of whatever it changes, with the results that are not there yet as Unknown. A pass has no effect at all
 * but one: every functional call it meets whose arguments are known is entered into the pool. When the real function
 * reaches such a call, with arguments of the same bytes, it takes that result. A wrong guess costs time, never a result.
 *
 *   unknown.c     the value that is not known yet
 *   map.c         pointers to pointers: what was copied, what is ours
 *   bytecode.c    instructions of each CPython version
 *   code.c        what is known about a code object: depths, jumps, where branches join; region.c what they write
 *   heap.c        private copies; settling arguments
 *   iter.c        iterators and generators of a pass
 *   exec.c        the interpreter; ops_*.c its instructions
 *   call.c        calls; pure.c which built-in callables have no effects; named.c those that are run by what they mean
 *   attr.c        attributes
 *   fork.c        frames of CPython taken over: the one file that looks inside them
 *   session.c     one outermost call of a scheduled function: its calls, and waiting for them
 *   entry.c       calls under way; ahead.c passes; suspended.c sessions of generators and coroutines
 *   job.c         calls of async functionals
 *   signature.c   what two calls must have in common to be the same
 *   around.c      what a functional can see besides its arguments; notice.c what changes the process
 *   types.c       Schedule and Functional
 *   state.c       module state and glue
 *
 * Everything needs the GIL. A session belongs to the thread that began it. */
#ifndef ERG_CORE_FLOW_H
#define ERG_CORE_FLOW_H

#include "../compat.h"
#include "../state.h"

#include <stdatomic.h>
#include <stdint.h>

struct pl_core;
struct fl_session;
struct fl_run;

/* --- map.c: open addressing by pointer; keys and values are strong references -------------------------- */
struct fl_map {
    PyObject **keys;   /* NULL: free */
    PyObject **values; /* may hold NULL */
    uint32_t mask, used;
};
/* Borrowed value, NULL: not there. */
PyObject *fl_map_get(const struct fl_map *map, PyObject *key);
int fl_map_has(const struct fl_map *map, PyObject *key);
int fl_map_set(struct fl_map *map, PyObject *key, PyObject *value); /* 0 or -1; value may be NULL */
void fl_map_clear(struct fl_map *map);

/* What was found out last about objects by their address. What is known about an address is true of anything that may
 * come to lie there: only objects held for ever have a value but 0. */
enum { FL_SEEN = 256 };
struct fl_seen {
    const void *key;
    int value;
};
struct fl_method_seen {
    PyTypeObject *type;
    const char *name;
    int value;
};
static inline unsigned fl_seen_at(const void *p) {
    return (unsigned)((uintptr_t)p >> 4 ^ (uintptr_t)p >> 12) % FL_SEEN;
}

struct fl_sig {
    uint64_t a, b;
};

/* What counts for the whole process; around.c. */
struct fl_process {
    struct fl_sig sig,
        rare; /* as it is; the part of it that is looked at when a scheduled function begins */
    uint64_t version;       /* counts its changes */
    uint64_t looked;        /* serial of the session that looked last */
    PyObject *held[7];      /* what was compared; strong */
    uint64_t items_changed; /* counts changes of items of the lists that are looked at */
    PyObject *spaces[2], *names[2], *streams[2]; /* of the lists that are looked at; strong */
    PyObject *getcontext;                        /* decimal's; strong. NULL: it is not imported */
    PyObject *context; /* a copy of decimal's, whose traps look into it; strong */
    uint64_t traps_changed;
    struct fl_sig decimal;   /* what was read in the context … */
    unsigned char bits[256]; /* … that looked like this */
};

enum { FL_NUMPY_MODULES = 2 };
/* --- module state ------------------------------------------------------------------------------------- */
struct fl_code;
struct flow_state {
    PyObject *module; /* borrowed: it owns this */
    PyTypeObject *unknown_type, *gen_type, *seq_type, *callback_type, *functional_type,
        *schedule_type, *job_type, *awaited_type, *ready_type;
    PyObject *need_value; /* exception: an operation asked an Unknown for its value */
    PyObject *stop;       /* exception: the pass ends here */
    PyObject *pure;       /* dict: callable without effects -> small int, enum fl_pure */
    PyObject *pure_types; /* dict: type -> small int, enum fl_kind */
    struct {
        struct fl_seen callables[FL_SEEN], types[FL_SEEN];
        struct fl_method_seen methods[FL_SEEN];
    } seen;
    PyObject *list_append;  /* the method: borrowed from the type */
    int numpy_known;        /* numpy's names are in `pure` */
    unsigned numpy_modules; /* bits: those of this module of numpy's as well */
    PyTypeObject *ndarray_type;
    Py_ssize_t mark; /* index of the word that code objects of scheduled functions have: not NULL */
    PyObject
        *generators;    /* weak dict: generator of a scheduled function -> capsule of its session */
    int has_generators; /* a generator function was scheduled */
    Py_ssize_t sweep_at;  /* so many sessions of generators are looked through for finished ones */
    PyObject *host;       /* module ergon._schedule, imported when first used */
    PyObject *coroutines; /* module ergon._coroutines, likewise */
    PyObject *running_loop;    /* asyncio's function that tells it; NULL: asyncio is not imported */
    PyObject *drives;          /* dict: code object -> whether it handles coroutines itself */
    _Atomic uint32_t finished; /* jobs: counts up, for who sleeps on it */
    int sleepers;
    PyObject *pool;            /* the default pool, while there is one */
    struct fl_code *codes;     /* all, chained */
    struct fl_code *last_code; /* the last that was asked for, or NULL */
    struct fl_map code_ptrs;   /* code object -> capsule of its fl_code */
    /* names that are looked up often */
    PyObject *s_enter, *s_exit, *s_aenter, *s_aexit, *s_init, *s_new, *s_call, *s_getattribute,
        *s_append;
    struct fl_process process;
    struct {
        char *buf;
        size_t cap;
    } spare;           /* what arguments are pickled into to be compared */
    uint64_t sessions; /* counts those that were begun */
    unsigned long long calls, hits, inlined, passes, steps, submitted, wasted;
    PyObject
        *explain; /* dict: (file, line, what happened) -> how often; NULL: nobody wants to know */
    PyObject *watch, *record, *both; /* check mode: see _flow_watch. NULL: none */
    int passing;                     /* passes under way, of all threads: they refer to codes */
    int collects;                    /* the garbage collector was on before the pass */
    int enabled;
    const char *last_why; /* words: why the last pass ended */
};
struct flow_state *fl_state_of(PyObject *module);
static inline int fl_is_scheduled(const struct flow_state *st, PyCodeObject *code) {
    void *word = NULL;
    return core_code_get_extra((PyObject *)code, st->mark, &word) == 0 && word != NULL;
}

/* --- unknown.c ------------------------------------------------------------------------------------------- */
int fl_unknown_register(struct flow_state *st);
PyObject *fl_unknown(struct flow_state *st); /* new reference */
static inline int fl_is_unknown(const struct flow_state *st, PyObject *o) {
    return o && Py_TYPE(o) == st->unknown_type;
}

/* --- code.c, region.c ----------------------------------------------------------------------------------- */
/* The instruction that begins at a unit: also one whose EXTENDED_ARGs do, and a CALL whose PRECALL does. */
struct fl_instr {
    uint8_t op;
    uint8_t ext;  /* units in front of it */
    uint8_t skip; /* units to the next one */
    int32_t arg;
};
struct fl_code {
    struct fl_code *next;
    PyCodeObject *code; /* strong */
    PyObject *bytes;    /* co_code: strong */
    const uint8_t *raw; /* that */
    uint8_t
        *unit; /* two bytes a unit, with the numbers of opcodes.h, and a RETURN_VALUE behind them */
    int units;
    struct fl_instr *instr; /* by unit */
    int16_t *depth;         /* of the stack before a unit; -1: not reached */
    int32_t *succ[2];       /* units an instruction goes on at; -1: none. Raising ends a path. */
    int32_t *join;          /* postdominators, made when first needed; NULL before */
    int nlocalsplus;
    int local; /* defined inside a function: its effects are ordered, its calls no barriers */
    struct fl_frame *spare; /* one that is not in use, or NULL */
    int known; /* it is of a library that changes nothing but what it is given; -1: not looked at yet */
};
/* Translates c->bytes: fills c->raw, c->unit and c->instr. 0, or -1 without memory. */
int fl_bytecode_read(struct fl_code *c);
/* What the instruction whose opcode is at the unit does to the stack's depth. */
int fl_bytecode_effect(const struct fl_code *c, int at, int jumps);
/* Borrowed, lives as long as the module; NULL with an exception. */
struct fl_code *fl_code_get(struct flow_state *st, PyCodeObject *code);
void fl_code_free_all(struct flow_state *st);
/* Where every way from the branch at `unit` that does not raise comes together again; c->units: behind the function's end;
 * -1: nowhere. -2: exception. */
int fl_code_join(struct fl_code *c, int unit);
/* Handler for an exception at unit: 1, with *target, *depth, *lasti; 0: none. */
int fl_code_handler(struct fl_code *c, int unit, int *target, int *depth, int *lasti);

/* --- a pass ------------------------------------------------------------------------------------------------ */
struct fl_frame {
    struct fl_code *code;
    PyObject *globals, *builtins; /* strong */
    PyObject *func;               /* strong, or NULL */
    int ip;                       /* unit of the next instruction */
    int at;                       /* unit of the current one */
    int sp;                       /* objects on the stack */
    int yielded;
    int barrier;             /* this frame is a call of a module-level function */
    struct fl_frame *caller; /* that runs it, while it runs */
    PyObject *kwnames;       /* borrowed from consts, between KW_NAMES and CALL */
    PyObject *slots[];       /* locals, then the stack; strong, may be NULL */
};
enum fl_why {
    FL_WHY_END,
    FL_WHY_CAP,
    FL_WHY_STEPS,
    FL_WHY_BARRIER,
    FL_WHY_BRANCH,
    FL_WHY_VALUE,
    FL_WHY_OTHER
};
struct fl_run {
    struct flow_state *st;
    struct fl_session *session;
    struct fl_map
        forward; /* object of the program -> private copy, or Unknown when its contents are not known */
    struct fl_map owned; /* objects made by this pass: may be changed */
    uint64_t steps, limit;
    struct fl_frame *top;  /* that runs; borrowed */
    int depth;             /* of nested fl_exec */
    int barrier;           /* > 0: inside a module-level function */
    void *base;            /* frame the session was begun in */
    PyObject *const *args; /* of the functional the real function called */
    unsigned at_place;     /* functional calls the real function made from where it is */
    unsigned approximate;  /* counts made-up answers: what came of them is not known */
    PyObject *range;       /* an iterator over a range among `owned`, which keeps it; borrowed */
    int numpy;             /* NumPy is being called: arrays go there read-only */
    unsigned skip;         /* functional calls that the real function has had already */
    int guesses;           /* > 0: branches may still be guessed; this pass follows guesses */
    int guessed;           /* a branch was: what is entered may be for nothing */
    int room, room_async;  /* calls that may still be entered then */
    PyObject *handled;     /* exception being handled; strong */
    enum fl_why why;
    const char *what; /* words about why */
};
/* Adds to how much of `what` happened at the line of the code's unit. */
void fl_explain(struct flow_state *st, PyCodeObject *code, int unit, const char *what, long much);
/* Ends the pass: raises st->stop; always -1. */
int fl_stop(struct fl_run *run, enum fl_why why, const char *what);

struct fl_frame *fl_frame_new(struct fl_run *run, struct fl_code *code, PyObject *globals,
                              PyObject *func);
void fl_frame_free(struct fl_frame *frame);
/* Runs until the frame returns or yields (frame->yielded). New reference; NULL with an exception. */
PyObject *fl_exec(struct fl_run *run, struct fl_frame *frame);
/* The exception that is set goes to the frame's handler: 0, or -1: it has none. */
int fl_handle(struct fl_run *run, struct fl_frame *frame);
/* An operation failed natively: if an Unknown was involved the outcome is Unknown. 1: cleared; 0: a real exception. */
int fl_absorb(struct fl_run *run);
typedef int (*fl_op)(struct fl_run *run, struct fl_frame *frame, int arg);
void fl_ops_stack(fl_op *table);
void fl_ops_value(fl_op *table);
void fl_ops_call(fl_op *table);
void fl_ops_jump(fl_op *table);
void fl_ops_build(fl_op *table);
/* The branch at frame->at depends on an Unknown: goes on where its ways join. `drop`: stack slots it would pop. */
int fl_skip_region(struct fl_run *run, struct fl_frame *frame, int drop);

static inline void fl_push(struct fl_frame *f, PyObject *o) { /* steals */
    f->slots[f->code->nlocalsplus + f->sp++] = o;
}
static inline PyObject *fl_pop(struct fl_frame *f) { /* owned by the caller */
    PyObject **p = &f->slots[f->code->nlocalsplus + --f->sp];
    PyObject *o = *p;
    *p = NULL;
    return o;
}
static inline PyObject **fl_at(struct fl_frame *f, int from_top) { /* 1: the top */
    return &f->slots[f->code->nlocalsplus + f->sp - from_top];
}

/* --- ops_value.c: what instructions compute, for who means the same by another name. The operands are the pass's views;
 * new references, Unknown where something is not known, NULL with an exception. -------------------------------- */
PyObject *fl_binary(struct fl_run *run, PyObject *a, PyObject *b,
                    int op); /* by BINARY_OP's number */
enum fl_unary_op { FL_NEGATIVE, FL_POSITIVE, FL_INVERT, FL_ABSOLUTE };
PyObject *fl_unary(struct fl_run *run, PyObject *o, enum fl_unary_op op);
PyObject *fl_compare(struct fl_run *run, PyObject *a, PyObject *b, int op); /* Py_LT … */
PyObject *fl_contains(struct fl_run *run, PyObject *box, PyObject *item, int inverted);
PyObject *fl_subscript(struct fl_run *run, PyObject *o, PyObject *key);
/* o[key] = value, or del o[key] for NULL: 0 or -1. */
int fl_set_item(struct fl_run *run, PyObject *o, PyObject *key, PyObject *value);

/* --- heap.c ------------------------------------------------------------------------------------------------ */
static inline PyObject *fl_see(struct fl_run *run,
                               PyObject *o) { /* borrowed: the pass's own view of o */
    if (!run->forward.used || !o)
        return o;
    PyObject *other = fl_map_get(&run->forward, o);
    return other ? other : o;
}
int fl_mark_owned(struct fl_run *run, PyObject *o); /* 0 or -1 */
/* What native code gave: ours if nobody else refers to it and no memory in it is somebody's. Takes and returns o. */
PyObject *fl_fresh(struct fl_run *run, PyObject *o);
PyObject *fl_mine(struct fl_run *run,
                  PyObject *o); /* marks a fresh object and returns it; NULL stays NULL */
/* The private copy of o to change: borrowed. An Unknown when it cannot be copied (and is from now on unknown). NULL:
 * exception. `effect`: changing it is an effect a barrier function may not have. */
PyObject *fl_own(struct fl_run *run, PyObject *o);
int fl_poison(struct fl_run *run, PyObject *o); /* its contents are not known any more */
/* The arguments as they are now, without anything stale inside: new reference. *unknown: something is not known. */
PyObject *fl_settle(struct fl_run *run, PyObject *o, int *unknown);
int fl_has_unknown(struct fl_run *run, PyObject *o, int depth);
/* Comparing, hashing and printing it runs no code of the user's. */
int fl_plain(struct fl_run *run, PyObject *o, int depth);
enum fl_kind { FL_ATOM = 1, FL_SEQ, FL_MUTABLE, FL_ITER };
int fl_kind(struct flow_state *st, PyTypeObject *type); /* 0: not a type known to be harmless */
int fl_like_tuple(
    PyTypeObject *type); /* a namedtuple: a tuple with names, and nothing else different */
int fl_user_class(struct flow_state *st,
                  PyTypeObject *type); /* instances may be made and copied plainly */

/* --- iter.c -------------------------------------------------------------------------------------------------- */
int fl_iter_register(struct flow_state *st);
PyObject *fl_gen_new(struct fl_run *run, struct fl_frame *frame, int started); /* takes the frame */
PyObject *fl_iter(struct fl_run *run,
                  PyObject *iterable); /* new reference; Unknown for an Unknown */
/* 1 *value; 0 exhausted; -1 */
int fl_next(struct fl_run *run, PyObject *iterator, PyObject **value);
PyObject *fl_gen_send(struct fl_run *run, PyObject *gen,
                      PyObject *value); /* NULL without exception never: StopIteration */
int fl_gen_check(struct flow_state *st, PyObject *o);
enum {
    FL_CALL_PLAIN,
    FL_CALL_FILTER,
    FL_CALL_KEY,
    FL_CALL_REJECT
}; /* what a callback's Unknown is replaced by */
PyObject *fl_iter_copy(struct fl_run *run,
                       PyObject *iterator); /* NULL without exception: cannot be copied */
PyObject *fl_callback(struct fl_run *run, PyObject *callable,
                      int mode); /* what native code may call: new reference */

/* 1, 0, -1 exception, -2 not known. */
int fl_truth(struct fl_run *run, PyObject *o);
/* A method that the class of o has in Python, called. *found 0: it has none (NULL without exception). */
PyObject *fl_call_method(struct fl_run *run, PyObject *o, const char *name, PyObject *const *args,
                         Py_ssize_t nargs, int *found);
/* --- call.c, pure.c, attr.c --------------------------------------------------------------------------------- */
/* New reference; NULL with an exception. args are the pass's views. */
PyObject *fl_call(struct fl_run *run, PyObject *callable, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames);
/* Calls native code that has no effect but on `box` (which is ours, or NULL). */
PyObject *fl_call_native(struct fl_run *run, PyObject *callable, PyObject *const *args,
                         Py_ssize_t nargs, PyObject *kwnames, PyObject *box);
PyObject *fl_getattr(struct fl_run *run, PyObject *o, PyObject *name);
int fl_setattr(struct fl_run *run, PyObject *o, PyObject *name,
               PyObject *value); /* value NULL: delete */
enum fl_pure {
    FL_PURE_NONE,
    FL_PURE,
    FL_PURE_ITER,
    FL_PURE_NUMPY,
    FL_PURE_SPOILS, /* it changes its first argument, an array */
    FL_PURE_CLOCK,  /* it gives something else each time: Unknown */
    FL_PURE_NAMED   /* by number from here on: named.c */
};
int fl_pure_init(struct flow_state *st);
void fl_pure_look(struct flow_state *st); /* before a pass: what has been imported since */
int fl_pure_of(struct flow_state *st, PyObject *callable);
/* --- named.c: functions of the standard library in C, by what they mean ------------------------------------------- */
int fl_named_init(struct flow_state *st);
/* `pure`: as fl_pure_of gave it, FL_PURE_NAMED and beyond. New reference, NULL with an exception. */
PyObject *fl_named(struct fl_run *run, int pure, PyObject *callable, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames);
/* The method of a built-in class or of one of NumPy's functions (chain.from_iterable, np.add.reduce): *done 0: none of them. */
PyObject *fl_named_method(struct fl_run *run, PyObject *callable, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames, int *done);
/* Objects that are called: itemgetter, attrgetter, methodcaller, the key of cmp_to_key. *done as above. */
PyObject *fl_named_object(struct fl_run *run, PyObject *callable, PyObject *const *args,
                          Py_ssize_t nargs, int *done);
int fl_is_getter(PyTypeObject *type); /* making one only keeps what it is given */
/* A special built-in (print, next, getattr, …). *done 0: none of them. */
PyObject *fl_special(struct fl_run *run, PyObject *callable, PyObject *const *args,
                     Py_ssize_t nargs, PyObject *kwnames, int *done);
/* 1: the method of a built-in type changes its object; 0: it does not; -1: not known. `name`: of its PyMethodDef. */
int fl_method_changes(struct flow_state *st, PyTypeObject *type, const char *name);
/* A call of the code is one of an unknown module-level function. */
int fl_is_barrier(struct fl_run *run, struct fl_code *code, PyObject *globals);
int fl_effect(struct fl_run *run); /* 0, or stops: inside a module-level function */

/* --- fork.c -------------------------------------------------------------------------------------------------- */
/* A pass from the state the real function is in, inside the functional call it just made. 0: done, -1 exception
 * of ours (a bug or no memory), 1: no way to tell where it is. */
int fl_fork_pass(struct fl_run *run, PyObject *functional, PyObject *value);
/* A generator of the program's that is suspended, as one of a pass; NULL without exception: it runs. */
PyObject *fl_fork_generator(struct fl_run *run, PyObject *generator);
/* The generator of a scheduled generator function that runs in this thread, not far up, or the outermost coroutine of a
 * scheduled one: borrowed, and the frame it was resumed from; NULL: none. */
PyObject *fl_scheduled_generator(struct flow_state *st, void **caller);
/* A pass from where a coroutine of the program's is suspended. As fl_fork_pass; 1 also if it is not suspended. */
int fl_fork_suspended(struct fl_run *run, PyObject *coroutine);
/* Names the place the real function is at: it calls `called` with these arguments. */
struct fl_place {
    void *frame, *code; /* only compared */
    int lasti;
    int direct; /* the frame itself called, not native code that it called */
};
void fl_place_now(struct fl_place *place, PyObject *called, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames);
/* From begin to end no Python code runs in this thread but what is trusted (session->trusted), and no garbage is
 * collected. -1: cannot be had. */
/* Handlers of signals wait until they are released: here is code that must not end half-way, or takes what is raised in it for
 * something else. Gives what release is given. */
int fl_signals_hold(void);
int fl_signals_release(
    int held);                /* 0; -1: a handler raised, in the place of what was raised before */
int fl_signals_pending(void); /* 1: one waits */
int fl_guard_begin(struct flow_state *st);
void fl_guard_end(struct flow_state *st);
void *fl_frame_base(void); /* the running frame, only compared */

/* --- signature.c ------------------------------------------------------------------------------------------------ */
/* Adds to what is compared; of a value its contents. 0, or -1: it cannot be pickled. */
void fl_sig_add(struct fl_sig *sig, uint64_t word);
void fl_sig_add_bytes(struct fl_sig *sig, const char *bytes, size_t n);
int fl_sig_add_value(struct flow_state *st, struct fl_sig *sig, PyObject *o); /* NULL: nothing */
/* 0, or -1 with an exception (the arguments cannot be pickled). */
int fl_sig_of(struct flow_state *st, PyObject *functional, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames, struct fl_sig *sig);

/* The same for calls that stay in this process: of what cannot be pickled it is the object that counts. 1: something of
 * that kind belongs to the pass (run, or NULL). */
int fl_sig_loose(struct fl_run *run, struct flow_state *st, PyObject *functional,
                 PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, struct fl_sig *sig);

/* --- around.c ------------------------------------------------------------------------------------------------------ */
struct fl_around;
/* What workers are given for the functional, so that it sees there what it would see here: new reference. NULL: exception; the
 * call has to be made here: need_value where workers cannot have what it looks at. */
PyObject *fl_around(struct fl_session *session, PyObject *functional, PyObject *const *args,
                    Py_ssize_t nargs);
void fl_around_moved(
    struct flow_state *st); /* what workers begin with is something else from now on */
int fl_around_traverse(const struct fl_around *around, visitproc visit, void *arg);
void fl_around_free(struct fl_around *around); /* NULL: none */

/* --- notice.c ------------------------------------------------------------------------------------------------------ */
void fl_notice_look(void);          /* for functions of modules that were imported meanwhile */
void fl_notice_reading(int change); /* +1, -1: this thread only looks */
uint64_t fl_noticed(void);          /* counts calls of functions that change the process */

/* --- job.c --------------------------------------------------------------------------------------------------------- */
struct fl_job {
    PyObject_HEAD PyObject *value, *exception; /* once done */
    PyObject *task;                            /* the asyncio.Task, once there is one */
    int done, dropped;
};
int fl_job_register(struct flow_state *st);
struct fl_job *fl_job_new(struct flow_state *st);
/* Begins the call: on the running loop for a coroutine `owner`, on one of ours for NULL. 0 or -1. */
int fl_job_start(struct flow_state *st, struct fl_job *job, PyObject *function, PyObject *args,
                 PyObject *kwargs, PyObject *owner);
void fl_job_drop(struct fl_job *job); /* nobody wants the result; keeps a pending exception */
/* Sleeps until a job ends, not longer than timeout seconds. 0, or -1: a signal's exception. */
int fl_job_wait(struct flow_state *st, struct fl_job *job, double timeout);
PyObject *fl_awaited_new(struct flow_state *st, struct fl_job *job, PyObject *args,
                         PyObject *kwargs, int pause);
/* What awaiting it will give: new reference; Unknown, or NULL with what it will raise. */
PyObject *fl_awaited_peek(struct fl_run *run, PyObject *awaited);
/* Awaiting it gives value (stolen); NULL: raises the exception that is set. */
PyObject *fl_ready_new(struct flow_state *st, PyObject *value);
PyObject *fl_ready_peek(PyObject *ready);
int fl_look_soon(struct flow_state *st,
                 PyObject *owner);       /* has fl_session_look called by its loop */
int fl_loop_runs(struct flow_state *st); /* asyncio's, in this thread */
/* Whether such a function handles coroutines itself: 1, 0, -1. */
int fl_drives_loop(struct flow_state *st, PyCodeObject *code, PyObject *globals);

/* --- session.c ---------------------------------------------------------------------------------------------------- */
/* 1, with PassEnds raised: a pass runs in this thread and Python code may not. */
int fl_session_forbids(void);
/* Code that is known to be harmless is called: +1 before, -1 behind. */
void fl_session_trust(struct fl_session *session, int change);
/* The session of this thread, or NULL. */
struct fl_session *fl_session_current(void);
/* Runs a scheduled function inside a new session. */
PyObject *fl_session_run(struct flow_state *st, PyObject *function, PyObject *const *args,
                         size_t nargsf, PyObject *kwnames);
/* The real function calls a functional. */
PyObject *fl_session_call(struct fl_session *session, PyObject *functional, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames);
/* The same outside of a session: inside a scheduled generator it gets the generator's own; else a plain call. */
PyObject *fl_session_call_outside(struct flow_state *st, PyObject *functional,
                                  PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
/* A scheduled coroutine calls an async functional: what it awaits. NULL without exception: no coroutine of ours. */
PyObject *fl_session_call_async(struct flow_state *st, PyObject *functional, PyObject *const *args,
                                Py_ssize_t nargs, PyObject *kwnames);
/* Check mode makes the call: by = watch or both. */
PyObject *fl_watched(PyObject *by, PyObject *functional, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames);
/* Looks ahead of a scheduled coroutine that is suspended, if there is anything new. 1: a pass was run; 0; -1. */
int fl_session_look(struct flow_state *st, PyObject *coroutine);
/* Ends the sessions of generators and coroutines that have finished: what their calls gave may refer to them. 0 or -1. */
int fl_sessions_sweep(struct flow_state *st);
/* The session is that of a coroutine: async functionals give it something to await. */
int fl_session_awaits(const struct fl_session *session);
/* Raises it as if it came from the code that handles what is handled now. */
void fl_raise(PyObject *exception);
/* A pass meets a functional call: its result, Unknown, or NULL. */
PyObject *fl_session_ahead(struct fl_run *run, PyObject *functional, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *kwnames);

/* The pass left something out that depends on a result, or, if `guessable`, a way that might have been guessed. */
void fl_session_blocked(struct fl_session *session, int guessable);
/* The pass has used up its steps: 0, it may go on, or -1. */
int fl_session_more(struct fl_run *run);

/* --- types.c ---------------------------------------------------------------------------------------------------- */
enum { FL_RETRIES = 3 };
struct fl_functional {
    PyObject_HEAD PyObject *function, *dict, *weakrefs;
    vectorcallfunc vectorcall;
    double cost;    /* seconds a call takes, as last measured; < 0: not known */
    unsigned cheap; /* how many calls in a row were cheap */
    int remote_only;
    int here_only; /* a generator function: its calls are left alone */
    int is_async;
    int retries;              /* how often a call is made again when its worker died */
    double timeout;           /* seconds a call may take; 0: any */
    PyObject *resources;      /* where calls may run, as pool.options() takes it; strong, or NULL */
    struct fl_around *around; /* NULL until it is first called */
};
struct fl_schedule {
    PyObject_HEAD PyObject *function, *dict, *weakrefs;
    vectorcallfunc vectorcall;
};
int fl_types_register(struct flow_state *st);
PyObject *fl_unwrap(struct flow_state *st,
                    PyObject *o); /* the function inside a Schedule, or o: borrowed */

struct pl_core *fl_pool_core(struct flow_state *st); /* borrowed; NULL: none (exception or not) */

/* --- module glue ------------------------------------------------------------------------------------------------ */
int flow_exec(PyObject *module);
struct flow_state *flow_state_new(PyObject *module);
int flow_state_traverse(struct flow_state *state, visitproc visit, void *arg);
void flow_state_clear(struct flow_state *state);
void flow_state_free(struct flow_state *state);

#endif
