#include "os/futex.h"
#include "base/error.h"
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int erg_futex_wait(const _Atomic uint32_t *word, uint32_t expected, int64_t timeout_ns) {
    struct timespec limit, *timeout = NULL;
    if (timeout_ns >= 0) {
        limit.tv_sec = timeout_ns / 1000000000;
        limit.tv_nsec = timeout_ns % 1000000000;
        timeout = &limit;
    }
    if (syscall(SYS_futex, word, FUTEX_WAIT, expected, timeout, NULL, 0) == 0)
        return 0;
    switch (errno) {
    case ETIMEDOUT:
        return ERG_ETIMEOUT;
    case EINTR:
        return ERG_EINTR;
    default: /* EAGAIN: the word was different */
        return 0;
    }
}

int erg_futex_wake(const _Atomic uint32_t *word, int n) {
    int saved = errno;
    long woken = syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
    errno = saved;
    return woken < 0 ? 0 : (int)woken;
}
