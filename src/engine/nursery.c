/* The engine's view of its zygotes (launch/zygote.h has theirs).
 *
 *     NONE ── spawned ──> STARTING ── READY ──> READY
 *       ^                    │                    │
 *       └────── its pidfd says that it is gone ───┘
 *
 * A zygote is started when a worker process is needed and there is none. Orders may be sent before it is ready:
 * they wait in the socket. When it goes, workers that were ordered and not confirmed are in limbo if it had been ready
 * (they may exist: see crew.c), and failed to start otherwise.
 *
 * What it inherits is what its workers have: rights, limits, processors, urgency. A pool that is opened when the program has
 * other ones than a zygote began with gets another zygote; the old one ends with the last pool that has it. */
#include "engine/private.h"
#include "launch/zygote.h"
#include "launch/zygote_msg.h"
#include "os/clock.h"
#include "os/process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_LIMIT_NS (120 * SECOND) /* for an order, the start of the zygote included */
#define STOPPED_PROBES_MAX 30

static int is_used(const struct erg_zygote *z) {
    for (const struct erg_pool *p = z->engine->pools; p; p = p->next)
        if (p->zygote == z && p->state != P_DOWN) /* one that is restarted asks for it anew */
            return 1;
    return 0;
}

static struct erg_zygote *new_zygote(struct erg_engine *e, const struct erg_runtime *runtime) {
    struct erg_zygote *z = calloc(1, sizeof *z);
    if (!z)
        return NULL;
    z->engine = e;
    z->runtime = runtime;
    z->process = (struct erg_spawned){.pid = 0, .pidfd = -1, .sock = -1};
    z->next = e->zygotes;
    e->zygotes = z;
    return z;
}

struct erg_zygote *erg_nursery_get(struct erg_engine *e, const struct erg_runtime *runtime) {
    struct erg_standing standing;
    struct erg_zygote *found = NULL, *unused = NULL;
    erg_standing_read(&standing);
    for (struct erg_zygote *z = e->zygotes; z; z = z->next) {
        if (z->runtime != runtime)
            continue;
        z->outdated = !erg_standing_same(&z->standing, &standing);
        if (!z->outdated && (z->sock || z->state == Z_NONE))
            found = z;
        else if (z->state == Z_NONE && !is_used(z))
            unused = z;
    }
    if (!found && !(found = unused ? unused : new_zygote(e, runtime)))
        return NULL;
    found->standing = standing;
    found->outdated = 0;
    return found;
}

void erg_nursery_tidy(struct erg_engine *e) {
    for (struct erg_zygote *z = e->zygotes; z; z = z->next)
        if (z->outdated && !is_used(z))
            erg_nursery_goodbye(z);
}

int erg_nursery_gone(const struct erg_zygote *z) {
    return z->state == Z_NONE;
}

int erg_nursery_left(const struct erg_zygote *z, const struct worker *w) {
    return z->state == Z_NONE || w->zygote != z->generation;
}

static void drop(struct erg_zygote *z) {
    erg_watch_free(z->sock);
    erg_watch_free(z->life);
    z->sock = NULL;
    z->life = NULL;
    z->process = (struct erg_spawned){.pid = 0, .pidfd = -1, .sock = -1};
    z->state = Z_NONE;
}

/* --- messages ------------------------------------------------------------------------------------------ */
static void on_forked(struct erg_zygote *z, const struct erg_zmsg *msg, int pidfd, int64_t now) {
    struct worker *w = erg_crew_by_order(z->engine, msg->id);
    if (w && msg->pid > 0) {
        erg_crew_on_forked(w, msg->pid, pidfd, now);
        return;
    }
    if (w) {
        char why[ERG_ERROR_TEXT_SIZE];
        snprintf(why, sizeof why, "the zygote (pid %d) could not fork: %s", (int)z->process.pid,
                 strerror(-msg->pid));
        erg_crew_on_start_failed(w, why, now);
    }
    if (pidfd >= 0) { /* nobody wants it any more */
        erg_process_signal(pidfd, SIGKILL);
        close(pidfd);
    }
}

static void on_message(struct erg_zygote *z, const struct erg_zmsg *msg, int pidfd, int64_t now) {
    struct worker *w;
    switch ((enum erg_zmsg_kind)msg->kind) {
    case ERG_Z_READY:
        z->state = Z_READY;
        return;
    case ERG_Z_FORKED:
        on_forked(z, msg, pidfd, now);
        return;
    case ERG_Z_FAILED:
        erg_error_set(&z->failure, ERG_ELAUNCH, "%s", msg->text);
        break;
    case ERG_Z_UP:
        if ((w = erg_crew_by_order(z->engine, msg->generation)))
            erg_crew_on_up(w, now);
        break;
    case ERG_Z_UNABLE:
        if ((w = erg_crew_by_order(z->engine, msg->generation)))
            snprintf(w->unable, sizeof w->unable, "%s", msg->text);
        break;
    case ERG_Z_EXITED:
        if ((w = erg_crew_by_pid(z->engine, msg->pid)))
            erg_crew_on_exited(w, msg->status, now);
        break;
    default:
        break;
    }
    if (pidfd >= 0)
        close(pidfd);
}

/* Everything that is in the socket. */
static void read_messages(struct erg_zygote *z) {
    int64_t now = (int64_t)erg_clock_ns();
    struct erg_zmsg msg;
    int fds[ERG_ZMSG_FDS], fds_len;
    while (z->sock) {
        int rc = erg_zmsg_recv(erg_watch_fd(z->sock), &msg, fds, &fds_len, MSG_DONTWAIT);
        if (rc == ERG_EAGAIN)
            return;
        if (rc !=
            0) { /* hung up, or talks nonsense: no use any more; its end is seen by its pidfd */
            erg_process_signal(z->process.pidfd, SIGKILL);
            erg_watch_free(z->sock);
            z->sock = NULL;
            return;
        }
        for (int i = 1; i < fds_len; i++)
            close(fds[i]);
        on_message(z, &msg, fds_len > 0 ? fds[0] : -1, now);
    }
}

static void on_sock(void *owner) {
    struct erg_zygote *z = owner;
    struct erg_engine *e = z->engine;
    pthread_mutex_lock(&e->lock);
    read_messages(z);
    pthread_mutex_unlock(&e->lock);
    erg_engine_look(e);
}

/* --- its end ------------------------------------------------------------------------------------------- */
static void explain_end(struct erg_zygote *z, int was_ready, int status) {
    char how[64];
    struct erg_error own = z->failure;
    erg_spawn_status_text(status, how, sizeof how);
    erg_error_set(&z->failure, ERG_ELAUNCH,
                  "%s (pid %d), which worker processes are forked from, %s%s%s%s",
                  z->runtime->zygote_argv[0], (int)z->process.pid, how,
                  was_ready ? "" : " before it was ready", own.text[0] ? ": " : "", own.text);
}

static void on_life(void *owner) {
    struct erg_zygote *z = owner;
    struct erg_engine *e = z->engine;
    int status;
    pthread_mutex_lock(&e->lock);
    if (erg_spawn_reap(&z->process, &status)) {
        read_messages(z); /* what it said before it went */
        int was_ready = z->state == Z_READY;
        explain_end(z, was_ready, status);
        drop(z);
        erg_crew_on_zygote_gone(z, was_ready, (int64_t)erg_clock_ns());
    }
    pthread_mutex_unlock(&e->lock);
    erg_engine_look(e);
}

/* --- starting and ordering ------------------------------------------------------------------------------ */
/* If it has ended already, its end will be seen and tell the reason. */
static void greet(struct erg_zygote *z) {
    struct erg_engine *e = z->engine;
    struct erg_zmsg hello = {.kind = ERG_Z_HELLO, .pid = e->owner};
    int fds[2] = {e->owner_pidfd, e->bell_fd};
    erg_zmsg_send(erg_watch_fd(z->sock), &hello, fds, 2, MSG_DONTWAIT);
}

struct errand {
    struct erg_zygote *zygote;
    struct erg_error *err;
    int rc;
};

static void *spawn_as(void *arg) {
    struct errand *errand = arg;
    struct erg_zygote *z = errand->zygote;
    erg_standing_take(&z->standing.thread);
    errand->rc = erg_spawn(z->runtime->zygote_argv, &z->process, errand->err);
    return NULL;
}

/* It inherits from the thread that starts it; this one goes on as it is. */
static int spawn(struct erg_zygote *z, struct erg_error *err) {
    struct errand errand = {.zygote = z, .err = err};
    struct erg_standing own;
    pthread_t thread;
    erg_standing_read(&own);
    if (erg_standing_thread_same(&own.thread, &z->standing.thread) ||
        pthread_create(&thread, NULL, spawn_as, &errand) != 0)
        return erg_spawn(z->runtime->zygote_argv, &z->process, err);
    pthread_join(thread, NULL);
    return errand.rc;
}

static int start(struct erg_zygote *z, struct erg_error *err) {
    struct erg_engine *e = z->engine;
    z->failure.text[0] = '\0';
    int rc = spawn(z, err);
    if (rc != 0)
        return rc;
    z->state = Z_STARTING;
    z->generation++;
    z->started_at = (int64_t)erg_clock_ns();
    z->stopped_probes = 0;
    z->sock = erg_watch_new(&e->loop, z->process.sock, on_sock, z);
    if (z->process.pidfd >= 0)
        z->life = erg_watch_new(&e->loop, z->process.pidfd, on_life, z);
    if (z->sock && z->life) {
        greet(z);
        return 0;
    }
    erg_error_set(err, ERG_ELAUNCH, "cannot watch %s: out of descriptors or memory",
                  z->runtime->zygote_argv[0]);
    if (z->life) {
        erg_process_signal(z->process.pidfd, SIGKILL);
        return ERG_ELAUNCH;
    }
    kill(z->process.pid, SIGKILL);
    int status;
    z->process.pidfd = -1;
    erg_spawn_reap(&z->process, &status);
    drop(z);
    return ERG_ELAUNCH;
}

int erg_nursery_order(struct erg_zygote *z, struct worker *w, struct erg_error *err) {
    int rc = 0;
    if (z->state == Z_NONE)
        rc = start(z, err);
    if (rc != 0)
        return rc;
    if (!z->sock)
        return ERG_EAGAIN; /* on its way out */
    struct erg_zmsg order = {.kind = ERG_Z_FORK,
                             .id = w->order,
                             .member = w->member,
                             .generation = w->order,
                             .max_tasks = w->pool->max_tasks};
    int fd = erg_table_fd(w->pool->table);
    w->zygote = z->generation;
    rc = erg_zmsg_send(erg_watch_fd(z->sock), &order, &fd, 1, MSG_DONTWAIT);
    /* A zygote that hung up is about to be seen dying: then there will be another. */
    return rc == ERG_ECLOSED ? ERG_EAGAIN
           : rc == 0 || rc == ERG_EAGAIN
               ? rc
               : erg_error_system(err, errno, "cannot send an order to %s",
                                  z->runtime->zygote_argv[0]);
}

/* When the oldest order was sent that is not answered; NEVER without one. */
static int64_t oldest_order(const struct erg_zygote *z) {
    int64_t oldest = NEVER;
    for (struct erg_pool *p = z->engine->pools; p; p = p->next)
        for (uint32_t i = 0; p->zygote == z && i < p->workers_max; i++) {
            const struct worker *w = &p->workers[i];
            if (w->stage == W_ORDERED && w->ordered_at < oldest)
                oldest = w->ordered_at;
        }
    return oldest;
}

int64_t erg_nursery_probe(struct erg_zygote *z, int64_t now) {
    int64_t waits_since = z->state == Z_NONE ? NEVER : oldest_order(z);
    if (waits_since == NEVER)
        return NEVER;
    if (now < z->probe_at)
        return z->probe_at;
    z->probe_at = now + SECOND;
    z->stopped_probes = erg_limits_process_state(z->process.pid) == 'T' ? z->stopped_probes + 1 : 0;
    if (waits_since < z->started_at)
        waits_since = z->started_at;
    if (z->stopped_probes > STOPPED_PROBES_MAX || now - waits_since > ANSWER_LIMIT_NS) {
        erg_error_set(&z->failure, ERG_ELAUNCH, "it did not answer and was killed");
        erg_process_signal(z->process.pidfd, SIGKILL);
    }
    return z->probe_at;
}

void erg_nursery_goodbye(struct erg_zygote *z) {
    if (!z->sock)
        return;
    struct erg_zmsg bye = {.kind = ERG_Z_BYE};
    erg_zmsg_send(erg_watch_fd(z->sock), &bye, NULL, 0, MSG_DONTWAIT);
    erg_watch_free(z->sock); /* hanging up says the same */
    z->sock = NULL;
}

void erg_nursery_free(struct erg_zygote *z) {
    drop(z);
    free(z);
}
