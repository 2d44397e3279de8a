/* The keeper of one tunnel: a loop around one ssh process.
 *
 *   starting --listening--> up --ssh ended--> down --pause--> starting …
 *   starting --ssh ended, never up--> failed            any --told to end--> ended
 *
 * The keeper waits in poll for: ssh's end (pidfd), its words (stderr), signals (signalfd), and the end of standard input
 * when it belongs to its caller. ssh itself ends with the keeper, however that dies (PDEATHSIG; this process has one
 * thread). That the forward is there shows in the kernel's table of listening sockets: connecting to see would be
 * noticed by whoever serves the port. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/ports.h"
#include "cli/tunnel.h"
#include "os/process.h"

enum { LOOK_MS = 20, PAUSE_FIRST_MS = 200, PAUSE_MOST_MS = 5000, TAIL = 2048, SSH_OWN_WORDS = 24 };
enum ending { GOES_ON, SSH_ENDED, TOLD_TO_END };

struct keeper {
    struct erg_tunnel *t;
    struct erg_tunnel_record record;
    pid_t ssh;
    int pidfd, errors, signals;
    char tail[TAIL]; /* the last words of ssh */
    size_t tail_len;
};

/* --- ssh ------------------------------------------------------------------------------------------------- */

static void become_ssh(char **words, int out, int errors, pid_t keeper) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGHUP, SIG_IGN); /* the terminal it was started from may close */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != keeper) {
        _exit(1);
    }
    int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(out < 0 ? null : out, STDOUT_FILENO);
    dup2(errors, STDERR_FILENO);
    erg_process_close_from(3);
    execvp(words[0], words);
    fprintf(stderr, "cannot start %s: %s\n", words[0], strerror(errno));
    _exit(127);
}

/* Starts ssh with its words; its stderr (and stdout, if `out` is given) can be read. */
static int start_words(struct keeper *k, char **words, int *out, struct erg_error *err) {
    int errors[2] = {-1, -1}, output[2] = {-1, -1};
    if (pipe2(errors, O_CLOEXEC) < 0 || (out && pipe2(output, O_CLOEXEC) < 0)) {
        return erg_error_system(err, errno, "no pipe");
    }
    pid_t self = getpid();
    k->tail_len = 0;
    k->ssh = fork();
    if (k->ssh == 0) {
        become_ssh(words, output[1], errors[1], self);
    }
    int saved = errno;
    close(errors[1]);
    if (out) {
        close(output[1]);
        *out = output[0];
    }
    if (k->ssh < 0) {
        close(errors[0]);
        return erg_error_system(err, saved, "cannot start ssh");
    }
    fcntl(errors[0], F_SETFL, O_NONBLOCK);
    k->errors = errors[0];
    k->pidfd = erg_process_open(k->ssh);
    return 0;
}

static int start_ssh(struct keeper *k, const char *const *own, int *out, struct erg_error *err) {
    char *words[ERG_TUNNEL_WORDS_MAX + SSH_OWN_WORDS];
    int n = 0;
    words[n++] = (char[]){"ssh"};
    for (int i = 0; i < k->t->words_len; i++) {
        words[n++] = k->t->words[i];
    }
    for (int i = 0; own[i]; i++) {
        words[n++] = (char *)(uintptr_t)own[i]; /* execvp's signature is older than const */
    }
    words[n] = NULL;
    return start_words(k, words, out, err);
}

static void listen_to(struct keeper *k) {
    char chunk[512];
    ssize_t len;
    while ((len = read(k->errors, chunk, sizeof chunk)) > 0) {
        size_t keep = (size_t)len, old = k->tail_len;
        if (old + keep > TAIL - 1) {
            size_t drop = old + keep - (TAIL - 1);
            memmove(k->tail, k->tail + drop, old - drop);
            k->tail_len = old - drop;
        }
        memcpy(k->tail + k->tail_len, chunk, keep);
        k->tail_len += keep;
    }
    k->tail[k->tail_len] = 0;
}

/* Reaps ssh, ending it first if it runs. */
static void end_ssh(struct keeper *k) {
    if (k->ssh <= 0) {
        return;
    }
    kill(k->ssh, SIGTERM);
    struct pollfd end = {.fd = k->pidfd, .events = POLLIN};
    if (k->pidfd < 0 || poll(&end, 1, 3000) <= 0) {
        kill(k->ssh, SIGKILL);
    }
    waitpid(k->ssh, NULL, 0);
    listen_to(k);
    close(k->errors);
    if (k->pidfd >= 0) {
        close(k->pidfd);
    }
    k->ssh = 0;
}

/* A sentence from ssh's last words: its lines, without line ends. */
static int ssh_said(struct keeper *k, struct erg_error *err) {
    while (k->tail_len && strchr("\r\n ", k->tail[k->tail_len - 1])) {
        k->tail[--k->tail_len] = 0;
    }
    for (char *c = k->tail; *c; c++) {
        if (*c == '\n') {
            *c = ' ';
        } else if (*c == '\r') {
            *c = ' ';
        }
    }
    size_t most = ERG_ERROR_TEXT_SIZE - 60;
    const char *words = k->tail_len > most ? k->tail + k->tail_len - most : k->tail;
    return erg_error_set(err, ERG_ELAUNCH, "%.40s: %s", k->t->host,
                         *words ? words : "ssh ended without a word");
}

/* --- waiting --------------------------------------------------------------------------------------------- */

static bool caller_is_gone(void) {
    char rest[64];
    ssize_t len = read(STDIN_FILENO, rest, sizeof rest);
    return len == 0 || (len < 0 && errno != EINTR && errno != EAGAIN);
}

/* Waits up to `ms` (-1: for good) for something that ends a wait. */
static enum ending wait_for(struct keeper *k, int ms) {
    struct pollfd fds[4] = {
        {.fd = k->signals, .events = POLLIN},
        {.fd = k->ssh > 0 ? k->pidfd : -1, .events = POLLIN},
        {.fd = k->ssh > 0 ? k->errors : -1, .events = POLLIN},
        {.fd = k->t->with_caller ? STDIN_FILENO : -1, .events = POLLIN},
    };
    int ready = poll(fds, 4, ms);
    if (ready <= 0) {
        return GOES_ON;
    }
    if (fds[0].revents || (fds[3].revents && caller_is_gone())) {
        return TOLD_TO_END;
    }
    if (fds[2].revents & POLLIN) {
        listen_to(k);
    }
    return fds[1].revents ? SSH_ENDED : GOES_ON;
}

/* Does anybody listen on the local port? */
static bool is_listening(int port) {
    FILE *table = fopen("/proc/self/net/tcp", "re");
    char line[256], wanted[32];
    bool found = false;
    snprintf(wanted, sizeof wanted, "%08X:%04X", (unsigned)htonl(INADDR_LOOPBACK), (unsigned)port);
    while (table && !found && fgets(line, sizeof line, table)) {
        const char *local = strstr(line, ": "); /* "  0: 0100007F:1F90 00000000:0000 0A …" */
        found = local && strncmp(local + 2, wanted, strlen(wanted)) == 0 &&
                strncmp(local + 2 + 28, "0A", 2) == 0;
    }
    if (table) {
        fclose(table);
    }
    return found;
}

/* --- the life of a tunnel ------------------------------------------------------------------------------------ */

static enum ending establish(struct keeper *k, struct erg_error *err) {
    char forward[2 * ERG_TUNNEL_NAME_MAX];
    bool v6 = strchr(k->t->to, ':') && *k->t->to != '[';
    snprintf(forward, sizeof forward, "127.0.0.1:%d:%s%.255s%s:%d", k->t->local, v6 ? "[" : "",
             k->t->to, v6 ? "]" : "", k->t->port);
    const char *const own[] = {"-N", "-T",
                               "-o", "ExitOnForwardFailure=yes",
                               "-o", "ServerAliveInterval=5",
                               "-o", "ServerAliveCountMax=3",
                               "-o", "ConnectTimeout=10",
                               "-o", "ControlMaster=no",
                               "-o", "ControlPersist=no",
                               "-L", forward,
                               "--", k->t->host,
                               NULL};
    if (start_ssh(k, own, NULL, err) < 0) {
        return TOLD_TO_END;
    }
    for (;;) {
        enum ending ending = wait_for(k, LOOK_MS);
        if (ending != GOES_ON) {
            end_ssh(k);
            return ending;
        }
        if (is_listening(k->t->local)) {
            return GOES_ON;
        }
    }
}

/* Asks the host for a port that is free there. */
static int ask_for_port(struct keeper *k, struct erg_error *err) {
    static const char *const program =
        "exec python3 -c 'import socket; s = socket.socket(); s.bind((\"127.0.0.1\", 0)); "
        "print(\"port\", s.getsockname()[1])'";
    const char *const own[] = {"-T", "-o", "ConnectTimeout=10", "--", k->t->host, program, NULL};
    int out = -1, rc = start_ssh(k, own, &out, err);
    char text[4096];
    size_t len = 0;
    ssize_t got = 0;
    while (rc == 0 && len < sizeof text - 1 &&
           (got = read(out, text + len, sizeof text - 1 - len)) > 0) {
        len += (size_t)got;
    }
    text[len] = 0;
    if (out >= 0) {
        close(out);
    }
    if (rc < 0) {
        return rc;
    }
    end_ssh(k);
    const char *port = strstr(text, "port ");
    if (!port || sscanf(port, "port %d", &k->t->port) != 1) {
        return ssh_said(k, err);
    }
    return 0;
}

static int choose_ports(struct keeper *k, struct erg_error *err) {
    int low = k->t->local, fd = erg_cli_port_bind("127.0.0.1", low, low, &k->t->local, err);
    if (fd < 0) {
        return fd;
    }
    close(fd);
    return k->t->port ? 0 : ask_for_port(k, err);
}

static int write_record(struct keeper *k, bool up, struct erg_error *err) {
    k->record.up = up;
    return erg_tunnel_record_write(&k->record, err);
}

/* From the first connection on: until it is told to end. */
static void keep_up(struct keeper *k) {
    int pause = PAUSE_FIRST_MS;
    enum ending ending = GOES_ON;
    while (ending != TOLD_TO_END) {
        ending = wait_for(k, -1);
        if (ending != SSH_ENDED) {
            continue;
        }
        end_ssh(k);
        write_record(k, false, NULL);
        for (ending = SSH_ENDED; ending == SSH_ENDED;) {
            struct erg_error err;
            ending = wait_for(k, pause) == TOLD_TO_END ? TOLD_TO_END : establish(k, &err);
            pause = pause * 2 < PAUSE_MOST_MS ? pause * 2 : PAUSE_MOST_MS;
        }
        if (ending == GOES_ON) {
            k->record.reconnects++;
            write_record(k, true, NULL);
            pause = PAUSE_FIRST_MS;
        }
    }
}

static void fill_record(struct keeper *k) {
    k->record.pid = getpid();
    k->record.start = erg_tunnel_process_start(getpid());
    k->record.since = time(NULL);
    k->record.local = k->t->local;
    k->record.port = k->t->port;
    snprintf(k->record.host, sizeof k->record.host, "%s", k->t->host);
    snprintf(k->record.to, sizeof k->record.to, "%s", k->t->to);
}

/* A forward that an existing ControlMaster holds for us stays unless it is taken back. */
static void cancel_forward(struct keeper *k) {
    char forward[2 * ERG_TUNNEL_NAME_MAX];
    snprintf(forward, sizeof forward, "127.0.0.1:%d:%.255s:%d", k->t->local, k->t->to, k->t->port);
    const char *const own[] = {"-O", "cancel", "-L", forward, "--", k->t->host, NULL};
    if (is_listening(k->t->local) && start_ssh(k, own, NULL, NULL) == 0) {
        struct pollfd end = {.fd = k->pidfd, .events = POLLIN};
        poll(&end, 1, 2000);
        end_ssh(k);
    }
}

static int watch_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

int erg_tunnel_keep(struct erg_tunnel *t, FILE *answer, struct erg_error *err) {
    struct keeper k = {.t = t, .pidfd = -1, .errors = -1, .signals = watch_signals()};
    int rc = k.signals < 0 ? erg_error_system(err, errno, "signalfd") : choose_ports(&k, err);
    enum ending ending = TOLD_TO_END;
    if (rc == 0) {
        erg_error_set(err, ERG_ECANCELLED, "told to end before the tunnel was up");
        ending = establish(&k, err);
        rc = ending == GOES_ON ? 0 : ending == SSH_ENDED ? ssh_said(&k, err) : err->code;
    }
    if (rc == 0) {
        fill_record(&k);
        rc = write_record(&k, true, err);
        if (rc < 0) {
            end_ssh(&k);
        }
    }
    if (rc == 0) {
        fprintf(answer, "%d %d\n", t->local, t->port);
        fclose(answer);
        if (!t->foreground) {
            setsid();
        }
        keep_up(&k);
        end_ssh(&k);
        cancel_forward(&k);
        erg_tunnel_record_remove(t->local);
    }
    if (k.signals >= 0) {
        close(k.signals);
    }
    return rc;
}
