/* The client's side of its keeper: see launch/will.h. */
#include "launch/will.h"
#include "launch/zygote_msg.h"

#include "os/process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { REAP_MS = 5000 };

static void drop(struct erg_keeper *k) {
    if (k->process.sock >= 0)
        close(k->process.sock);
    if (k->process.pidfd >= 0)
        close(k->process.pidfd);
    *k = ERG_KEEPER_NONE;
}

void erg_keeper_forget(struct erg_keeper *k) {
    drop(k);
}

void erg_keeper_end(struct erg_keeper *k) {
    int status;
    if (k->process.pid <= 0)
        return;
    /* It has started nothing and holds nothing that a signal could leave behind. */
    if (k->process.pidfd >= 0)
        erg_process_signal(k->process.pidfd, SIGKILL);
    else
        kill(k->process.pid, SIGKILL);
    for (int waited = 0; !erg_spawn_reap(&k->process, &status) && waited < REAP_MS; waited += 10) {
        struct pollfd p = {.fd = k->process.pidfd, .events = POLLIN};
        poll(&p, 1, 10);
    }
    drop(k);
}

int erg_keeper_start(struct erg_keeper *k, char *const *argv, struct erg_error *err) {
    int code = erg_spawn(argv, &k->process, err);
    if (code < 0) {
        *k = ERG_KEEPER_NONE;
        return code;
    }
    int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    struct erg_zmsg hello = {.kind = ERG_Z_HELLO, .pid = getpid()};
    int fds[2] = {self, self}; /* it never rings */
    code = self < 0 ? ERG_ESYSTEM : erg_zmsg_send(k->process.sock, &hello, fds, 2, MSG_DONTWAIT);
    if (self >= 0)
        close(self);
    if (code == 0)
        return 0;
    erg_keeper_end(k);
    return erg_error_set(err, ERG_ELAUNCH, "cannot greet %s", argv[0]);
}

int erg_keeper_tell(struct erg_keeper *k, uint32_t number, const struct erg_reach_spec *spec,
                    const char *tag, int64_t limit_ns) {
    if (k->process.sock < 0)
        return ERG_ECLOSED;
    struct erg_zmsg msg = {.kind = ERG_Z_WILL, .id = number};
    int fd = spec ? erg_will_write(spec, tag, limit_ns) : -1;
    if (spec && fd < 0)
        return fd;
    int code = erg_zmsg_send(k->process.sock, &msg, &fd, spec != NULL, MSG_DONTWAIT);
    if (fd >= 0)
        close(fd);
    return code;
}

int erg_keeper_look(struct erg_keeper *k) {
    struct erg_zmsg msg;
    int fds[ERG_ZMSG_FDS], fds_len, code = ERG_ECLOSED;
    while (k->process.sock >= 0) {
        code = erg_zmsg_recv(k->process.sock, &msg, fds, &fds_len, MSG_DONTWAIT);
        if (code != 0)
            break;
        while (fds_len > 0)
            close(fds[--fds_len]);
    }
    if (code == ERG_EAGAIN)
        return 0;
    erg_keeper_end(k);
    return 1;
}
