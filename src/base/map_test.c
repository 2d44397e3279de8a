/* Against a plain array, with keys that collide. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/map.h"
#include <stdlib.h>

enum { KEYS = 300, STEPS = 200000 };

static void does_what_an_array_does(void **state) {
    (void)state;
    struct erg_map map = {0};
    uint64_t expected[KEYS] = {0}, value;
    unsigned seed = 7;
    size_t len = 0;
    assert_false(erg_map_take(&map, 3, &value));
    for (int step = 0; step < STEPS; step++) {
        uint64_t k = (uint64_t)rand_r(&seed) % KEYS, key = k << 40 | (k & 3);
        switch (rand_r(&seed) % 3) {
        case 0:
            len += expected[k] == 0;
            expected[k] = (uint64_t)step + 1;
            assert_int_equal(erg_map_set(&map, key, expected[k]), 0);
            break;
        case 1:
            assert_int_equal(erg_map_get(&map, key, &value), expected[k] != 0);
            if (expected[k])
                assert_int_equal(value, expected[k]);
            break;
        default:
            assert_int_equal(erg_map_take(&map, key, &value), expected[k] != 0);
            if (expected[k])
                assert_int_equal(value, expected[k]);
            len -= expected[k] != 0;
            expected[k] = 0;
        }
        assert_int_equal(map.len, len);
    }
    struct erg_map_cell cell;
    size_t seen = 0;
    for (size_t at = 0; erg_map_next(&map, &at, &cell); seen++)
        assert_int_equal(expected[cell.key >> 40], cell.value);
    assert_int_equal(seen, len);
    erg_map_fini(&map);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(does_what_an_array_does)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
