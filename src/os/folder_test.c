/* A folder goes with all that is in it, and nothing else goes. */
#include "os/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static char base[] = "/tmp/ergon-folder-test-XXXXXX";

static const char *in_base(const char *name) {
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", base, name);
    return path[turn];
}

static void touch(const char *name) {
    int fd = open(in_base(name), O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static int there(const char *name) {
    struct stat about;
    return lstat(in_base(name), &about) == 0;
}

static void all_of_it_goes(void **state) {
    (void)state;
    mkdir(in_base("gone"), 0700);
    mkdir(in_base("gone/a"), 0700);
    mkdir(in_base("gone/a/b"), 0700);
    touch("gone/one");
    touch("gone/a/b/two");
    chmod(in_base("gone/a/b"), 0); /* what a task may leave */
    assert_int_equal(erg_folder_remove(in_base("gone")), 0);
    assert_false(there("gone"));
}

static void links_are_not_followed(void **state) {
    (void)state;
    mkdir(in_base("kept"), 0700);
    touch("kept/file");
    mkdir(in_base("gone"), 0700);
    assert_int_equal(symlink(in_base("kept"), in_base("gone/link")), 0);
    assert_int_equal(erg_folder_remove(in_base("gone")), 0);
    assert_true(there("kept/file"));
    assert_false(there("gone"));
}

static void what_is_not_there_is_fine(void **state) {
    (void)state;
    assert_int_equal(erg_folder_remove(in_base("never")), 0);
    touch("file");
    assert_int_equal(erg_folder_remove(in_base("file/below")), -1);
    assert_int_equal(errno, ENOTDIR);
}

static int make(void **state) {
    (void)state;
    return mkdtemp(base) ? 0 : -1;
}

static int unmake(void **state) {
    (void)state;
    return erg_folder_remove(base);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_it_goes),
        cmocka_unit_test(links_are_not_followed),
        cmocka_unit_test(what_is_not_there_is_fine),
    };
    return cmocka_run_group_tests(tests, make, unmake);
}
