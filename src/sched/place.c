#include "sched/place.h"
#include <signal.h>
#include <stddef.h>

#define OUTSIDE_MAX_NS 250000000

static const struct erg_place_limits default_limits = {
    .failures_max = 5,
    .backoff_min_ns = 20000000,
    .backoff_max_ns = 5000000000,
    .settle_ns = 10000000000,
};

void erg_place_init(struct erg_place *place, const struct erg_place_limits *limits,
                    uint32_t wanted) {
    struct erg_place_limits set = limits ? *limits : default_limits;
    if (set.failures_max == 0)
        set.failures_max = default_limits.failures_max;
    if (set.backoff_min_ns <= 0)
        set.backoff_min_ns = default_limits.backoff_min_ns;
    if (set.backoff_max_ns <= 0)
        set.backoff_max_ns = default_limits.backoff_max_ns;
    if (set.backoff_max_ns < set.backoff_min_ns)
        set.backoff_max_ns = set.backoff_min_ns;
    if (set.settle_ns <= 0)
        set.settle_ns = default_limits.settle_ns;
    *place = (struct erg_place){.limits = set, .wanted = wanted, .start_at = INT64_MIN};
}

/* Those that leave are as good as gone: their successors may be started while they finish their tasks. */
static uint32_t missing(const struct erg_place *place) {
    uint32_t have = place->up - place->leaving + place->starting;
    return have < place->wanted ? place->wanted - have : 0;
}

/* While deaths come in a row one worker is tried at a time: the others would die the same way. */
static int may_try(const struct erg_place *place) {
    return place->streak == 0 || place->starting == 0;
}

uint32_t erg_place_start(struct erg_place *place, int64_t now) {
    uint32_t n = missing(place);
    if (place->broken || n == 0 || now < place->start_at || !may_try(place))
        return 0;
    if (place->streak != 0)
        n = 1;
    place->starting += n;
    return n;
}

int64_t erg_place_start_at(const struct erg_place *place) {
    if (place->broken || missing(place) == 0 || !may_try(place))
        return INT64_MAX;
    return place->start_at;
}

uint32_t erg_place_surplus(const struct erg_place *place) {
    uint32_t staying = place->up - place->leaving;
    return staying > place->wanted ? staying - place->wanted : 0;
}

void erg_place_on_up(struct erg_place *place) {
    place->starting--;
    place->up++;
}

static void forget(struct erg_place *place) {
    place->failures = 0;
    place->streak = 0;
    place->start_at = INT64_MIN;
}

/* One more death in a row: no wait after the first, then twice as long each time. */
static void back_off(struct erg_place *place, int64_t now) {
    int64_t wait = 0;
    if (place->streak > 0) {
        uint32_t doublings = place->streak - 1;
        wait = place->limits.backoff_max_ns;
        if (doublings < 32 && place->limits.backoff_min_ns <= (wait >> doublings))
            wait = place->limits.backoff_min_ns << doublings;
    }
    if (place->streak < UINT32_MAX)
        place->streak++;
    place->start_at = now + wait;
}

static int fail(struct erg_place *place, int64_t now) {
    back_off(place, now);
    if (place->broken || ++place->failures < place->limits.failures_max)
        return 0;
    place->broken = 1;
    return 1;
}

int erg_place_on_start_failed(struct erg_place *place, int64_t now) {
    place->starting--;
    return fail(place, now);
}

/* Signals with which people and supervisors end a process that did nothing wrong. */
static int ended_from_outside(const struct erg_exit *how) {
    return how->kind == ERG_EXIT_SIGNAL && (how->value == SIGKILL || how->value == SIGTERM ||
                                            how->value == SIGINT || how->value == SIGHUP);
}

int erg_place_on_gone(struct erg_place *place, const struct erg_exit *how, int64_t up_since,
                      int was_leaving, int64_t now) {
    place->up--;
    if (was_leaving)
        place->leaving--;
    if (how->place_tasks != place->tasks || now - up_since >= place->limits.settle_ns)
        forget(place);
    place->tasks = how->place_tasks;
    if (how->kind == ERG_EXIT_ASKED || how->kind == ERG_EXIT_IDLE || was_leaving || how->had_task)
        return 0;
    if (ended_from_outside(how)) {
        /* Whoever kills workers may go on for long, and the pool should be back soon after. */
        back_off(place, now);
        if (place->start_at > now + OUTSIDE_MAX_NS)
            place->start_at = now + OUTSIDE_MAX_NS;
        return 0;
    }
    return fail(place, now);
}

void erg_place_mend(struct erg_place *place) {
    forget(place);
    place->broken = 0;
}
