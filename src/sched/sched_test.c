/* Scripts: one line an event, behind "=>" the actions it must lead to, in order. See run_script(). */
#include "sched/sched.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS INT64_C(1000000)
#define SECOND (1000 * MS)

/* --- scripts --- */

static void put_action(char *out, size_t size, const struct erg_action *a) {
    size_t len = strlen(out);
    const char *gap = len ? ", " : "";
    out += len;
    size -= len;
    switch (a->kind) {
    case ERG_ACT_START:
        snprintf(out, size, "%sstart %u at %u", gap, a->count, a->place);
        break;
    case ERG_ACT_STOP:
        snprintf(out, size, "%sstop %u", gap, a->worker);
        break;
    case ERG_ACT_INTERRUPT:
        snprintf(out, size, "%sinterrupt %u task %u", gap, a->worker, (unsigned)a->task);
        break;
    case ERG_ACT_KILL:
        snprintf(out, size, "%skill %u", gap, a->worker);
        break;
    case ERG_ACT_BREAK_PLACE:
        snprintf(out, size, "%sbreak %u after %u", gap, a->place, a->count);
        break;
    case ERG_ACT_BREAK_POOL:
        snprintf(out, size, "%sbreak", gap);
        break;
    case ERG_ACT_WAKE_AT:
        if (a->at == INT64_MAX)
            snprintf(out, size, "%swake never", gap);
        else
            snprintf(out, size, "%swake %d", gap, (int)(a->at / MS));
        break;
    }
}

static const char *const verdict_names[] = {"retry", "lost", "killer", "timeout", "cancelled"};

static enum erg_exit_kind exit_kind(const char *word, int *value) {
    *value = 0;
    if (strcmp(word, "asked") == 0)
        return ERG_EXIT_ASKED;
    if (strcmp(word, "idle") == 0)
        return ERG_EXIT_IDLE;
    if (strcmp(word, "unknown") == 0)
        return ERG_EXIT_UNKNOWN;
    if (strcmp(word, "kill") == 0) {
        *value = SIGKILL;
        return ERG_EXIT_SIGNAL;
    }
    *value = 1;
    return ERG_EXIT_CODE;
}

/* Tells the scheduler one event; verdicts are written like actions. Words of an event:
 *   started PLACE WORKER | up WORKER | failed PLACE [WORKER] | gone WORKER HOW [HAD_TASK [PLACE_TASKS]]
 *   probe WORKER STOPPED | interrupt WORKER TASK timeout|cancel | over WORKER TASK | lost WORKER TASK RETRIES [pure]
 *   resize PLACE N | terminate | reopen | tick */
static void tell(struct erg_sched *s, const char *event, int64_t now, char *out, size_t size) {
    char verb[32] = "", word[32] = "";
    unsigned a = 0, b = 0, c = 0, d = 0;
    int status = 0;
    sscanf(event, "%31s", verb);
    const char *rest = event + strlen(verb);
    if (strcmp(verb, "started") == 0 && sscanf(rest, "%u %u", &a, &b) == 2) {
        status = erg_sched_on_started(s, a, b);
    } else if (strcmp(verb, "up") == 0 && sscanf(rest, "%u", &a) == 1) {
        status = erg_sched_on_up(s, a, now);
    } else if (strcmp(verb, "failed") == 0) {
        b = ERG_WORKER_NONE;
        sscanf(rest, "%u %u", &a, &b);
        status = erg_sched_on_start_failed(s, a, b, now);
    } else if (strcmp(verb, "gone") == 0 && sscanf(rest, "%u %31s %u %u", &a, word, &b, &c) >= 2) {
        struct erg_exit how = {.had_task = (int)b, .place_tasks = c};
        how.kind = exit_kind(word, &how.value);
        status = erg_sched_on_gone(s, a, &how, now);
    } else if (strcmp(verb, "probe") == 0 && sscanf(rest, "%u %u", &a, &b) == 2) {
        status = erg_sched_on_probe(s, a, (int)b);
    } else if (strcmp(verb, "interrupt") == 0 && sscanf(rest, "%u %u %31s", &a, &b, word) == 3) {
        int timeout = strcmp(word, "timeout") == 0;
        status =
            erg_sched_on_interrupt(s, a, b, timeout ? ERG_ASKED_TIMEOUT : ERG_ASKED_CANCEL, now);
    } else if (strcmp(verb, "over") == 0 && sscanf(rest, "%u %u", &a, &b) == 2) {
        status = erg_sched_on_task_over(s, a, b);
    } else if (strcmp(verb, "lost") == 0 && sscanf(rest, "%u %u %u %31s", &a, &b, &d, word) >= 3) {
        struct erg_loss loss = {
            .task = b, .retries = d, .pure = strcmp(word, "pure") == 0, .on_top = 1};
        snprintf(out, size, "%s", verdict_names[erg_sched_on_lost(s, a, &loss, NULL)]);
    } else if (strcmp(verb, "resize") == 0 && sscanf(rest, "%u %u", &a, &b) == 2) {
        status = erg_sched_resize(s, a, b);
    } else if (strcmp(verb, "terminate") == 0) {
        erg_sched_terminate(s);
    } else if (strcmp(verb, "reopen") == 0) {
        erg_sched_reopen(s);
    } else if (strcmp(verb, "tick") == 0) {
        erg_sched_tick(s, now);
    } else {
        fail_msg("the script says \"%s\", which is no event", event);
    }
    if (status != 0)
        snprintf(out, size, "refused");
}

/* A script: "places N N …" first, then lines "MILLISECONDS EVENT => ACTION, ACTION …". */
static void run_script(const char *name, const char *script) {
    const struct erg_sched_config config = {.workers_max = 16, .stalled_probes = 3};
    struct erg_sched *s = erg_sched_new(&config);
    assert_non_null(s);
    char *text = strdup(script), *save = NULL;
    int number = 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char got[512] = "";
        int64_t now = 0;
        number++;
        char *arrow = strstr(line, "=>");
        const char *expected = "";
        if (arrow) {
            *arrow = 0;
            expected = arrow + 2 + strspn(arrow + 2, " ");
        }
        if (strncmp(line, "places", 6) == 0) {
            for (char *p = line + 6, *end; strtoul(p, &end, 10), end != p; p = end)
                assert_true(erg_sched_add_place(s, (uint32_t)strtoul(p, NULL, 10)) >= 0);
        } else {
            char *event;
            now = strtoll(line, &event, 10) * MS;
            tell(s, event + strspn(event, " "), now, got, sizeof got);
        }
        struct erg_action action;
        while (erg_sched_next(s, now, &action))
            put_action(got, sizeof got, &action);
        if (strcmp(got, expected) != 0)
            fail_msg("%s, line %d (%s): expected \"%s\", got \"%s\"", name, number, line, expected,
                     got);
    }
    free(text);
    erg_sched_free(s);
}

#define UP2 "places 2 => start 2 at 0\n0 started 0 0\n0 started 0 1\n1 up 0\n1 up 1\n"

static const struct {
    const char *name, *script;
} scripts[] = {
    {"a worker killed at work is replaced at once", UP2 "50 lost 0 7 0 => lost\n"
                                                        "50 gone 0 kill 1 => start 1 at 0\n"
                                                        "50 started 0 0\n"
                                                        "51 up 0\n"},
    {"retries are granted", UP2 "50 lost 0 7 1 => retry\n"
                                "50 gone 0 kill 1 => start 1 at 0\n"
                                "50 started 0 0\n52 up 0\n"
                                "60 lost 0 7 0 => killer\n"},
    {"a pure killer ends", UP2 "50 lost 0 7 0 pure => retry\n"
                               "50 lost 1 7 0 pure => retry\n"
                               "50 lost 0 7 0 pure => killer\n"},
    {"crash loop at start", "places 2 => start 2 at 0\n"
                            "0 started 0 0\n0 started 0 1\n"
                            "10 gone 0 code\n" /* the other is still starting: wait and see */
                            "10 gone 1 code => wake 30\n"
                            "29 tick\n"
                            "30 tick => start 1 at 0\n"
                            "30 started 0 0\n"
                            "31 failed 0 0 => wake 71\n"
                            "71 tick => start 1 at 0\n"
                            "71 failed 0 => wake 151\n"
                            "151 tick => start 1 at 0\n"
                            "151 failed 0 => break 0 after 5, break\n"
                            "900 tick\n"
                            "900 reopen => start 2 at 0\n"},
    {"one bad start, then all is well", "places 3 => start 3 at 0\n"
                                        "0 started 0 0\n0 started 0 1\n0 started 0 2\n"
                                        "1 failed 0 0\n1 up 1\n1 up 2 => start 1 at 0\n"
                                        "1 started 0 0\n2 up 0\n"},
    {"threads go on when processes break", "places 1 1 => start 1 at 0, start 1 at 1\n"
                                           "0 started 0 0\n0 started 1 1\n0 up 1\n"
                                           "0 failed 0 0 => start 1 at 0\n"
                                           "0 failed 0 => wake 20\n20 tick => start 1 at 0\n"
                                           "20 failed 0 => wake 60\n60 tick => start 1 at 0\n"
                                           "60 failed 0 => wake 140\n140 tick => start 1 at 0\n"
                                           "140 failed 0 => break 0 after 5\n"
                                           "200 gone 1 code 1 => start 1 at 1\n"},
    {"a task that does not end is killed after the grace",
     UP2 "5 interrupt 0 7 timeout => interrupt 0 task 7, wake 1005\n"
         "6 interrupt 0 7 cancel\n"
         "900 tick\n"
         "1005 tick => kill 0\n"
         "1006 lost 0 7 9 => timeout\n"
         "1006 lost 0 8 0 pure => retry\n"
         "1006 gone 0 kill => start 1 at 0\n"},
    {"a task that ends in time", UP2 "5 interrupt 0 7 cancel => interrupt 0 task 7, wake 1005\n"
                                     "5 interrupt 1 8 timeout => interrupt 1 task 8\n"
                                     "6 over 0 7\n"
                                     "7 over 0 7 => refused\n"
                                     "1005 tick => kill 1\n"
                                     "1005 lost 1 8 1 => timeout\n"
                                     "1006 lost 0 9 0 => lost\n"},
    {"a worker that dies while interrupted",
     UP2 "5 interrupt 0 7 cancel => interrupt 0 task 7, wake 1005\n"
         "6 lost 0 7 3 => cancelled\n"
         "6 gone 0 code 1 => start 1 at 0, wake never\n"},
    {"stopped for long", UP2 "1000 probe 0 1\n2000 probe 0 1\n3000 probe 0 0\n"
                             "4000 probe 0 1\n5000 probe 0 1\n6000 probe 0 1 => kill 0\n"
                             "6000 lost 0 7 0 => lost\n6000 gone 0 kill 1 => start 1 at 0\n"},
    {"workers we kill are no failures of the place",
     UP2 "1 probe 0 1\n1 probe 1 1\n2 probe 0 1\n2 probe 1 1\n3 probe 0 1 => kill 0\n3 probe 1 1 "
         "=> kill 1\n"
         "4 gone 0 code => start 1 at 0\n4 gone 1 code => start 1 at 0\n"},
    {"a broken place lives as long as its last worker",
     "places 2 => start 2 at 0\n0 started 0 0\n0 up 0\n"
     "0 failed 0 => start 1 at 0\n0 failed 0 => wake 20\n20 tick => start 1 at 0\n"
     "20 failed 0 => wake 60\n60 tick => start 1 at 0\n60 failed 0 => wake 140\n"
     "140 tick => start 1 at 0\n140 failed 0 => break 0 after 5\n"
     "200 gone 0 kill 1 => break\n"},
    {"resize", UP2 "5 resize 0 4 => start 2 at 0\n"
                   "5 started 0 2\n5 started 0 3\n6 up 2\n"
                   "7 resize 0 1 => stop 2, stop 1\n"
                   "8 up 3 => stop 3\n"
                   "9 gone 2 asked\n9 gone 1 asked\n9 gone 3 asked\n"
                   "9 resize 0 2 => start 1 at 0\n"},
    {"a stop not yet said is taken back by death", UP2 "5 resize 0 1 => stop 1\n5 gone 1 kill 1\n"
                                                       "6 gone 0 kill 1 => start 1 at 0\n"},
    {"a worker that has run its number of tasks is replaced when it is gone",
     UP2 "5 gone 0 asked => start 1 at 0\n5 started 0 0\n6 up 0\n"},
    {"a closed pool runs dry",
     UP2 "5 gone 0 idle\n6 lost 1 7 1 => retry\n"
         "6 gone 1 kill 1 => start 1 at 0\n"
         "6 started 0 1\n7 up 1\n8 gone 1 idle\n9 reopen => start 2 at 0\n"},
    {"terminate", "places 3 => start 3 at 0\n0 started 0 0\n0 started 0 1\n0 started 0 2\n"
                  "1 up 0\n1 up 1\n2 terminate => kill 0, kill 1\n"
                  "3 up 2 => kill 2\n3 lost 0 7 5 => cancelled\n"
                  "3 gone 0 kill\n3 gone 1 kill\n3 gone 2 kill\n"
                  "4 tick\n5 reopen => start 3 at 0\n"},
    {"nonsense is refused",
     UP2 "5 up 0 => refused\n5 started 0 0 => refused\n5 started 9 5 => refused\n"
         "5 gone 7 kill => refused\n5 failed 0 => refused\n5 failed 3 => refused\n"
         "5 over 0 1 => refused\n5 probe 99 1 => refused\n"},
};

static void test_scripts(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++)
        run_script(scripts[i].name, scripts[i].script);
}

/* --- random runs: a model of the engine applies the actions, the world misbehaves, the rules must hold --- */

enum { WORKERS = 12, PLACES = 2 };
enum model_phase { M_ABSENT, M_STARTING, M_UP };

struct model {
    struct erg_sched *s;
    uint64_t seed;
    int64_t now, wake;
    uint32_t wanted[PLACES];
    uint64_t tasks[PLACES];
    struct {
        enum model_phase phase;
        uint32_t place;
        int to_kill, to_stop, busy;
        uint64_t task;
    } w[WORKERS];
    uint64_t next_task;
    int bad_luck; /* percent of events that are disasters */
    int broken;
};

static uint32_t draw(struct model *m, uint32_t below) {
    m->seed = m->seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(m->seed >> 33) % below;
}

static uint32_t count(const struct model *m, uint32_t place, enum model_phase phase) {
    uint32_t n = 0;
    for (int i = 0; i < WORKERS; i++)
        n += m->w[i].phase == phase && m->w[i].place == place;
    return n;
}

static void apply(struct model *m, const struct erg_action *a) {
    switch (a->kind) {
    case ERG_ACT_START:
        for (uint32_t n = a->count; n > 0; n--) {
            int free_one = 0;
            while (free_one < WORKERS && m->w[free_one].phase != M_ABSENT)
                free_one++;
            if (free_one == WORKERS || draw(m, 100) < (uint32_t)m->bad_luck) {
                assert_int_equal(erg_sched_on_start_failed(m->s, a->place, ERG_WORKER_NONE, m->now),
                                 0);
                continue;
            }
            m->w[free_one].phase = M_STARTING;
            m->w[free_one].place = a->place;
            m->w[free_one].busy = m->w[free_one].to_kill = m->w[free_one].to_stop = 0;
            assert_int_equal(erg_sched_on_started(m->s, a->place, (uint32_t)free_one), 0);
        }
        break;
    case ERG_ACT_STOP:
        assert_int_equal(m->w[a->worker].phase, M_UP);
        assert_false(m->w[a->worker].to_stop);
        m->w[a->worker].to_stop = 1;
        break;
    case ERG_ACT_KILL:
        assert_int_equal(m->w[a->worker].phase, M_UP);
        assert_false(m->w[a->worker].to_kill);
        m->w[a->worker].to_kill = 1;
        break;
    case ERG_ACT_INTERRUPT:
        assert_int_equal(m->w[a->worker].phase, M_UP);
        assert_true(m->w[a->worker].busy);
        assert_true(m->w[a->worker].task == a->task);
        break;
    case ERG_ACT_BREAK_PLACE:
        assert_true(erg_sched_place(m->s, a->place)->failures >= 5);
        break;
    case ERG_ACT_BREAK_POOL:
        m->broken = 1;
        break;
    case ERG_ACT_WAKE_AT:
        assert_true(a->at != m->wake);
        m->wake = a->at;
        break;
    }
}

static void drain(struct model *m) {
    struct erg_action action;
    int limit = 10000;
    while (erg_sched_next(m->s, m->now, &action)) {
        apply(m, &action);
        assert_true(--limit > 0);
    }
    for (uint32_t p = 0; p < PLACES; p++) {
        const struct erg_place *place = erg_sched_place(m->s, p);
        assert_int_equal(place->up, count(m, p, M_UP));
        assert_int_equal(place->starting, count(m, p, M_STARTING));
        uint32_t leaving = 0;
        for (int i = 0; i < WORKERS; i++)
            leaving += m->w[i].phase == M_UP && m->w[i].place == p && m->w[i].to_stop;
        /* never more than wanted, apart from those asked to leave and those a smaller resize met on their way up */
        assert_int_equal(place->leaving, leaving);
        assert_true(place->up - place->leaving <= place->wanted);
    }
}

static void end_worker(struct model *m, uint32_t i, enum erg_exit_kind kind, int value) {
    struct erg_exit how = {.kind = kind, .value = value, .had_task = m->w[i].busy};
    how.place_tasks = m->tasks[m->w[i].place];
    if (m->w[i].busy) {
        struct erg_loss loss = {.task = m->w[i].task, .pure = 1, .on_top = 1};
        uint32_t kills = 0;
        enum erg_verdict verdict = erg_sched_on_lost(m->s, i, &loss, &kills);
        assert_int_equal(verdict == ERG_VERDICT_RETRY, loss.asked <= ERG_ASKED_NONE && kills < 3);
    }
    m->w[i].phase = M_ABSENT;
    assert_int_equal(erg_sched_on_gone(m->s, i, &how, m->now), 0);
}

static void happen(struct model *m) {
    uint32_t i = draw(m, WORKERS);
    if (m->w[i].phase == M_STARTING) {
        if (draw(m, 100) < (uint32_t)m->bad_luck) {
            end_worker(m, i, ERG_EXIT_CODE, 1);
        } else {
            m->w[i].phase = M_UP;
            assert_int_equal(erg_sched_on_up(m->s, i, m->now), 0);
        }
    } else if (m->w[i].phase == M_UP && m->w[i].to_kill) {
        end_worker(m, i, ERG_EXIT_SIGNAL, SIGKILL);
    } else if (m->w[i].phase == M_UP && draw(m, 100) < (uint32_t)m->bad_luck) {
        end_worker(m, i, ERG_EXIT_SIGNAL, SIGSEGV);
    } else if (m->w[i].phase == M_UP && m->w[i].busy) {
        if (m->bad_luck > 0 && draw(m, 4) == 0) {
            erg_sched_on_interrupt(m->s, i, m->w[i].task, ERG_ASKED_TIMEOUT, m->now);
        } else {
            erg_sched_on_task_over(m->s, i, m->w[i].task);
            m->w[i].busy = 0;
            m->tasks[m->w[i].place]++;
        }
    } else if (m->w[i].phase == M_UP && m->w[i].to_stop) {
        end_worker(m, i, ERG_EXIT_ASKED, 0);
    } else if (m->w[i].phase == M_UP) {
        m->w[i].busy = 1;
        m->w[i].task = ++m->next_task;
    }
}

static void random_run(uint64_t seed) {
    const struct erg_sched_config config = {.workers_max = WORKERS};
    struct model m = {.seed = seed, .wake = INT64_MAX};
    m.s = erg_sched_new(&config);
    assert_non_null(m.s);
    for (uint32_t p = 0; p < PLACES; p++) {
        m.wanted[p] = 1 + draw(&m, 4);
        assert_int_equal(erg_sched_add_place(m.s, m.wanted[p]), (int)p);
    }
    m.bad_luck = (int)draw(&m, 60);
    for (int step = 0; step < 3000; step++) {
        if (step == 1500) { /* from here on all goes well */
            m.bad_luck = 0;
            if (m.broken || erg_sched_place(m.s, 0)->broken || erg_sched_place(m.s, 1)->broken)
                erg_sched_reopen(m.s);
        }
        m.now += draw(&m, 50) * MS;
        if (draw(&m, 40) == 0 && step < 1500) {
            uint32_t p = draw(&m, PLACES);
            m.wanted[p] = draw(&m, 6);
            assert_int_equal(erg_sched_resize(m.s, p, m.wanted[p]), 0);
        } else if (m.now >= m.wake) {
            m.wake = INT64_MAX;
            erg_sched_tick(m.s, m.now);
        } else {
            happen(&m);
        }
        drain(&m);
    }
    for (uint32_t p = 0; p < PLACES; p++) {
        if (count(&m, p, M_UP) != m.wanted[p])
            fail_msg("seed %u: place %u has %u of %u", (unsigned)seed, p, count(&m, p, M_UP),
                     m.wanted[p]);
    }
    erg_sched_free(m.s);
}

static void test_random_runs(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++)
        random_run(seed);
}

/* What is not said yet when a worker is to be killed is never said. */
static void test_kill_silences_the_rest(void **state) {
    (void)state;
    struct erg_sched *s = erg_sched_new(NULL);
    struct erg_action action;
    assert_int_equal(erg_sched_add_place(s, 1), 0);
    assert_int_equal(erg_sched_next(s, 0, &action), 1);
    assert_int_equal(erg_sched_on_started(s, 0, 3), 0);
    assert_int_equal(erg_sched_on_up(s, 3, 0), 0);
    assert_int_equal(erg_sched_on_interrupt(s, 3, 7, ERG_ASKED_CANCEL, 0), 0);
    assert_int_equal(erg_sched_resize(s, 0, 0), 0);
    erg_sched_terminate(s);
    assert_int_equal(erg_sched_next(s, 0, &action), 1);
    assert_int_equal(action.kind, ERG_ACT_KILL);
    assert_int_equal(action.worker, 3);
    assert_int_equal(action.why, ERG_ASKED_CANCEL);
    assert_int_equal(erg_sched_next(s, 0, &action), 0);
    erg_sched_free(s);
}

static void test_many_places(void **state) {
    (void)state;
    struct erg_sched *s = erg_sched_new(NULL);
    for (int i = 0; i < ERG_SCHED_PLACES_MAX; i++)
        assert_int_equal(erg_sched_add_place(s, 1), i);
    assert_int_equal(erg_sched_add_place(s, 1), -1);
    assert_null(erg_sched_place(s, ERG_SCHED_PLACES_MAX));
    erg_sched_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_random_runs),
        cmocka_unit_test(test_kill_silences_the_rest),
        cmocka_unit_test(test_many_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
