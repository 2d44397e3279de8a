/* Processes are killed one after the other, and nothing may stay behind. The daemon here echoes, in capitals when it has
 * been told to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "launch/daemon.h"

struct echo {
    int bell[2];
    int in, out;
    pthread_mutex_t lock;
    int refuses; /* make fails */
    int broken;
};

static int echo_make(void *ctx, struct erg_error *err) {
    struct echo *e = ctx;
    alarm(60); /* a test that failed leaves nobody behind for long */
    if (e->refuses) {
        return erg_error_set(err, ERG_ELAUNCH, "no echo in here");
    }
    e->in = e->out = -1;
    pthread_mutex_init(&e->lock, NULL);
    return pipe2(e->bell, O_CLOEXEC | O_NONBLOCK) < 0 ? ERG_ESYSTEM : 0;
}

static void echo_ring(struct echo *e, char what) {
    if (write(e->bell[1], &what, 1) < 0) {
        return;
    }
}

static int echo_attach(void *ctx, int fd_in, int fd_out, struct erg_error *err) {
    struct echo *e = ctx;
    (void)err;
    pthread_mutex_lock(&e->lock);
    if (e->in >= 0) {
        close(e->in);
        close(e->out);
    }
    e->in = fd_in;
    e->out = fd_out;
    pthread_mutex_unlock(&e->lock);
    echo_ring(e, 'a');
    return 0;
}

static void echo_output(void *ctx, int fd, const char *bytes, size_t len) {
    struct echo *e = ctx;
    assert_int_equal(fd, 1);
    pthread_mutex_lock(&e->lock);
    if (e->out >= 0 && write(e->out, bytes, len) < 0) {
        e->broken = 1;
    }
    pthread_mutex_unlock(&e->lock);
}

static void echo_stop(void *ctx) {
    echo_ring(ctx, 's');
}

/* 'q' ends it, 'p' prints, anything else comes back with the daemon's pid in front. A link that is over is forgotten. */
static void echo_run(void *ctx) {
    struct echo *e = ctx;
    for (;;) {
        pthread_mutex_lock(&e->lock);
        struct pollfd p[2] = {{.fd = e->bell[0], .events = POLLIN},
                              {.fd = e->in, .events = POLLIN}};
        pthread_mutex_unlock(&e->lock);
        char byte, answer[64];
        if (poll(p, 2, -1) < 0) {
            continue;
        }
        if (p[0].revents && read(e->bell[0], &byte, 1) == 1 && byte == 's') {
            return;
        }
        ssize_t n = -2;
        pthread_mutex_lock(&e->lock);
        if (p[1].revents && p[1].fd == e->in) {
            n = read(e->in, &byte, 1);
        }
        if (n == 0 || n == -1) {
            close(e->in);
            close(e->out);
            e->in = e->out = -1;
        } else if (n == 1 && byte != 'q' && byte != 'p') {
            int len = snprintf(answer, sizeof answer, "%d %c\n", getpid(), byte);
            n = write(e->out, answer, (size_t)len) < 0 ? -1 : 0;
        }
        pthread_mutex_unlock(&e->lock);
        if (n == 1 && byte == 'q') {
            return;
        }
        if (n == 1 && byte == 'p' && write(1, "printed\n", 8) < 0) {
            return;
        }
    }
}

static void echo_end(void *ctx) {
    struct echo *e = ctx;
    pthread_mutex_destroy(&e->lock);
}

static const struct erg_daemon_ops ops = {echo_make, echo_attach, echo_output,
                                          echo_run,  echo_end,    echo_stop};

/* --- what ssh would be ---------------------------------------------------------------------------------------------------- */
struct client {
    pid_t pid; /* of the attaching process */
    int to, from, words;
};

static unsigned char session[16];

static struct client attach(int refuses) {
    struct client c;
    int to[2], from[2], words[2];
    assert_int_equal(pipe2(to, O_CLOEXEC) | pipe2(from, O_CLOEXEC) | pipe2(words, O_CLOEXEC), 0);
    c.pid = fork();
    if (c.pid == 0) {
        struct echo e = {.refuses = refuses};
        struct erg_error err;
        dup2(to[0], 0);
        dup2(from[1], 1);
        dup2(words[1], 2);
        for (int fd = 3; fd < 100; fd++) {
            close(fd);
        }
        int status = erg_daemon_attach(session, 0, 1, &ops, &e, &err);
        _exit(status == 0 ? 0 : status == ERG_ELAUNCH ? 3 : 4);
    }
    close(to[0]);
    close(from[1]);
    close(words[1]);
    c.to = to[1];
    c.from = from[0];
    c.words = words[0];
    return c;
}

static void hang_up(struct client *c) {
    close(c->to);
    close(c->from);
    close(c->words);
}

/* A line, without its end; "" when there is none any more. */
static const char *line(int fd) {
    static char text[256];
    size_t len = 0;
    while (len < sizeof text - 1 && read(fd, text + len, 1) == 1 && text[len] != '\n') {
        len++;
    }
    text[len] = 0;
    return text;
}

static pid_t ask(struct client *c, char what) {
    char said;
    int pid;
    assert_int_equal(write(c->to, &what, 1), 1);
    assert_int_equal(sscanf(line(c->from), "%d %c", &pid, &said), 2);
    assert_int_equal(said, what);
    return pid;
}

static int ended(pid_t pid) {
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* Daemons of an attaching process that is gone become ours: we are a subreaper. */
static void none_left(void) {
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void new_session(void) {
    session[0]++;
    memcpy(session + 1, &(pid_t){getpid()}, sizeof(pid_t));
}

static void goodbye(void **state) {
    (void)state;
    new_session();
    struct client c = attach(0);
    assert_string_equal(line(c.from), "ERGON1 ready");
    pid_t daemon = ask(&c, 'x');
    assert_true(daemon != c.pid);
    assert_true(getsid(daemon) == daemon);
    assert_int_equal(write(c.to, "p", 1), 1);
    assert_string_equal(line(c.from), "printed"); /* what it prints has gone the way of output() */
    assert_int_equal(write(c.to, "q", 1), 1);
    assert_string_equal(line(c.from), "");
    assert_int_equal(ended(c.pid), 0);
    hang_up(&c);
    while (waitpid(-1, NULL, 0) > 0) {
    }
    none_left();
}

static void outlives_its_connection(void **state) {
    (void)state;
    new_session();
    struct client a = attach(0);
    assert_string_equal(line(a.from), "ERGON1 ready");
    pid_t daemon = ask(&a, '1');
    hang_up(&a); /* the connection breaks: who attached goes, the daemon stays */
    assert_int_equal(ended(a.pid), 0);
    struct client b = attach(0);
    assert_string_equal(line(b.from), "ERGON1 ready");
    assert_int_equal(ask(&b, '2'), daemon);
    kill(b.pid, SIGKILL); /* nor does it need the process that attached */
    assert_int_equal(ended(b.pid), 1000 + SIGKILL);
    assert_int_equal(ask(&b, '3'), daemon);
    struct client c = attach(0); /* a later one takes the earlier one's place */
    assert_string_equal(line(c.from), "ERGON1 ready");
    assert_int_equal(ask(&c, '4'), daemon);
    struct client d = attach(0);
    assert_string_equal(line(d.from), "ERGON1 ready");
    assert_int_equal(ended(c.pid), 0);
    kill(daemon, SIGHUP);
    assert_int_equal(ask(&d, '5'), daemon);
    kill(daemon, SIGTERM);
    assert_int_equal(ended(d.pid), 0);
    assert_int_equal(ended(daemon), 0);
    hang_up(&b);
    hang_up(&c);
    hang_up(&d);
    none_left();
}

/* The highest descriptor of a process, and how many it has. */
static int descriptors(pid_t pid, int *highest) {
    char path[64];
    int n = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    *highest = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] != '.') {
            n++;
            *highest = atoi(e->d_name) > *highest ? atoi(e->d_name) : *highest;
        }
    }
    closedir(dir);
    return n;
}

/* Tasks have left it no descriptor: whoever comes back finds it all the same. */
static void without_descriptors(void **state) {
    (void)state;
    new_session();
    struct client a = attach(0);
    assert_string_equal(line(a.from), "ERGON1 ready");
    pid_t daemon = ask(&a, '1');
    int highest, n = descriptors(daemon, &highest);
    assert_int_equal(highest, n - 1); /* no gaps: the limit leaves no room at all */
    struct rlimit none = {(rlim_t)n, (rlim_t)n};
    assert_int_equal(prlimit(daemon, RLIMIT_NOFILE, &none, NULL), 0);
    for (int i = 0; i < 3; i++) {
        struct client b = attach(0);
        assert_string_equal(line(b.from), "ERGON1 ready");
        assert_int_equal(ask(&b, '2'), daemon);
        assert_int_equal(ended(a.pid), 0);
        hang_up(&a);
        a = b;
    }
    assert_int_equal(write(a.to, "q", 1), 1);
    assert_int_equal(ended(a.pid), 0);
    hang_up(&a);
    while (waitpid(-1, NULL, 0) > 0) {
    }
}

static void killed(void **state) {
    (void)state;
    new_session();
    struct client a = attach(0);
    assert_string_equal(line(a.from), "ERGON1 ready");
    pid_t daemon = ask(&a, '1');
    kill(daemon, SIGKILL);
    assert_int_equal(ended(a.pid),
                     0); /* the attaching process goes with it, and reaps it or leaves it to us */
    assert_string_equal(line(a.from), "");
    hang_up(&a);
    while (waitpid(-1, NULL, 0) > 0) {
    }
    struct client b = attach(0); /* nothing is in the way of another one */
    assert_string_equal(line(b.from), "ERGON1 ready");
    assert_true(ask(&b, '2') != daemon);
    assert_int_equal(write(b.to, "q", 1), 1);
    assert_int_equal(ended(b.pid), 0);
    hang_up(&b);
    while (waitpid(-1, NULL, 0) > 0) {
    }
}

static void cannot_be_made(void **state) {
    (void)state;
    new_session();
    struct client a = attach(1);
    assert_string_equal(line(a.from), "");
    assert_string_equal(line(a.words), "no echo in here");
    assert_int_equal(ended(a.pid), 3);
    hang_up(&a);
    while (waitpid(-1, NULL, 0) > 0) {
    }
}

/* Many at once make one daemon. */
static void together(void **state) {
    (void)state;
    enum { MANY = 12 };
    new_session();
    struct client c[MANY];
    for (int i = 0; i < MANY; i++) {
        c[i] = attach(0);
    }
    for (int i = 0; i < MANY; i++) {
        assert_string_equal(line(c[i].from), "ERGON1 ready");
    }
    struct client last = attach(0);
    assert_string_equal(line(last.from), "ERGON1 ready");
    pid_t daemon = ask(&last, 'x');
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(ended(c[i].pid), 0);
        hang_up(&c[i]);
    }
    kill(daemon, SIGTERM);
    assert_int_equal(ended(last.pid), 0);
    assert_int_equal(ended(daemon), 0);
    hang_up(&last);
    none_left();
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    alarm(120);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goodbye),  cmocka_unit_test(outlives_its_connection),
        cmocka_unit_test(killed),   cmocka_unit_test(cannot_be_made),
        cmocka_unit_test(together), cmocka_unit_test(without_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
