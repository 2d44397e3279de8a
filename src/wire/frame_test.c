#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire/frame.h"

static void travels(void **state) {
    (void)state;
    struct erg_frame in = {.len = 70000,
                           .type = 23,
                           .flags = ERG_FRAME_DATA | ERG_FRAME_MORE,
                           .seq = 0x1122334455667788,
                           .ack = UINT64_MAX},
                     out;
    unsigned char bytes[ERG_FRAME_HEADER];
    erg_frame_encode(&in, bytes);
    assert_int_equal(bytes[8], 0x88); /* little-endian */
    assert_int_equal(erg_frame_decode(bytes, &out, NULL), 0);
    assert_int_equal(out.len, in.len);
    assert_int_equal(out.type, in.type);
    assert_int_equal(out.flags, in.flags);
    assert_true(out.seq == in.seq && out.ack == in.ack);
}

static void wrong_ones_are_refused(void **state) {
    (void)state;
    const struct erg_frame wrong[] = {
        {.len = ERG_FRAME_BODY_MAX + 1, .type = 16, .seq = 1},
        {.type = 0, .seq = 1},
        {.type = 16, .flags = 16, .seq = 1},
        {.type = 16, .flags = ERG_FRAME_BULK | ERG_FRAME_DATA, .seq = 1},
        {.type = 16, .flags = ERG_FRAME_MORE, .seq = 1},
        {.type = 16, .flags = ERG_FRAME_BULK},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        unsigned char bytes[ERG_FRAME_HEADER];
        struct erg_frame out = {.len = 7};
        struct erg_error err;
        erg_frame_encode(&wrong[i], bytes);
        assert_int_equal(erg_frame_decode(bytes, &out, &err), ERG_EPROTOCOL);
        assert_int_equal(out.len, 7);
        assert_int_equal(err.code, ERG_EPROTOCOL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(travels),
        cmocka_unit_test(wrong_ones_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
