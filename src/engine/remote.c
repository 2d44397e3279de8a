/* A pool's places: threads, what the pool asks, the beginning and the end.
 *
 * The reader waits for links, programs and times; the scout for the table: whoever enters a task that nobody here can
 * take at once adds to the place member's wake word. Both then do what is to be done under remote->lock. */
#include "engine/remote_inside.h"
#include "os/clock.h"
#include "os/futex.h"
#include "table/arena.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define CONNECT_NS (60 * SECOND)
#define RECONNECT_NS (30 * SECOND)
#define SWEEP_NS (250 * MS)
#define FREE_NS (8 * SECOND) /* for everything to end, when the pool is freed */
#define DEFAULT_QUEUES (ERG_QUEUE_BIT(ERG_QUEUE_ANY) | ERG_QUEUE_BIT(ERG_QUEUE_PROCESS))

int64_t erg_remote_now(void) {
    return (int64_t)erg_clock_ns();
}

static void ring_fd(int fd) {
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);
    (void)n; /* full: it rings already */
}

void erg_remote_tell_pool(struct erg_remote *r) {
    ring_fd(r->bell_fd);
}

void erg_remote_ring(struct erg_remote *r) {
    ring_fd(r->wake_fd);
}

/* --- what others see --- */

static int open_rows(struct erg_remote *r, struct erg_error *err) {
    uint64_t size = (uint64_t)r->nplaces * sizeof(struct erg_place_row);
    int code = erg_arena_alloc(r->m, size, &r->rows, err);
    if (code < 0)
        return code;
    struct erg_place_row *rows = erg_table_at(r->table, r->rows);
    memset(rows, 0, size);
    for (int i = 0; i < r->nplaces; i++)
        snprintf(rows[i].name, sizeof rows[i].name, "%s", r->places[i].name);
    atomic_store(&r->table->header->place_rows_len, (uint32_t)r->nplaces);
    atomic_store(&r->table->header->place_rows, r->rows);
    return 0;
}

static void close_rows(struct erg_remote *r) {
    if (r->rows == 0)
        return;
    atomic_store(&r->table->header->place_rows, 0);
    erg_arena_free(r->m, r->rows);
}

static void tell_row(struct erg_remote *r, const struct place *p) {
    struct erg_place_row *row = (struct erg_place_row *)erg_table_at(r->table, r->rows) + p->number;
    atomic_store_explicit(&row->state, p->state, memory_order_relaxed);
    atomic_store_explicit(&row->slots, p->slots, memory_order_relaxed);
    atomic_store_explicit(&row->cores, p->cores, memory_order_relaxed);
    atomic_store_explicit(&row->leased, p->lease.leased, memory_order_relaxed);
    atomic_store_explicit(&row->tasks, p->tasks, memory_order_relaxed);
    atomic_store_explicit(&row->busy_ns, p->busy_ns, memory_order_relaxed);
    atomic_store_explicit(&row->bytes_in, p->bytes_in, memory_order_relaxed);
    atomic_store_explicit(&row->bytes_out, p->bytes_out, memory_order_relaxed);
}

/* --- threads -------------------------------------------------------------------------------------------------------- */

static int64_t look(struct erg_remote *r, int64_t now) {
    int64_t due = NEVER;
    int gone = 1;
    for (int i = 0; i < r->nplaces; i++) {
        struct place *p = &r->places[i];
        if (r->stopping)
            erg_site_bye(p, now);
        int64_t at = erg_site_look(p, now);
        due = at < due ? at : due;
        erg_will_look(p, now);
        gone &= erg_site_gone(p);
        if (now >= r->sweep_at)
            erg_site_sweep(p, now);
        if (now >= r->sweep_at || p->state != p->told)
            tell_row(r, p);
        p->told = p->state;
        due = r->sweep_at < due && p->state == ERG_PLACE_UP ? r->sweep_at : due;
    }
    if (now >= r->sweep_at) {
        r->sweep_at = now + SWEEP_NS;
        r->again_at = 0;
    }
    if (r->tell_at > now && r->tell_at < due)
        due = r->tell_at;
    int64_t unpark_at = erg_peer_look(r, now);
    due = unpark_at < due ? unpark_at : due;
    int64_t again = erg_again_look(r, now);
    due = again < due ? again : due;
    if (r->stopping && gone && r->errands == 0 && !r->down) {
        r->down = 1;
        erg_will_end(r);
        erg_remote_tell_pool(r);
    }
    erg_remote_balance(r, now);
    if (atomic_load(&r->leased_count) > 0 && r->balance_at < due)
        due = r->balance_at > now ? r->balance_at : now + MS;
    return due;
}

static void *reader_main(void *arg) {
    struct erg_remote *r = arg;
    enum { MOST = 64 };
    struct epoll_event events[MOST];
    pthread_setname_np(pthread_self(), "ergon-links");
    pthread_mutex_lock(&r->lock);
    while (!atomic_load(&r->stop)) {
        int64_t now = erg_remote_now(), due = look(r, now);
        erg_remote_dispatch(r);
        int wait = due == NEVER ? -1 : due <= now ? 0 : (int)((due - now + MS - 1) / MS);
        pthread_mutex_unlock(&r->lock);
        int n = epoll_wait(r->epoll, events, MOST, wait);
        pthread_mutex_lock(&r->lock);
        r->now = now = erg_remote_now();
        for (int i = 0; i < n; i++) {
            uint64_t tag = events[i].data.u64, drop;
            if (tag >= EVENTS)
                erg_site_on_event(&r->places[tag / EVENTS - 1], (int)(tag % EVENTS),
                                  events[i].events, now);
            else if (tag == TAG_KEEPER)
                erg_will_on_event(r);
            else if (read(r->wake_fd, &drop, sizeof drop) < 0)
                continue;
        }
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static void *scout_main(void *arg) {
    struct erg_remote *r = arg;
    pthread_setname_np(pthread_self(), "ergon-scout");
    _Atomic uint32_t *wake = &r->m->slot->wake;
    while (!atomic_load(&r->stop)) {
        uint32_t seen = atomic_load_explicit(wake, memory_order_acquire);
        pthread_mutex_lock(&r->lock);
        erg_remote_dispatch(r);
        pthread_mutex_unlock(&r->lock);
        if (!atomic_load(&r->stop))
            erg_futex_wait(wake, seen, -1);
    }
    return NULL;
}

static int start_threads(struct erg_remote *r, struct erg_error *err) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&r->reader, NULL, reader_main, r);
    r->threads += rc == 0;
    if (rc == 0)
        rc = pthread_create(&r->scout, NULL, scout_main, r);
    r->threads += rc == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc == 0 ? 0 : erg_error_system(err, rc, "cannot start the threads of remote places");
}

static void stop_threads(struct erg_remote *r) {
    atomic_store(&r->stop, 1);
    ring_fd(r->wake_fd);
    if (r->m)
        erg_member_wake(r->table, r->m->number);
    if (r->threads > 0)
        pthread_join(r->reader, NULL);
    if (r->threads > 1)
        pthread_join(r->scout, NULL);
    r->threads = 0;
}

/* --- the beginning -------------------------------------------------------------------------------------------------- */

static int place_init(struct erg_remote *r, uint32_t number, const struct erg_pool_spec *pool) {
    const struct erg_place_spec *spec = &pool->places[number];
    struct place *p = &r->places[number];
    *p = (struct place){.remote = r,
                        .number = number,
                        .io = ERG_LINKIO_NONE,
                        .want_slots = spec->slots > 0 ? (uint32_t)spec->slots : 0,
                        .connect_ns = spec->connect_ns > 0 ? spec->connect_ns : CONNECT_NS,
                        .reconnect_ns = spec->reconnect_ns > 0 ? spec->reconnect_ns : RECONNECT_NS,
                        .stop_limit_ns = pool->stop_limit_ns,
                        .grace_ns = pool->grace_ns,
                        .max_tasks = (uint32_t)pool->max_tasks_per_worker,
                        .queues = DEFAULT_QUEUES,
                        .port_low = spec->port_low,
                        .port_high = spec->port_high,
                        .start_at = NEVER,
                        .again_at = NEVER,
                        .first = ERG_NIL,
                        .last = ERG_NIL,
                        .init_len = spec->init_len};
    p->name = strdup(spec->name);
    p->labels = strdup(spec->host ? spec->host : "");
    p->tag = strdup(spec->tag ? spec->tag : "");
    p->init = malloc(spec->init_len + 1);
    if (!p->name || !p->labels || !p->tag || !p->init)
        return ERG_ENOMEM;
    if (spec->init_len)
        memcpy(p->init, spec->init, spec->init_len);
    int code = erg_reach_copy(&p->reach, &spec->reach);
    p->reach.name = p->name;
    p->id_given = spec->reach.session != NULL;
    if (p->id_given)
        memcpy(p->id, spec->reach.session, sizeof p->id);
    p->reach.session = p->id;
    p->reach.timeout_ns = p->connect_ns;
    return code;
}

static int open_member(struct erg_remote *r, struct erg_error *err) {
    uint32_t number;
    int code = erg_member_reserve(r->table, ERG_MEMBER_PLACE, 0, &number, err);
    return code < 0 ? code : erg_member_open(r->table, number, &r->m, err);
}

static int open_descriptors(struct erg_remote *r, struct erg_error *err) {
    r->lease_of_bytes = r->table->header->records_max * sizeof *r->lease_of;
    void *map = mmap(NULL, r->lease_of_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return erg_error_system(err, errno, "no memory for remote places");
    r->lease_of = map;
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    r->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN};
    if (r->epoll < 0 || r->wake_fd < 0 || epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->wake_fd, &e) < 0)
        return erg_error_system(err, errno, "cannot make the descriptors of remote places");
    return 0;
}

int erg_remote_new(struct erg_member *owner, const struct erg_pool_spec *spec, int bell_fd,
                   struct erg_remote **out, struct erg_error *err) {
    int n = spec->places_len;
    struct erg_remote *r = calloc(1, sizeof *r);
    if (!r)
        return erg_error_set(err, ERG_ENOMEM, "no memory for remote places");
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->asked.more, NULL);
    r->owner = owner;
    r->table = owner->table;
    r->bell_fd = bell_fd;
    r->epoll = r->wake_fd = -1;
    r->keeper = ERG_KEEPER_NONE;
    r->leases_free = ERG_NIL;
    r->lineage = spec->lineage_bytes > 0    ? (uint64_t)spec->lineage_bytes
                 : spec->lineage_bytes == 0 ? r->table->header->memory / 8
                                            : 0;
    erg_retry_init(&r->retry, 0);
    r->places = calloc((size_t)n, sizeof *r->places);
    int code = r->places ? open_descriptors(r, err) : ERG_ENOMEM;
    for (int i = 0; i < n && code == 0; i++, r->nplaces++)
        code = place_init(r, (uint32_t)i, spec);
    if (code == ERG_ENOMEM)
        erg_error_set(err, code, "no memory for remote places");
    if (code == 0)
        code = open_member(r, err);
    if (code == 0)
        code = open_rows(r, err);
    if (code == 0) {
        erg_remote_restart(r);
        code = start_threads(r, err);
    }
    if (code < 0) {
        erg_remote_free(r);
        return code;
    }
    *out = r;
    return 0;
}

void erg_remote_restart(struct erg_remote *r) {
    pthread_mutex_lock(&r->lock);
    int64_t now = erg_remote_now();
    r->stopping = r->cancelling = r->down = 0;
    for (int i = 0; i < r->nplaces; i++)
        erg_site_start(&r->places[i], now);
    pthread_mutex_unlock(&r->lock);
    ring_fd(r->wake_fd);
}

/* --- the end ---------------------------------------------------------------------------------------------------------- */

void erg_remote_stop(struct erg_remote *r, int cancel) {
    pthread_mutex_lock(&r->lock);
    int64_t now = erg_remote_now();
    int begun = !r->stopping;
    r->stopping = 1;
    for (int i = 0; i < r->nplaces; i++) {
        struct place *p = &r->places[i];
        if (cancel)
            erg_site_let_go(p); /* before that becomes somebody else's memory */
        if (cancel && p->first != ERG_NIL)
            erg_site_lose_tasks(p, ERG_OUT_CANCELLED, "the pool was terminated");
        if (begun)
            erg_site_bye(p, now);
    }
    if (cancel)
        erg_again_end(r);
    pthread_mutex_unlock(&r->lock);
    if (begun)
        ring_fd(r->wake_fd);
}

int erg_remote_down(const struct erg_remote *remote) {
    struct erg_remote *r = (struct erg_remote *)remote;
    pthread_mutex_lock(&r->lock);
    int down = r->down;
    pthread_mutex_unlock(&r->lock);
    return down;
}

/* Threads of ours that reach or leave places still use this memory; both are bounded. */
static int wait_errands(struct erg_remote *r) {
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < r->nplaces; i++)
        erg_site_abandon(&r->places[i]);
    int left = r->errands;
    pthread_mutex_unlock(&r->lock);
    return left > 0;
}

void erg_remote_free(struct erg_remote *r) {
    if (!r)
        return;
    if (r->threads > 1) {
        erg_remote_stop(r, 1);
        int64_t until = erg_remote_now() + FREE_NS;
        while (!erg_remote_down(r) && erg_remote_now() < until)
            usleep(2000);
    }
    erg_remote_asks_stop(r);
    stop_threads(r);
    while (wait_errands(r))
        usleep(2000);
    for (int i = 0; i < r->nplaces; i++) {
        erg_site_lose_tasks(&r->places[i], ERG_OUT_CANCELLED, "the pool was terminated");
        erg_site_fini(&r->places[i]);
    }
    erg_will_end(r);
    erg_again_fini(r);
    erg_remote_tasks_fini(r);
    for (int i = 0; i < r->nsets; i++)
        free(r->sets[i].names);
    close_rows(r);
    if (r->m)
        erg_member_close(r->m);
    if (r->epoll >= 0)
        close(r->epoll);
    if (r->wake_fd >= 0)
        close(r->wake_fd);
    free(r->places);
    pthread_cond_destroy(&r->asked.more);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* --- looking ---------------------------------------------------------------------------------------------------------- */

uint32_t erg_remote_leased(const struct erg_remote *remote) {
    struct erg_remote *r = (struct erg_remote *)remote;
    pthread_mutex_lock(
        &r->lock); /* a task on its way from a ring to a place, or from there to a ring, counts */
    uint32_t n = atomic_load(&r->leased_count);
    pthread_mutex_unlock(&r->lock);
    return n;
}

uint32_t erg_remote_beyond(const struct erg_remote *r) {
    return atomic_load_explicit(&((struct erg_remote *)r)->beyond, memory_order_relaxed);
}

uint64_t erg_remote_finished(const struct erg_remote *r) {
    return atomic_load(&((struct erg_remote *)r)->finished);
}

int erg_remote_up(const struct erg_remote *remote, int *starting) {
    struct erg_remote *r = (struct erg_remote *)remote;
    int n = 0;
    *starting = 0;
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < r->nplaces; i++) {
        enum erg_place_state state = r->places[i].state;
        if (state == ERG_PLACE_UP)
            n += (int)r->places[i].slots;
        *starting += state == ERG_PLACE_STARTING || state == ERG_PLACE_BROKEN;
    }
    pthread_mutex_unlock(&r->lock);
    return n;
}

int erg_remote_was_up(const struct erg_remote *remote) {
    struct erg_remote *r = (struct erg_remote *)remote;
    int was = 0;
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < r->nplaces; i++) {
        enum erg_place_state state = r->places[i].state;
        was |= state == ERG_PLACE_UP || state == ERG_PLACE_BROKEN || state == ERG_PLACE_LOST;
    }
    pthread_mutex_unlock(&r->lock);
    return was;
}

void erg_remote_keep(struct erg_remote *r, char *const *keeper_argv) {
    pthread_mutex_lock(&r->lock);
    r->keeper_argv = keeper_argv;
    pthread_mutex_unlock(&r->lock);
    ring_fd(r->wake_fd);
}

void erg_remote_on_run(struct erg_remote *r, void (*fn)(void *ctx, const struct erg_elsewhere *run),
                       void *ctx) {
    pthread_mutex_lock(&r->lock);
    r->on_run = fn;
    r->on_run_ctx = ctx;
    pthread_mutex_unlock(&r->lock);
}

const char *erg_remote_failures(struct erg_remote *r, char *text, size_t size) {
    size_t at = 0;
    text[0] = '\0';
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < r->nplaces && at < size; i++) {
        const struct place *p = &r->places[i];
        if (p->state == ERG_PLACE_FAILED || p->state == ERG_PLACE_LOST)
            at += (size_t)snprintf(text + at, size - at, "%s%s", at ? "; " : "", p->failure.text);
    }
    pthread_mutex_unlock(&r->lock);
    return text;
}

int erg_remote_cancel(struct erg_remote *r, erg_handle task) {
    pthread_mutex_lock(&r->lock);
    struct leased *l = erg_remote_find(r, task);
    if (l && !l->parked && l->place->session) {
        unsigned char head[64];
        uint64_t id = task;
        struct erg_msg_ids m = {.n = 1, .ids = &id};
        erg_site_send(l->place, l->lane, ERG_MSG_CANCEL, head, erg_msg_ids_encode(&m, head));
        erg_site_write(l->place);
    }
    pthread_mutex_unlock(&r->lock);
    return l != NULL;
}

static void fill_info(const struct place *p, struct erg_place_info *out) {
    *out = (struct erg_place_info){.state = p->state,
                                   .slots = p->slots ? p->slots : p->want_slots,
                                   .cores = p->cores,
                                   .leased = p->lease.leased,
                                   .pid = p->pid,
                                   .rtt_ns = p->lease.rtt_ns,
                                   .mean_ns = p->lease.mean_ns,
                                   .tasks = p->tasks,
                                   .tasks_lost = p->tasks_lost,
                                   .bytes_in = p->bytes_in,
                                   .bytes_out = p->bytes_out,
                                   .busy_ns = p->busy_ns,
                                   .bytes_direct = p->bytes_direct};
    snprintf(out->name, sizeof out->name, "%s", p->name);
    snprintf(out->host, sizeof out->host, "%s", p->host);
    snprintf(out->python, sizeof out->python, "%s", p->python);
    if (p->state == ERG_PLACE_FAILED || p->state == ERG_PLACE_LOST || p->state == ERG_PLACE_BROKEN)
        snprintf(out->words, sizeof out->words, "%s", p->failure.text);
    size_t at = strlen(out->words);
    int64_t wait = p->again_at - erg_remote_now();
    if (p->state == ERG_PLACE_LOST && p->reviving)
        snprintf(out->words + at, sizeof out->words - at, " (it is being tried again)");
    else if (p->state == ERG_PLACE_LOST && p->again_at != NEVER)
        snprintf(out->words + at, sizeof out->words - at, " (it is tried again in %d s)",
                 wait > 0 ? (int)(wait / SECOND) + 1 : 0);
}

int erg_remote_info(struct erg_remote *r, struct erg_place_info *out, int max) {
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < r->nplaces && i < max; i++)
        fill_info(&r->places[i], &out[i]);
    pthread_mutex_unlock(&r->lock);
    return r->nplaces;
}

/* --- tasks for some of the places only ---------------------------------------------------------------------------------- */

/* Is it one of the lines of the text? */
static int has_line(const char *text, const char *line) {
    size_t len = strlen(line);
    for (const char *at = text; at; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, line, len) == 0 && (at[len] == '\0' || at[len] == '\n'))
            return 1;
    }
    return 0;
}

static int is_named(const struct place *p, const char *const *names, int n) {
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], p->name) == 0 || has_line(p->labels, names[i]))
            return 1;
    return 0;
}

/* The names one after the other, each with its NUL. */
static char *set_key(const char *const *names, int n, size_t *len) {
    *len = 0;
    for (int i = 0; i < n; i++)
        *len += strlen(names[i]) + 1;
    char *key = malloc(*len + 1), *at = key;
    for (int i = 0; key && i < n; i++) {
        size_t one = strlen(names[i]) + 1;
        memcpy(at, names[i], one);
        at += one;
    }
    return key;
}

static int queue_locked(struct erg_remote *r, const char *const *names, int n, char *key,
                        size_t len, uint32_t *queue, struct erg_error *err) {
    for (int i = 0; i < r->nsets; i++)
        if (r->sets[i].len == len && memcmp(r->sets[i].names, key, len) == 0) {
            *queue = r->sets[i].queue;
            free(key);
            return 0;
        }
    int any = 0;
    for (int i = 0; i < r->nplaces; i++)
        any |= is_named(&r->places[i], names, n);
    if (!any) {
        free(key);
        return erg_error_set(err, ERG_ENOTFOUND, "no host of this pool is called %s", names[0]);
    }
    if (r->nsets == (int)(sizeof r->sets / sizeof r->sets[0])) {
        free(key);
        return erg_error_set(err, ERG_EFULL,
                             "a pool knows at most %d different sets of hosts in resources=",
                             (int)(sizeof r->sets / sizeof r->sets[0]));
    }
    *queue = (uint32_t)(ERG_QUEUE_NAMED + r->nsets);
    r->sets[r->nsets++] = (struct name_set){key, len, *queue};
    for (int i = 0; i < r->nplaces; i++)
        if (is_named(&r->places[i], names, n))
            r->places[i].queues |= ERG_QUEUE_BIT(*queue);
    return 0;
}

int erg_remote_queue(struct erg_remote *r, const char *const *names, int n, uint32_t *queue,
                     struct erg_error *err) {
    size_t len;
    char *key = set_key(names, n, &len);
    if (!key)
        return erg_error_set(err, ERG_ENOMEM, "no memory for a set of hosts");
    pthread_mutex_lock(&r->lock);
    int code = queue_locked(r, names, n, key, len, queue, err);
    if (code == 0)
        erg_remote_dispatch(r); /* what is woken by tasks includes the new queue from now on */
    pthread_mutex_unlock(&r->lock);
    return code;
}

uint32_t erg_remote_dead_queues(struct erg_remote *r) {
    uint32_t dead = 0;
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < r->nsets; i++) {
        int alive = 0;
        for (int k = 0; k < r->nplaces; k++) {
            const struct place *p = &r->places[k];
            alive |= (p->queues & ERG_QUEUE_BIT(r->sets[i].queue)) &&
                     p->state != ERG_PLACE_FAILED && p->state != ERG_PLACE_LOST;
        }
        if (!alive)
            dead |= ERG_QUEUE_BIT(r->sets[i].queue);
    }
    pthread_mutex_unlock(&r->lock);
    return dead;
}

/* --- fork ---------------------------------------------------------------------------------------------------------------- */

void erg_remote_before_fork(struct erg_remote *r) {
    pthread_mutex_lock(&r->lock);
}

void erg_remote_after_fork_parent(struct erg_remote *r) {
    pthread_mutex_unlock(&r->lock);
}

void erg_remote_after_fork_child(struct erg_remote *r) {
    for (int i = 0; i < r->nplaces; i++) {
        struct place *p = &r->places[i];
        if (p->io.in >= 0)
            close(p->io.in);
        if (p->io.out >= 0 && p->io.out != p->io.in)
            close(p->io.out);
        if (p->has_reached && p->reached.pidfd >= 0)
            close(p->reached.pidfd);
        if (p->has_reached)
            erg_guard_forget(&p->reached.guard);
    }
    erg_keeper_forget(&r->keeper);
    close(r->epoll);
    close(r->wake_fd);
    pthread_mutex_unlock(&r->lock);
}
