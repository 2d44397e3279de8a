/* The reactor. Nothing is queued: each worker carries flags for what is still to be said about it and hangs in
 * one list (`talk`) while any is set; each place knows what it lacks; the wake-up time is the least of what places
 * and killings wait for. erg_sched_next() looks at these in that order.
 *
 * Killings fall due in the order they were asked for, because the grace is the same for all: `due` is a
 * plain list, oldest first. */
#include "sched/sched.h"
#include <stddef.h>
#include <stdlib.h>

enum phase { ABSENT, STARTING, UP };

enum { SAY_STOP = 1, SAY_INTERRUPT = 2, SAY_KILL = 4 };

struct link {
    struct link *next, *prev;
};

struct worker {
    struct link talk; /* in sched.talk while `say` is not 0 */
    struct link due;  /* in sched.due while an interruption waits for its end */
    struct link home; /* in lane.staying while up and not asked to leave */
    uint64_t task;    /* to be interrupted */
    int64_t up_since;
    int64_t kill_at;
    uint32_t place;
    uint32_t probes; /* in a row that found it stopped */
    uint8_t phase;
    uint8_t say;
    uint8_t asked; /* enum erg_asked: why it was interrupted or killed */
    uint8_t leaving;
    uint8_t killed;
};

struct lane {
    struct erg_place place;
    struct link staying; /* the youngest first */
    uint32_t wanted;     /* as it was set last; place.wanted is less while the pool closes down */
    int say_broken;
};

struct erg_sched {
    struct erg_sched_config config;
    struct erg_retry retry;
    struct lane lanes[ERG_SCHED_PLACES_MAX];
    uint32_t lanes_len;
    struct link talk;
    struct link due;
    int64_t wake_said;
    uint8_t terminated, say_broken_pool, broken;
    struct worker workers[];
};

/* --- lists: circular, a link outside any list points to itself --- */

static void link_init(struct link *l) {
    l->next = l->prev = l;
}

static int link_alone(const struct link *l) {
    return l->next == l;
}

static void link_out(struct link *l) {
    l->prev->next = l->next;
    l->next->prev = l->prev;
    link_init(l);
}

static void link_behind(struct link *l, struct link *before) {
    l->prev = before;
    l->next = before->next;
    before->next->prev = l;
    before->next = l;
}

static void link_last(struct link *l, struct link *head) {
    link_behind(l, head->prev);
}

#define WORKER_OF(pointer, member)                                                                 \
    ((struct worker *)((char *)(pointer)-offsetof(struct worker, member)))

/* --- life --- */

struct erg_sched *erg_sched_new(const struct erg_sched_config *config) {
    struct erg_sched_config set = config ? *config : (struct erg_sched_config){0};
    if (set.workers_max == 0)
        set.workers_max = 256;
    if (set.grace_ns <= 0)
        set.grace_ns = 1000000000;
    if (set.stalled_probes == 0)
        set.stalled_probes = 30;

    struct erg_sched *s = calloc(1, sizeof *s + set.workers_max * sizeof s->workers[0]);
    if (!s)
        return NULL;
    s->config = set;
    s->wake_said = INT64_MAX;
    erg_retry_init(&s->retry, set.kills_max);
    link_init(&s->talk);
    link_init(&s->due);
    for (uint32_t i = 0; i < set.workers_max; i++) {
        link_init(&s->workers[i].talk);
        link_init(&s->workers[i].due);
        link_init(&s->workers[i].home);
    }
    return s;
}

void erg_sched_free(struct erg_sched *s) {
    free(s);
}

int erg_sched_add_place(struct erg_sched *s, uint32_t wanted) {
    if (s->lanes_len == ERG_SCHED_PLACES_MAX)
        return -1;
    struct lane *lane = &s->lanes[s->lanes_len];
    erg_place_init(&lane->place, &s->config.limits, wanted);
    link_init(&lane->staying);
    lane->wanted = wanted;
    lane->say_broken = 0;
    return (int)s->lanes_len++;
}

const struct erg_place *erg_sched_place(const struct erg_sched *s, uint32_t place) {
    return place < s->lanes_len ? &s->lanes[place].place : NULL;
}

/* --- helpers --- */

static struct worker *find(struct erg_sched *s, uint32_t number, enum phase phase) {
    if (number >= s->config.workers_max || s->workers[number].phase != phase)
        return NULL;
    return &s->workers[number];
}

static uint32_t number_of(const struct erg_sched *s, const struct worker *w) {
    return (uint32_t)(w - s->workers);
}

static void say(struct erg_sched *s, struct worker *w, uint8_t what) {
    w->say |= what;
    if (link_alone(&w->talk))
        link_last(&w->talk, &s->talk);
}

static void unsay(struct worker *w, uint8_t what) {
    w->say &= (uint8_t)~what;
    if (w->say == 0)
        link_out(&w->talk);
}

static void kill_worker(struct erg_sched *s, struct worker *w) {
    if (w->killed)
        return;
    w->killed = 1;
    link_out(&w->due);
    unsay(w, SAY_STOP | SAY_INTERRUPT);
    say(s, w, SAY_KILL);
}

/* It will be gone some time soon: it no longer counts as one of those the place has. */
static void count_leaving(struct erg_sched *s, struct worker *w) {
    if (w->leaving)
        return;
    w->leaving = 1;
    link_out(&w->home);
    s->lanes[w->place].place.leaving++;
}

static void forget_worker(struct worker *w) {
    link_out(&w->talk);
    link_out(&w->due);
    link_out(&w->home);
    w->phase = ABSENT;
    w->say = w->asked = w->leaving = w->killed = 0;
    w->probes = 0;
    w->task = 0;
}

static void trim(struct erg_sched *s, struct lane *lane) {
    for (uint32_t n = erg_place_surplus(&lane->place); n > 0; n--) {
        struct worker *w = WORKER_OF(lane->staying.next, home);
        count_leaving(s, w);
        say(s, w, SAY_STOP);
    }
}

/* A pool is broken when every place that should have workers is broken and has none left. */
static void check_broken(struct erg_sched *s) {
    int any = 0;
    for (uint32_t i = 0; i < s->lanes_len; i++) {
        const struct erg_place *place = &s->lanes[i].place;
        if (place->wanted > 0 && (!place->broken || place->up > 0))
            return;
        any |= place->broken;
    }
    if (any && !s->broken)
        s->broken = s->say_broken_pool = 1;
}

/* --- workers --- */

int erg_sched_on_started(struct erg_sched *s, uint32_t place, uint32_t worker) {
    struct worker *w = find(s, worker, ABSENT);
    if (!w || place >= s->lanes_len)
        return -1;
    w->phase = STARTING;
    w->place = place;
    return 0;
}

int erg_sched_on_up(struct erg_sched *s, uint32_t worker, int64_t now) {
    struct worker *w = find(s, worker, STARTING);
    if (!w)
        return -1;
    struct lane *lane = &s->lanes[w->place];
    w->phase = UP;
    w->up_since = now;
    erg_place_on_up(&lane->place);
    link_behind(&w->home, &lane->staying);
    if (s->terminated)
        kill_worker(s, w);
    else
        trim(s, lane);
    return 0;
}

int erg_sched_on_start_failed(struct erg_sched *s, uint32_t place, uint32_t worker, int64_t now) {
    if (worker != ERG_WORKER_NONE) {
        struct worker *w = find(s, worker, STARTING);
        if (!w)
            return -1;
        place = w->place;
        forget_worker(w);
    }
    if (place >= s->lanes_len || s->lanes[place].place.starting == 0)
        return -1;
    struct lane *lane = &s->lanes[place];
    if (erg_place_on_start_failed(&lane->place, now))
        lane->say_broken = 1;
    check_broken(s);
    return 0;
}

int erg_sched_on_gone(struct erg_sched *s, uint32_t worker, const struct erg_exit *how,
                      int64_t now) {
    struct worker *w = find(s, worker, UP);
    if (!w)
        return erg_sched_on_start_failed(s, ERG_SCHED_PLACES_MAX, worker, now);
    struct lane *lane = &s->lanes[w->place];
    struct erg_exit seen = *how;
    int was_leaving = w->leaving;
    if (w->killed) /* by us, for a reason: not the place's failure */
        seen.had_task = 1;
    forget_worker(w);
    if (erg_place_on_gone(&lane->place, &seen, w->up_since, was_leaving, now))
        lane->say_broken = 1;
    /* Nothing is left to do here: it needs no successor. */
    if (seen.kind == ERG_EXIT_IDLE && lane->place.wanted > 0)
        lane->place.wanted--;
    check_broken(s);
    return 0;
}

int erg_sched_on_probe(struct erg_sched *s, uint32_t worker, int stopped) {
    struct worker *w = find(s, worker, UP);
    if (!w)
        return -1;
    w->probes = stopped ? w->probes + 1 : 0;
    if (w->probes >= s->config.stalled_probes && !w->killed) {
        if (w->asked == ERG_ASKED_NONE)
            w->asked = ERG_ASKED_WORKER;
        kill_worker(s, w);
    }
    return 0;
}

/* --- tasks --- */

int erg_sched_on_interrupt(struct erg_sched *s, uint32_t worker, uint64_t task, enum erg_asked why,
                           int64_t now) {
    struct worker *w = find(s, worker, UP);
    if (!w)
        return -1;
    if (w->killed || !link_alone(&w->due))
        return 0;
    w->task = task;
    w->asked = (uint8_t)why;
    w->kill_at = now + s->config.grace_ns;
    link_last(&w->due, &s->due);
    say(s, w, SAY_INTERRUPT);
    return 0;
}

int erg_sched_on_task_over(struct erg_sched *s, uint32_t worker, uint64_t task) {
    struct worker *w = find(s, worker, UP);
    if (!w || w->killed || link_alone(&w->due) || w->task != task)
        return -1;
    link_out(&w->due);
    unsay(w, SAY_INTERRUPT);
    w->asked = ERG_ASKED_NONE;
    w->task = 0;
    return 0;
}

enum erg_verdict erg_sched_on_lost(struct erg_sched *s, uint32_t worker, struct erg_loss *loss,
                                   uint32_t *kills) {
    struct worker *w = find(s, worker, UP);
    loss->asked = ERG_ASKED_NONE;
    if (w && w->asked != ERG_ASKED_NONE) {
        int its_own = w->asked != ERG_ASKED_WORKER && w->task == loss->task;
        loss->asked = its_own ? (enum erg_asked)w->asked : ERG_ASKED_WORKER;
    }
    if (s->terminated)
        loss->cancelled = 1;
    return erg_retry_decide(&s->retry, loss, kills);
}

/* --- pool --- */

int erg_sched_resize(struct erg_sched *s, uint32_t place, uint32_t wanted) {
    if (place >= s->lanes_len)
        return -1;
    s->lanes[place].wanted = wanted;
    if (s->terminated)
        return 0;
    s->lanes[place].place.wanted = wanted;
    trim(s, &s->lanes[place]);
    return 0;
}

void erg_sched_terminate(struct erg_sched *s) {
    s->terminated = 1;
    for (uint32_t i = 0; i < s->config.workers_max; i++) {
        struct worker *w = &s->workers[i];
        if (w->phase != UP)
            continue;
        if (w->asked == ERG_ASKED_NONE)
            w->asked = ERG_ASKED_WORKER;
        kill_worker(s, w);
    }
    for (uint32_t i = 0; i < s->lanes_len; i++)
        s->lanes[i].place.wanted = 0;
}

void erg_sched_reopen(struct erg_sched *s) {
    s->terminated = s->broken = s->say_broken_pool = 0;
    for (uint32_t i = 0; i < s->lanes_len; i++) {
        struct lane *lane = &s->lanes[i];
        erg_place_mend(&lane->place);
        lane->say_broken = 0;
        lane->place.wanted = lane->wanted;
        trim(s, lane);
    }
}

void erg_sched_tick(struct erg_sched *s, int64_t now) {
    while (!link_alone(&s->due)) {
        struct worker *w = WORKER_OF(s->due.next, due);
        if (w->kill_at > now)
            break;
        kill_worker(s, w);
    }
    /* The wish is used up; erg_sched_next says the next one. */
    if (s->wake_said <= now)
        s->wake_said = INT64_MAX;
}

/* --- actions --- */

static void say_worker(struct erg_sched *s, struct erg_action *action) {
    struct worker *w = WORKER_OF(s->talk.next, talk);
    action->worker = number_of(s, w);
    action->place = w->place;
    if (w->say & SAY_KILL) {
        action->kind = ERG_ACT_KILL;
        unsay(w, SAY_KILL);
    } else if (w->say & SAY_INTERRUPT) {
        action->kind = ERG_ACT_INTERRUPT;
        unsay(w, SAY_INTERRUPT);
    } else {
        action->kind = ERG_ACT_STOP;
        unsay(w, SAY_STOP);
        return;
    }
    action->why = (enum erg_asked)w->asked;
    action->task = w->task;
}

static int say_place(struct erg_sched *s, int64_t now, struct erg_action *action) {
    for (uint32_t i = 0; i < s->lanes_len; i++) {
        struct lane *lane = &s->lanes[i];
        action->place = i;
        if (lane->say_broken) {
            lane->say_broken = 0;
            action->kind = ERG_ACT_BREAK_PLACE;
            action->count = lane->place.failures;
            return 1;
        }
        action->count = s->terminated ? 0 : erg_place_start(&lane->place, now);
        if (action->count > 0) {
            action->kind = ERG_ACT_START;
            return 1;
        }
    }
    return 0;
}

static int say_wake(struct erg_sched *s, struct erg_action *action) {
    int64_t at = link_alone(&s->due) ? INT64_MAX : WORKER_OF(s->due.next, due)->kill_at;
    for (uint32_t i = 0; i < s->lanes_len && !s->terminated; i++) {
        int64_t start_at = erg_place_start_at(&s->lanes[i].place);
        if (start_at < at)
            at = start_at;
    }
    if (at == s->wake_said)
        return 0;
    s->wake_said = at;
    action->kind = ERG_ACT_WAKE_AT;
    action->at = at;
    return 1;
}

int erg_sched_next(struct erg_sched *s, int64_t now, struct erg_action *action) {
    *action = (struct erg_action){.worker = ERG_WORKER_NONE, .at = INT64_MAX};
    if (!link_alone(&s->talk)) {
        say_worker(s, action);
        return 1;
    }
    if (say_place(s, now, action))
        return 1;
    if (s->say_broken_pool) {
        s->say_broken_pool = 0;
        action->kind = ERG_ACT_BREAK_POOL;
        return 1;
    }
    *action = (struct erg_action){.worker = ERG_WORKER_NONE, .at = INT64_MAX};
    return say_wake(s, action);
}
