#include "table/rig.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void defaults_take_no_memory(void **state) {
    (void)state;
    struct erg_table *t;
    struct erg_error err;
    struct stat st;
    assert_int_equal(erg_table_create(NULL, &t, &err), 0);
    assert_int_equal(t->header->records_max, 4000000);
    assert_int_equal(t->header->members_max, 256);
    assert_true(erg_table_memory(t) < 100000);
    assert_int_equal(fstat(erg_table_fd(t), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(fcntl(erg_table_fd(t), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    erg_table_close(t);
}

static void bad_configurations_are_refused(void **state) {
    (void)state;
    struct erg_table *t = NULL;
    struct erg_error err;
    struct erg_table_config config = {.members_max = ERG_MEMBERS_LIMIT + 1};
    assert_int_equal(erg_table_create(&config, &t, &err), ERG_EINVALID);
    config = (struct erg_table_config){.records_max = ERG_RECORDS_LIMIT + 1};
    assert_int_equal(erg_table_create(&config, &t, &err), ERG_EINVALID);
    assert_null(t);
}

static void attach_sees_the_same_and_checks_what_it_gets(void **state) {
    (void)state;
    struct rig rig;
    struct erg_table *other;
    struct erg_error err;
    rig_open(&rig, 100);
    assert_int_equal(erg_table_attach(erg_table_fd(rig.t), &other, &err), 0);
    assert_true(other->base != rig.t->base);
    uint32_t index = rig_new(&rig);
    assert_int_equal(erg_record_phase(erg_table_record(other, index)), ERG_ENTERED);
    erg_table_close(other);
    assert_int_equal(rig_phase(&rig, index), ERG_ENTERED);
    rig.t->header->version++;
    assert_int_equal(erg_table_attach(erg_table_fd(rig.t), &other, &err), ERG_EPROTOCOL);
    assert_non_null(strstr(err.text, "version"));
    rig_close(&rig);
    assert_int_equal(erg_table_attach(-1, &other, &err), ERG_ESYSTEM);
    int empty = memfd_create("empty", 0);
    assert_int_equal(erg_table_attach(empty, &other, &err), ERG_EPROTOCOL);
    assert_int_equal(ftruncate(empty, 1 << 20), 0);
    assert_int_equal(erg_table_attach(empty, &other, &err), ERG_EPROTOCOL);
    close(empty);
}

static void blocks_outlive_the_pool(void **state) {
    (void)state;
    struct rig rig;
    struct erg_error err;
    uint64_t offset, other;
    rig_open(&rig, 100);
    struct erg_table *t = rig.t;
    assert_int_equal(erg_arena_alloc(rig.owner, 10000000, &offset, &err), 0);
    assert_int_equal(erg_arena_alloc(rig.worker, 100000, &other, &err), 0);
    char *bytes = erg_table_at(t, offset);
    memset(bytes, 5, 10000000);
    erg_table_ref(t);
    erg_table_ref(t);
    rig_close(&rig);
    assert_int_equal(bytes[9999999], 5);
    uint64_t before = erg_table_memory(t);
    erg_arena_free(rig.owner, offset);
    assert_true(erg_table_memory(t) <= before - 10000000);
    erg_table_unref(t);
    erg_arena_free(rig.owner, other);
    erg_table_unref(t);
}

/* In the child nothing reaches the parent's table, and nothing blocks. */
static void a_forked_child_is_harmless(void **state) {
    (void)state;
    struct rig rig;
    int status;
    rig_open(&rig, 100);
    uint32_t index = rig_new(&rig);
    erg_handle h = rig_handle(&rig, index);
    erg_lock(&rig.owner->lock); /* as if another thread were just inside */
    erg_lock(&rig.owner->arena_lock);
    pid_t pid = fork();
    if (pid == 0) {
        erg_table_fork_child(rig.t);
        uint32_t other;
        uint64_t offset;
        alarm(20);
        int ok = erg_record_new(rig.owner, &other) == 0 &&
                 erg_arena_alloc(rig.owner, 100, &offset, NULL) == 0 &&
                 rig_phase(&rig, index) == ERG_ENTERED &&
                 erg_record_wait(rig.owner, h, -1) == ERG_ECLOSED &&
                 erg_bell_wait(rig.t, erg_bell_prepare(rig.t), -1) == ERG_ECLOSED;
        erg_record_submit(rig.owner, index);
        ok = ok && erg_claim_next(rig.worker, &other) == 0 &&
             erg_claim_wait(rig.worker, &other, 1000, -1) == ERG_ECLOSED;
        memset(rig.t->header, 0, sizeof *rig.t->header);
        _exit(ok ? 0 : 1);
    }
    erg_unlock(&rig.owner->lock);
    erg_unlock(&rig.owner->arena_lock);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(rig_phase(&rig, index), ERG_ENTERED);
    assert_int_equal(rig.t->header->magic, ERG_TABLE_MAGIC);
    pid = fork();
    if (pid == 0) {
        erg_table_fork_child(rig.t);
        erg_table_close(rig.t);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(rig.t->members[1].phase, ERG_M_UP);
    rig_close(&rig);
}

/* 0, or what went wrong: run in a child, because limits cannot be raised again. */
static int under_limit(int resource, uint64_t bytes) {
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit = {bytes, bytes};
        struct erg_table *t;
        struct erg_member *m;
        struct erg_error err;
        uint64_t offset;
        uint32_t index;
        if (setrlimit(resource, &limit) != 0 || erg_table_create(NULL, &t, &err) < 0)
            _exit(1);
        if (erg_member_open(t, 0, &m, &err) < 0 || erg_record_new(m, &index) < 0)
            _exit(2);
        if (erg_arena_alloc(m, 1000000, &offset, &err) < 0)
            _exit(3);
        memset(erg_table_at(t, offset), 1, 1000000);
        erg_table_close(t);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void fits_into_small_limits(void **state) {
    (void)state;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_int_equal(under_limit(RLIMIT_AS, (uint64_t)8 << 30), 0);
    assert_int_equal(under_limit(RLIMIT_AS, (uint64_t)1 << 30), 0);
#endif
    assert_int_equal(under_limit(RLIMIT_FSIZE, (uint64_t)4 << 30), 0);
    assert_int_equal(under_limit(RLIMIT_FSIZE, (uint64_t)200 << 20), 0);
}

static void slots_are_given_and_given_back(void **state) {
    (void)state;
    struct rig rig;
    struct erg_error err;
    struct erg_member *m;
    uint32_t number, numbers[80];
    int n = 0;
    rig_open(&rig, 100);
    assert_int_equal(erg_member_open(rig.t, 7, &m, &err), ERG_ESTATE);
    assert_int_equal(erg_member_open(rig.t, 99999, &m, &err), ERG_ESTATE);
    while (erg_member_reserve(rig.t, ERG_MEMBER_PROCESS, 1, &number, &err) == 0)
        numbers[n++] = number;
    assert_int_equal(n, 78);
    assert_non_null(strstr(err.text, "members"));
    for (int i = 0; i < n; i++)
        erg_member_unreserve(rig.t, numbers[i]);
    m = rig_member(rig.t, 1);
    uint32_t serial = m->slot->serial;
    number = m->number;
    struct erg_member_counts counts;
    erg_member_count(rig.t, 1, &counts);
    assert_int_equal(counts.up, 2);
    erg_member_close(m);
    m = rig_member(rig.t, 1);
    assert_int_equal(m->number, number);
    assert_int_equal(m->slot->serial, serial + 1);
    rig_close(&rig);
}

/* --- threads as members: everybody enters, runs, waits and frees ------------------------------------------------ */

enum { RUNNERS = 3, ENTERERS = 2, ROUNDS = 300, BATCH = 40 };
struct stress {
    struct rig rig;
    struct erg_member *m; /* of both who enter */
    _Atomic uint32_t ran;
};

static void *run_tasks(void *arg) {
    struct stress *s = arg;
    struct erg_member *m = rig_member(s->rig.t, ERG_QUEUE_BIT(ERG_QUEUE_ANY));
    uint32_t index;
    while (erg_claim_wait(m, &index, 20000, -1) == 1) {
        struct erg_record *r = erg_table_record(s->rig.t, index);
        uint64_t sum = 0;
        for (uint64_t i = 0; i < r->args.len; i++)
            sum += erg_record_bytes(s->rig.t, r, &r->args)[i];
        memcpy(erg_record_result_reserve(m, index, sizeof sum), &sum, sizeof sum);
        atomic_fetch_add(&s->ran, 1);
        erg_claim_finish(m, index, ERG_OUT_OK);
    }
    erg_member_close(m);
    return NULL;
}

static void *enter_tasks(void *arg) {
    struct stress *s = arg;
    struct erg_member *m = s->m;
    unsigned seed = (unsigned)(uintptr_t)&seed;
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t index[BATCH];
        erg_handle handles[BATCH];
        for (int i = 0; i < BATCH; i++) {
            while (erg_record_new(m, &index[i]) < 0)
                erg_cpu_yield();
            handles[i] = erg_record_handle(s->rig.t, index[i]);
            size_t len = (size_t)rand_r(&seed) % 200;
            memset(erg_record_args_reserve(m, index[i], len), 1, len);
            if (i == BATCH - 1)
                assert_int_equal(erg_record_after_many(m, index[i], handles, (size_t)i), 0);
            else if (i > 1)
                assert_true(erg_record_after(m, index[i], handles[i - 2]) >= 0);
            if (round % 2)
                erg_record_submit(m, index[i]);
        }
        if (round % 2 == 0)
            erg_record_submit_many(m, index, BATCH);
        for (int i = 0; i < BATCH; i++) {
            int cancelled = i % 5 == 3 && erg_record_cancel(m, handles[i]) == 1;
            assert_int_equal(erg_record_wait(m, handles[i], -1), 0);
            struct erg_record *r = erg_table_record(s->rig.t, index[i]);
            uint64_t sum = 0;
            if (!cancelled) {
                memcpy(&sum, erg_record_bytes(s->rig.t, r, &r->result), sizeof sum);
                assert_true(sum == r->args.len);
            }
        }
        for (int i = 0; i < BATCH; i++)
            erg_record_free(m, index[i]);
    }
    return NULL;
}

static void stress(int as_owner) {
    struct stress *s = calloc(1, sizeof *s);
    pthread_t runners[RUNNERS], enterers[ENTERERS];
    rig_open(&s->rig, 1000);
    atomic_store(&s->rig.worker->slot->queues, 0);
    s->m = as_owner ? s->rig.owner : s->rig.worker;
    for (int i = 0; i < RUNNERS; i++)
        pthread_create(&runners[i], NULL, run_tasks, s);
    for (int i = 0; i < ENTERERS; i++)
        pthread_create(&enterers[i], NULL, enter_tasks, s);
    for (int i = 0; i < ENTERERS; i++)
        pthread_join(enterers[i], NULL);
    atomic_store(&s->rig.t->header->closed, 1);
    erg_member_wake_all(s->rig.t);
    for (int i = 0; i < RUNNERS; i++)
        pthread_join(runners[i], NULL);
    assert_int_equal(rig_count_free(&s->rig), 1000);
    rig_close(&s->rig);
    free(s);
}

/* Stretches some of the instants between two steps, so that others get in. */
static void jitter(const char *name) {
    static _Thread_local unsigned seed;
    (void)name;
    if (seed == 0)
        seed = (unsigned)(uintptr_t)&seed;
    unsigned dice = (unsigned)rand_r(&seed) % 256;
    if (dice < 8)
        erg_cpu_yield();
    else if (dice == 8)
        usleep(rand_r(&seed) % 60);
}

static void threads_may_be_slow_anywhere(void **state) {
    (void)state;
    erg_point_hook = jitter;
    stress(1);
    stress(0);
    erg_point_hook = NULL;
}

static void threads_share_the_owners_member(void **state) {
    (void)state;
    stress(1);
}

static void threads_share_a_workers_member(void **state) {
    (void)state;
    stress(0);
}

/* --- nobody sleeps while there is work ---------------------------------------------------------------------------- */

enum { MEETINGS = 3000 };
struct meeting {
    struct rig rig;
    _Atomic uint32_t present[MEETINGS];
};

/* A task ends only when its partner has begun: one runner alone can never end it. */
static void *meet(void *arg) {
    struct meeting *s = arg;
    struct erg_member *m = rig_member(s->rig.t, ERG_QUEUE_BIT(ERG_QUEUE_ANY));
    uint32_t index;
    while (erg_claim_wait(m, &index, m->number % 2 ? 3000 : 30000, -1) == 1) {
        _Atomic uint32_t *present = &s->present[erg_table_record(s->rig.t, index)->fn];
        atomic_fetch_add(present, 1);
        while (atomic_load(present) < 2)
            erg_cpu_yield();
        erg_claim_finish(m, index, ERG_OUT_OK);
    }
    erg_member_close(m);
    return NULL;
}

static void meetings(void) {
    struct meeting *s = calloc(1, sizeof *s);
    pthread_t runners[2];
    unsigned seed = 1;
    rig_open(&s->rig, 1000);
    atomic_store(&s->rig.worker->slot->queues, 0);
    s->rig.t->header->cores = 4; /* spin, however few there are */
    for (int i = 0; i < 2; i++)
        pthread_create(&runners[i], NULL, meet, s);
    for (uint32_t i = 0; i < MEETINGS; i++) {
        uint32_t pair[2];
        for (int k = 0; k < 2; k++) {
            pair[k] = rig_new(&s->rig);
            erg_table_record(s->rig.t, pair[k])->fn = i;
            if (i % 2 == 0)
                erg_record_submit(s->rig.owner, pair[k]);
            for (int pause = rand_r(&seed) % 500; pause > 0; pause--)
                erg_cpu_relax();
        }
        if (i % 2)
            erg_record_submit_many(s->rig.owner, pair, 2);
        for (int k = 0; k < 2; k++) {
            assert_int_equal(
                erg_record_wait(s->rig.owner, rig_handle(&s->rig, pair[k]), 20000000000), 0);
            erg_record_free(s->rig.owner, pair[k]);
        }
        for (int pause = rand_r(&seed) % 5000; pause > 0; pause--)
            erg_cpu_relax();
    }
    atomic_store(&s->rig.t->header->closed, 1);
    erg_member_wake_all(s->rig.t);
    for (int i = 0; i < 2; i++)
        pthread_join(runners[i], NULL);
    rig_close(&s->rig);
    free(s);
}

static void work_is_never_left_to_a_busy_worker(void **state) {
    (void)state;
    meetings();
    erg_point_hook = jitter;
    meetings();
    erg_point_hook = NULL;
}

static void until_asleep(struct erg_table *t, uint32_t number) {
    for (int tries = 0; tries < 100000; tries++) {
        if (atomic_load(&t->header->sleeping[number / 64]) >> number % 64 & 1)
            return;
        usleep(100);
    }
    fail_msg("member %u never went to sleep", number);
}

/* A member died after it had promised to wake another, or while everybody counted on it because it was spinning. */
static void a_dead_ones_promises_are_kept(void **state) {
    (void)state;
    struct stress *s = calloc(1, sizeof *s);
    struct erg_table *t;
    pthread_t runner;
    rig_open(&s->rig, 100);
    t = s->rig.t;
    atomic_store(&s->rig.worker->slot->queues, 0);
    pthread_create(&runner, NULL, run_tasks, s); /* member 2 */
    for (int spinner = 0; spinner < 2; spinner++) {
        until_asleep(t, 2);
        struct erg_member *dead = rig_member(t, ERG_QUEUE_BIT(ERG_QUEUE_ANY));
        if (spinner)
            erg_awake_bit(t->header->spinning, dead->number, 1);
        else
            erg_awake_bit(t->header->sleeping, 2, 0);
        uint32_t index = rig_new(&s->rig);
        erg_record_submit(s->rig.owner, index);
        /* nobody comes, unless the sleeper had not quite fallen asleep */
        int early = erg_record_wait(s->rig.owner, rig_handle(&s->rig, index), 50000000);
        assert_true(early == ERG_ETIMEOUT || early == 0);
        assert_int_equal(erg_table_recover(s->rig.owner, dead->number, NULL, NULL), 0);
        assert_int_equal(erg_record_wait(s->rig.owner, rig_handle(&s->rig, index), 20000000000), 0);
        assert_int_equal(atomic_load(&t->header->spinning[0]) >> dead->number & 1, 0);
    }
    erg_member_stop(t, 2);
    pthread_join(runner, NULL);
    rig_close(&s->rig);
    free(s);
}

static void *sleep_at_bell(void *arg) {
    struct rig *rig = arg;
    erg_handle h;
    for (int taken = 0; taken < 3;) {
        uint32_t seen = erg_bell_prepare(rig->t);
        if (erg_bell_take(rig->t, &h))
            taken++;
        else
            erg_bell_wait(rig->t, seen, -1);
    }
    return NULL;
}

static void the_bell_wakes_who_sleeps_there(void **state) {
    (void)state;
    struct rig rig;
    pthread_t listener;
    rig_open(&rig, 100);
    pthread_create(&listener, NULL, sleep_at_bell, &rig);
    for (int i = 0; i < 3; i++) {
        usleep(20000); /* if it is not asleep by then, it has nothing to be woken from */
        uint32_t index = rig_new(&rig);
        erg_record_notify(rig.owner, rig_handle(&rig, index));
        erg_record_submit(rig.owner, index);
        assert_int_equal(rig_run(&rig), 1);
    }
    pthread_join(listener, NULL);
    rig_close(&rig);
}

/* Members beyond the first word of the bit sets. */
static void high_numbers_are_woken_too(void **state) {
    (void)state;
    struct stress *s = calloc(1, sizeof *s);
    pthread_t runner;
    rig_open(&s->rig, 100);
    atomic_store(&s->rig.worker->slot->queues, 0);
    while (rig_member(s->rig.t, 0)->number < 70)
        ;
    pthread_create(&runner, NULL, run_tasks, s);
    for (int i = 0; i < 50; i++) {
        for (int tries = 0; i % 2 && tries < 1000 && !atomic_load(&s->rig.t->header->sleeping[1]);
             tries++)
            usleep(100);
        uint32_t index = rig_new(&s->rig);
        erg_handle h = rig_handle(&s->rig, index);
        erg_record_submit(s->rig.owner, index);
        assert_int_equal(erg_record_wait(s->rig.owner, h, 20000000000), 0);
        assert_int_equal(ERG_STATE_RUNNER(erg_record_state(erg_table_record(s->rig.t, index))), 71);
        erg_record_free(s->rig.owner, index);
    }
    erg_member_stop(s->rig.t, 71);
    pthread_join(runner, NULL);
    rig_close(&s->rig);
    free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_take_no_memory),
        cmocka_unit_test(bad_configurations_are_refused),
        cmocka_unit_test(attach_sees_the_same_and_checks_what_it_gets),
        cmocka_unit_test(blocks_outlive_the_pool),
        cmocka_unit_test(a_forked_child_is_harmless),
        cmocka_unit_test(fits_into_small_limits),
        cmocka_unit_test(slots_are_given_and_given_back),
        cmocka_unit_test(threads_share_the_owners_member),
        cmocka_unit_test(threads_share_a_workers_member),
        cmocka_unit_test(threads_may_be_slow_anywhere),
        cmocka_unit_test(work_is_never_left_to_a_busy_worker),
        cmocka_unit_test(high_numbers_are_woken_too),
        cmocka_unit_test(a_dead_ones_promises_are_kept),
        cmocka_unit_test(the_bell_wakes_who_sleeps_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
