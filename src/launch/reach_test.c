#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/reach.h"
#include "launch/reach_tcp.h"
#include "launch/ssh.h"
#include "os/clock.h"
#include "wire/auth.h"

#define SHELL(text)                                                                                \
    (char *const[]) {                                                                              \
        (char[]){"sh"}, (char[]){"-c"}, (char[]){text}, NULL                                       \
    }

static size_t read_all(int fd, char *to, size_t most) {
    size_t len = 0;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        poll(&p, 1, 10000);
        ssize_t n = read(fd, to + len, most - len);
        if (n <= 0) {
            return len;
        }
        len += (size_t)n;
    }
}

/* Nobody is left: neither running nor as a zombie. */
static void no_children(void) {
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void ready(void **state) {
    (void)state;
    struct erg_reached r;
    struct erg_error err;
    struct erg_reach_spec spec = {
        .kind = ERG_REACH_EXEC,
        .name = "exec:test",
        .argv = SHELL("echo Welcome to the machine; read line; echo \"ERGON1 ready\"; "
                      "echo \"$line\"; echo and so on >&2; cat"),
        .script = "script\n",
        .script_len = 7};
    assert_int_equal(erg_reach(&spec, -1, &r, &err), 0);
    assert_int_equal(write(r.fd_out, "link", 4), 4);
    close(r.fd_out);
    r.fd_out = -1;
    char got[64], words[64];
    size_t len = read_all(r.fd_in, got, sizeof got);
    assert_int_equal(len, 11);
    assert_memory_equal(got, "script\nlink", 11); /* nothing of it was read before */
    assert_string_equal(erg_reached_words(&r, words, sizeof words), "and so on");
    erg_reached_close(&r);
    static const char *const greetings[] = {"printf 'no end of line'",
                                            "head -c 5000 /dev/zero | tr '\\0' x",
                                            "printf 'ERGON1\\nERGON \\r\\033[0m'"};
    for (size_t i = 0; i < sizeof greetings / sizeof *greetings; i++) {
        char command[256];
        snprintf(command, sizeof command, "%s; echo ERGON1 ready; cat", greetings[i]);
        char *const argv[] = {(char[]){"sh"}, (char[]){"-c"}, command, NULL};
        spec.argv = argv;
        assert_int_equal(erg_reach(&spec, -1, &r, &err), 0);
        erg_reached_close(&r);
    }
    no_children();
}

static void seed(void **state) {
    (void)state;
    char path[] = "/tmp/ergon-seed-XXXXXX";
    int fd = mkstemp(path);
    static char data[300000];
    memset(data, 's', sizeof data);
    assert_int_equal(write(fd, data, sizeof data), sizeof data);
    close(fd);
    struct erg_reached r;
    struct erg_error err;
    struct erg_reach_spec spec = {
        .kind = ERG_REACH_EXEC,
        .name = "exec:test",
        .argv = SHELL(
            "echo ERGON1 need; head -c 8 | od -An -tu8 >&2; head -c 300000 | tr -d s | wc -c >&2; "
            "echo ERGON1 ready"),
        .seed = path};
    assert_int_equal(erg_reach(&spec, -1, &r, &err), 0);
    char got[64], words[64];
    read_all(r.fd_in, got, sizeof got);
    erg_reached_words(&r, words, sizeof words);
    assert_non_null(strstr(words, "300000; 0"));
    erg_reached_close(&r);
    spec.seed = NULL;
    assert_int_equal(erg_reach(&spec, -1, &r, &err), ERG_ELAUNCH);
    unlink(path);
    no_children();
}

static void failures(void **state) {
    (void)state;
    static char *const missing[] = {"/nonexistent/program", NULL};
    static char endless[] = "yes";
    static char *const greets[] = {endless, NULL};
    const struct {
        char *const *argv;
        int code;
        const char *text;
    } cases[] = {
        {SHELL("echo ERGON1 fail python3 is 2.7 there"), ERG_ELAUNCH, "x: python3 is 2.7 there"},
        {SHELL("echo ssh: no route >&2; echo at all >&2; exit 255"), ERG_ELAUNCH,
         "x: ssh: no route; at all"},
        {SHELL("exit 7"), ERG_ELAUNCH, "x: exited with status 7 without a word"},
        {SHELL("kill -9 $$"), ERG_ELAUNCH, "x: was killed by signal 9 (SIGKILL) without a word"},
        {SHELL("echo ERGON1 dance"), ERG_EPROTOCOL, "x: 'dance' is not"},
        {missing, ERG_ELAUNCH, "x: cannot start /nonexistent/program: No such file"},
        {greets, ERG_ELAUNCH, "x: its shell writes without end"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct erg_reached r;
        struct erg_error err;
        struct erg_reach_spec spec = {.kind = ERG_REACH_EXEC, .name = "x", .argv = cases[i].argv};
        char big[70000]; /* more than a pipe takes: nobody reads it */
        memset(big, 0, sizeof big);
        spec.script = big;
        spec.script_len = i == 2 ? sizeof big : 0;
        assert_int_equal(erg_reach(&spec, -1, &r, &err), cases[i].code);
        assert_int_equal(strncmp(err.text, cases[i].text, strlen(cases[i].text)), 0);
        assert_true(r.fd_in == -1 && r.fd_out == -1 && r.pid == 0 && r.words == -1);
    }
    no_children();
}

static void limits(void **state) {
    (void)state;
    struct erg_reached r;
    struct erg_error err;
    int cancel[2];
    struct erg_reach_spec spec = {.kind = ERG_REACH_EXEC,
                                  .name = "x",
                                  .argv = SHELL("exec sleep 1000"),
                                  .timeout_ns = 50000000};
    assert_int_equal(erg_reach(&spec, -1, &r, &err), ERG_ETIMEOUT);
    assert_int_equal(pipe(cancel), 0);
    assert_int_equal(write(cancel[1], "x", 1), 1);
    spec.timeout_ns = 0;
    assert_int_equal(erg_reach(&spec, cancel[0], &r, &err), ERG_ECANCELLED);
    close(cancel[0]);
    close(cancel[1]);
    no_children();
}

/* --- TCP ------------------------------------------------------------------------------------------------------------ */
static const unsigned char key[32] = {7}, other_key[32] = {8};

struct server {
    int listener, status;
    unsigned char session[16];
    const unsigned char *key;
    pthread_t thread;
};

static void *serve(void *arg) {
    struct server *s = arg;
    struct erg_auth *auth;
    struct erg_error err;
    int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    erg_auth_new(ERG_AUTH_SERVER, s->key, NULL, &auth);
    s->status = erg_reach_prove(fd, auth, erg_clock_ns() + 10000000000, -1, &err);
    memcpy(s->session, erg_auth_session(auth), sizeof s->session);
    erg_auth_free(auth);
    close(fd);
    return NULL;
}

static uint16_t serve_start(struct server *s, const unsigned char *server_key) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    s->key = server_key;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s->listener, 1), 0);
    getsockname(s->listener, (struct sockaddr *)&at, &len);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    return ntohs(at.sin_port);
}

static void tcp(void **state) {
    (void)state;
    struct server s;
    struct erg_reached r;
    struct erg_error err;
    struct erg_reach_spec spec = {.kind = ERG_REACH_TCP,
                                  .name = "tcp://here",
                                  .host = "127.0.0.1",
                                  .key = key,
                                  .session = (const unsigned char *)"0123456789abcdef"};
    spec.port = serve_start(&s, key);
    assert_int_equal(erg_reach(&spec, -1, &r, &err), 0);
    pthread_join(s.thread, NULL);
    assert_int_equal(s.status, 0);
    assert_memory_equal(s.session, "0123456789abcdef", 16);
    assert_non_null(r.auth);
    erg_reached_close(&r);
    close(s.listener);

    spec.port = serve_start(&s, other_key);
    assert_int_equal(erg_reach(&spec, -1, &r, &err), ERG_EACCESS);
    assert_non_null(strstr(err.text, "same key"));
    pthread_join(s.thread, NULL);
    assert_int_equal(s.status, ERG_EACCESS);
    close(s.listener);

    assert_int_equal(erg_reach(&spec, -1, &r, &err), ERG_ELAUNCH); /* nobody listens any more */
    assert_non_null(strstr(err.text, "refused"));
    spec.host = "no-such-host.invalid";
    assert_int_equal(erg_reach(&spec, -1, &r, &err), ERG_ELAUNCH);
}

/* --- a resolver that does not answer ------------------------------------------------------------------------------- */
static _Atomic int asked, may_answer, answered;

/* In front of the C library's: one name is looked up until the test says otherwise. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (strcmp(host, "slow.test") != 0 || (hints->ai_flags & AI_NUMERICHOST)) {
        return real(host, service, hints, found);
    }
    atomic_fetch_add(&asked, 1);
    while (!atomic_load(&may_answer)) {
        usleep(1000);
    }
    int why = real("127.0.0.1", service, hints, found);
    atomic_fetch_add(&answered, 1);
    return why;
}

static void *give_up_soon(void *arg) {
    uint64_t one = 1;
    while (!atomic_load(&asked)) {
        usleep(1000);
    }
    assert_int_equal(write(*(int *)arg, &one, sizeof one), sizeof one);
    return NULL;
}

static void a_resolver_holds_up_nobody(void **state) {
    (void)state;
    struct erg_reached r;
    struct erg_error err;
    pthread_t thread;
    int cancel = eventfd(0, EFD_CLOEXEC);
    struct erg_reach_spec spec = {.kind = ERG_REACH_TCP,
                                  .name = "tcp://slow.test",
                                  .host = "slow.test",
                                  .port = 1,
                                  .key = key,
                                  .session = (const unsigned char *)"0123456789abcdef"};
    assert_int_equal(pthread_create(&thread, NULL, give_up_soon, &cancel), 0);
    assert_int_equal(erg_reach(&spec, cancel, &r, &err), ERG_ECANCELLED);
    assert_non_null(strstr(err.text, "given up"));
    pthread_join(thread, NULL);
    spec.timeout_ns = 50000000;
    assert_int_equal(erg_reach(&spec, -1, &r, &err), ERG_ETIMEOUT);
    assert_non_null(strstr(err.text, "its name could not be looked up in time"));
    assert_int_equal(atomic_load(&answered), 0);
    assert_int_equal(atomic_load(&asked), 2);
    atomic_store(&may_answer, 1); /* what was left alone ends by itself */
    spec.timeout_ns = 0;
    assert_int_equal(erg_reach(&spec, -1, &r, &err), ERG_ELAUNCH); /* found, and nobody listens */
    assert_non_null(strstr(err.text, "refused"));
    while (atomic_load(&answered) < 3) {
        usleep(1000);
    }
    close(cancel);
}

/* --- ssh ------------------------------------------------------------------------------------------------------------ */
static void ssh_arguments(void **state) {
    (void)state;
    struct erg_reach_spec spec = {
        .host = "-oProxyCommand=x", .user = "me", .port = 2200, .config = "/c", .command = "agent"};
    char **argv = erg_ssh_argv(&spec), line[1000] = "";
    for (size_t i = 0; argv[i]; i++) {
        strncat(line, argv[i], sizeof line - strlen(line) - 1);
        strncat(line, " ", sizeof line - strlen(line) - 1);
    }
    free(argv);
    assert_non_null(
        strstr(line, "-o BatchMode=yes -F /c -p 2200 -l me -- -oProxyCommand=x agent "));
}

static int ask(const struct erg_askpass *a, const char *question, char *answer, size_t size) {
    char command[256];
    snprintf(command, sizeof command, "%s \"%s\"", a->program, question);
    FILE *f = popen(command, "r");
    answer[fread(answer, 1, size - 1, f)] = 0;
    return pclose(f);
}

static void askpass(void **state) {
    (void)state;
    struct erg_askpass a;
    struct erg_error err;
    struct stat about;
    char answer[100];
    assert_int_equal(erg_askpass_open(&a, "correct horse 'battery' $staple\\n", &err), 0);
    assert_int_equal(stat(a.folder, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0700);
    assert_int_equal(stat(a.pipe, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    /* neither a key's passphrase nor trust */
    assert_int_not_equal(ask(&a, "Enter passphrase for key 'x': ", answer, sizeof answer), 0);
    assert_string_equal(answer, "");
    assert_int_not_equal(ask(&a, "Are you sure you want to continue (yes/no)?", answer, 100), 0);
    assert_string_equal(answer, "");
    assert_int_equal(ask(&a, "me@host's password: ", answer, sizeof answer), 0);
    assert_string_equal(answer, "correct horse 'battery' $staple\\n\n");
    erg_askpass_close(&a);
    assert_int_equal(access(a.program, F_OK), -1);
    assert_int_equal(erg_askpass_open(&a, "two\nlines", &err), ERG_EINVALID);
}

int main(void) {
    signal(SIGPIPE, SIG_DFL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ready),    cmocka_unit_test(seed),
        cmocka_unit_test(failures), cmocka_unit_test(limits),
        cmocka_unit_test(tcp),      cmocka_unit_test(ssh_arguments),
        cmocka_unit_test(askpass),  cmocka_unit_test(a_resolver_holds_up_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
