#include "os/shm.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE ((uint64_t)64 << 20)

static uint64_t memory_of(int fd) {
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static void memory_comes_and_goes(void **state) {
    (void)state;
    struct erg_error err;
    int fd;
    assert_int_equal(erg_shm_create("test", SIZE, &fd, &err), 0);
    char *base = erg_shm_map(fd, SIZE, &err), *again = erg_shm_map(fd, SIZE, &err);
    assert_non_null(base);
    assert_non_null(again);
    assert_int_equal(memory_of(fd), 0);
    assert_int_equal(erg_shm_populate(fd, base, 1 << 20, 8 << 20), 0);
    assert_true(memory_of(fd) >= 8 << 20);
    assert_true(memory_of(fd) < 10 << 20);
    memset(base + (1 << 20), 7, 8 << 20);
    assert_int_equal(again[2 << 20], 7);
    erg_shm_punch(fd, base, 1 << 20, 4 << 20);
    assert_true(memory_of(fd) <= 4 << 20);
    assert_int_equal(again[2 << 20], 0);
    assert_int_equal(again[6 << 20], 7);
    munmap(base, SIZE);
    munmap(again, SIZE);
    close(fd);
}

static void nobody_else_may_open_it(void **state) {
    (void)state;
    struct stat st;
    int fd;
    assert_int_equal(erg_shm_create("test", 4096, &fd, NULL), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(ftruncate(fd, 8192), -1);
    close(fd);
}

static void says_what_failed(void **state) {
    (void)state;
    struct erg_error err;
    assert_null(erg_shm_map(-1, 4096, &err));
    assert_int_equal(err.code, ERG_ESYSTEM);
    assert_non_null(strstr(err.text, "4096"));
    assert_int_equal(erg_shm_populate(-1, NULL, 0, 4096), ERG_ENOMEM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_comes_and_goes),
        cmocka_unit_test(nobody_else_may_open_it),
        cmocka_unit_test(says_what_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
