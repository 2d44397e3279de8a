/* A map is simulated: items with given durations, workers that run chunks in order, a feeder that follows the loop of
 * balance.h and pays for every chunk it enters, collects or cuts. With nothing to do it sleeps as core/pool/job.c does: until
 * the oldest chunk ends, somebody begins to idle, or a cut becomes worth it, and looks for a cut when it wakes. Compared are the simulated time and the best
 * any schedule that takes items in their order could do (each item to the first worker free, at no cost). */
#include "sched/balance.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define US INT64_C(1000)
#define MS INT64_C(1000000)
#define SECOND (1000 * MS)
#define NEVER INT64_MAX

enum { WORKERS_MAX = 64 };

/* What things cost in the simulated machine. */
static const int64_t enter_ns = 1500;  /* feeder: a chunk */
static const int64_t pickle_ns = 50;   /* feeder: an item */
static const int64_t collect_ns = 500; /* feeder: a chunk that ended */
static const int64_t claim_ns = 300;   /* worker: a chunk */
static const int64_t wake_ns = 30000;  /* whoever slept */
static const int64_t spin_ns = 20000;  /* how long a party spins before it sleeps */

struct chunk {
    uint32_t first, end; /* items */
    int64_t ready_at;
};

struct worker {
    struct chunk chunk;
    int64_t start, idle_since;
    int busy;
};

struct sim {
    struct erg_balance balance;
    const int64_t *begins; /* begins[i]: sum of the durations of the items before i; n + 1 values */
    uint32_t n, workers;
    uint32_t next; /* item not yet entered */
    uint32_t items_done, outstanding;
    int64_t now, feeder_free;
    int64_t slept_at; /* the feeder sleeps since then; NEVER: it is awake */
    uint32_t awaited; /* first item of the chunk it sleeps for */
    int woken;        /* it woke: to look for a cut */
    uint32_t known;   /* workers it has seen to idle since it last entered something */
    int64_t look_at;  /* when a cut becomes worth it, NEVER */
    struct worker w[WORKERS_MAX];
    struct chunk *queue;
    uint32_t head, tail;
    struct {
        uint32_t items;
        int64_t run, at;
    } ended[WORKERS_MAX * 64];
    uint32_t ended_len;
    uint32_t chunks;
};

static int64_t ends_at(const struct sim *s, const struct worker *w) {
    return w->start + s->begins[w->chunk.end] - s->begins[w->chunk.first];
}

/* Number of items of its chunk the worker has begun by `now`. */
static uint32_t begun_by(const struct sim *s, const struct worker *w, int64_t now) {
    uint32_t low = w->chunk.first, high = w->chunk.end;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (w->start + s->begins[middle] - s->begins[w->chunk.first] <= now)
            low = middle + 1;
        else
            high = middle;
    }
    uint32_t begun = low - w->chunk.first;
    return begun ? begun : 1;
}

static void enter(struct sim *s, uint32_t first, uint32_t end, int64_t cost) {
    s->feeder_free = (s->feeder_free > s->now ? s->feeder_free : s->now) + cost;
    s->queue[s->tail++] = (struct chunk){first, end, s->feeder_free};
    s->outstanding++;
    s->chunks++;
    s->known = 0;
}

/* Idle workers take what is in the queue. Returns how many find nothing. */
static uint32_t take_chunks(struct sim *s) {
    uint32_t idle = 0;
    for (uint32_t i = 0; i < s->workers; i++) {
        struct worker *w = &s->w[i];
        if (w->busy)
            continue;
        if (s->head == s->tail) {
            idle++;
            continue;
        }
        w->chunk = s->queue[s->head++];
        w->busy = 1;
        w->start = w->chunk.ready_at > w->idle_since ? w->chunk.ready_at : w->idle_since;
        if (w->start - w->idle_since > spin_ns)
            w->start += wake_ns;
        w->start += claim_ns;
    }
    return idle;
}

static void cut_longest(struct sim *s) {
    uint32_t best = 0, best_left = 0, best_begun = 0;
    for (uint32_t i = 0; i < s->workers; i++) {
        const struct worker *w = &s->w[i];
        if (!w->busy || ends_at(s, w) <= s->now)
            continue;
        uint32_t begun = begun_by(s, w, s->now), left = w->chunk.end - w->chunk.first - begun;
        if (left > best_left) {
            best = i;
            best_left = left;
            best_begun = begun;
        }
    }
    s->look_at = NEVER;
    if (best_left == 0)
        return;
    struct worker *w = &s->w[best];
    uint32_t cut = erg_balance_cut(&s->balance, best_begun, best_left, s->now - w->start);
    assert_true(cut <= best_left);
    if (cut == 0) {
        s->look_at = w->start + erg_balance_cut_from(&s->balance, best_begun, best_left);
        assert_true(s->look_at > s->now);
        return;
    }
    w->chunk.end -= cut;
    enter(s, w->chunk.end, w->chunk.end + cut, enter_ns);
}

/* One step of the feeder at s->now, when it is free. 0: it has nothing to do. */
static int feed(struct sim *s, uint32_t idle) {
    int look = s->woken;
    s->woken = 0;
    if (look)
        s->known = idle;
    if (look && s->next == s->n && idle > s->tail - s->head) {
        uint32_t before = s->chunks, was;
        do { /* who was woken no longer counts as idle, and what is ready is there for another */
            was = s->chunks;
            cut_longest(s);
        } while (s->chunks != was && idle > s->tail - s->head + (s->chunks - before));
        if (s->chunks != before)
            return 1;
    }
    if (s->ended_len > 0) {
        s->ended_len--;
        s->outstanding--;
        erg_balance_measure(&s->balance, s->ended[s->ended_len].items, s->ended[s->ended_len].run);
        s->feeder_free = s->now + collect_ns;
        return 1;
    }
    if (s->next < s->n && s->outstanding < erg_balance_ahead(&s->balance)) {
        uint32_t size = erg_balance_chunk(&s->balance, s->n - s->next);
        assert_true(size >= 1 && size <= s->n - s->next);
        int64_t handout = enter_ns + collect_ns;
        enter(s, s->next, s->next + size, enter_ns + size * pickle_ns);
        erg_balance_entered(&s->balance, size, size * 8, handout);
        s->next += size;
        return 1;
    }
    return 0;
}

/* The feeder has nothing to do. */
static void fall_asleep(struct sim *s) {
    s->slept_at = s->now;
    s->awaited = s->n;
    for (uint32_t i = 0; i < s->workers; i++)
        if (s->w[i].busy && s->w[i].chunk.first < s->awaited)
            s->awaited = s->w[i].chunk.first;
    for (uint32_t i = s->head; i < s->tail; i++)
        if (s->queue[i].first < s->awaited)
            s->awaited = s->queue[i].first;
}

static void wake_up(struct sim *s) {
    s->feeder_free = s->now - s->slept_at > spin_ns ? s->now + wake_ns : s->now;
    s->slept_at = NEVER;
    s->woken = 1;
}

/* When it wakes, if no chunk ends before. */
static int64_t next_look(const struct sim *s, uint32_t idle) {
    if (s->slept_at == NEVER)
        return NEVER;
    if (idle > s->known)
        return s->now;
    return s->look_at > s->now ? s->look_at : s->now;
}

static void end_chunks(struct sim *s) {
    for (uint32_t i = 0; i < s->workers; i++) {
        struct worker *w = &s->w[i];
        if (!w->busy || ends_at(s, w) > s->now)
            continue;
        uint32_t items = w->chunk.end - w->chunk.first;
        w->busy = 0;
        w->idle_since = ends_at(s, w);
        s->items_done += items;
        if (s->slept_at != NEVER && w->chunk.first == s->awaited)
            wake_up(s);
        s->ended[s->ended_len].items = items;
        s->ended[s->ended_len++].run = w->idle_since - w->start;
    }
}

static int64_t next_end(const struct sim *s) {
    int64_t at = NEVER;
    for (uint32_t i = 0; i < s->workers; i++) {
        if (s->w[i].busy && ends_at(s, &s->w[i]) < at)
            at = ends_at(s, &s->w[i]);
    }
    return at;
}

/* Runs the map; the time it took. */
static int64_t simulate(struct sim *s) {
    while (s->items_done < s->n) {
        uint32_t idle = take_chunks(s);
        if (s->slept_at == NEVER && s->feeder_free <= s->now) {
            if (feed(s, idle))
                continue;
            fall_asleep(s);
        }
        int64_t end = next_end(s), look = next_look(s, idle), at = end < look ? end : look;
        if (s->slept_at == NEVER && s->feeder_free < at)
            at = s->feeder_free;
        assert_true(at != NEVER && at >= s->now);
        s->now = at;
        if (at == end)
            end_chunks(s);
        if (at == look && s->slept_at != NEVER)
            wake_up(s);
    }
    return s->now;
}

/* fixed: every chunk is entered at the start, in the size for that. */
static int64_t run_map(const int64_t *durations, uint32_t n, uint32_t workers, int fixed,
                       uint32_t *chunks) {
    struct sim *s = calloc(1, sizeof *s);
    int64_t *begins = malloc(((size_t)n + 1) * sizeof *begins);
    begins[0] = 0;
    for (uint32_t i = 0; i < n; i++)
        begins[i + 1] = begins[i] + durations[i];
    s->begins = begins;
    s->n = n;
    s->workers = workers;
    s->queue = malloc(((size_t)n * 4 + 64) * sizeof *s->queue);
    s->slept_at = s->look_at = NEVER;
    erg_balance_init(&s->balance, workers);
    if (fixed) {
        uint32_t size = erg_balance_chunk_fixed(n, workers);
        for (; s->next < n; s->next += size < n - s->next ? size : n - s->next) {
            uint32_t end = size < n - s->next ? s->next + size : n;
            enter(s, s->next, end, 0);
        }
    }
    int64_t took = simulate(s);
    if (chunks)
        *chunks = s->chunks;
    free(s->queue);
    free(begins);
    free(s);
    return took;
}

/* The same without any cost, item by item; or the feeder's own time, if it alone takes longer. */
static int64_t best_time(const int64_t *durations, uint32_t n, uint32_t workers) {
    int64_t free_at[WORKERS_MAX] = {0}, last = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t first = 0;
        for (uint32_t k = 1; k < workers; k++)
            if (free_at[k] < free_at[first])
                first = k;
        free_at[first] += durations[i];
        if (free_at[first] > last)
            last = free_at[first];
    }
    int64_t feeding = (int64_t)n * pickle_ns;
    return last > feeding ? last : feeding;
}

static uint64_t seed;

static uint32_t draw(uint32_t below) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static double ratio_of(const int64_t *durations, uint32_t n, uint32_t workers, int fixed,
                       uint32_t *chunks) {
    int64_t took = run_map(durations, n, workers, fixed, chunks);
    int64_t best = best_time(durations, n, workers);
    /* The first round trips and a wake-up at either end are there however short the map is. */
    return (double)(took - MS) / (double)best;
}

static int64_t *uniform(uint32_t n, int64_t duration) {
    int64_t *durations = malloc(n * sizeof *durations);
    for (uint32_t i = 0; i < n; i++)
        durations[i] = duration;
    return durations;
}

static const int64_t levels[] = {200, US, 10 * US, 100 * US, MS, 10 * MS, 100 * MS, SECOND};
enum { LEVELS = sizeof levels / sizeof levels[0] };

static void test_uniform_items(void **state) {
    (void)state;
    for (uint32_t level = 0; level < LEVELS; level++) {
        uint32_t n = levels[level] < MS ? 300000 : levels[level] < SECOND ? 2000 : 200;
        int64_t *durations = uniform(n, levels[level]);
        for (uint32_t workers = 1; workers <= WORKERS_MAX; workers *= 2) {
            double ratio = ratio_of(durations, n, workers, 0, NULL);
            if (ratio > 1.05)
                fail_msg("%u workers, items of %d ns: %.3f times the best", workers,
                         (int)levels[level], ratio);
        }
        free(durations);
    }
}

static void test_million_tiny_items(void **state) {
    (void)state;
    int64_t *durations = uniform(1000000, US);
    uint32_t chunks;
    for (uint32_t workers = 2; workers <= 8; workers *= 2) {
        assert_true(ratio_of(durations, 1000000, workers, 0, &chunks) < 1.02);
        /* a chunk is about a millisecond of work */
        assert_in_range(chunks, 500, 2500);
    }
    free(durations);
}

static void test_ten_long_items_go_one_by_one(void **state) {
    (void)state;
    int64_t *durations = uniform(10, SECOND);
    uint32_t chunks;
    assert_true(ratio_of(durations, 10, 2, 0, &chunks) < 1.001);
    assert_int_equal(chunks, 10);
    free(durations);
}

/* Two kinds of items, mixed, or one kind first, or last; each spread by half its duration to either side. */
static int64_t *mixture(uint32_t n) {
    int64_t *durations = malloc(n * sizeof *durations);
    int64_t a = levels[draw(LEVELS)], b = levels[draw(LEVELS)];
    uint32_t share = 1 + draw(1000), order = draw(3);
    uint64_t border = (uint64_t)n * share / 1000;
    for (uint32_t i = 0; i < n; i++) {
        int is_b = order == 0 ? draw(1000) < share : order == 1 ? i < border : i >= n - border;
        int64_t middle = is_b ? b : a;
        durations[i] = middle / 2 + middle * draw(1000) / 1000;
    }
    return durations;
}

static void check_mixtures(int fixed, double worst_allowed, double mean_allowed) {
    double sum = 0;
    const int runs = 600;
    for (int run = 0; run < runs; run++) {
        seed = (uint64_t)run * 977 + 1;
        uint32_t workers = 1 + draw(WORKERS_MAX), n = 1 + draw(draw(2) ? 100 : 20000);
        int64_t *durations = mixture(n);
        double ratio = ratio_of(durations, n, workers, fixed, NULL);
        free(durations);
        sum += ratio > 1 ? ratio : 1;
        if (ratio > worst_allowed)
            fail_msg("run %d, %u items, %u workers: %.3f times the best", run, n, workers, ratio);
    }
    if (sum / runs > mean_allowed)
        fail_msg("on average %.4f times the best", sum / runs);
}

static void test_mixtures(void **state) {
    (void)state;
    check_mixtures(0, 1.4, 1.01);
}

static void test_mixtures_entered_all_at_once(void **state) {
    (void)state;
    check_mixtures(1, 1.7, 1.05);
}

static void test_chunk_keeps_its_limits(void **state) {
    (void)state;
    struct erg_balance b;
    erg_balance_init(&b, 4);
    assert_int_equal(erg_balance_chunk(&b, 0), 0);
    assert_int_equal(erg_balance_chunk(&b, 1000), 1); /* nothing known yet */
    erg_balance_measure(&b, 1, 100);
    assert_int_equal(erg_balance_chunk(&b, ERG_ITEMS_UNKNOWN), ERG_BALANCE_GROWTH);
    erg_balance_measure(&b, 100000, 10000000);
    assert_in_range(erg_balance_chunk(&b, ERG_ITEMS_UNKNOWN), 9000, 11000);
    assert_int_equal(erg_balance_chunk(&b, 7), 7);
    erg_balance_init(&b, 4);
    erg_balance_measure(&b, 50, 50 * 10 * US);
    assert_int_equal(erg_balance_chunk(&b, 100000), 100);
    assert_int_equal(erg_balance_chunk(&b, 240), 20); /* near the end a share of what is left */
    erg_balance_entered(&b, 10, 10 << 20, 0);         /* a megabyte each */
    assert_int_equal(erg_balance_chunk(&b, ERG_ITEMS_UNKNOWN), ERG_BALANCE_CHUNK_BYTES >> 20);
    erg_balance_entered(&b, 1, 200u << 20, 0);
    assert_int_equal(erg_balance_chunk(&b, ERG_ITEMS_UNKNOWN), 1);
    /* clocks that stand still or items that take for ever break nothing */
    erg_balance_init(&b, 0);
    erg_balance_measure(&b, 5, 0);
    assert_true(erg_balance_chunk(&b, 100) >= 1);
    for (int i = 0; i < 50; i++)
        erg_balance_measure(&b, 1, INT64_MAX / 8);
    assert_int_equal(erg_balance_chunk(&b, UINT64_MAX - 1), 1);
}

static void test_one_slow_item_does_not_make_the_rest_slow(void **state) {
    (void)state;
    struct erg_balance b;
    erg_balance_init(&b, 2);
    for (int i = 0; i < 20; i++)
        erg_balance_measure(&b, 1000, MS);
    uint32_t before = erg_balance_chunk(&b, ERG_ITEMS_UNKNOWN);
    erg_balance_measure(&b, 1000, 10 * SECOND);
    assert_true(erg_balance_chunk(&b, ERG_ITEMS_UNKNOWN) * 4 >= before);
    for (int i = 0; i < 4; i++)
        erg_balance_measure(&b, 1000, MS);
    assert_true(erg_balance_chunk(&b, ERG_ITEMS_UNKNOWN) * 10 >= before * 9);
}

static void test_window(void **state) {
    (void)state;
    struct erg_balance b;
    erg_balance_init(&b, 8);
    assert_true(erg_balance_window(&b) >= 8 * ERG_BALANCE_WINDOW_TASKS);
    /* big items: four a worker, however starved */
    erg_balance_entered(&b, 1, 100u << 20, 0);
    for (int i = 0; i < 100; i++)
        erg_balance_starved(&b);
    assert_int_equal(erg_balance_window(&b), 8 * ERG_BALANCE_WINDOW_TASKS);
    /* small ones: never more than 64 MB of them */
    erg_balance_init(&b, 8);
    erg_balance_entered(&b, 1000, 500000, 0);
    for (int i = 0; i < 10; i++)
        erg_balance_measure(&b, 1000, MS);
    uint64_t calm = erg_balance_window(&b);
    erg_balance_starved(&b);
    assert_int_equal(erg_balance_window(&b), 2 * calm);
    for (int i = 0; i < 100; i++)
        erg_balance_starved(&b);
    assert_in_range(erg_balance_window(&b), 2 * calm, ERG_BALANCE_WINDOW_BYTES / 500);
    /* slow ones are not read far ahead */
    erg_balance_init(&b, 8);
    erg_balance_measure(&b, 1, SECOND);
    assert_int_equal(erg_balance_window(&b), 8 * ERG_BALANCE_AHEAD);
}

static void test_cut(void **state) {
    (void)state;
    struct erg_balance b;
    erg_balance_init(&b, 2);
    assert_int_equal(erg_balance_cut(&b, 1, 0, SECOND), 0);
    assert_int_equal(erg_balance_cut(&b, 1, 1, SECOND), 1); /* also the very last one */
    assert_int_equal(erg_balance_cut(&b, 1, 9, SECOND), 5);
    assert_int_equal(erg_balance_cut(&b, 1000, 2, 1000),
                     0); /* moving it costs more than running it */
    int64_t from = erg_balance_cut_from(&b, 1000, 2);
    assert_true(from > 1000);
    assert_int_equal(erg_balance_cut(&b, 1000, 2, from), 1); /* unless the last one takes long */
    assert_int_equal(erg_balance_cut(&b, 1000, 2, from - 1), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uniform_items),
        cmocka_unit_test(test_million_tiny_items),
        cmocka_unit_test(test_ten_long_items_go_one_by_one),
        cmocka_unit_test(test_mixtures),
        cmocka_unit_test(test_mixtures_entered_all_at_once),
        cmocka_unit_test(test_chunk_keeps_its_limits),
        cmocka_unit_test(test_one_slow_item_does_not_make_the_rest_slow),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
