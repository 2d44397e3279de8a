#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/will.h"
#include "launch/zygote.h"
#include "launch/zygote_msg.h"
#include "wire/message.h"

static const unsigned char key[32] = "0123456789abcdef0123456789abcde";
static const unsigned char session[16] = "fedcba987654321";

static void texts_are_equal(const char *a, const char *b) {
    if (a && b)
        assert_string_equal(a, b);
    else
        assert_ptr_equal(a, b);
}

static void arrives_as_it_was(const struct erg_reach_spec *spec) {
    struct erg_will will;
    int fd = erg_will_write(spec, "cp311-linux", 35);
    assert_true(fd >= 0);
    assert_int_equal(erg_will_read(fd, &will), 0);
    close(fd);
    assert_int_equal(will.spec.kind, spec->kind);
    assert_int_equal(will.spec.port, spec->port);
    assert_int_equal(will.limit_ns, 35);
    assert_string_equal(will.tag, "cp311-linux");
    assert_memory_equal(will.spec.session, session, 16);
    texts_are_equal(will.spec.name, spec->name);
    texts_are_equal(will.spec.host, spec->host);
    texts_are_equal(will.spec.user, spec->user);
    texts_are_equal(will.spec.config, spec->config);
    texts_are_equal(will.spec.password, spec->password);
    texts_are_equal(will.spec.command, spec->command);
    assert_int_equal(will.spec.script_len, spec->script_len);
    if (spec->script)
        assert_memory_equal(will.spec.script, spec->script, spec->script_len);
    assert_int_equal(will.spec.key != NULL, spec->key != NULL);
    if (spec->key)
        assert_memory_equal(will.spec.key, spec->key, 32);
    for (int i = 0; spec->argv && spec->argv[i]; i++)
        assert_string_equal(will.spec.argv[i], spec->argv[i]);
    erg_will_free(&will);
}

static void kinds(void **state) {
    (void)state;
    char *const argv[] = {"sh", "-c", "", "a b", NULL};
    arrives_as_it_was(&(struct erg_reach_spec){.kind = ERG_REACH_EXEC,
                                               .name = "exec:sh",
                                               .session = session,
                                               .argv = argv,
                                               .script = "a\0b",
                                               .script_len = 3});
    arrives_as_it_was(&(struct erg_reach_spec){.kind = ERG_REACH_SSH,
                                               .name = "ssh://h",
                                               .session = session,
                                               .host = "h",
                                               .port = 22,
                                               .user = "u",
                                               .config = "/c",
                                               .password = "secret",
                                               .command = "python3",
                                               .script = "",
                                               .script_len = 0});
    arrives_as_it_was(&(struct erg_reach_spec){.kind = ERG_REACH_TCP,
                                               .name = "tcp://h:65535",
                                               .session = session,
                                               .host = "h",
                                               .port = 65535,
                                               .key = key});
}

/* Cut off anywhere, or with any byte changed, it is refused or at least read within its bounds. */
static void damaged(void **state) {
    (void)state;
    char *const argv[] = {"sh", "-c", "true", NULL};
    struct erg_reach_spec spec = {
        .kind = ERG_REACH_EXEC, .name = "exec:true", .session = session, .argv = argv, .key = key};
    struct erg_will will;
    int whole = erg_will_write(&spec, "tag", 1);
    assert_true(whole >= 0);
    unsigned char bytes[1024];
    ssize_t len = pread(whole, bytes, sizeof bytes, 0);
    assert_in_range(len, 100, sizeof bytes - 1);
    for (ssize_t i = len - 1; i >= 0; i--) {
        assert_int_equal(pwrite(whole, &(char){(char)(bytes[i] ^ 0xff)}, 1, i), 1);
        if (erg_will_read(whole, &will) == 0)
            erg_will_free(&will);
        assert_int_equal(pwrite(whole, &bytes[i], 1, i), 1);
    }
    for (ssize_t i = len - 1; i >= 0; i--) {
        assert_int_equal(ftruncate(whole, i), 0);
        assert_int_equal(erg_will_read(whole, &will), ERG_EPROTOCOL);
    }
    close(whole);
}

/* --- a keeper: a process that serves as a zygote does --- */
struct pair {
    pid_t pid;
    int sock, owner; /* the owner's life: the end of a pipe stands for its pidfd */
};

static void start(struct pair *p) {
    int sv[2], life[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
    assert_int_equal(pipe2(life, O_CLOEXEC), 0);
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0) {
        struct erg_worker_start out;
        close(sv[0]);
        close(life[1]);
        close(life[0]);
        _exit(erg_zygote_serve(sv[1], NULL, NULL, &out, NULL) == 0 ? 0 : 1);
    }
    struct erg_zmsg hello = {.kind = ERG_Z_HELLO};
    assert_int_equal(erg_zmsg_send(sv[0], &hello, (int[]){life[0], life[0]}, 2, 0), 0);
    close(sv[1]);
    close(life[0]);
    p->sock = sv[0];
    p->owner = life[1];
}

static void tell(const struct pair *p, uint32_t number, const char *command) {
    char *const argv[] = {"sh", "-c", (char *)command, NULL};
    struct erg_reach_spec spec = {.kind = ERG_REACH_EXEC,
                                  .name = "exec:sh",
                                  .session = session,
                                  .argv = argv,
                                  .script = "go\n",
                                  .script_len = 3};
    struct erg_keeper k = {{.pid = p->pid, .pidfd = -1, .sock = p->sock}};
    assert_int_equal(erg_keeper_tell(&k, number, command ? &spec : NULL, "tag", 2000000000), 0);
}

static void ended(struct pair *p) {
    int status;
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    assert_int_equal(status, 0);
    if (p->sock >= 0)
        close(p->sock);
    if (p->owner >= 0)
        close(p->owner);
}

static void folder(char *path) {
    strcpy(path, "/tmp/ergon-will-XXXXXX");
    assert_non_null(mkdtemp(path));
}

static size_t content(const char *folder, const char *name, unsigned char *bytes, size_t size) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, bytes, size);
    close(fd);
    unlink(path);
    return n > 0 ? (size_t)n : 0;
}

/* HELLO of an heir with that session comes over each link; what was taken back or replaced is not done. */
static void fulfilled(void **state) {
    (void)state;
    char where[64], command[256];
    unsigned char got[256];
    struct pair p;
    folder(where);
    start(&p);
    static const char *const names[] = {"a", "b", "c"};
    for (uint32_t i = 0; i < 3; i++) {
        snprintf(command, sizeof command, "read line; echo 'ERGON1 ready'; head -c 64 >%s/%s; exit",
                 where, names[i]);
        tell(&p, i, command);
    }
    tell(&p, 1, NULL);
    snprintf(command, sizeof command, "read line; echo 'ERGON1 ready'; head -c 64 >%s/d; exit",
             where);
    tell(&p, 2, command);
    close(p.owner);
    p.owner = -1;
    ended(&p);
    assert_int_equal(content(where, "b", got, sizeof got), 0);
    assert_int_equal(content(where, "c", got, sizeof got), 0);
    for (int i = 0; i < 2; i++) {
        struct erg_msg_hello m;
        assert_int_equal(content(where, i ? "d" : "a", got, sizeof got), 64);
        uint32_t len = (uint32_t)got[0] | (uint32_t)got[1] << 8;
        assert_int_equal(got[4], ERG_MSG_HELLO);
        assert_int_equal(erg_msg_hello_decode(got + ERG_FRAME_HEADER, len, &m, NULL), 0);
        assert_int_equal(m.role, ERG_ROLE_HEIR);
        assert_memory_equal(m.session, session, 16);
    }
    assert_int_equal(rmdir(where), 0);
}

/* An owner that says goodbye lives on, or has seen to everything itself. */
static void dismissed(void **state) {
    (void)state;
    char where[64], command[256];
    struct pair p;
    folder(where);
    start(&p);
    snprintf(command, sizeof command, "touch %s/a", where);
    tell(&p, 0, command);
    struct erg_zmsg bye = {.kind = ERG_Z_BYE};
    assert_int_equal(erg_zmsg_send(p.sock, &bye, NULL, 0, 0), 0);
    ended(&p);
    assert_int_equal(rmdir(where), 0); /* it is empty */
}

/* What does not answer is tried again, within the limit; what refuses for good is not. */
static void tried_again(void **state) {
    (void)state;
    char where[64], command[256];
    unsigned char got[256];
    struct pair p;
    folder(where);
    start(&p);
    snprintf(command, sizeof command, "echo x >>%s/a; exit 1", where);
    tell(&p, 0, command);
    snprintf(command, sizeof command, "echo x >>%s/b; echo Permission denied >&2; exit 1", where);
    tell(&p, 1, command);
    close(p.owner);
    p.owner = -1;
    ended(&p);
    assert_in_range(content(where, "a", got, sizeof got), 4, 40);
    assert_int_equal(content(where, "b", got, sizeof got), 2);
    assert_int_equal(rmdir(where), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(kinds), cmocka_unit_test(damaged),
                                       cmocka_unit_test(fulfilled), cmocka_unit_test(dismissed),
                                       cmocka_unit_test(tried_again)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
