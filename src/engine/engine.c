/* The loop thread. Level-triggered: whatever wakes it (the bell, a zygote's message, a process's end, the timer), it
 * looks at every pool and does what is due (tend.c). Nothing is lost when two reasons fall together, and a
 * reason too many does no harm. */
#include "engine/private.h"
#include "os/clock.h"
#include "os/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define GOODBYE_NS (2 * SECOND) /* for a zygote to end by itself */

void erg_engine_ring(struct erg_engine *e) {
    uint64_t one = 1;
    int saved = errno;
    ssize_t n = write(e->bell_fd, &one, sizeof one);
    (void)n; /* full: it rings already */
    errno = saved;
}

int erg_engine_foreign(const struct erg_engine *e) {
    return atomic_load_explicit(&e->foreign, memory_order_relaxed);
}

/* --- fork ---------------------------------------------------------------------------------------------- */
static void before_fork(void *ctx) {
    struct erg_engine *e = ctx;
    pthread_mutex_lock(&e->lock);
    for (struct erg_pool *p = e->pools; p; p = p->next)
        if (p->remote)
            erg_remote_before_fork(p->remote);
}

static void after_in_parent(void *ctx) {
    struct erg_engine *e = ctx;
    for (struct erg_pool *p = e->pools; p; p = p->next)
        if (p->remote)
            erg_remote_after_fork_parent(p->remote);
    pthread_mutex_unlock(&e->lock);
}

static void abandon_pool(struct erg_pool *p) {
    if (p->remote)
        erg_remote_after_fork_child(p->remote);
    erg_table_fork_child(p->table);
    for (uint32_t i = 0; i < p->workers_max; i++)
        erg_watch_abandon(p->workers[i].life);
    atomic_store(&p->gate, ERG_EFORKED);
}

static void after_in_child(void *ctx) {
    struct erg_engine *e = ctx;
    atomic_store(&e->foreign, 1);
    for (struct erg_pool *p = e->pools; p; p = p->next)
        abandon_pool(p);
    for (struct erg_zygote *z = e->zygotes; z; z = z->next) {
        erg_watch_abandon(z->sock);
        erg_watch_abandon(z->life);
    }
    close(e->bell_fd);
    close(e->owner_pidfd);
    close(uv_backend_fd(&e->loop)); /* its registrations belong to the parent: only let go of it */
    pthread_mutex_unlock(&e->lock);
}

/* --- the loop ------------------------------------------------------------------------------------------ */
static int finish_if_alone(struct erg_engine *e) {
    int64_t now = (int64_t)erg_clock_ns();
    int left = 0;
    for (struct erg_zygote *z = e->zygotes; z; z = z->next)
        if (!erg_nursery_gone(z)) {
            left = 1;
            if (now - e->goodbye_at > GOODBYE_NS)
                erg_process_signal(erg_watch_fd(z->life), SIGKILL);
        }
    /* One that SIGKILL does not end hangs in the kernel: it is not waited for. */
    if (left && now - e->goodbye_at < 2 * GOODBYE_NS)
        return 0;
    while (e->zygotes) {
        struct erg_zygote *z = e->zygotes;
        e->zygotes = z->next;
        erg_nursery_free(z);
    }
    erg_watch_free(e->bell);
    e->bell = NULL;
    uv_close((uv_handle_t *)&e->timer, NULL);
    return 1;
}

static void on_timer(uv_timer_t *timer);

static void arm(struct erg_engine *e, int64_t due, int64_t now) {
    if (due == NEVER) {
        uv_timer_stop(&e->timer);
        return;
    }
    uv_update_time(&e->loop);
    /* Never 0: a timer that is due again at once would keep older libuv from ever looking at descriptors. */
    uint64_t ms = due <= now ? 1 : (uint64_t)((due - now + MS - 1) / MS);
    uv_timer_start(&e->timer, on_timer, ms, 0);
}

/* What follows every event. */
static void look(struct erg_engine *e) {
    if (!e->bell)
        return; /* finished: handles are being closed */
    int64_t now = (int64_t)erg_clock_ns();
    if (e->stopping && !e->goodbye_at) {
        e->goodbye_at = now;
        for (struct erg_zygote *z = e->zygotes; z; z = z->next)
            erg_nursery_goodbye(z);
    }
    if (e->stopping) {
        if (!finish_if_alone(e))
            arm(e, now + 20 * MS, now);
        return;
    }
    erg_tend_all(e);
    erg_nursery_tidy(e);
    int64_t due = NEVER;
    now = (int64_t)erg_clock_ns();
    for (struct erg_zygote *z = e->zygotes; z; z = z->next) {
        int64_t again = erg_nursery_probe(z, now);
        due = again < due ? again : due;
    }
    for (struct erg_pool *p = e->pools; p; p = p->next)
        due = p->due < due ? p->due : due;
    arm(e, due, now);
}

void erg_engine_look(struct erg_engine *e) {
    pthread_mutex_lock(&e->lock);
    look(e);
    pthread_mutex_unlock(&e->lock);
}

static void on_timer(uv_timer_t *timer) {
    erg_engine_look(timer->data);
}

static void on_bell(void *owner) {
    struct erg_engine *e = owner;
    uint64_t drop;
    ssize_t n = read(e->bell_fd, &drop, sizeof drop);
    (void)n; /* somebody else's spurious wake-up */
    erg_engine_look(e);
}

static void *loop_main(void *arg) {
    struct erg_engine *e = arg;
    pthread_setname_np(pthread_self(), "ergon-loop");
    uv_run(&e->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* --- life ---------------------------------------------------------------------------------------------- */
static int start_thread(struct erg_engine *e) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&e->thread, NULL, loop_main, e);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

/* The loop's handles; undone by a run of the loop after they were closed. */
static int open_loop(struct erg_engine *e, struct erg_error *err) {
    int rc = uv_loop_init(&e->loop);
    if (rc != 0)
        return erg_error_set(err, ERG_ESYSTEM, "cannot make an event loop: %s", uv_strerror(rc));
    uv_timer_init(&e->loop, &e->timer);
    e->timer.data = e;
    int fd = fcntl(e->bell_fd, F_DUPFD_CLOEXEC, 3); /* the watch closes its own */
    e->bell = fd < 0 ? NULL : erg_watch_new(&e->loop, fd, on_bell, e);
    if (!e->bell)
        return erg_error_system(err, errno, "cannot watch the engine's bell");
    rc = start_thread(e);
    if (rc == 0)
        return 0;
    erg_error_system(err, rc, "cannot start the engine's thread");
    erg_watch_free(e->bell);
    uv_close((uv_handle_t *)&e->timer, NULL);
    uv_run(&e->loop, UV_RUN_DEFAULT);
    uv_loop_close(&e->loop);
    return err ? err->code : ERG_ESYSTEM;
}

static void release(struct erg_engine *e) {
    if (e->bell_fd >= 0)
        close(e->bell_fd);
    if (e->owner_pidfd >= 0)
        close(e->owner_pidfd);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

/* In a program that closed its standard descriptors ours would get their numbers, which libuv refuses to close and
 * whatever prints would write to: something harmless takes them meanwhile. */
struct low_fds {
    int fd[3];
    int len;
};

static void occupy_low_fds(struct low_fds *low) {
    low->len = 0;
    for (;;) {
        int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (fd < 0)
            return;
        if (fd > STDERR_FILENO || low->len == 3) {
            close(fd);
            return;
        }
        low->fd[low->len++] = fd;
    }
}

/* libuv aborts the program when it cannot have its first descriptors: are there any? */
enum { FDS_NEEDED = 12 };

static int fds_left(void) {
    int fd[FDS_NEEDED], n = 0;
    while (n < FDS_NEEDED && (fd[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        n++;
    int enough = n == FDS_NEEDED;
    while (n > 0)
        close(fd[--n]);
    return enough;
}

static void free_low_fds(struct low_fds *low) {
    while (low->len > 0)
        close(low->fd[--low->len]);
}

static int make_engine(struct erg_engine **out, struct erg_error *err) {
    struct erg_engine *e = calloc(1, sizeof *e);
    if (!e)
        return erg_error_set(err, ERG_ENOMEM, "no memory for the engine");
    pthread_mutex_init(&e->lock, NULL);
    e->owner = getpid();
    e->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    e->owner_pidfd = e->bell_fd < 0 ? -1 : erg_process_open(e->owner);
    int rc;
    if (e->owner_pidfd < 0)
        rc = erg_error_system(err, errno,
                              "cannot make the descriptors an engine needs (limit of "
                              "open files, or a kernel older than 5.3)");
    else
        rc = open_loop(e, err);
    if (rc != 0) {
        release(e);
        return rc;
    }
    e->forks = (struct erg_fork_entry){before_fork, after_in_parent, after_in_child, e, NULL};
    rc = erg_forks_add(&e->forks);
    if (rc != 0) {
        erg_engine_free(e);
        return erg_error_set(err, rc, "no memory for the fork handlers");
    }
    *out = e;
    return 0;
}

int erg_engine_new(struct erg_engine **out, struct erg_error *err) {
    if (!fds_left())
        return erg_error_set(err, ERG_ELAUNCH,
                             "too few descriptors are left for a pool: close files, or raise the "
                             "limit of open files (ulimit -n)");
    struct low_fds low;
    occupy_low_fds(&low);
    int rc = make_engine(out, err);
    free_low_fds(&low);
    return rc;
}

void erg_engine_free(struct erg_engine *e) {
    if (!e)
        return;
    if (erg_engine_foreign(e))
        return; /* the loop's memory may be half-way through anything: leave it to the process's end */
    while (e->pools)
        erg_pool_free(e->pools);
    pthread_mutex_lock(&e->lock);
    e->stopping = 1;
    pthread_mutex_unlock(&e->lock);
    erg_engine_ring(e);
    pthread_join(e->thread, NULL);
    erg_forks_remove(&e->forks);
    uv_loop_close(&e->loop);
    release(e);
}
