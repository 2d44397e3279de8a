#include "engine/linkio.h"

#include "os/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PIECES = 64, READS = 16 };

/* How fast a link is shows while it is behind with writing: measured over stretches of at least so much. Packing costs
 * about what a link of SLOW does, so that below it pays. */
#define STRETCH_NS 50000000u
#define STRETCH_BYTES 262144u
#define SLOW 60e6 /* bytes a second */
#define FAST 150e6

static int set_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -1 : 0;
}

int erg_linkio_open(struct erg_linkio *io, struct erg_session *session, int in, int out,
                    struct erg_auth *auth, struct erg_error *err) {
    *io = (struct erg_linkio){.in = in, .out = out, .session = session};
    erg_session_compress(session, 0);
    int code = erg_link_new(session, auth, &io->link);
    if (code < 0) {
        erg_linkio_close(io);
        return erg_error_set(err, code, "no memory for a link");
    }
    if (set_nonblocking(in) < 0 || set_nonblocking(out) < 0) {
        code = erg_error_system(err, errno, "cannot use the descriptors of a link");
        erg_linkio_close(io);
        return code;
    }
    return 0;
}

/* The other side shall hear of it although a process in between may hold a copy of the descriptor. */
static void close_end(int fd) {
    shutdown(fd, SHUT_RDWR);
    close(fd);
}

void erg_linkio_close(struct erg_linkio *io) {
    if (io->out >= 0 && io->out != io->in)
        close_end(io->out);
    if (io->in >= 0)
        close_end(io->in);
    erg_link_free(io->link);
    *io = ERG_LINKIO_NONE;
}

/* Whoever closed the other end must not kill us: sockets are told so, pipes by blocking the signal in this thread. */
static ssize_t write_pieces(int fd, struct iovec *pieces, size_t n) {
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = n};
    ssize_t done = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (done >= 0 || errno != ENOTSOCK)
        return done;
    sigset_t pipe, old, pending;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&pending);
    int was_pending = sigismember(&pending, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &old);
    done = writev(fd, pieces, (int)n);
    int saved = errno;
    if (done < 0 && saved == EPIPE && !was_pending)
        sigtimedwait(&pipe, NULL, &(struct timespec){0});
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = saved;
    return done;
}

/* `bytes` more were written while it is behind. */
static void measure(struct erg_linkio *io, size_t bytes) {
    io->behind_bytes += bytes;
    if (io->behind_bytes < STRETCH_BYTES)
        return;
    uint64_t now = erg_clock_ns(), took = now - io->behind_since;
    if (took < STRETCH_NS)
        return;
    double rate = (double)io->behind_bytes * 1e9 / (double)took;
    if (rate < SLOW && !io->packing)
        erg_session_compress(io->session, io->packing = 1);
    else if (rate > FAST && io->packing)
        erg_session_compress(io->session, io->packing = 0);
    io->behind_since = now;
    io->behind_bytes = 0;
}

int erg_linkio_flush(struct erg_linkio *io, struct erg_error *err) {
    struct iovec pieces[PIECES];
    size_t written = 0;
    if (io->out < 0)
        return 0;
    io->blocked = 0;
    for (;;) {
        if (io->most && written >= io->most) {
            io->blocked = 1;
            return 0;
        }
        size_t n = erg_link_output(io->link, pieces, PIECES);
        if (n == 0) {
            io->behind_since = 0;
            return 0;
        }
        ssize_t done = write_pieces(io->out, pieces, n);
        int error = errno;
        erg_link_sent(io->link, done < 0 ? 0 : (size_t)done);
        written += done < 0 ? 0 : (size_t)done;
        if (done > 0 && io->behind_since)
            measure(io, (size_t)done);
        if (done >= 0 || error == EINTR)
            continue;
        if (error == EAGAIN || error == EWOULDBLOCK) {
            io->blocked = 1;
            if (!io->behind_since) {
                io->behind_since = erg_clock_ns();
                io->behind_bytes = 0;
            }
            return 0;
        }
        if (error == EPIPE || error == ECONNRESET)
            return erg_error_set(err, ERG_ECLOSED, "the other side has closed the link");
        return erg_error_system(err, error, "cannot write to a link");
    }
}

int erg_linkio_fill(struct erg_linkio *io, uint64_t *bytes, struct erg_error *err) {
    for (int i = 0; i < READS; i++) {
        struct iovec pieces[2];
        size_t n = erg_link_room(io->link, pieces);
        ssize_t got = readv(io->in, pieces, (int)n);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            return erg_error_set(err, ERG_ECLOSED, "the other side has closed the link");
        if (got < 0)
            return erg_error_system(err, errno, "cannot read from a link");
        if (bytes)
            *bytes += (uint64_t)got;
        int code = erg_link_got(io->link, (size_t)got, err);
        if (code < 0)
            return code;
        if ((size_t)got < pieces[0].iov_len)
            return 0; /* that was all there is: what comes later shows by itself */
    }
    return 1;
}
