#include "base/error.h"

#include <ergon/ergon.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void set_fills_and_returns_code(void **state) {
    (void)state;
    struct erg_error err;
    assert_int_equal(erg_error_set(&err, ERG_EINVALID, "slots=%d: at least 1", 0), ERG_EINVALID);
    assert_int_equal(err.code, ERG_EINVALID);
    assert_string_equal(err.text, "slots=0: at least 1");
}

static void set_takes_null(void **state) {
    (void)state;
    assert_int_equal(erg_error_set(NULL, ERG_EFULL, "x"), ERG_EFULL);
    assert_int_equal(erg_error_system(NULL, EINVAL, "x"), ERG_ESYSTEM);
}

static void long_text_is_cut_and_marked(void **state) {
    (void)state;
    struct {
        struct erg_error err;
        char guard[8];
    } box;
    char big[1000];
    memset(big, 'a', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    memset(box.guard, 0x5a, sizeof(box.guard));
    erg_error_set(&box.err, ERG_ESYSTEM, "%s", big);
    assert_int_equal(strlen(box.err.text), sizeof(box.err.text) - 1);
    assert_string_equal(box.err.text + sizeof(box.err.text) - 4, "...");
    erg_error_system(&box.err, ENOENT, "%s", big);
    assert_int_equal(strlen(box.err.text), sizeof(box.err.text) - 1);
    for (size_t i = 0; i < sizeof(box.guard); i++)
        assert_int_equal(box.guard[i], 0x5a);
}

static void system_appends_the_words_for_errno(void **state) {
    (void)state;
    struct erg_error err;
    errno = EINTR;
    assert_int_equal(erg_error_system(&err, ENOENT, "open %s", "/nowhere"), ERG_ESYSTEM);
    assert_string_equal(err.text, "open /nowhere: No such file or directory");
    assert_int_equal(errno, EINTR);
    assert_int_equal(erg_error_system(&err, EACCES, "open"), ERG_EACCESS);
    assert_int_equal(erg_error_system(&err, ENOMEM, "mmap"), ERG_ENOMEM);
    assert_int_equal(err.code, ERG_ENOMEM);
}

static void every_code_has_its_own_words(void **state) {
    (void)state;
    const char *unknown = erg_strerror(-9999);
    assert_string_equal(erg_strerror(1), unknown);
    int code = 0;
    for (; strcmp(erg_strerror(code), unknown) != 0; code--)
        for (int other = 0; other > code; other--)
            assert_string_not_equal(erg_strerror(code), erg_strerror(other));
    assert_true(code < ERG_ESTATE);
}

static void version_is_three_numbers(void **state) {
    (void)state;
    int major, minor, patch, end = 0;
    assert_int_equal(sscanf(erg_version(), "%d.%d.%d%n", &major, &minor, &patch, &end), 3);
    assert_int_equal(erg_version()[end], '\0');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_fills_and_returns_code),
        cmocka_unit_test(set_takes_null),
        cmocka_unit_test(long_text_is_cut_and_marked),
        cmocka_unit_test(system_appends_the_words_for_errno),
        cmocka_unit_test(every_code_has_its_own_words),
        cmocka_unit_test(version_is_three_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
