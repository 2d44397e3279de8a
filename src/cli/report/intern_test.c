#include "cli/report/intern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void same_name_same_number(void **state) {
    (void)state;
    struct erg_intern table = {0};
    assert_int_equal(erg_intern_put(&table, "one"), 0);
    assert_int_equal(erg_intern_put(&table, "two"), 1);
    assert_int_equal(erg_intern_put(&table, "one"), 0);
    assert_int_equal(erg_intern_put(&table, ""), 2);
    assert_int_equal(table.count, 3);
    assert_string_equal(table.names[1], "two");
    erg_intern_fini(&table);
    assert_int_equal(table.count, 0);
}

static void numbers_last_through_growth(void **state) {
    (void)state;
    enum { MANY = 10000 };
    struct erg_intern table = {0};
    char name[32];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++) {
            snprintf(name, sizeof name, "function %d", i);
            assert_int_equal(erg_intern_put(&table, name), i);
        }
    }
    assert_int_equal(table.count, MANY);
    erg_intern_fini(&table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_name_same_number),
        cmocka_unit_test(numbers_last_through_growth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
