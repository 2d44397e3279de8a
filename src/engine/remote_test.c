/* Pools with agents that are processes of this program: work, buffers, losses, links that go bad. */
#include "engine/place_test_kit.h"
#include "table/away.h"

static const char *const two_agents[] = {"--place-agent", "--place-agent"};

static void two_agents_work(void **state) {
    (void)state;
    enum { CALLS = 600, LAYERS = 20 };
    static erg_handle calls[CALLS];
    struct places s = {0};
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

/* Results that stay, and objects, go from one agent to the other: over our links come names alone. */
static void agents_give_to_each_other(void **state) {
    (void)state;
    enum { N = 40, LEN = 100000 };
    static const char *const four[] = {"--place-agent", "--place-agent", "--place-agent",
                                       "--place-agent"};
    erg_handle made[N], sums[N];
    struct places s = {.port = (uint16_t)(24000 + getpid() % 4000)};
    struct erg_place_info info;
    uint64_t in = 0, out = 0, direct = 0, object, payload, size;
    places_open(&s, 0, four, 4);
    places_up(&s, 8);
    uint64_t give = function(&s, 'b'), add = function(&s, '+');
    size = payload_len(sizeof(int64_t), 1);
    assert_int_equal(erg_arena_alloc(s.m, erg_blob_head_size(s.t), &object, NULL), 0);
    assert_int_equal(erg_arena_alloc(s.m, size, &payload, NULL), 0);
    struct erg_blob_head *head = erg_table_at(s.t, object);
    memset((void *)head, 0, erg_blob_head_size(s.t));
    *head = (struct erg_blob_head){.uid = 77, .offset = payload, .len = size};
    int64_t thousand = 1000;
    struct erg_ref *refs = payload_make(erg_table_at(s.t, payload), &thousand, sizeof thousand, 1);
    assert_int_equal(buffer_make(s.m, refs, 20 * LEN, 3), 0);
    for (int i = 0; i < N; i++) {
        struct order o = {.number = i, .buffers = 2, .len = LEN};
        uint32_t index = task_make(&s, give, &o, 0, 0, NULL, 0);
        erg_table_record(s.t, index)->first = ERG_CALL_STAYS;
        made[i] = task_go(&s, index);
    }
    for (int i = 0; i < N; i++) {
        erg_handle both[3] = {made[i], made[(i + 1) % N], made[(i + 2) % N]};
        uint32_t index = task_make(&s, add, &(struct order){0}, 0, 0, both, i % 2 ? 3 : 2);
        if (i % 2) { /* the object in the place of the third */
            struct erg_record *r = erg_table_record(s.t, index);
            uint32_t n;
            struct erg_ref *last =
                &erg_payload_refs(erg_record_bytes(s.t, r, &r->args), r->args.len, &n)[2];
            last->offset = object;
            atomic_store(&last->flags, ERG_REF_BLOB | ERG_REF_TAKEN);
        }
        sums[i] = task_go(&s, index);
    }
    for (int i = 0; i < N; i++)
        assert_int_equal(task_number(&s, sums[i]),
                         i + (i + 1) % N + 2 * 2 + (i % 2 ? 1000 + 2 * 3 : 0));
    for (int i = 0; i < 4; i++) {
        place_state(&s, i, &info);
        in += info.bytes_in;
        out += info.bytes_out;
        direct += info.bytes_direct;
    }
    assert_true(direct >= 2 * LEN);
    assert_true(in < LEN * (N / 4));
    assert_true(out < 2 * 20 * LEN + LEN);
    for (int i = 0; i < N; i++) {
        task_free(&s, sums[i]);
        task_free(&s, made[i]);
    }
    places_close(&s);
}

/* An object that every task takes; nothing is left of it when all places have dropped it. */
static uint64_t object_make(struct places *s, uint64_t uid, size_t len) {
    uint64_t object, payload, size = payload_len(sizeof(int64_t), 1);
    assert_int_equal(erg_arena_alloc(s->m, erg_blob_head_size(s->t), &object, NULL), 0);
    assert_int_equal(erg_arena_alloc(s->m, size, &payload, NULL), 0);
    struct erg_blob_head *head = erg_table_at(s->t, object);
    memset((void *)head, 0, erg_blob_head_size(s->t));
    *head = (struct erg_blob_head){.uid = uid, .offset = payload, .len = size};
    int64_t thousand = 1000;
    struct erg_ref *refs = payload_make(erg_table_at(s->t, payload), &thousand, sizeof thousand, 1);
    assert_int_equal(buffer_make(s->m, refs, len, 3), 0);
    return object;
}

static int count_done(struct places *s, const erg_handle *tasks, int n) {
    int done = 0;
    for (int i = 0; i < n; i++)
        done += erg_record_done(s->t, tasks[i]);
    return done;
}

/* Hosts that are the first to be sent what all of them need, and stand still: the others are sent it all the same. */
static void nobody_waits_for_the_slowest(void **state) {
    (void)state;
    enum { N = 8, PLACES = 4, LEN = 2 << 20 };
    static const char *const four[] = {"--place-agent", "--place-agent", "--place-agent",
                                       "--place-agent"};
    erg_handle tasks[N];
    for (int round = 0; round < PLACES; round++) { /* whoever is the first */
        struct places s = {.port = (uint16_t)(28000 + getpid() % 4000)};
        struct erg_place_info slow[2];
        places_open(&s, 0, four, PLACES);
        places_up(&s, N);
        uint64_t add = function(&s, '+'), object = object_make(&s, 1000, LEN);
        doze(100 * MS); /* they have said that they listen */
        for (int i = 0; i < 2; i++) {
            place_state(&s, (round + i) % PLACES, &slow[i]);
            kill(slow[i].pid, SIGSTOP);
        }
        for (int i = 0; i < N; i++) {
            uint32_t n, index = task_make(&s, add, &(struct order){0}, 1, 1, NULL, 0);
            struct erg_record *r = erg_table_record(s.t, index);
            struct erg_ref *ref =
                erg_payload_refs(erg_record_bytes(s.t, r, &r->args), r->args.len, &n);
            erg_arena_free(s.m, ref->offset);
            ref->offset = object;
            atomic_store(&ref->flags, ERG_REF_BLOB | ERG_REF_TAKEN);
            tasks[i] = task_go(&s, index);
        }
        EVENTUALLY(count_done(&s, tasks, N) >= N / 2);
        for (int i = 0; i < 2; i++) { /* before anybody found that they are silent */
            place_state(&s, (round + i) % PLACES, &slow[i]);
            assert_int_equal(slow[i].state, ERG_PLACE_UP);
            kill(slow[i].pid, SIGCONT);
        }
        for (int i = 0; i < N; i++)
            assert_int_equal(task_end(&s, tasks[i]), 1000 + 2 * 3);
        places_close(&s);
    }
}

static void chunks_come_back(void **state) {
    (void)state;
    enum { CHUNKS = 8, ITEMS = 1000 };
    erg_handle chunks[CHUNKS];
    struct places s = {0};
    places_open(&s, 1, two_agents, 2);
    places_up(&s, 5);
    uint64_t add = function(&s, '+');
    for (uint32_t i = 0; i < CHUNKS; i++)
        chunks[i] = chunk_go(&s, add, i * ITEMS, (i + 1) * ITEMS);
    for (int i = 0; i < CHUNKS; i++) {
        uint32_t done = 0;
        for (;
             ;) { /* while others idled, the back of it was given back: it is ours to enter again */
            assert_int_equal(task_wait(&s, chunks[i]), ERG_OUT_OK);
            done += chunk_check(&s, chunks[i]);
            task_free(&s, chunks[i]);
            if (done == ITEMS)
                break;
            assert_true(done < ITEMS);
            chunks[i] = chunk_go(&s, add, (uint32_t)i * ITEMS + done, (uint32_t)(i + 1) * ITEMS);
        }
    }
    places_close(&s);
}

/* An agent is killed: what was there is lost in its name, or runs elsewhere. */
static void a_lost_agent_is_named(void **state) {
    (void)state;
    enum { N = 8 };
    erg_handle tasks[N];
    struct places s = {0};
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
    EVENTUALLY_OR(
        (place_state(&s, 0, &a), a.leased > 0),
        printf("state %d %s tasks %d leased %u round\n", a.state, a.words, (int)a.tasks, a.leased));
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

/* It comes back by itself, with an agent of its own; meanwhile a pool of nothing else says that it was lost. */
static void a_lost_place_comes_back(void **state) {
    (void)state;
    struct places s = {0};
    struct erg_place_info a;
    place_reconnect_ns = 1500 * MS;
    places_open(&s, 0, two_agents, 1);
    places_up(&s, 2);
    uint64_t add = function(&s, '+'), nap = function(&s, 's');
    for (int round = 0; round < 3; round++) {
        struct order o = {.number = 60000 * MS};
        erg_handle lost = task_go(&s, task_make(&s, nap, &o, 0, 0, NULL, 0));
        EVENTUALLY((place_state(&s, 0, &a), a.leased == 1));
        int32_t pid = a.pid;
        kill(pid, SIGKILL);
        assert_int_equal(task_wait(&s, lost), ERG_OUT_LOST);
        assert_non_null(strstr(task_words(&s, lost), "host exec:a was lost"));
        task_free(&s, lost);
        EVENTUALLY(
            (place_state(&s, 0, &a), a.state != ERG_PLACE_LOST || strstr(a.words, "tried again")));
        EVENTUALLY(erg_pool_check(s.pool, &err) != ERG_ELAUNCH &&
                   (place_state(&s, 0, &a), a.state == ERG_PLACE_UP && a.pid != pid) &&
                   erg_pool_check(s.pool, &err) == 0);
        uint32_t index = task_make(&s, add, &(struct order){.number = round}, 2, 5000, NULL, 0);
        assert_int_equal(task_end(&s, task_go(&s, index)), round + 2 * (0 + 1));
    }
    places_close(&s);
    place_reconnect_ns = 20000 * MS;
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
    struct places s = {0};
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

/* More buffers, results and start-up words than a single frame can name. */
static void messages_with_long_heads(void **state) {
    (void)state;
    enum { MANY = 60000 };
    static erg_handle calls[MANY];
    struct places s = {0};
    places_open(&s, 0, two_agents, 2);
    places_up(&s, 4);
    uint64_t add = function(&s, '+'), buffers = function(&s, 'b');
    struct order o = {.number = 0, .buffers = MANY, .len = 8};
    erg_handle back = task_go(&s, task_make(&s, buffers, &o, 0, 0, NULL, 0));
    erg_handle there = task_go(&s, task_make(&s, add, &o, MANY, 8, NULL, 0));
    int64_t sum = 0;
    for (int i = 0; i < MANY; i++)
        sum += 2 * (i & 0xff);
    assert_int_equal(task_end(&s, there), sum);
    assert_int_equal(task_number(&s, back), 0);
    struct erg_record *r = erg_table_record(s.t, ERG_HANDLE_INDEX(back));
    assert_int_equal(add_up(s.t, erg_record_bytes(s.t, r, &r->result), r->result.len), sum);
    task_free(&s, back);
    for (int i = 0; i < MANY; i++) {
        struct order one = {.number = i};
        calls[i] = task_go(&s, task_make(&s, add, &one, 0, 0, NULL, 0));
    }
    sum = 0;
    for (int i = 0; i < MANY; i++)
        sum += task_number(&s, calls[i]);
    assert_int_equal(sum, (int64_t)MANY * (MANY - 1) / 2);
    o.number = 1;
    assert_int_equal(task_end(&s, task_go(&s, task_make(&s, add, &o, 0, 0, calls, MANY))), sum + 1);
    for (int i = 0; i < MANY; i++)
        task_free(&s, calls[i]);
    places_close(&s);
}

static void long_start_up_words(void **state) {
    (void)state;
    struct places s = {.init_len = 3000000};
    places_open(&s, 0, two_agents, 2);
    places_up(&s, 4);
    uint64_t len = function(&s, 'i'); /* how long they are */
    uint32_t index = task_make(&s, len, &(struct order){0}, 0, 0, NULL, 0);
    assert_int_equal(task_end(&s, task_go(&s, index)), 3000000);
    places_close(&s);
}

/* What does not fit there, or here, fails; the place goes on. */
static void without_room(void **state) {
    (void)state;
    static const char *const small[] = {"--place-small"};
    struct places s = {.arena_bytes = (uint64_t)256 << 20};
    struct erg_place_info a;
    places_open(&s, 0, small, 1);
    places_up(&s, 2);
    uint64_t add = function(&s, '+'), buffers = function(&s, 'b');
    for (int i = 0; i < 3; i++) {
        struct order o = {.number = 1};
        erg_handle large = task_go(&s, task_make(&s, add, &o, 1, 150 << 20, NULL, 0));
        assert_int_equal(task_wait(&s, large), ERG_OUT_LOST);
        assert_non_null(strstr(task_words(&s, large), "host exec:a could not take the task: no "
                                                      "shared memory for 157286400 more bytes"));
        task_free(&s, large);
        /* and what needs a result that does not fit */
        assert_int_equal(task_end(&s, task_go(&s, task_make(&s, add, &o, 2, 5000, NULL, 0))), 3);
    }
    uint32_t index;
    assert_int_equal(erg_record_new(s.m, &index), 0);
    erg_handle value = erg_record_handle(s.t, index);
    unsigned char *to = erg_record_result_reserve(s.m, index, payload_len(8, 1));
    struct erg_ref *ref = payload_make(to, "\1\0\0\0\0\0\0", 8, 1);
    assert_int_equal(buffer_make(s.m, ref, 150 << 20, 1), 0);
    erg_record_settle(s.m, index, ERG_OUT_OK);
    struct order o = {.number = 1};
    for (int i = 0; i < 2; i++) {
        erg_handle after = task_go(&s, task_make(&s, add, &o, 0, 0, &value, 1));
        assert_int_equal(task_wait(&s, after), ERG_OUT_LOST);
        assert_non_null(strstr(task_words(&s, after), "no room for a result it takes"));
        task_free(&s, after);
    }
    task_free(&s, value);
    /* results: 60 MB fit there, and not here */
    erg_handle held = task_go(&s, task_make(&s, add, &o, 0, 0, NULL, 0));
    uint64_t full[4] = {0};
    task_number(&s, held);
    for (int i = 0; i < 4 && erg_arena_alloc(s.m, 60 << 20, &full[i], NULL) == 0; i++)
        continue;
    o = (struct order){.number = 1, .buffers = 1, .len = 60 << 20};
    for (int i = 0; i < 2; i++) {
        erg_handle large = task_go(&s, task_make(&s, buffers, &o, 0, 0, NULL, 0));
        assert_int_equal(task_wait(&s, large), ERG_OUT_LOST);
        assert_non_null(strstr(task_words(&s, large), "host exec:a has run the task, and there is "
                                                      "no room here for the"));
        task_free(&s, large);
    }
    for (int i = 0; i < 4; i++)
        erg_arena_free(s.m, full[i]);
    erg_arena_trim(s.m, 0); /* they are another member's to take */
    erg_handle large = task_go(&s, task_make(&s, buffers, &o, 0, 0, NULL, 0));
    assert_int_equal(task_end(&s, large), 1);
    task_free(&s, held);
    assert_int_equal(place_state(&s, 0, &a), ERG_PLACE_UP);
    places_close(&s);
}

/* What is partly sent is not looked at any more. */
static void terminated_while_it_sends(void **state) {
    (void)state;
    enum { N = 8 };
    erg_handle tasks[N];
    struct places s = {0};
    places_open(&s, 0, two_agents, 2);
    places_up(&s, 4);
    uint64_t add = function(&s, '+');
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < N; i++) {
            struct order o = {.number = i};
            tasks[i] = task_go(&s, task_make(&s, add, &o, 1, 40 << 20, NULL, 0));
        }
        doze(round * 20 * MS); /* somewhere in the middle */
        assert_int_equal(erg_pool_terminate(s.pool, &err), 0);
        for (int i = 0; i < N; i++) {
            enum erg_outcome outcome = task_wait(&s, tasks[i]);
            assert_true(outcome == ERG_OUT_CANCELLED || outcome == ERG_OUT_OK);
            task_free(&s, tasks[i]);
        }
        assert_int_equal(erg_pool_restart(s.pool, NULL, 0, &err), 0);
        uint32_t index = task_make(&s, add, &(struct order){.number = 9}, 1, 1 << 20, NULL, 0);
        assert_int_equal(task_end(&s, task_go(&s, index)), 9);
    }
    places_close(&s);
}

extern _Atomic int erg_testing_leases_fail;

/* No memory to note what is sent: tried again, but not without pause. */
static void starved(void **state) {
    (void)state;
    struct places s = {0};
    places_open(&s, 0, two_agents, 2);
    places_up(&s, 4);
    uint64_t add = function(&s, '+');
    double cpu = cpu_seconds();
    int64_t since = (int64_t)erg_clock_ns();
    atomic_store(&erg_testing_leases_fail, 8);
    uint32_t index = task_make(&s, add, &(struct order){.number = 4}, 0, 0, NULL, 0);
    assert_int_equal(task_end(&s, task_go(&s, index)), 4);
    double wall = (double)((int64_t)erg_clock_ns() - since) / 1e9;
    assert_int_equal(atomic_load(&erg_testing_leases_fail), 0);
    assert_true(cpu_seconds() - cpu < 0.5 * wall);
    places_close(&s);
}

extern _Atomic int erg_testing_away_fails;

/* A result that stays where it is, and no memory to note that: it alone fails. */
static void no_room_to_note_what_stays(void **state) {
    (void)state;
    struct places s = {0};
    struct erg_place_info a;
    places_open(&s, 0, two_agents, 1);
    places_up(&s, 2);
    uint64_t buffers = function(&s, 'b');
    struct order o = {.number = 7, .buffers = 1, .len = 1 << 20};
    for (int round = 0; round < 4; round++) {
        uint32_t index = task_make(&s, buffers, &o, 0, 0, NULL, 0);
        erg_table_record(s.t, index)->first = ERG_CALL_STAYS;
        atomic_store(&erg_testing_away_fails, round % 2);
        erg_handle task = task_go(&s, index);
        EVENTUALLY(erg_record_done(s.t, task));
        assert_int_equal(erg_table_record(s.t, index)->result.start == ERG_RESULT_AWAY,
                         round % 2 == 0);
        if (round % 2) {
            assert_int_equal(task_wait(&s, task), ERG_OUT_LOST);
            assert_non_null(strstr(task_words(&s, task), "host exec:a has run the task"));
        }
        assert_int_equal(place_state(&s, 0, &a), ERG_PLACE_UP);
        task_free(&s, task);
    }
    places_close(&s);
}

/* A host that stands still: what is pure and was sent there is begun anew, all of it; when it goes on it lets go of its own
 * and is sent tasks again. */
static void what_is_pure_and_late_is_begun_anew(void **state) {
    (void)state;
    enum { N = 40 };
    erg_handle tasks[N];
    struct places s = {0};
    struct erg_place_info a, b;
    places_open(&s, 0, two_agents, 2);
    places_up(&s, 4);
    uint64_t nap = function(&s, 's');
    for (int round = 0; round < 2; round++) {
        struct order o = {.number = 5 * MS};
        place_state(&s, 0, &b);
        do { /* until it is sent tasks (again) */
            for (int i = 0; i < N; i++)
                tasks[i] = task_go(&s, task_make(&s, nap, &o, 0, 0, NULL, 0));
            for (int i = 0; i < N; i++)
                assert_int_equal(task_end(&s, tasks[i]), 5 * MS);
            place_state(&s, 0, &a);
        } while (a.tasks == b.tasks);
        kill(a.pid, SIGSTOP);
        for (int i = 0; i < N; i++) {
            uint32_t index = task_make(&s, nap, &o, 0, 0, NULL, 0);
            erg_table_record(s.t, index)->first = ERG_CALL_PURE;
            tasks[i] = task_go(&s, index);
        }
        for (int i = 0; i < N; i++)
            assert_int_equal(task_end(&s, tasks[i]), 5 * MS);
        place_state(&s, 0, &b);
        assert_true(b.state == ERG_PLACE_UP && b.leased > 0); /* it has not said a word */
        kill(a.pid, SIGCONT);
        EVENTUALLY((place_state(&s, 0, &b), b.leased == 0));
        assert_int_equal(b.tasks_lost, 0);
    }
    places_close(&s);
}

/* What a host that stood still has kept of calls that were begun anew elsewhere is dropped there: there is room for other
 * results. */
static void what_was_begun_anew_is_not_kept(void **state) {
    (void)state;
    enum { N = 4, BYTES = 44 << 20 }; /* two fill an arena of 128 MiB so that a third has no room */
    static const char *const small[] = {"--place-small", "--place-agent"};
    erg_handle tasks[N];
    struct places s = {0};
    struct erg_place_info a, b;
    places_open(&s, 0, small, 2);
    places_up(&s, 4);
    uint64_t nap = function(&s, 'n'), give = function(&s, 'b');
    struct order o = {.number = 60 * MS, .buffers = 1, .len = BYTES};
    place_state(&s, 0, &a);
    for (int i = 0; i < N; i++) {
        uint32_t index = task_make(&s, nap, &o, 0, 0, NULL, 0);
        erg_table_record(s.t, index)->first = ERG_CALL_PURE | ERG_CALL_STAYS;
        tasks[i] = task_go(&s, index);
    }
    doze(30 * MS); /* they have begun */
    kill(a.pid, SIGSTOP);
    for (int i = 0; i < N; i++)
        EVENTUALLY(erg_record_done(s.t, tasks[i]));
    kill(a.pid, SIGCONT);
    EVENTUALLY((place_state(&s, 0, &b), b.leased == 0));
    for (int i = 0; i < N; i++)
        task_free(&s, tasks[i]);
    place_state(&s, 0, &a);
    do {
        uint32_t index = task_make(&s, give, &o, 0, 0, NULL, 0);
        erg_table_record(s.t, index)->first = ERG_CALL_STAYS;
        tasks[0] = task_go(&s, index);
        EVENTUALLY(erg_record_done(s.t, tasks[0]));
        assert_int_equal(erg_record_outcome(erg_table_record(s.t, index)), ERG_OUT_OK);
        task_free(&s, tasks[0]);
        place_state(&s, 0, &b);
    } while (a.tasks == b.tasks);
    places_close(&s);
}

/* Is one of them not done long after the others? */
static int some_wait(struct places *s, const erg_handle *tasks, int n) {
    int waiting = n;
    for (int64_t since = (int64_t)erg_clock_ns(), seen = n;
         waiting > 0 && (int64_t)erg_clock_ns() - since < 1500 * MS; seen = waiting) {
        doze(5 * MS);
        waiting = 0;
        for (int i = 0; i < n; i++)
            waiting +=
                erg_record_phase(erg_table_record(s->t, ERG_HANDLE_INDEX(tasks[i]))) != ERG_DONE;
        if (waiting != seen)
            since = (int64_t)erg_clock_ns();
    }
    return waiting > 0;
}

/* Large arguments are sent from the task's own memory: while they are, it is not begun anew elsewhere, where it would end
 * and have that memory freed. */
static void what_is_on_its_way_is_not_begun_anew(void **state) {
    (void)state;
    enum { N = 12, BYTES = 4 << 20 };
    erg_handle tasks[N];
    struct places s = {0};
    struct erg_place_info a, b;
    places_open(&s, 4, two_agents, 1);
    places_up(&s, 6);
    uint64_t nap = function(&s, 's');
    struct order o = {.number = 5 * MS};
    do { /* until it is known how long they take there, and has none */
        for (int i = 0; i < N; i++)
            tasks[i] = task_go(&s, task_make(&s, nap, &o, 0, 0, NULL, 0));
        for (int i = 0; i < N; i++)
            assert_int_equal(task_end(&s, tasks[i]), 5 * MS);
        place_state(&s, 0, &a);
    } while (a.tasks < 20 || a.leased > 0);
    kill(a.pid, SIGSTOP);
    int sent = 0;
    for (int round = 0; round < 50 && !sent; round++) {
        for (int i = 0; i < N; i++) {
            uint32_t index = task_make(&s, nap, &o, 1, BYTES, NULL, 0);
            erg_table_record(s.t, index)->first = ERG_CALL_PURE;
            tasks[i] = task_go(&s, index);
        }
        if ((sent = some_wait(&s, tasks, N)))
            kill(a.pid, SIGCONT);
        for (int i = 0; i < N; i++)
            assert_int_equal(task_end(&s, tasks[i]), 5 * MS);
    }
    kill(a.pid, SIGCONT);
    assert_true(sent);
    EVENTUALLY((place_state(&s, 0, &b), b.leased == 0));
    assert_int_equal(b.tasks_lost, 0);
    places_close(&s);
}

int main(int argc, char **argv) {
    place_program(argc, argv);
    begin_tests(argc, argv);
    const struct CMUnitTest tests[] = {
        WITH(agents_give_to_each_other),
        WITH(nobody_waits_for_the_slowest),
        WITH(two_agents_work),
        WITH(chunks_come_back),
        WITH(a_lost_agent_is_named),
        WITH(a_lost_place_comes_back),
        WITH(a_link_nobody_reads),
        WITH(messages_with_long_heads),
        WITH(long_start_up_words),
        WITH(without_room),
        WITH(starved),
        WITH(terminated_while_it_sends),
        WITH(no_room_to_note_what_stays),
        WITH(what_is_pure_and_late_is_begun_anew),
        WITH(what_is_on_its_way_is_not_begun_anew),
        WITH(what_was_begun_anew_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
