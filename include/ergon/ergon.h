/* libergon: parallel work on threads and processes, from C.
 *
 * The one header a C program includes; `pkg-config --cflags --libs ergon` gives the flags.
 *
 *     static int square(struct erg_task *task, const void *input, size_t len) {
 *         double x, *y = erg_task_result(task, sizeof *y);
 *         memcpy(&x, input, len);
 *         *y = x * x;
 *         return 0;
 *     }
 *
 *     int main(int argc, char **argv) {
 *         erg_init(&argc, &argv);
 *         struct erg_pool *pool;
 *         struct erg_error err;
 *         if (erg_open("local", NULL, &pool, &err) != 0)
 *             ...
 *         erg_map_array(pool, square, in, sizeof *in, n, out, sizeof *out, NULL, &err);
 *         erg_close(pool, &err);
 *     }
 *
 * Worker processes are forked from a fresh copy of the program, which never saw the caller's threads, locks and
 * files: what main() did after erg_init() is unknown to them, everything a function needs goes with its
 * input. A worker that dies, however it dies, loses the tasks it was running, which are run again (retries) or fail with
 * ERG_ELOST and a sentence that names the signal; it is replaced, and nothing else notices.
 *
 * Every function here may be called from any thread, also from several at once, unless it says otherwise; erg_close
 * and erg_abort only when no other thread uses the pool. In a child forked from the process that opened a
 * pool, every call on that pool returns ERG_EFORKED. */
#ifndef ERGON_ERGON_H
#define ERGON_ERGON_H

#include <ergon/error.h>
#include <ergon/export.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "major.minor.patch" of the library that runs, static storage. */
ERG_API const char *erg_version(void);

/* To be called first in main() by programs whose own functions are to run in worker processes. In a process that the
 * library started for its workers it does not return. Otherwise it returns 0 and changes nothing. Programs that pass
 * only functions of shared objects need not call it. */
ERG_API int erg_init(int *argc, char ***argv);

/* --- what tasks run ------------------------------------------------------------------------------------ */
/* The task a function runs as; valid until it returns. */
struct erg_task;

/* A function that can be a task: of the program itself (after erg_init) or of a shared object. It may run in
 * another process: `input` is a copy there, aligned to 8 bytes, which it may change only by copying. Returns 0, or anything
 * else for failure. */
typedef int erg_function(struct erg_task *task, const void *input, size_t len);

/* Room for a result of len bytes, aligned to 8; what is there when the function returns 0 is the result. Asking again
 * starts over. A function that never asks has an empty result. NULL: no memory. */
ERG_API void *erg_task_result(struct erg_task *task, size_t len);

/* Says why the task fails; returns `code`, or ERG_ETASK for 0, so that a function can end in
 * `return erg_task_fail(task, 0, "...")`. */
ERG_API int erg_task_fail(struct erg_task *task, int code, const char *format, ...)
    ERG_PRINTF(3, 4);

/* The result of the i-th of the futures the task was submitted after; NULL data when it had none or i is too large.
 * (Had one of them failed, this task would have failed without running.) */
struct erg_bytes {
    const void *data;
    size_t len;
};
ERG_API struct erg_bytes erg_task_after(struct erg_task *task, size_t i);

/* 1 when somebody wants it to stop: its time is over, it was cancelled. A long function should look now and then and
 * return failure; a worker process in which it does not is killed and replaced after a while. */
ERG_API int erg_task_stopped(const struct erg_task *task);

/* --- pools --------------------------------------------------------------------------------------------- */
struct erg_pool;

/* Zero means the default. */
struct erg_open_options {
    int64_t grace_ns;          /* for a task that shall stop, before its worker is killed [1 s] */
    int64_t stop_limit_ns;     /* a worker stopped by SIGSTOP for so long counts as lost [30 s] */
    uint32_t tasks_max;        /* tasks and unreleased futures there can be at once [4 million] */
    uint32_t tasks_per_worker; /* a worker process is replaced after so many [never] */
    const char *zygote;   /* program that worker processes are forked from, when erg_init was not
                                * called [the one installed with the library] */
    uint64_t reserved[4]; /* zero */
};

/* Opens a pool; returns at once, workers come up in the background. `resources` says of what, separated by blanks:
 *     "local"      a worker process per core     "local:4"    four worker processes
 *     "threads"    a worker thread per core      "threads:8"  eight worker threads
 * NULL: "local". options may be NULL. ERG_ECONFIG says what is wrong with the string. */
ERG_API int erg_open(const char *resources, const struct erg_open_options *options,
                     struct erg_pool **pool, struct erg_error *err);

/* Waits until `count` workers are up (all, if there are fewer). timeout_ns < 0: without limit. 0; ERG_ETIMEOUT;
 * ERG_EINTR; ERG_ELAUNCH when the pool gave up, with the reason. Not needed before submitting. */
ERG_API int erg_wait_workers(struct erg_pool *pool, int count, int64_t timeout_ns,
                             struct erg_error *err);

/* Waits for everything submitted, ends the workers and frees the pool and all its futures. Signals do not interrupt it.
 * NULL is fine. The pool is freed even if this fails. */
ERG_API int erg_close(struct erg_pool *pool, struct erg_error *err);

/* Cancels everything, kills what will not stop, frees the pool and all its futures. */
ERG_API void erg_abort(struct erg_pool *pool);

/* The workers there are: up to `max` entries; returns how many there are. */
struct erg_worker {
    int is_process;
    int up; /* 0: still starting */
    int busy;
    int64_t pid;    /* of a process that has started, else 0 */
    uint64_t tasks; /* finished by it */
    uint64_t busy_ns;
    uint64_t reserved[4];
};
ERG_API int erg_workers(struct erg_pool *pool, struct erg_worker *out, int max);

/* --- tasks and graphs ------------------------------------------------------------------------------------ */
/* Names a task of one pool until it is released. */
typedef uint64_t erg_future;

enum erg_where { ERG_ANYWHERE = 0, ERG_ON_PROCESS = 1, ERG_ON_THREAD = 2 };

/* Zero means the default. */
struct erg_task_options {
    const erg_future *after; /* it starts when all of these are done; fails if one of them fails */
    size_t after_len;
    int64_t timeout_ns; /* it may run so long [for ever] */
    uint32_t retries;   /* runs it gets if its worker dies, beyond the first [0], at most 255 */
    enum erg_where where;
    uint64_t reserved[4]; /* zero */
};

/* Enters one task. The input is copied. options may be NULL. Costs well under a microsecond and never waits.
 * ERG_EFULL: tasks_max futures are not released. ERG_EINVALID: no worker could find the function; says why. */
ERG_API int erg_submit(struct erg_pool *pool, erg_function *function, const void *input, size_t len,
                       const struct erg_task_options *options, erg_future *future,
                       struct erg_error *err);

/* 1 if it is done, whatever came of it. */
ERG_API int erg_done(struct erg_pool *pool, erg_future future);

/* Waits until it is done. timeout_ns < 0: without limit. 0; ERG_ETIMEOUT; ERG_EINTR when a signal handler ran. */
ERG_API int erg_wait(struct erg_pool *pool, erg_future future, int64_t timeout_ns,
                     struct erg_error *err);

/* Waits for it (signals do not interrupt) and gives its result, which stays where it is until the future is released: 0;
 * the code its function failed with and its words; ERG_ELOST, ERG_ETIMEOUT, ERG_ECANCELLED with what happened.
 * result may be NULL. */
ERG_API int erg_result(struct erg_pool *pool, erg_future future, struct erg_bytes *result,
                       struct erg_error *err);

/* 1: it will not run. 2: it runs and was asked to stop (a process that does not is killed). 0: too late. */
ERG_API int erg_cancel(struct erg_pool *pool, erg_future future);

/* Gives the future up; its result is gone once tasks submitted after it have seen it. Once per future, done or not. */
ERG_API void erg_release(struct erg_pool *pool, erg_future future);

/* --- maps -------------------------------------------------------------------------------------------------- */
/* results[i] = function(items[i]) for fixed-size items and results that lie in arrays. The function's result must be
 * result_len bytes long. Chunks are cut by what items are measured to take. All items are tried; the error is that of the
 * first one that failed (its results are left as they were). Signals do not interrupt it. */
ERG_API int erg_map_array(struct erg_pool *pool, erg_function *function, const void *items,
                          size_t item_len, size_t count, void *results, size_t result_len,
                          const struct erg_task_options *options, struct erg_error *err);

/* The same for items and results of any length. *results is there whenever the items were run, also when some failed;
 * NULL otherwise. */
struct erg_results;
ERG_API int erg_map(struct erg_pool *pool, erg_function *function, const struct erg_bytes *items,
                    size_t count, const struct erg_task_options *options,
                    struct erg_results **results, struct erg_error *err);
/* 0 and the i-th result, or what its function failed with. */
ERG_API int erg_results_get(const struct erg_results *results, size_t i, struct erg_bytes *result,
                            struct erg_error *err);
ERG_API void erg_results_free(struct erg_results *results);

#ifdef __cplusplus
}
#endif

#endif
