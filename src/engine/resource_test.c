#include "engine/resource.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void good_strings(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum erg_resource_kind kind;
        int count;
    } cases[] = {
        {"local", ERG_RESOURCE_LOCAL, 0},         {"local:4", ERG_RESOURCE_LOCAL, 4},
        {" local:4 ", ERG_RESOURCE_LOCAL, 4},     {"threads:8", ERG_RESOURCE_THREADS, 8},
        {"threads", ERG_RESOURCE_THREADS, 0},     {"serial", ERG_RESOURCE_SERIAL, 0},
        {"local:1000", ERG_RESOURCE_LOCAL, 1000}, {"local?", ERG_RESOURCE_LOCAL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct erg_resource r;
        struct erg_error err;
        assert_int_equal(erg_resource_parse(cases[i].text, &r, &err), 0);
        assert_int_equal(r.kind, cases[i].kind);
        assert_int_equal(r.count, cases[i].count);
    }
}

static void places_elsewhere(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum erg_resource_kind kind;
        int count;
        const char *user, *host;
        int port;
    } cases[] = {
        {"ssh://h", ERG_RESOURCE_SSH, 0, NULL, "h", 0},
        {"ssh://u@h.example.org:22?slots=8", ERG_RESOURCE_SSH, 8, "u", "h.example.org", 22},
        {"ssh://h/", ERG_RESOURCE_SSH, 0, NULL, "h", 0},
        {"ssh://u%40corp@h", ERG_RESOURCE_SSH, 0, "u@corp", "h", 0},
        {"ssh://a@b@h", ERG_RESOURCE_SSH, 0, "a@b", "h", 0},
        {"ssh://[::1]:2222?config=%2Fetc%2Fx&tmp_dir=/scratch", ERG_RESOURCE_SSH, 0, NULL, "::1",
         2222},
        {"ssh://[fe80::1]", ERG_RESOURCE_SSH, 0, NULL, "fe80::1", 0},
        {"tcp://127.0.0.1:7000?key=/k", ERG_RESOURCE_TCP, 0, NULL, "127.0.0.1", 7000},
        {"exec:ergon agent --stdio?slots=2", ERG_RESOURCE_EXEC, 2, NULL, "ergon agent --stdio", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct erg_resource r;
        struct erg_error err = {0};
        assert_int_equal(erg_resource_parse(cases[i].text, &r, &err), 0);
        assert_int_equal(r.kind, cases[i].kind);
        assert_int_equal(r.count, cases[i].count);
        assert_int_equal(r.port, cases[i].port);
        assert_string_equal(r.host, cases[i].host);
        assert_int_equal(r.user != NULL, cases[i].user != NULL);
        if (r.user)
            assert_string_equal(r.user, cases[i].user);
        assert_true(erg_resource_is_remote(&r));
    }
    struct erg_resource r;
    struct erg_error err = {0};
    assert_int_equal(erg_resource_parse(cases[5].text, &r, &err), 0);
    assert_string_equal(erg_resource_option(&r, "config"), "/etc/x");
    assert_string_equal(erg_resource_option(&r, "tmp_dir"), "/scratch");
}

static void bad_strings_say_what_is_wrong(void **state) {
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "known are"},
        {"lokal:4", "known are"},
        {"Local", "known are"},
        {"mpi:2", "this version does not start workers through mpi"},
        {"slurm:4?queue=x", "this version does not start workers through slurm"},
        {"cloud://aws", "this version does not start workers through cloud"},
        {"slurmd:4", "is no resource"},
        {"local:", "number"},
        {"local:0", "number"},
        {"local:-1", "number"},
        {"local:4x", "number"},
        {"local: 4", "number"},
        {"local:1001", "number"},
        {"serial:2", "no number"},
        {"local?x", "key=value"},
        {"local?=1", "key=value"},
        {"local?a=%", "percent"},
        {"local?a=%zz", "percent"},
        {"local?a=%00", "percent"},
        {"local?a=1&a=2", "twice"},
        {"local:99999999999999999999", "number"},
        {"ssh", "ssh://user@host:port"},
        {"ssh:host", "ssh://user@host:port"},
        {"ssh://", "names no host"},
        {"ssh://u@", "names no host"},
        {"ssh://@h", "names no user"},
        {"ssh://-oProxyCommand=x", "names no host"},
        {"ssh://-l@h", "names no user"},
        {"ssh://u:secret@h", "no password"},
        {"ssh://h:8x", "slots=8"},
        {"ssh://h%zz", "no percent sign"},
        {"ssh://u%zz@h", "percent sign in the user's name"},
        {"exec:%zz", "percent"},
        {"ssh://h?tmp_dir=", "tmp_dir is empty"},
        {"ssh://h?python=", "python is empty"},
        {"tcp://h:1?key=", "key is empty"},
        {"ssh://h:70000", "port"},
        {"ssh://::1", "IPv6"},
        {"ssh://[::1", "IPv6"},
        {"ssh://a b", "ssh://user@host:port"},
        {"ssh://h?slot=3", "known are slots"},
        {"ssh://h?lot=3", "known are slots"},
        {"ssh://h?slots=0", "slots must be"},
        {"tcp://h", "which port"},
        {"exec:", "exec:COMMAND"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct erg_resource r;
        struct erg_error err;
        assert_int_equal(erg_resource_parse(cases[i].text, &r, &err), ERG_ECONFIG);
        assert_non_null(strstr(err.text, cases[i].words));
    }
}

static void options_are_decoded(void **state) {
    (void)state;
    struct erg_resource r;
    assert_int_equal(erg_resource_parse("local:2?grace=2.5&name=a%20b%26c&&empty=", &r, NULL), 0);
    assert_int_equal(r.count, 2);
    assert_int_equal(r.options_len, 3);
    assert_string_equal(erg_resource_option(&r, "grace"), "2.5");
    assert_string_equal(erg_resource_option(&r, "name"), "a b&c");
    assert_string_equal(erg_resource_option(&r, "empty"), "");
    assert_null(erg_resource_option(&r, "other"));
}

static void long_strings_are_refused(void **state) {
    (void)state;
    char text[ERG_RESOURCE_TEXT_MAX + 8];
    memset(text, 'a', sizeof text);
    memcpy(text, "local?k=", 8);
    text[sizeof text - 1] = '\0';
    struct erg_resource r;
    assert_int_equal(erg_resource_parse(text, &r, NULL), ERG_ECONFIG);
    text[ERG_RESOURCE_TEXT_MAX - 1] = '\0';
    assert_int_equal(erg_resource_parse(text, &r, NULL), 0);
}

static void too_many_options_are_refused(void **state) {
    (void)state;
    char text[512] = "local?";
    for (int i = 0; i <= ERG_RESOURCE_OPTIONS_MAX; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "k%d=v&", i);
    struct erg_resource r;
    assert_int_equal(erg_resource_parse(text, &r, NULL), ERG_ECONFIG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_strings),
        cmocka_unit_test(places_elsewhere),
        cmocka_unit_test(bad_strings_say_what_is_wrong),
        cmocka_unit_test(options_are_decoded),
        cmocka_unit_test(long_strings_are_refused),
        cmocka_unit_test(too_many_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
