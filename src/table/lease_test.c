/* Tasks taken for another host: any number, finished in any order, waking only when nobody here can. */
#include "table/rig.h"

#include "table/lease.h"

static struct erg_member *place_of(struct rig *rig, uint32_t queues) {
    uint32_t number;
    struct erg_member *m;
    struct erg_error err;
    assert_int_equal(erg_member_reserve(rig->t, ERG_MEMBER_PLACE, queues, &number, &err), 0);
    assert_int_equal(erg_member_open(rig->t, number, &m, &err), 0);
    return m;
}

static uint32_t wakes(struct erg_member *m) {
    return atomic_load(&m->slot->wake);
}

static void taken_tasks_end_in_any_order(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 64);
    struct erg_member *place = place_of(&rig, ERG_QUEUE_BIT(ERG_QUEUE_ANY));
    uint32_t in[5], out[8];
    for (int i = 0; i < 5; i++) {
        in[i] = rig_new(&rig);
        erg_record_submit(rig.owner, in[i]);
    }
    int left;
    assert_int_equal(erg_lease_take(place, ERG_QUEUE_ANY, out, 3, &left), 3);
    assert_true(left);
    assert_int_equal(erg_lease_take(place, ERG_QUEUE_ANY, out + 3, 5, &left), 2);
    assert_false(left);
    assert_int_equal(rig_run(&rig), 0);
    for (int i = 4; i >= 0; i--) {
        assert_int_equal(out[i], in[i]);
        assert_int_equal(rig_phase(&rig, out[i]), ERG_RUNNING);
        erg_lease_finish(place, out[i], ERG_OUT_OK, 1000);
        assert_int_equal(rig_phase(&rig, out[i]), ERG_DONE);
        erg_record_free(rig.owner, out[i]);
    }
    assert_int_equal(atomic_load(&place->slot->tasks), 5);
    assert_int_equal(atomic_load(&place->slot->busy_ns), 5000);
    erg_member_close(place);
    assert_int_equal(atomic_load(&rig.t->header->place), 0);
    assert_int_equal(rig_count_free(&rig), 64);
    rig_close(&rig);
}

static void what_is_given_back_runs_here(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 64);
    struct erg_member *place = place_of(&rig, ERG_QUEUE_BIT(ERG_QUEUE_ANY));
    uint32_t index = rig_new(&rig), out;
    struct erg_record *r = erg_table_record(rig.t, index);
    r->kind = ERG_KIND_CHUNK;
    erg_range_set(r, 3, 9);
    erg_record_submit(rig.owner, index);
    int left;
    assert_int_equal(erg_lease_take(place, ERG_QUEUE_ANY, &out, 1, &left), 1);
    assert_int_equal(erg_range_left(r), 0); /* nobody cuts what is elsewhere */
    assert_int_equal(erg_range_end(r), 9);
    erg_lease_return(place, out);
    assert_int_equal(erg_range_left(r), 6);
    assert_int_equal(rig_run(&rig), 1);
    erg_member_close(place);
    rig_close(&rig);
}

static void what_is_given_back_cancelled_ends(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 64);
    struct erg_member *place = place_of(&rig, ERG_QUEUE_BIT(ERG_QUEUE_ANY));
    uint32_t index = rig_new(&rig), out;
    int left;
    erg_record_submit(rig.owner, index);
    assert_int_equal(erg_lease_take(place, ERG_QUEUE_ANY, &out, 1, &left), 1);
    assert_int_equal(erg_record_cancel(rig.owner, rig_handle(&rig, out)), 2);
    erg_lease_return(place, out);
    assert_int_equal(rig_run(&rig), 0);
    assert_int_equal(rig_phase(&rig, out), ERG_DONE);
    assert_int_equal(erg_record_outcome(erg_table_record(rig.t, out)), ERG_OUT_CANCELLED);
    erg_record_free(rig.owner, out);
    erg_member_close(place);
    assert_int_equal(rig_count_free(&rig), 64);
    rig_close(&rig);
}

static void successors_go_to_everybody(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 64);
    struct erg_member *place = place_of(&rig, ERG_QUEUE_BIT(ERG_QUEUE_ANY));
    uint32_t first = rig_new(&rig), second = rig_new(&rig), out;
    assert_int_equal(erg_record_after(rig.owner, second, rig_handle(&rig, first)), 0);
    erg_record_submit(rig.owner, second);
    erg_record_submit(rig.owner, first);
    int left;
    assert_int_equal(erg_lease_take(place, ERG_QUEUE_ANY, &out, 1, &left), 1);
    assert_int_equal(out, first);
    erg_lease_finish(place, first, ERG_OUT_ERROR, 0);
    assert_int_equal(rig_run(&rig), 1);
    assert_int_equal(rig_phase(&rig, second), ERG_DONE);
    erg_member_close(place);
    rig_close(&rig);
}

static void a_place_is_woken_when_nobody_here_can(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 64);
    struct erg_member *place = place_of(&rig, ERG_QUEUE_BIT(ERG_QUEUE_ANY));
    assert_true(erg_lease_doze(place, ERG_QUEUE_BIT(ERG_QUEUE_ANY)));
    erg_awake_bit(rig.t->header->sleeping, rig.worker->number, 1);
    uint32_t before = wakes(place), own = wakes(rig.worker);
    erg_record_submit(rig.owner, rig_new(&rig));
    assert_int_equal(wakes(place), before); /* the worker is there for it */
    assert_int_equal(wakes(rig.worker), own + 1);
    erg_record_submit(rig.owner, rig_new(&rig));
    assert_int_equal(wakes(place), before + 1);
    erg_record_submit(rig.owner, rig_new(&rig));
    assert_int_equal(wakes(place), before + 1); /* once: it looks until there is nothing */
    assert_false(erg_lease_doze(place, ERG_QUEUE_BIT(ERG_QUEUE_ANY)));
    uint32_t out[4];
    int left;
    assert_int_equal(erg_lease_take(place, ERG_QUEUE_ANY, out, 4, &left), 3);
    assert_true(erg_lease_doze(place, ERG_QUEUE_BIT(ERG_QUEUE_ANY)));
    for (int i = 0; i < 3; i++)
        erg_lease_return(place, out[i]);
    erg_member_close(place);
    rig_close(&rig);
}

static void queues_it_does_not_serve_are_left_alone(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 64);
    uint32_t named = ERG_QUEUE_NAMED + 2;
    struct erg_member *place = place_of(&rig, ERG_QUEUE_BIT(named));
    uint32_t any = rig_new(&rig), ours = rig_new(&rig), out;
    erg_table_record(rig.t, ours)->queue = (uint8_t)named;
    assert_true(erg_lease_doze(place, ERG_QUEUE_BIT(named)));
    uint32_t before = wakes(place);
    erg_record_submit(rig.owner, any);
    assert_int_equal(wakes(place), before);
    erg_record_submit(rig.owner, ours);
    assert_int_equal(wakes(place), before + 1);
    int left;
    assert_int_equal(erg_lease_take(place, named, &out, 1, &left), 1);
    assert_int_equal(out, ours);
    assert_int_equal(rig_run(&rig), 1);
    erg_lease_finish(place, ours, ERG_OUT_OK, 0);
    erg_member_close(place);
    rig_close(&rig);
}

static void a_cancelled_task_says_so(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 64);
    struct erg_member *place = place_of(&rig, ERG_QUEUE_BIT(ERG_QUEUE_ANY));
    uint32_t a = rig_new(&rig), b = rig_new(&rig), out[2];
    erg_record_submit(rig.owner, a);
    erg_record_submit(rig.owner, b);
    assert_int_equal(erg_record_cancel(rig.owner, rig_handle(&rig, a)), 1); /* its hint is stale */
    int left;
    assert_int_equal(erg_lease_take(place, ERG_QUEUE_ANY, out, 2, &left), 1);
    assert_int_equal(out[0], b);
    assert_int_equal(erg_record_cancel(rig.owner, rig_handle(&rig, b)), 2);
    assert_true(erg_record_state(erg_table_record(rig.t, b)) & ERG_STATE_CANCEL);
    erg_lease_finish(place, b, ERG_OUT_CANCELLED, 0);
    erg_member_close(place);
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taken_tasks_end_in_any_order),
        cmocka_unit_test(what_is_given_back_runs_here),
        cmocka_unit_test(what_is_given_back_cancelled_ends),
        cmocka_unit_test(successors_go_to_everybody),
        cmocka_unit_test(a_place_is_woken_when_nobody_here_can),
        cmocka_unit_test(queues_it_does_not_serve_are_left_alone),
        cmocka_unit_test(a_cancelled_task_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
