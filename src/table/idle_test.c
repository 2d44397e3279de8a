/* A feeder's sleep ends when a member has nothing to do, and only when it did not know that already. */
#include "table/idle.h"
#include "table/rig.h"

#include <pthread.h>

#define LONG_NS INT64_C(60000000000)
#define SHORT_NS INT64_C(20000000)
static const uint32_t any = ERG_QUEUE_BIT(ERG_QUEUE_ANY);

static void *feed(void *arg) {
    struct rig *rig = arg;
    uint32_t index = rig_new(rig); /* ENTERED: nobody will end it */
    erg_handle handle = rig_handle(rig, index);
    intptr_t rc = erg_idle_wait(rig->owner, handle, any, 0, LONG_NS);
    erg_record_free(rig->owner, index);
    return (void *)rc;
}

static int words_taken(struct rig *rig) {
    int n = 0;
    for (int i = 0; i < ERG_FEEDERS; i++)
        n += atomic_load(&rig->t->header->feeders[i]) != ERG_HANDLE_NONE;
    return n;
}

static void who_begins_to_idle_wakes_all_feeders(void **state) {
    (void)state;
    enum { FEEDERS = 3 };
    for (int spinning = 0; spinning < 2; spinning++) {
        struct rig rig;
        rig_open(&rig, 100);
        pthread_t threads[FEEDERS];
        void *rc;
        for (int i = 0; i < FEEDERS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, feed, &rig), 0);
        while (words_taken(&rig) < FEEDERS)
            sched_yield();
        uint32_t index;
        assert_int_equal(erg_claim_wait(rig.worker, &index, spinning ? SHORT_NS : 0, SHORT_NS),
                         ERG_ETIMEOUT);
        for (int i = 0; i < FEEDERS; i++) {
            assert_int_equal(pthread_join(threads[i], &rc), 0);
            assert_int_equal((intptr_t)rc, 1);
        }
        assert_int_equal(words_taken(&rig), 0);
        rig_close(&rig);
    }
}

static void who_was_known_to_idle_wakes_nobody(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 100);
    erg_handle handle = rig_handle(&rig, rig_new(&rig));
    assert_int_equal(erg_idle_wait(rig.owner, handle, any, 0, SHORT_NS), ERG_ETIMEOUT);
    erg_awake_bit(rig.t->header->sleeping, rig.worker->number, 1);
    assert_int_equal(erg_idle_wait(rig.owner, handle, any, 0, LONG_NS), 1);
    assert_int_equal(erg_idle_wait(rig.owner, handle, any, 1, SHORT_NS), ERG_ETIMEOUT);
    assert_int_equal(erg_idle_wait(rig.owner, handle, ERG_QUEUE_BIT(1), 0, SHORT_NS), ERG_ETIMEOUT);
    assert_int_equal(words_taken(&rig), 0);
    rig_close(&rig);
}

static void the_end_of_the_record_ends_it(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 100);
    uint32_t index = rig_new(&rig);
    erg_handle handle = rig_handle(&rig, index);
    erg_record_submit(rig.owner, index);
    assert_int_equal(rig_run(&rig), 1);
    assert_int_equal(erg_idle_wait(rig.owner, handle, any, 0, LONG_NS), 0);
    rig_close(&rig);
}

/* As after a feeder's process that was killed, and with more feeders than words. */
static void words_left_behind_hurt_nobody(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 100);
    uint32_t gone = rig_new(&rig), index;
    erg_handle stale = rig_handle(&rig, gone);
    erg_record_free(rig.owner, gone);
    for (int i = 0; i < ERG_FEEDERS; i++)
        atomic_store(&rig.t->header->feeders[i], stale);
    erg_handle handle = rig_handle(&rig, rig_new(&rig));
    assert_int_equal(erg_idle_wait(rig.owner, handle, any, 0, SHORT_NS), ERG_ETIMEOUT);
    assert_int_equal(words_taken(&rig), ERG_FEEDERS);
    assert_int_equal(erg_claim_wait(rig.worker, &index, 0, SHORT_NS), ERG_ETIMEOUT);
    assert_int_equal(words_taken(&rig), 0);
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_begins_to_idle_wakes_all_feeders),
        cmocka_unit_test(who_was_known_to_idle_wakes_nobody),
        cmocka_unit_test(the_end_of_the_record_ends_it),
        cmocka_unit_test(words_left_behind_hurt_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
