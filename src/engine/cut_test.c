/* The chunk with the most items that were not begun is cut, and only when nobody can help himself. */
#include "engine/cut.h"
#include "table/rig.h"

/* A chunk of items [first, first + items), entered. */
static struct erg_record *chunk(struct rig *rig, uint32_t first, uint32_t items) {
    uint32_t index = rig_new(rig);
    struct erg_record *r = erg_table_record(rig->t, index);
    r->kind = ERG_KIND_CHUNK;
    erg_range_set(r, first, first + items);
    erg_record_submit(rig->owner, index);
    return r;
}

/* Somebody runs it and has begun `begun` items. */
static struct erg_record *running(struct rig *rig, uint32_t first, uint32_t items, uint32_t begun) {
    struct erg_record *r = chunk(rig, first, items);
    uint32_t index, from;
    assert_true(erg_claim_next(rig_member(rig->t, ERG_QUEUE_BIT(ERG_QUEUE_ANY)), &index));
    assert_ptr_equal(erg_table_record(rig->t, index), r);
    assert_int_equal(erg_range_take_many(r, begun, &from), begun);
    return r;
}

static void the_fullest_is_cut(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 100);
    struct erg_balance balance;
    erg_balance_init(&balance, 3);
    erg_balance_measure(&balance, 1, 1000000);
    struct erg_record *r[3] = {running(&rig, 0, 10, 1), running(&rig, 10, 20, 4),
                               running(&rig, 30, 15, 2)};
    struct erg_cut best = {.idle = 1};
    for (int i = 0; i < 3; i++)
        assert_int_equal(erg_cut_look(&best, r[i], &r[i]), 1);
    assert_ptr_equal(best.record, r[1]);
    assert_ptr_equal(best.chunk, &r[1]);
    assert_int_equal(best.left, 16);
    uint32_t from, to;
    assert_int_equal(erg_cut_take(&best, &balance, &from, &to), 8);
    assert_true(from == 22 && to == 30);
    assert_int_equal(erg_range_end(r[1]), 22);
    rig_close(&rig);
}

static void what_waits_goes_first(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 100);
    struct erg_balance balance;
    erg_balance_init(&balance, 2);
    struct erg_record *busy = running(&rig, 0, 1000, 1), *ready = chunk(&rig, 1000, 1);
    uint32_t from, to;
    struct erg_cut best = {.idle = 1};
    assert_int_equal(erg_cut_look(&best, busy, NULL), 1);
    assert_int_equal(erg_cut_look(&best, ready, NULL), 0);
    assert_int_equal(erg_cut_take(&best, &balance, &from, &to), 0);
    best = (struct erg_cut){.idle = 2}; /* one of them needs something else */
    assert_int_equal(erg_cut_look(&best, busy, NULL), 1);
    assert_int_equal(erg_cut_look(&best, ready, NULL), 1);
    assert_true(erg_cut_take(&best, &balance, &from, &to) > 0 && to == 1000);
    rig_close(&rig);
}

static void nothing_is_cut_off_the_last_item(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 100);
    struct erg_balance balance;
    erg_balance_init(&balance, 2);
    struct erg_cut best = {.idle = 1};
    uint32_t from, to;
    assert_int_equal(erg_cut_look(&best, running(&rig, 5, 3, 3), NULL), 1);
    assert_true(!best.record && !best.waiting);
    assert_int_equal(erg_cut_take(&best, &balance, &from, &to), 0);
    rig_close(&rig);
}

static void only_who_serves_the_queue_counts(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 100); /* its worker and its owner are up, and neither looks for work */
    struct erg_cut best;
    assert_int_equal(erg_cut_wanted(&best, rig.t, ERG_QUEUE_BIT(ERG_QUEUE_ANY)), 0);
    struct erg_member *idle = rig_member(rig.t, ERG_QUEUE_BIT(ERG_QUEUE_ANY));
    erg_awake_bit(rig.t->header->sleeping, idle->number, 1);
    assert_int_equal(erg_cut_wanted(&best, rig.t, ERG_QUEUE_BIT(ERG_QUEUE_ANY)), 1);
    assert_int_equal(erg_cut_wanted(&best, rig.t, 0), 0);
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fullest_is_cut),
        cmocka_unit_test(what_waits_goes_first),
        cmocka_unit_test(nothing_is_cut_off_the_last_item),
        cmocka_unit_test(only_who_serves_the_queue_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
