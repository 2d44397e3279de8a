#include "os/process.h"
#include "base/error.h"
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

static int process_error(int number) {
    switch (number) {
    case ESRCH:
        return ERG_ENOTFOUND;
    case EPERM:
        return ERG_EACCESS;
    case ENOSYS:
        return ERG_EUNSUPPORTED;
    case EINVAL:
        return ERG_EINVALID;
    default:
        return ERG_ESYSTEM;
    }
}

int erg_process_open(int32_t pid) {
    long fd = syscall(SYS_pidfd_open, pid, 0); /* pidfds are always close-on-exec */
    return fd >= 0 ? (int)fd : process_error(errno);
}

int erg_process_signal(int pidfd, int signal) {
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) == 0 ? 0 : process_error(errno);
}

void erg_process_close_from(int first) {
    if (syscall(SYS_close_range, first, ~0u, 0) == 0)
        return;
    struct rlimit limit;
    int most = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 65536 ? (int)limit.rlim_cur
                                                                               : 65536;
    for (int fd = first; fd < most; fd++)
        close(fd);
}
