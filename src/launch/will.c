/* Wills as files, and what a keeper does with them.
 *
 * A will's file: a number of fixed fields, each eight bytes, then texts, each with its length in front (NONE: there is
 * none) and a NUL behind, in the order below. */
#include "launch/will.h"

#include "launch/reach_tcp.h"
#include "os/clock.h"
#include "wire/link.h"
#include "wire/message.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MS ((uint64_t)1000000)
#define SECOND (1000 * MS)
#define ATTEMPT_NS                                                                                 \
    (10 * SECOND)              /* to get there; a link that heals meanwhile deserves a fresh one */
#define ANSWER_NS (5 * SECOND) /* for the agent to hang up */
#define PAUSE_FIRST (200 * MS)
#define PAUSE_MOST (3 * SECOND)
#define NONE UINT64_MAX
#define WILL_MAX ((off_t)64 << 20)

enum { MARK, KIND, PORT, LIMIT, ARGS, FIXED };
enum { NAME, HOST, USER, CONFIG, PASSWORD, COMMAND, SCRIPT, KEY, SESSION, TAG, TEXTS };
#define MARK_1 0x314c4c4957475245u /* "ERGWILL1" */

/* --- writing ------------------------------------------------------------------------------------------------------- */
static int write_all(int fd, const void *bytes, size_t len) {
    while (len) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ERG_ESYSTEM;
        bytes = (const char *)bytes + n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_number(int fd, uint64_t number) {
    unsigned char bytes[8];
    erg_put64(bytes, number);
    return write_all(fd, bytes, sizeof bytes);
}

static int write_text(int fd, const void *text, size_t len) {
    int code = write_number(fd, text ? len : NONE);
    if (code == 0 && text)
        code = write_all(fd, text, len);
    return code == 0 && text ? write_all(fd, "", 1) : code;
}

static int write_string(int fd, const char *text) {
    return write_text(fd, text, text ? strlen(text) : 0);
}

static int write_will(int fd, const struct erg_reach_spec *spec, const char *tag,
                      int64_t limit_ns) {
    uint64_t args = 0;
    while (spec->argv && spec->argv[args])
        args++;
    const uint64_t fixed[FIXED] = {[MARK] = MARK_1,
                                   [KIND] = spec->kind,
                                   [PORT] = spec->port,
                                   [LIMIT] = (uint64_t)limit_ns,
                                   [ARGS] = args};
    int code = 0;
    for (int i = 0; i < FIXED && code == 0; i++)
        code = write_number(fd, fixed[i]);
    const char *const strings[] = {
        [NAME] = spec->name,     [HOST] = spec->host,         [USER] = spec->user,
        [CONFIG] = spec->config, [PASSWORD] = spec->password, [COMMAND] = spec->command};
    for (int i = NAME; i <= COMMAND && code == 0; i++)
        code = write_string(fd, strings[i]);
    code = code ? code : write_text(fd, spec->script, spec->script_len);
    code = code ? code : write_text(fd, spec->key, 32);
    code = code ? code : write_text(fd, spec->session, 16);
    code = code ? code : write_string(fd, tag);
    for (uint64_t i = 0; i < args && code == 0; i++)
        code = write_string(fd, spec->argv[i]);
    return code;
}

int erg_will_write(const struct erg_reach_spec *spec, const char *tag, int64_t limit_ns) {
    int fd = memfd_create("ergon-will", MFD_CLOEXEC);
    if (fd < 0)
        return errno == ENOMEM ? ERG_ENOMEM : ERG_ESYSTEM;
    int code = write_will(fd, spec, tag, limit_ns);
    if (code == 0)
        return fd;
    close(fd);
    return code;
}

/* --- reading ------------------------------------------------------------------------------------------------------- */
struct in {
    const unsigned char *at, *end;
    int bad;
};

static uint64_t read_number(struct in *in) {
    if (in->bad || in->end - in->at < 8) {
        in->bad = 1;
        return 0;
    }
    in->at += 8;
    return erg_get64(in->at - 8);
}

/* exact: bytes it has to have when it is there; NONE: any number. */
static const char *read_text(struct in *in, uint64_t exact, size_t *len_out) {
    uint64_t len = read_number(in);
    if (in->bad || len == NONE)
        return NULL;
    if (len >= (uint64_t)(in->end - in->at) || in->at[len] != 0 ||
        (exact != NONE && len != exact)) {
        in->bad = 1;
        return NULL;
    }
    const char *text = (const char *)in->at;
    in->at += len + 1;
    if (len_out)
        *len_out = len;
    return text;
}

static int parse(struct erg_will *will) {
    struct in in = {will->bytes, will->bytes + will->len, 0};
    struct erg_reach_spec *spec = &will->spec;
    uint64_t fixed[FIXED];
    const char *texts[TEXTS];
    size_t script_len = 0;
    for (int i = 0; i < FIXED; i++)
        fixed[i] = read_number(&in);
    for (int i = 0; i < TEXTS; i++)
        texts[i] = read_text(&in,
                             i == KEY       ? 32
                             : i == SESSION ? 16
                                            : NONE,
                             i == SCRIPT ? &script_len : NULL);
    if (in.bad || fixed[MARK] != MARK_1 || fixed[KIND] > ERG_REACH_TCP || fixed[PORT] > 65535 ||
        fixed[LIMIT] > INT64_MAX || fixed[ARGS] > will->len / 9 || !texts[NAME] ||
        !texts[SESSION] || !texts[TAG])
        return ERG_EPROTOCOL;
    char **argv = calloc(fixed[ARGS] + 1, sizeof *argv);
    if (!argv)
        return ERG_ENOMEM;
    for (uint64_t i = 0; i < fixed[ARGS]; i++) {
        argv[i] = (char *)read_text(&in, NONE, NULL);
        in.bad |= !argv[i];
    }
    *spec = (struct erg_reach_spec){.kind = (enum erg_reach_kind)fixed[KIND],
                                    .name = texts[NAME],
                                    .argv = argv,
                                    .host = texts[HOST],
                                    .port = (uint16_t)fixed[PORT],
                                    .user = texts[USER],
                                    .config = texts[CONFIG],
                                    .password = texts[PASSWORD],
                                    .command = texts[COMMAND],
                                    .script = texts[SCRIPT],
                                    .script_len = script_len,
                                    .key = (const unsigned char *)texts[KEY],
                                    .session = (const unsigned char *)texts[SESSION]};
    will->tag = texts[TAG];
    will->limit_ns = (int64_t)fixed[LIMIT];
    int enough = spec->kind == ERG_REACH_EXEC  ? fixed[ARGS] > 0
                 : spec->kind == ERG_REACH_SSH ? spec->host && spec->command
                                               : spec->host && spec->key;
    return in.bad || !enough || in.at != in.end ? ERG_EPROTOCOL : 0;
}

int erg_will_read(int fd, struct erg_will *will) {
    struct stat about;
    *will = (struct erg_will){0};
    if (fstat(fd, &about) < 0)
        return ERG_ESYSTEM;
    if (about.st_size <= 0 || about.st_size > WILL_MAX)
        return ERG_EPROTOCOL;
    will->len = (size_t)about.st_size;
    will->bytes = malloc(will->len);
    if (!will->bytes)
        return ERG_ENOMEM;
    int code =
        pread(fd, will->bytes, will->len, 0) == (ssize_t)will->len ? parse(will) : ERG_ESYSTEM;
    if (code < 0)
        erg_will_free(will);
    return code;
}

void erg_will_free(struct erg_will *will) {
    free((void *)will->spec.argv);
    if (will->bytes) /* a password may be in it */
        explicit_bzero(will->bytes, will->len);
    free(will->bytes);
    *will = (struct erg_will){0};
}

/* --- fulfilling ---------------------------------------------------------------------------------------------------- */
/* Everything the link has to say goes out. */
static int write_link(struct erg_link *link, int fd, uint64_t deadline) {
    enum { PIECES = 16 };
    struct iovec pieces[PIECES];
    for (size_t n; (n = erg_link_output(link, pieces, PIECES)) > 0;) {
        ssize_t done = writev(fd, pieces, (int)n);
        int blocked = done < 0 && (errno == EAGAIN || errno == EINTR);
        erg_link_sent(link, done < 0 ? 0 : (size_t)done);
        if (done < 0 && !blocked)
            return ERG_ECLOSED;
        if (blocked && erg_reach_wait(fd, POLLOUT, deadline, -1) < 0)
            return ERG_ETIMEOUT;
    }
    return 0;
}

/* The agent hangs up when it has understood. */
static int wait_end(int fd, uint64_t deadline) {
    char drop[4096];
    for (;;) {
        ssize_t n = read(fd, drop, sizeof drop);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return 0;
        if (n < 0 && erg_reach_wait(fd, POLLIN, deadline, -1) < 0)
            return ERG_ETIMEOUT;
    }
}

static int say(const struct erg_will *will, struct erg_reached *r) {
    static const struct erg_session_ops no_ops;
    unsigned char head[256];
    struct erg_session *session = NULL;
    struct erg_link *link = NULL;
    struct erg_msg_hello m = {.major = ERG_PROTOCOL_MAJOR,
                              .minor = ERG_PROTOCOL_MINOR,
                              .role = ERG_ROLE_HEIR,
                              .tag = {will->tag, strnlen(will->tag, 128)}};
    memcpy(m.session, will->spec.session, sizeof m.session);
    uint64_t deadline = erg_clock_ns() + ANSWER_NS;
    int code = erg_session_new(&no_ops, NULL, 0, &session);
    if (code == 0) {
        code = erg_link_new(session, r->auth, &link);
        r->auth = NULL;
    }
    if (code == 0)
        code = erg_session_open_link(session, head, erg_msg_hello_encode(&m, head));
    if (code == 0)
        code = write_link(link, r->fd_out, deadline);
    if (code == 0)
        code = wait_end(r->fd_in, deadline);
    erg_link_free(link);
    erg_session_free(session);
    return code;
}

static void *fulfil_one(void *arg) {
    struct erg_will *will = arg;
    uint64_t now = erg_clock_ns(), end = now + (uint64_t)will->limit_ns, pause = PAUSE_FIRST;
    for (;;) {
        struct erg_reached r;
        struct erg_error err = {0};
        uint64_t left = end - now;
        will->spec.timeout_ns = (int64_t)(left < ATTEMPT_NS ? left : ATTEMPT_NS);
        int code = erg_reach(&will->spec, -1, &r, &err);
        if (code == 0) {
            code = say(will, &r);
            erg_reached_close(&r);
        } else if (code == ERG_EACCESS || erg_reach_lasting(err.text)) {
            break;
        }
        now = erg_clock_ns();
        if (code == 0 || now + pause >= end)
            break;
        erg_reach_wait(-1, 0, now + pause, -1);
        now = erg_clock_ns();
        pause = pause * 2 < PAUSE_MOST ? pause * 2 : PAUSE_MOST;
    }
    erg_will_free(will);
    return NULL;
}

/* Whoever waits for the end of the client's output waits for nobody else. */
static void let_go_of_output(void) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2 && null > 2; fd++)
        dup2(null, fd);
    if (null > 2)
        close(null);
}

void erg_will_fulfil(const int *fds, size_t n) {
    struct erg_will *wills = calloc(n, sizeof *wills);
    pthread_t *threads = calloc(n, sizeof *threads);
    size_t started = 0;
    signal(SIGPIPE, SIG_IGN);
    let_go_of_output();
    for (size_t i = 0; i < n && wills && threads; i++) {
        if (fds[i] < 0 || erg_will_read(fds[i], &wills[i]) < 0)
            continue;
        if (pthread_create(&threads[started], NULL, fulfil_one, &wills[i]) == 0)
            started++;
        else
            fulfil_one(&wills[i]);
    }
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    free(threads);
    free(wills);
}
