#include "table/rig.h"
#include <pthread.h>
#include <stdlib.h>

static void items_come_in_order_and_once(void **state) {
    (void)state;
    struct erg_record r;
    uint32_t item, from;
    erg_range_set(&r, 10, 15);
    assert_int_equal(erg_range_left(&r), 5);
    assert_int_equal(erg_range_end(&r), 15);
    assert_int_equal(erg_range_take(&r, &item), 1);
    assert_int_equal(item, 10);
    assert_int_equal(erg_range_take_many(&r, 3, &from), 3);
    assert_int_equal(from, 11);
    assert_int_equal(erg_range_take_many(&r, 3, &from), 1);
    assert_int_equal(from, 14);
    assert_int_equal(erg_range_take(&r, &item), 0);
    assert_int_equal(erg_range_take_many(&r, 3, &from), 0);
}

static void cuts_leave_the_share_asked_for(void **state) {
    (void)state;
    static const struct {
        uint32_t from, to;
        unsigned keep;
        uint32_t cut, cut_from;
    } cases[] = {
        {0, 10, 50, 5, 5},    {0, 11, 50, 5, 6},
        {0, 1, 50, 0, 0},     {0, 1, 0, 1, 0},
        {5, 5, 0, 0, 0},      {0, 10, 100, 0, 0},
        {0, 100, 25, 75, 25}, {0, UINT32_MAX, 50, 2147483647u, 2147483648u},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct erg_record r;
        uint32_t from = 0, to = 0;
        erg_range_set(&r, cases[i].from, cases[i].to);
        assert_int_equal(erg_range_cut(&r, cases[i].keep, &from, &to), cases[i].cut);
        if (cases[i].cut == 0)
            continue;
        assert_int_equal(from, cases[i].cut_from);
        assert_int_equal(to, cases[i].to);
        assert_int_equal(erg_range_end(&r), from);
    }
}

enum { ITEMS = 200000 };
struct share {
    struct erg_record r;
    unsigned char seen[ITEMS];
    _Atomic uint32_t cuts;
};

static void *cutter(void *arg) {
    struct share *s = arg;
    uint32_t from, to;
    while (erg_range_left(&s->r) > 0)
        if (erg_range_cut(&s->r, 99, &from, &to)) {
            for (uint32_t i = from; i < to; i++)
                s->seen[i]++;
            atomic_fetch_add(&s->cuts, 1);
        }
    return NULL;
}

static void runner_and_cutter_never_get_the_same_item(void **state) {
    (void)state;
    struct share *s = calloc(1, sizeof *s);
    pthread_t thread;
    uint32_t item;
    erg_range_set(&s->r, 0, ITEMS);
    pthread_create(&thread, NULL, cutter, s);
    while (erg_range_take(&s->r, &item))
        s->seen[item]++;
    pthread_join(thread, NULL);
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(s->seen[i], 1);
    free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_come_in_order_and_once),
        cmocka_unit_test(cuts_leave_the_share_asked_for),
        cmocka_unit_test(runner_and_cutter_never_get_the_same_item),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
