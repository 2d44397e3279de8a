#include "launch/reach.h"

#include "launch/reach_tcp.h"
#include "launch/spawn.h"
#include "launch/ssh.h"
#include "os/clock.h"
#include "wire/auth.h"
#include "wire/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { LINE_MAX_BYTES = 1024, GREETING_MAX = 64 << 10, TRIES = 4, PIPE_BYTES = 1 << 20 };
static const char mark[] = "ERGON1 ";

/* --- the program -------------------------------------------------------------------------------------------------- */
/* Our variables in front of the process's, in one allocation. */
static char **environment_with(char (*extra)[128], size_t n) {
    size_t have = 0, kept = 0;
    while (environ[have]) {
        have++;
    }
    char **env = malloc((have + n + 1) * sizeof *env);
    for (size_t i = 0; env && i < n; i++) {
        env[kept++] = extra[i];
    }
    for (size_t i = 0; env && i < have; i++) {
        int ours = 0;
        for (size_t k = 0; k < n; k++) {
            size_t name = strcspn(extra[k], "=") + 1;
            ours |= strncmp(environ[i], extra[k], name) == 0;
        }
        if (!ours) {
            env[kept++] = environ[i];
        }
    }
    if (env) {
        env[kept] = NULL;
    }
    return env;
}

static int prepare(posix_spawn_file_actions_t *files, posix_spawnattr_t *attr, int in, int out,
                   int words) {
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int rc = posix_spawn_file_actions_adddup2(files, in, 0);
    rc = rc ? rc : posix_spawn_file_actions_adddup2(files, out, 1);
    rc = rc ? rc : posix_spawn_file_actions_adddup2(files, words, 2);
    rc = rc ? rc : posix_spawn_file_actions_addclosefrom_np(files, 3);
    rc = rc ? rc : posix_spawnattr_setsigdefault(attr, &all);
    rc = rc ? rc : posix_spawnattr_setsigmask(attr, &none);
    /* a session of its own: a terminal's Ctrl-C is the user's business with the program, not with the link */
    rc = rc ? rc
            : posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK |
                                                 POSIX_SPAWN_SETSID);
    return rc;
}

static int spawn_program(char *const *argv, char *const *env, int in, int out, int words,
                         pid_t *pid) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    int rc = posix_spawn_file_actions_init(&files);
    if (rc) {
        return rc;
    }
    rc = posix_spawnattr_init(&attr);
    if (!rc) {
        rc = prepare(&files, &attr, in, out, words);
        rc = rc ? rc : posix_spawnp(pid, argv[0], &files, &attr, argv, env);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&files);
    return rc;
}

/* Above the numbers that are set up over there. */
static int pipe_above(int fds[2]) {
    int low[2];
    if (pipe2(low, O_CLOEXEC) < 0) {
        return -1;
    }
    for (int i = 0; i < 2; i++) {
        fds[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 3);
        close(low[i]);
    }
    if (fds[0] < 0 || fds[1] < 0) {
        int saved = errno;
        close(fds[0] < 0 ? fds[1] : fds[0]);
        errno = saved;
        return -1;
    }
    fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES); /* as large as it may be: fewer turns for large data */
    return 0;
}

static void close_pair(const int fds[2]) {
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

static int start(char *const *argv, char *const *env, const char *name, struct erg_reached *out,
                 struct erg_error *err) {
    int to[2] = {-1, -1}, from[2] = {-1, -1};
    int low = memfd_create("ergon-words", MFD_CLOEXEC);
    out->words = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, 3);
    if (low >= 0) {
        close(low);
    }
    if (out->words < 0 || pipe_above(to) < 0 || pipe_above(from) < 0) {
        int status = erg_error_system(err, errno, "%s: cannot make pipes", name);
        close_pair(to);
        close_pair(from);
        return status;
    }
    erg_guard_start(&out->guard); /* where there is no shell: without */
    int rc = spawn_program(argv, env, to[0], from[1], out->words, &out->pid);
    close(to[0]);
    close(from[1]);
    if (rc) {
        out->pid = 0;
        close(to[1]);
        close(from[0]);
        erg_guard_end(&out->guard);
        return erg_error_set(err, ERG_ELAUNCH, "%s: cannot start %s: %s%s", name, argv[0],
                             strerror(rc),
                             rc == ENOENT && strcmp(argv[0], "ssh") == 0
                                 ? ": install OpenSSH's client (openssh-client)"
                                 : "");
    }
    erg_guard_name(&out->guard, out->pid);
    out->pidfd = (int)syscall(SYS_pidfd_open, out->pid, 0);
    out->fd_out = to[1];
    out->fd_in = from[0];
    fcntl(out->fd_in, F_SETFL, O_NONBLOCK);
    fcntl(out->fd_out, F_SETFL, O_NONBLOCK);
    return 0;
}

/* --- words --------------------------------------------------------------------------------------------------------- */
/* A line of ornament, as ssh frames its warnings with. */
static int ornament(const char *line, size_t len) {
    return len > 8 && strncmp(line, "@@@@@@@@", 8) == 0;
}

/* The last lines that fit, one behind the other. */
const char *erg_reached_words(const struct erg_reached *r, char *buffer, size_t size) {
    char tail[4096], joined[sizeof tail * 2];
    struct stat about;
    size_t used = 0, from = 0;
    buffer[0] = 0;
    if (r->words < 0 || fstat(r->words, &about) < 0) {
        return buffer;
    }
    off_t start = about.st_size > (off_t)sizeof tail ? about.st_size - (off_t)sizeof tail : 0;
    ssize_t len = pread(r->words, tail, sizeof tail, start);
    size_t end = len > 0 ? (size_t)len : 0;
    for (size_t at = 0, stop; at < end; at = stop + 1) {
        for (stop = at; stop < end && tail[stop] != '\n' && tail[stop] != '\r'; stop++) {
            tail[stop] = (unsigned char)tail[stop] < ' ' ? ' ' : tail[stop];
        }
        size_t last = stop;
        while (last > at && (tail[last - 1] == '.' || tail[last - 1] == ' ')) {
            last--;
        }
        if (last == at || ornament(tail + at, last - at)) {
            continue;
        }
        if (used) {
            joined[used++] = ';';
            joined[used++] = ' ';
        }
        memcpy(joined + used, tail + at, last - at);
        used += last - at;
    }
    while (used - from >= size) { /* whole lines, while there is more than one */
        char *next = memchr(joined + from, ';', used - from);
        size_t more = next ? (size_t)(next + 2 - joined) : used;
        if (more >= used) {
            from = used - size + 1;
            break;
        }
        from = more;
    }
    memcpy(buffer, joined + from, used - from);
    buffer[used - from] = 0;
    return buffer;
}

int erg_reach_lasting(const char *words) {
    static const char *const all[] = {"Host key verification failed", "IDENTIFICATION HAS CHANGED",
                                      "Permission denied", "both need the same minor version",
                                      "it has another key"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strstr(words, all[i])) {
            return 1;
        }
    }
    return 0;
}

/* --- ending -------------------------------------------------------------------------------------------------------- */
static int wait_gone(const struct erg_reached *r, int64_t ms, int *status) {
    const struct erg_spawned s = {.pid = r->pid, .pidfd = r->pidfd, .sock = -1};
    uint64_t end = erg_clock_ns() + (uint64_t)ms * 1000000;
    while (!erg_spawn_reap(&s, status)) {
        if (erg_clock_ns() >= end) {
            return 0;
        }
        /* without a pidfd it is looked at again and again */
        erg_reach_wait(r->pidfd, POLLIN, r->pidfd >= 0 ? end : erg_clock_ns() + 5000000, -1);
    }
    return 1;
}

/* The program, and what it has started and not led into a session of its own (as a daemon, or ssh's ControlPersist, does).
 * The number is theirs as long as the program was not reaped, or any of them is left. */
static void end_group(const struct erg_reached *r) {
    uint64_t end = erg_clock_ns() + 1000000000;
    int status;
    if (wait_gone(r, 0, &status) && kill(-r->pid, 0) < 0)
        return;
    kill(-r->pid, SIGTERM);
    if (!wait_gone(r, 1000, &status)) {
        kill(-r->pid, SIGKILL);
        wait_gone(r, 5000, &status);
    }
    while (kill(-r->pid, 0) == 0 && erg_clock_ns() < end)
        erg_reach_wait(-1, 0, erg_clock_ns() + 2000000, -1);
    if (kill(-r->pid, 0) == 0)
        kill(-r->pid, SIGKILL);
}

void erg_reached_close(struct erg_reached *r) {
    erg_auth_free(r->auth);
    r->auth = NULL;
    if (r->fd_in >= 0) {
        close(r->fd_in);
    }
    if (r->fd_out >= 0 && r->fd_out != r->fd_in) {
        close(r->fd_out);
    }
    r->fd_in = r->fd_out = -1;
    if (r->pid > 0) {
        end_group(r);
        r->pid = 0;
    }
    erg_guard_end(&r->guard);
    if (r->pidfd >= 0) {
        close(r->pidfd);
    }
    if (r->words >= 0) {
        close(r->words);
    }
    r->pidfd = r->words = -1;
}

/* --- the conversation before the link -------------------------------------------------------------------------------- */
struct talk {
    const struct erg_reach_spec *spec;
    struct erg_reached *r;
    uint64_t deadline;
    int cancel_fd;
    int marked; /* the other side has said something of ours */
    /* on its way out */
    const unsigned char *bytes;
    size_t len;
    unsigned char seed_len[8];
    void *seed;
    size_t seed_size;
    int seeding; /* 1: its length goes out; 2: it does */
    /* the line that comes in */
    char line[LINE_MAX_BYTES];
    size_t used, skipped;
};

static int ended(struct talk *t, struct erg_error *err) {
    char words[160], how[64];
    int status = -1;
    int gone = wait_gone(t->r, 1000, &status);
    erg_reached_words(t->r, words, sizeof words);
    if (!*words) {
        snprintf(words, sizeof words, "%s without a word",
                 gone ? erg_spawn_status_text(status, how, sizeof how) : "closed its output");
    }
    return erg_error_set(err, ERG_ELAUNCH, "%s: %s", t->spec->name, words);
}

static int seed_map(struct talk *t, struct erg_error *err) {
    struct stat about;
    if (!t->spec->seed || t->seed) {
        return erg_error_set(err, ERG_ELAUNCH, "%s: Ergon is not there and there is none to send",
                             t->spec->name);
    }
    int fd = open(t->spec->seed, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) < 0) {
        int status = erg_error_system(err, errno, "%s: %s", t->spec->name, t->spec->seed);
        if (fd >= 0) {
            close(fd);
        }
        return status;
    }
    t->seed_size = (size_t)about.st_size;
    t->seed = mmap(NULL, t->seed_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (t->seed == MAP_FAILED) {
        t->seed = NULL;
        return erg_error_system(err, errno, "%s: %s", t->spec->name, t->spec->seed);
    }
    erg_put64(t->seed_len, t->seed_size);
    t->bytes = t->seed_len;
    t->len = sizeof t->seed_len;
    t->seeding = 1;
    return 0;
}

/* A whole line. 1: the link begins. */
static int line_read(struct talk *t, struct erg_error *err) {
    t->line[t->used] = 0;
    t->used = 0;
    /* what a shell's greeting left without an end may stand in front */
    const char *word = strstr(t->line, mark);
    if (!word) {
        return 0;
    }
    word += sizeof mark - 1;
    t->marked = 1;
    if (strcmp(word, "ready") == 0) {
        return 1;
    }
    if (strcmp(word, "need") == 0) {
        return seed_map(t, err);
    }
    if (strncmp(word, "fail ", 5) == 0) {
        return erg_error_set(err, ERG_ELAUNCH, "%s: %s", t->spec->name, word + 5);
    }
    return erg_error_set(err, ERG_EPROTOCOL,
                         "%s: '%.60s' is not what an agent of this release says", t->spec->name,
                         word);
}

/* One byte at a time: what follows the last line belongs to the link. */
static int talk_read(struct talk *t, struct erg_error *err) {
    for (;;) {
        char c;
        ssize_t n = read(t->r->fd_in, &c, 1);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return 0;
        }
        if (n <= 0) {
            return ended(t, err);
        }
        if (c == '\n') {
            int status = line_read(t, err);
            if (status) {
                return status;
            }
        } else if (c != '\r') {
            if (t->used == sizeof t->line - 1) { /* the end of a long line may be ours */
                t->used /= 2;
                memmove(t->line, t->line + sizeof t->line - 1 - t->used, t->used);
            }
            t->line[t->used++] = c;
        }
        if (++t->skipped > GREETING_MAX) {
            return erg_error_set(err, ERG_ELAUNCH,
                                 "%s: its shell writes without end where the agent should answer",
                                 t->spec->name);
        }
    }
}

static int talk_write(struct talk *t, struct erg_error *err) {
    while (t->len) {
        ssize_t n = write(t->r->fd_out, t->bytes, t->len);
        if (n < 0) {
            /* when it is gone, reading finds out why */
            if (errno == EPIPE) {
                t->len = 0;
                return 0;
            }
            return errno == EAGAIN || errno == EINTR
                       ? 0
                       : erg_error_system(err, errno, "%s: cannot write", t->spec->name);
        }
        t->bytes += n;
        t->len -= (size_t)n;
        if (!t->len && t->seeding == 1) {
            t->seeding = 2;
            t->bytes = t->seed;
            t->len = t->seed_size;
        }
    }
    return 0;
}

static int converse(struct talk *t, struct erg_error *err) {
    for (;;) {
        int status = talk_write(t, err);
        if (status == 0) {
            status = talk_read(t, err);
        }
        if (status) {
            return status < 0 ? status : 0;
        }
        struct pollfd polled[3] = {{.fd = t->r->fd_in, .events = POLLIN},
                                   {.fd = t->cancel_fd, .events = POLLIN},
                                   {.fd = t->len ? t->r->fd_out : -1, .events = POLLOUT}};
        uint64_t now = erg_clock_ns();
        if (now >= t->deadline) {
            char words[160];
            erg_reached_words(t->r, words, sizeof words);
            return erg_error_set(err, ERG_ETIMEOUT, "%s: no answer in time%s%s", t->spec->name,
                                 *words ? ": " : "", words);
        }
        uint64_t left = (t->deadline - now + 999999) / 1000000;
        poll(polled, 3, left > 60000 ? 60000 : (int)left);
        if (polled[1].revents) {
            return erg_error_set(err, ERG_ECANCELLED, "%s: given up", t->spec->name);
        }
    }
}

/* A server that has too many connections under way drops some (MaxStartups): they are worth another try. */
static int dropped(const struct talk *t) {
    char words[512];
    if (t->spec->kind != ERG_REACH_SSH || t->marked) {
        return 0;
    }
    erg_reached_words(t->r, words, sizeof words);
    return strstr(words, "kex_exchange_identification") || strstr(words, "Connection closed by") ||
           strstr(words, "Connection reset by");
}

static int try_once(const struct erg_reach_spec *spec, char *const *argv, char *const *env,
                    uint64_t deadline, int cancel_fd, struct erg_reached *out, int *again,
                    struct erg_error *err) {
    struct talk t = {.spec = spec,
                     .r = out,
                     .deadline = deadline,
                     .cancel_fd = cancel_fd,
                     .bytes = spec->script,
                     .len = spec->script_len};
    int status = start(argv, env, spec->name, out, err);
    *again = 0;
    if (status == 0) {
        status = converse(&t, err);
        *again = status == ERG_ELAUNCH && dropped(&t);
    }
    if (t.seed) {
        munmap(t.seed, t.seed_size);
    }
    if (status < 0) {
        erg_reached_close(out);
    }
    return status;
}

static int reach_program(const struct erg_reach_spec *spec, uint64_t deadline, int cancel_fd,
                         struct erg_reached *out, struct erg_error *err) {
    struct erg_askpass ask = {.fd = -1};
    char extra[3][128], **argv = NULL, **env = NULL;
    int status = 0, again = 0;
    if (spec->kind == ERG_REACH_SSH && spec->password) {
        status = erg_askpass_open(&ask, spec->password, err);
        if (status == 0) {
            erg_askpass_environment(&ask, extra);
            env = environment_with(extra, 3);
        }
    }
    if (spec->kind == ERG_REACH_SSH) {
        argv = erg_ssh_argv(spec);
    }
    if (status == 0 && spec->kind == ERG_REACH_SSH && (!argv || (spec->password && !env))) {
        status = erg_error_set(err, ERG_ENOMEM, "%s: no memory", spec->name);
    }
    for (unsigned i = 1; status == 0; i++) {
        status = try_once(spec, argv ? argv : spec->argv, env ? env : environ, deadline, cancel_fd,
                          out, &again, err);
        if (status == 0 || !again || i == TRIES) {
            break;
        }
        uint16_t dice = 0;
        if (getrandom(&dice, sizeof dice, GRND_NONBLOCK) < 0) {
            dice = (uint16_t)getpid();
        }
        uint64_t pause = erg_clock_ns() + (100 + dice % 400) * i * 1000000ull;
        status = erg_reach_wait(-1, 0, pause < deadline ? pause : deadline, cancel_fd);
        status = status == ERG_ECANCELLED
                     ? erg_error_set(err, ERG_ECANCELLED, "%s: given up", spec->name)
                     : 0;
    }
    erg_askpass_close(&ask);
    free(argv);
    free(env);
    return status;
}

int erg_reach(const struct erg_reach_spec *spec, int cancel_fd, struct erg_reached *out,
              struct erg_error *err) {
    int64_t timeout = spec->timeout_ns > 0 ? spec->timeout_ns : 60000000000;
    uint64_t deadline = erg_clock_ns() + (uint64_t)timeout;
    sigset_t broken, before;
    *out = (struct erg_reached){
        .fd_in = -1, .fd_out = -1, .pidfd = -1, .words = -1, .guard = ERG_GUARD_NONE};
    if (spec->kind == ERG_REACH_TCP) {
        return erg_reach_tcp(spec, deadline, cancel_fd, out, err);
    }
    /* a pipe nobody reads is an error to be reported, not a signal to die of */
    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken, &before);
    int status = reach_program(spec, deadline, cancel_fd, out, err);
    if (!sigismember(&before, SIGPIPE)) {
        const struct timespec none = {0};
        while (sigtimedwait(&broken, NULL, &none) < 0 && errno == EINTR) {
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    return status;
}
