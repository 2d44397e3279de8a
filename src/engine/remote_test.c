/* Pools with agents that are processes of this program: work, buffers, losses, links that go bad. */
#include "engine/place_test_kit.h"

static const char *const two_agents[] = {"--place-agent", "--place-agent"};

static void two_agents_work(void **state) {
    (void)state;
    enum { CALLS = 600, LAYERS = 20 };
    static erg_handle calls[CALLS];
    struct places s;
    places_open(&s, 0, two_agents, 2);
    places_up(&s, 4);
    uint64_t add = function(&s, '+'), pid = function(&s, 'p');
    for (int64_t i = 0; i < CALLS; i++)
        calls[i] = task_go(&s, task_make(&s, add, &(struct order){.number = i}, 0, 0, NULL, 0));
    for (int64_t i = 0; i < CALLS; i++)
        assert_int_equal(task_end(&s, calls[i]), i);
    /* buffers there, buffers back */
    uint32_t index = task_make(&s, add, &(struct order){.number = 5}, 3, 300000, NULL, 0);
    assert_int_equal(task_end(&s, task_go(&s, index)), 5 + 2 * (0 + 1 + 2));
    /* a chain: each comes after the two before it, wherever those were */
    erg_handle chain[LAYERS];
    int64_t expected[LAYERS] = {1, 1};
    for (int i = 0; i < LAYERS; i++) {
        struct order o = {.number = i < 2};
        index = task_make(&s, add, &o, 0, 0, i < 2 ? NULL : &chain[i - 2], i < 2 ? 0 : 2);
        chain[i] = task_go(&s, index);
        expected[i] = i < 2 ? 1 : expected[i - 1] + expected[i - 2];
    }
    for (int i = 0; i < LAYERS; i++)
        assert_int_equal(task_number(&s, chain[i]), expected[i]);
    for (int i = 0; i < LAYERS; i++)
        task_free(&s, chain[i]);
    assert_true(task_end(&s, task_go(&s, task_make(&s, pid, &(struct order){0}, 0, 0, NULL, 0))) !=
                getpid());
    struct erg_place_info a, b;
    assert_int_equal(place_state(&s, 0, &a), ERG_PLACE_UP);
    assert_int_equal(place_state(&s, 1, &b), ERG_PLACE_UP);
    assert_true(a.tasks > 0 && b.tasks > 0);
    assert_int_equal(a.tasks + b.tasks, CALLS + 1 + LAYERS + 1);
    places_close(&s);
}

static void chunks_come_back(void **state) {
    (void)state;
    enum { CHUNKS = 8, ITEMS = 1000 };
    erg_handle chunks[CHUNKS];
    struct places s;
    places_open(&s, 1, two_agents, 2);
    places_up(&s, 5);
    uint64_t add = function(&s, '+');
    for (uint32_t i = 0; i < CHUNKS; i++)
        chunks[i] = chunk_go(&s, add, i * ITEMS, (i + 1) * ITEMS);
    for (int i = 0; i < CHUNKS; i++) {
        assert_int_equal(task_wait(&s, chunks[i]), ERG_OUT_OK);
        assert_int_equal(chunk_check(&s, chunks[i]), ITEMS);
        task_free(&s, chunks[i]);
    }
    places_close(&s);
}

/* An agent is killed: what was there is lost in its name, or runs elsewhere. */
static void a_lost_agent_is_named(void **state) {
    (void)state;
    enum { N = 8 };
    erg_handle tasks[N];
    struct places s;
    struct erg_place_info a, b;
    places_open(&s, 0, two_agents, 2);
    places_up(&s, 4);
    uint64_t nap = function(&s, 's'), add = function(&s, '+');
    struct order o = {.number = 300 * MS};
    for (int i = 0; i < N; i++) {
        uint32_t index = task_make(&s, nap, &o, 0, 0, NULL, 0);
        erg_table_record(s.t, index)->retries = i % 2 ? 1 : 0;
        tasks[i] = task_go(&s, index);
    }
    EVENTUALLY((place_state(&s, 0, &a), a.leased > 0));
    kill(a.pid, SIGKILL);
    int lost = 0;
    for (int i = 0; i < N; i++) {
        enum erg_outcome outcome = task_wait(&s, tasks[i]);
        if (outcome == ERG_OUT_LOST) {
            lost++;
            assert_int_equal(i % 2, 0);
            assert_non_null(strstr(task_words(&s, tasks[i]), "host exec:a was lost"));
        } else {
            assert_int_equal(outcome, ERG_OUT_OK);
        }
        task_free(&s, tasks[i]);
    }
    assert_true(lost > 0);
    assert_int_equal(place_state(&s, 0, &a), ERG_PLACE_LOST);
    assert_int_equal(place_state(&s, 1, &b), ERG_PLACE_UP);
    uint32_t index = task_make(&s, add, &(struct order){.number = 3}, 0, 0, NULL, 0);
    assert_int_equal(task_end(&s, task_go(&s, index)), 3);
    places_close(&s);
}

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* It has closed the end we write to, and keeps the other open: that is noticed, soon and without work. */
static void a_link_nobody_reads(void **state) {
    (void)state;
    static const char *const deaf[] = {"--place-agent", "--place-deaf"};
    struct places s;
    struct erg_place_info a;
    places_open(&s, 0, deaf, 2);
    places_up(&s, 2);
    double cpu = cpu_seconds();
    int64_t since = (int64_t)erg_clock_ns();
    EVENTUALLY((place_state(&s, 1, &a), a.state == ERG_PLACE_FAILED));
    double wall = (double)((int64_t)erg_clock_ns() - since) / 1e9;
    assert_true(cpu_seconds() - cpu < 0.5 * wall);
    assert_non_null(strstr(a.words, "exec:b: it reads nothing any more"));
    places_close(&s);
}

int main(int argc, char **argv) {
    place_program(argc, argv);
    begin_tests(argc, argv);
    const struct CMUnitTest tests[] = {
        WITH(two_agents_work),
        WITH(chunks_come_back),
        WITH(a_lost_agent_is_named),
        WITH(a_link_nobody_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
