#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine/peer_address.h"

static void scopes(void **state) {
    (void)state;
    static const struct {
        const char *address;
        enum erg_peer_scope scope;
    } cases[] = {
        {"10.0.0.2", ERG_PEER_ANYWHERE},
        {"169.254.3.4", ERG_PEER_ANYWHERE}, /* the same link has the same name everywhere */
        {"127.0.0.1", ERG_PEER_SAME_HOST},
        {"127.9.9.9", ERG_PEER_SAME_HOST},
        {"0.0.0.0", ERG_PEER_NOWHERE},
        {"224.0.0.1", ERG_PEER_NOWHERE},
        {"255.255.255.255", ERG_PEER_NOWHERE},
        {"::1", ERG_PEER_SAME_HOST},
        {"::", ERG_PEER_NOWHERE},
        {"ff02::1", ERG_PEER_NOWHERE},
        {"2001:db8::7", ERG_PEER_ANYWHERE},
        {"fd00::7", ERG_PEER_ANYWHERE},
        {"fe80::1%eth0", ERG_PEER_SAME_HOST},
        {"fe80::1", ERG_PEER_SAME_HOST},
        {"::ffff:127.0.0.1", ERG_PEER_SAME_HOST},
        {"::ffff:0.0.0.0", ERG_PEER_NOWHERE},
        {"::ffff:10.0.0.2", ERG_PEER_ANYWHERE},
        {"localhost", ERG_PEER_NOWHERE},
        {"1270.0.0.1", ERG_PEER_NOWHERE},
        {"", ERG_PEER_NOWHERE},
        {"2001:db8:2001:db8:2001:db8:2001:db8:2001:db8:2001:db8:2001:db8", ERG_PEER_NOWHERE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(erg_peer_scope(cases[i].address), cases[i].scope);
}

static void plain(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"::ffff:10.0.0.2", "10.0.0.2"},  {"10.0.0.2", "10.0.0.2"},
        {"2001:db8::7", "2001:db8::7"},   {"::ffff:7f00:1", "127.0.0.1"},
        {"fe80::1%eth0", "fe80::1%eth0"}, {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char address[64];
        snprintf(address, sizeof address, "%s", cases[i][0]);
        erg_peer_address_plain(address);
        assert_string_equal(address, cases[i][1]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(scopes), cmocka_unit_test(plain)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
