#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "wire/auth.h"

static const unsigned char key[ERG_AUTH_KEY] = {1, 2, 3};

/* Moves what one has to say to the other; `flip` is the number of the byte that is changed on the way, or -1. */
static int carry(struct erg_auth *from, struct erg_auth *to, int flip) {
    const unsigned char *bytes;
    size_t len = erg_auth_pending(from, &bytes);
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = bytes[i] ^ (unsigned char)((int)i == flip ? 4 : 0);
        int status = erg_auth_feed(to, &byte, 1, NULL);
        if (status < 0) {
            return status;
        }
    }
    erg_auth_taken(from, len);
    return 0;
}

static void pair(struct erg_auth **client, struct erg_auth **server, const unsigned char *theirs) {
    static const unsigned char session[ERG_AUTH_SESSION] = "which agent";
    assert_int_equal(erg_auth_new(ERG_AUTH_CLIENT, key, session, client), 0);
    assert_int_equal(erg_auth_new(ERG_AUTH_SERVER, theirs, NULL, server), 0);
}

static void both_prove(void **state) {
    (void)state;
    struct erg_auth *c, *s;
    pair(&c, &s, key);
    assert_int_equal(carry(c, s, -1), 0);
    assert_true(erg_auth_wants(s) > 0);
    assert_int_equal(carry(s, c, -1), 0);
    assert_int_equal(erg_auth_wants(c), 0);
    assert_int_equal(carry(c, s, -1), 0);
    assert_int_equal(erg_auth_wants(s), 0);
    assert_string_equal((const char *)erg_auth_session(s), "which agent");
    unsigned char text[1000], record[1000 + ERG_AUTH_RECORD_EXTRA], plain[1000];
    for (int round = 0; round < 6; round++) {
        struct erg_auth *from = round & 1 ? s : c, *to = round & 1 ? c : s;
        memset(text, 'a' + round, sizeof text);
        size_t len = erg_auth_seal(from, text, sizeof text - (size_t)round, record), size, got;
        assert_int_equal(erg_auth_record_len(record, &size, NULL), 0);
        assert_int_equal(size, len);
        assert_int_equal(erg_auth_open(to, record, len, plain, &got, NULL), 0);
        assert_int_equal(got, sizeof text - (size_t)round);
        assert_memory_equal(plain, text, got);
        /* not twice, and not by who sent it */
        assert_int_equal(erg_auth_open(to, record, len, plain, &got, NULL), ERG_EACCESS);
    }
    erg_auth_free(c);
    erg_auth_free(s);
}

static void records_cannot_be_changed(void **state) {
    (void)state;
    for (size_t at = 0; at < 10 + ERG_AUTH_RECORD_EXTRA; at++) {
        struct erg_auth *c, *s;
        pair(&c, &s, key);
        assert_int_equal(carry(c, s, -1) | carry(s, c, -1) | carry(c, s, -1), 0);
        unsigned char record[10 + ERG_AUTH_RECORD_EXTRA], plain[64];
        size_t len = erg_auth_seal(c, (const unsigned char *)"0123456789", 10, record), got;
        record[at] ^= 1;
        assert_int_equal(erg_auth_open(s, record, len, plain, &got, NULL), ERG_EACCESS);
        erg_auth_free(c);
        erg_auth_free(s);
    }
}

static void another_key_is_refused(void **state) {
    (void)state;
    unsigned char other[ERG_AUTH_KEY] = {1, 2, 4};
    struct erg_auth *c, *s;
    pair(&c, &s, other);
    assert_int_equal(carry(c, s, -1), 0);
    assert_int_equal(carry(s, c, -1), ERG_EACCESS);
    const unsigned char *bytes;
    assert_int_equal(erg_auth_pending(c, &bytes), 0); /* and no proof is given away */
    erg_auth_free(c);
    erg_auth_free(s);
}

static void every_byte_of_the_handshake_counts(void **state) {
    (void)state;
    for (int step = 0; step < 3; step++) {
        for (int at = 0; at < (step == 0 ? 88 : step == 1 ? 120 : 32); at++) {
            struct erg_auth *c, *s;
            pair(&c, &s, key);
            int status = carry(c, s, step == 0 ? at : -1);
            status = status < 0 ? status : carry(s, c, step == 1 ? at : -1);
            status = status < 0 ? status : carry(c, s, step == 2 ? at : -1);
            assert_int_equal(status, ERG_EACCESS);
            erg_auth_free(c);
            erg_auth_free(s);
        }
    }
}

/* Whoever has no key and sends a side's own words back to it gets nowhere. */
static void reflection(void **state) {
    (void)state;
    struct erg_auth *c, *s;
    pair(&c, &s, key);
    const unsigned char *bytes;
    size_t len = erg_auth_pending(c, &bytes);
    unsigned char echo[ERG_AUTH_HANDSHAKE_MAX] = {0};
    memcpy(echo, bytes, len);
    assert_int_equal(erg_auth_feed(c, echo, erg_auth_wants(c), NULL), ERG_EACCESS);
    assert_int_equal(carry(c, s, -1), 0);
    erg_auth_pending(s, &bytes); /* greeting, and the server's proof, given back as the client's */
    assert_int_equal(erg_auth_feed(s, bytes + 88, 32, NULL), ERG_EACCESS);
    erg_auth_free(c);
    erg_auth_free(s);
}

static void key_files(void **state) {
    (void)state;
    char folder[] = "/tmp/ergon-auth-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/key", folder);
    unsigned char made[ERG_AUTH_KEY], read[ERG_AUTH_KEY], again[ERG_AUTH_KEY];
    struct erg_error err;
    assert_int_equal(erg_auth_key_read(path, read, &err), ERG_ENOTFOUND);
    assert_int_equal(erg_auth_key_make(path, made, &err), 0);
    assert_int_equal(erg_auth_key_make(path, again, &err), ERG_EEXISTS);
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    assert_int_equal(erg_auth_key_read(path, read, &err), 0);
    assert_memory_equal(made, read, sizeof made);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(erg_auth_key_read(path, read, &err), ERG_EACCESS);
    assert_non_null(strstr(err.text, "chmod 600"));
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, 63), 0);
    assert_int_equal(erg_auth_key_read(path, read, &err), ERG_ECONFIG);
    assert_int_equal(truncate(path, 70), 0);
    assert_int_equal(erg_auth_key_read(path, read, &err), ERG_ECONFIG);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_prove),
        cmocka_unit_test(records_cannot_be_changed),
        cmocka_unit_test(another_key_is_refused),
        cmocka_unit_test(every_byte_of_the_handshake_counts),
        cmocka_unit_test(reflection),
        cmocka_unit_test(key_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
