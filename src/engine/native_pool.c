/* Pools of C functions. Every pool has an engine of its own: its zygote is a copy of the program, which starts in a
 * millisecond. */
#include "engine/native.h"
#include "engine/resource.h"
#include "engine/worker.h"
#include "launch/zygote.h"
#include "os/cpu.h"
#include "table/table.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZYGOTE_ARGUMENT "--ergon-zygote"

enum { PATH_SIZE = 4096 };

/* Set once by erg_init: what the process is does not hang on any pool. */
static _Atomic int initialised;

/* A pool and what its engine refers to. */
struct native {
    struct native_pool np; /* first: see erg_native_of */
    struct erg_runtime runtime;
    char *argv[3];
    char argument[sizeof ZYGOTE_ARGUMENT];
    char program[PATH_SIZE];
};

int erg_native_initialised(void) {
    return atomic_load_explicit(&initialised, memory_order_relaxed);
}

struct native_pool *erg_native_of(struct erg_pool *pool) {
    return erg_pool_user(pool);
}

/* --- the zygote and its workers ------------------------------------------------------------------------------ */
static pid_t plain_fork(void *ctx) {
    (void)ctx;
    return fork();
}

/* Being there, it makes a blocking call of an interrupted task return. */
static void on_interrupt(int signal) {
    (void)signal;
}

static int serve(void) {
    struct erg_worker_start start;
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(ERG_INTERRUPT_SIGNAL, &action, NULL);
    int rc = erg_zygote_serve(ERG_ZYGOTE_FD, plain_fork, NULL, &start, NULL);
    if (rc != 1)
        return rc == 0 ? 0 : 1;
    struct erg_native_worker *w = erg_native_worker_new();
    if (!w) {
        erg_worker_report(&start, "no memory");
        return 1;
    }
    rc = erg_worker_process_main(&start, &erg_native_ops, w);
    erg_native_worker_free(w);
    return rc;
}

static int is_zygote(int argc, char **argv) {
    int type = 0;
    socklen_t len = sizeof type;
    return argc == 2 && strcmp(argv[1], ZYGOTE_ARGUMENT) == 0 &&
           getsockopt(ERG_ZYGOTE_FD, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
           type == SOCK_SEQPACKET;
}

int erg_init(int *argc, char ***argv) {
    if (is_zygote(*argc, *argv)) {
        int status = serve();
        fflush(
            NULL); /* what tasks printed; but nothing the program registered to be done at its exit */
        _exit(status);
    }
    atomic_store(&initialised, 1);
    return 0;
}

/* --- the runtime ------------------------------------------------------------------------------------------------- */
static void *thread_main(void *seat) {
    struct erg_native_worker *w = erg_native_worker_new();
    erg_pool_thread_main(seat, w ? &erg_native_ops : NULL, w);
    erg_native_worker_free(w);
    return NULL;
}

static int start_thread(void *ctx, struct erg_pool *pool, uint32_t member) {
    (void)ctx;
    pthread_t thread;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&thread, NULL, thread_main, erg_pool_thread_seat(pool, member));
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0)
        return ERG_ESYSTEM;
    pthread_detach(thread);
    return 0;
}

/* slot.cancel is set; erg_task_stopped() tells the function. */
static int interrupt_thread(void *ctx, struct erg_pool *pool, uint32_t member, erg_handle task) {
    (void)ctx;
    (void)pool;
    (void)member;
    (void)task;
    return 1;
}

/* The program's path if the file there is still the one that runs. */
static void find_program(char *path) {
    struct stat there, self;
    ssize_t n = readlink("/proc/self/exe", path, PATH_SIZE - 1);
    if (n > 0 && n < PATH_SIZE - 1) {
        path[n] = '\0';
        if (stat(path, &there) == 0 && stat("/proc/self/exe", &self) == 0 &&
            there.st_dev == self.st_dev && there.st_ino == self.st_ino)
            return;
    }
    snprintf(path, PATH_SIZE, "/proc/self/exe");
}

static int set_runtime(struct native *n, const struct erg_open_options *options,
                       struct erg_error *err) {
    if (erg_native_initialised())
        find_program(n->program);
    else
        snprintf(n->program, sizeof n->program, "%s",
                 options && options->zygote ? options->zygote : ERG_ZYGOTE_PROGRAM);
    if (n->np.spec.processes > 0 && access(n->program, X_OK) != 0)
        return erg_error_system(
            err, errno, "worker processes need erg_init() at the top of main, or the program %s",
            n->program);
    memcpy(n->argument, ZYGOTE_ARGUMENT, sizeof n->argument);
    n->argv[0] = n->program;
    n->argv[1] = n->argument;
    n->runtime = (struct erg_runtime){.name = "native",
                                      .zygote_argv = n->argv,
                                      .start_thread = start_thread,
                                      .interrupt_thread = interrupt_thread};
    return 0;
}

/* --- resources ------------------------------------------------------------------------------------------------------ */
static int add_resource(const char *word, struct erg_pool_spec *spec, struct erg_error *err) {
    struct erg_resource r;
    int rc = erg_resource_parse(word, &r, err);
    if (rc != 0)
        return rc;
    if (r.options_len > 0)
        return erg_error_set(err, ERG_ECONFIG, "\"%.80s\": options go into struct erg_open_options",
                             word);
    int count = r.count ? r.count : (int)erg_cpu_count();
    switch (r.kind) {
    case ERG_RESOURCE_LOCAL:
        spec->processes += count;
        return 0;
    case ERG_RESOURCE_THREADS:
        spec->threads += count;
        return 0;
    case ERG_RESOURCE_SSH:
    case ERG_RESOURCE_TCP:
    case ERG_RESOURCE_EXEC:
        return erg_error_set(err, ERG_ECONFIG,
                             "\"%.80s\": C functions run on this host only; a Python program can "
                             "use other hosts",
                             word);
    case ERG_RESOURCE_SERIAL:
        break;
    }
    return erg_error_set(
        err, ERG_ECONFIG,
        "\"serial\" is no resource of a C program: call the function, or use \"threads:1\"");
}

static int parse_resources(const char *resources, struct erg_pool_spec *spec,
                           struct erg_error *err) {
    char *copy = strdup(resources ? resources : "local");
    if (!copy)
        return erg_error_set(err, ERG_ENOMEM, "no memory for a pool");
    char *rest = copy;
    int rc = 0;
    for (char *word; rc == 0 && (word = strsep(&rest, " \t\n"));)
        if (*word)
            rc = add_resource(word, spec, err);
    free(copy);
    if (rc == 0 && spec->processes + spec->threads == 0)
        return erg_error_set(err, ERG_ECONFIG, "no resource is named: try \"local\"");
    return rc;
}

/* --- life ------------------------------------------------------------------------------------------------------------- */
static void native_free(struct native *n) {
    erg_engine_free(n->np.engine); /* frees the pool too */
    pthread_mutex_destroy(&n->np.lock);
    free((void *)n->np.uses);
    free(n->np.orphans);
    free(n);
}

static int native_open(struct native *n, struct erg_error *err) {
    struct native_pool *np = &n->np;
    int rc = erg_engine_new(&np->engine, err);
    if (rc == 0)
        rc = erg_pool_open(np->engine, &n->runtime, &np->spec, &np->pool, err);
    if (rc != 0)
        return rc;
    np->records_max = erg_pool_table(np->pool)->header->records_max;
    np->uses = calloc(np->records_max, sizeof *np->uses);
    return np->uses ? 0 : erg_error_set(err, ERG_ENOMEM, "no memory for a pool");
}

int erg_open(const char *resources, const struct erg_open_options *options, struct erg_pool **pool,
             struct erg_error *err) {
    struct native *n = calloc(1, sizeof *n);
    if (!n)
        return erg_error_set(err, ERG_ENOMEM, "no memory for a pool");
    struct erg_pool_spec *spec = &n->np.spec;
    pthread_mutex_init(&n->np.lock, NULL);
    spec->user = n;
    if (options) {
        spec->grace_ns = options->grace_ns;
        spec->stop_limit_ns = options->stop_limit_ns;
        spec->records_max = options->tasks_max;
        spec->max_tasks_per_worker = (int)options->tasks_per_worker;
    }
    int rc = parse_resources(resources, spec, err);
    if (rc == 0)
        rc = set_runtime(n, options, err);
    if (rc == 0)
        rc = native_open(n, err);
    if (rc != 0) {
        native_free(n);
        return rc;
    }
    *pool = n->np.pool;
    return 0;
}

int erg_wait_workers(struct erg_pool *pool, int count, int64_t timeout_ns, struct erg_error *err) {
    return erg_pool_wait_up(pool, count, timeout_ns, err);
}

int erg_close(struct erg_pool *pool, struct erg_error *err) {
    if (!pool)
        return 0;
    struct native *n = erg_pool_user(pool);
    int rc = erg_pool_close(pool);
    if (rc != 0)
        rc = erg_pool_check(pool, err); /* has the words */
    else
        do
            rc = erg_pool_join(pool, -1, err);
        while (rc == ERG_EINTR);
    native_free(n);
    return rc;
}

void erg_abort(struct erg_pool *pool) {
    if (pool)
        native_free(erg_pool_user(pool));
}

int erg_workers(struct erg_pool *pool, struct erg_worker *out, int max) {
    struct erg_worker_info *info = calloc(max > 0 ? (size_t)max : 1, sizeof *info);
    if (!info)
        return ERG_ENOMEM;
    int n = erg_pool_workers(pool, info, max);
    for (int i = 0; i < n && i < max; i++)
        out[i] = (struct erg_worker){.is_process = info[i].kind == ERG_MEMBER_PROCESS,
                                     .up = info[i].state != ERG_W_STARTING,
                                     .busy = info[i].task != ERG_HANDLE_NONE,
                                     .pid = info[i].kind == ERG_MEMBER_PROCESS ? info[i].pid : 0,
                                     .tasks = info[i].tasks,
                                     .busy_ns = info[i].busy_ns};
    free(info);
    return n;
}
