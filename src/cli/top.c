/* `ergon top`: the pools of running programs, live. Rates are differences between two pictures (top_read.c). */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/ports.h"
#include "cli/top.h"
#include "table/layout.h"

static const char usage[] =
    "Usage: ergon top [-p PID] [-n SECONDS] [--once] [--json]\n"
    "\n"
    "Shows the pools of running programs: workers, what they do, the queue, throughput and bytes. "
    "The\n"
    "programs need not do anything for it, and are not slowed down. You see your own; root sees "
    "all.\n"
    "\n"
    "Options:\n"
    "  -p, --pid PID          the pools of one process\n"
    "  -n, --interval SECONDS between pictures, 1 to 3600 (1)\n"
    "      --once             print one picture, with rates over the interval, and end\n"
    "      --json             the same as JSON\n"
    "  -h, --help             this text\n"
    "\n"
    "Keys: q ends, any other key draws at once.\n";

struct request {
    int pid, interval;
    bool once, json;
};

/* --- text ---------------------------------------------------------------------------------------------------- */

struct screen {
    char *text;
    size_t len, room;
    int columns, lines_left; /* 0 columns: no terminal */
    bool full;
};

static void line(struct screen *s, const char *format, ...) ERG_PRINTF(2, 3);
static void line(struct screen *s, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    len = len < (int)sizeof text ? len : (int)sizeof text - 1;
    if (s->columns && len > s->columns) {
        len = s->columns;
    }
    if (len < 0 || (s->columns && s->lines_left-- <= 0)) {
        s->full = true;
        return;
    }
    if (s->len + (size_t)len + 8 > s->room) {
        size_t room = s->room ? 2 * s->room : 1 << 14;
        char *more = realloc(s->text, room);
        if (!more) {
            return;
        }
        s->text = more;
        s->room = room;
    }
    memcpy(s->text + s->len, text, (size_t)len);
    s->len += (size_t)len;
    if (s->columns) {
        memcpy(s->text + s->len, "\033[K", 3); /* what was longer before */
        s->len += 3;
    }
    s->text[s->len++] = '\n';
}

/* 1234567 -> "1.23M" */
static const char *brief(double value, char *to, size_t size) {
    static const char units[] = " kMGTP";
    int unit = 0;
    while (value >= 999.5 && units[unit + 1]) {
        value /= 1000;
        unit++;
    }
    snprintf(to, size,
             value >= 99.5 || unit == 0 ? "%.0f%.1s"
             : value >= 9.95            ? "%.1f%.1s"
                                        : "%.2f%.1s",
             value, unit ? &units[unit] : "");
    return to;
}

static const char *duration(uint64_t ns, char *to, size_t size) {
    if (ns < 1000000) {
        snprintf(to, size, "%.0f us", (double)ns / 1e3);
    } else if (ns < 10000000000u) {
        snprintf(to, size, "%.*f %s", 1, ns < 1000000000u ? (double)ns / 1e6 : (double)ns / 1e9,
                 ns < 1000000000u ? "ms" : "s");
    } else {
        snprintf(to, size, "%" PRIu64 ":%02" PRIu64, ns / 60000000000u, ns / 1000000000u % 60);
    }
    return to;
}

static const char *kind_name(uint32_t kind) {
    return kind == ERG_MEMBER_PROCESS ? "process" : kind == ERG_MEMBER_THREAD ? "thread" : "hosts";
}

static const char *const states[] = {"starting", "idle", "busy", "leaving"};

/* --- differences --------------------------------------------------------------------------------------------- */

static double rate(uint64_t now, uint64_t before, double seconds) {
    return now > before && seconds > 0 ? (double)(now - before) / seconds : 0;
}

/* How much of the time it was busy: the tasks that ended, and the one that runs. */
static double busy_share(const struct erg_top_worker *w, const struct erg_top_worker *old,
                         double seconds) {
    double before = old ? (double)old->busy_ns + (double)old->running_ns : 0;
    double share = ((double)w->busy_ns + (double)w->running_ns - before) / (seconds * 1e9);
    return seconds <= 0 || share < 0 ? 0 : share > 1 ? 1 : share;
}

static void draw_worker(struct screen *s, const struct erg_top_worker *w,
                        const struct erg_top_worker *old, double seconds) {
    char tasks[16], speed[16], in[16], out[16], runs[32];
    double since = old ? seconds : 0;
    line(s, "  %4" PRIu32 "  %-7s %8" PRId32 "  %-8s %7s %8s %5.0f%% %8s %8s  %s", w->number,
         kind_name(w->kind), w->pid, states[w->state], brief((double)w->tasks, tasks, sizeof tasks),
         brief(rate(w->tasks, old ? old->tasks : 0, since), speed, sizeof speed),
         100 * busy_share(w, old, since),
         brief(rate(w->bytes_in, old ? old->bytes_in : 0, since), in, sizeof in),
         brief(rate(w->bytes_out, old ? old->bytes_out : 0, since), out, sizeof out),
         w->running_ns ? duration(w->running_ns, runs, sizeof runs) : "");
}

static const char *place_state(uint32_t state) {
    static const char *const names[] = {"off",    "starting", "up",     "broken",
                                        "failed", "lost",     "leaving"};
    return state < sizeof names / sizeof *names ? names[state] : "?";
}

static const struct erg_top_place *place_before(const struct erg_top_pool *old, size_t i) {
    return old && i < old->places_len ? &old->places[i] : NULL;
}

static double place_busy(const struct erg_top_place *p, const struct erg_top_place *old,
                         double seconds) {
    double share = p->slots && old ? rate(p->busy_ns, old->busy_ns, seconds) / 1e9 / p->slots : 0;
    return share > 1 ? 1 : share;
}

static void draw_places(struct screen *s, const struct erg_top_pool *p,
                        const struct erg_top_pool *old, double since) {
    char tasks[16], speed[16], in[16], out[16], there[16];
    if (p->places_len) {
        line(s, "    host                            state    slots   there    tasks  /second   "
                "busy   in B/s  out B/s");
    }
    for (size_t i = 0; i < p->places_len; i++) {
        const struct erg_top_place *h = &p->places[i], *was = place_before(old, i);
        double seconds = was ? since : 0;
        line(s, "    %-30.30s  %-8s %5" PRIu32 " %7s %8s %8s %5.0f%% %8s %8s", h->name,
             place_state(h->state), h->slots, brief((double)h->leased, there, sizeof there),
             brief((double)h->tasks, tasks, sizeof tasks),
             brief(rate(h->tasks, was ? was->tasks : 0, seconds), speed, sizeof speed),
             100 * place_busy(h, was, seconds),
             brief(rate(h->bytes_in, was ? was->bytes_in : 0, seconds), in, sizeof in),
             brief(rate(h->bytes_out, was ? was->bytes_out : 0, seconds), out, sizeof out));
    }
}

static void draw_pool(struct screen *s, const struct erg_top_pool *p,
                      const struct erg_top_pool *old, double seconds) {
    char tasks[16], speed[16], in[16], out[16], memory[16], queued[16];
    size_t busy = 0;
    for (size_t i = 0; i < p->workers_len; i++) {
        busy += p->workers[i].state == ERG_TOP_BUSY;
    }
    double since = old ? seconds : 0;
    line(s, "%" PRId32 "  %s%s", p->pid, p->program, p->closed ? "  (closed)" : "");
    line(s, "  %zu workers, %zu busy, %s queued, %s done, %s/s, in %sB/s, out %sB/s, %sB shared",
         p->workers_len, busy, brief((double)p->queued, queued, sizeof queued),
         brief((double)p->tasks, tasks, sizeof tasks),
         brief(rate(p->tasks, old ? old->tasks : 0, since), speed, sizeof speed),
         brief(rate(p->bytes_in, old ? old->bytes_in : 0, since), in, sizeof in),
         brief(rate(p->bytes_out, old ? old->bytes_out : 0, since), out, sizeof out),
         brief((double)p->memory_bytes, memory, sizeof memory));
    line(s, "    no.  kind         pid  state      tasks   /second   busy   in B/s  out B/s  task "
            "runs");
    for (size_t i = 0; i < p->workers_len; i++) {
        draw_worker(s, &p->workers[i], erg_top_worker_find(old, &p->workers[i]), seconds);
    }
    draw_places(s, p, old, since);
    line(s, "%s", "");
}

static void draw(struct screen *s, const struct erg_top *now, const struct erg_top *before) {
    double seconds = (double)(now->now_ns - before->now_ns) / 1e9;
    s->len = 0;
    if (now->pools_len == 0) {
        line(s, "no pools");
    }
    for (size_t i = 0; i < now->pools_len && !s->full; i++) {
        draw_pool(s, &now->pools[i], erg_top_find(before, &now->pools[i]), seconds);
    }
}

/* --- JSON ------------------------------------------------------------------------------------------------------ */

static json_t *worker_json(const struct erg_top_worker *w, const struct erg_top_worker *old,
                           double seconds) {
    return json_pack("{s:i, s:s, s:i, s:s, s:I, s:f, s:f, s:I, s:I, s:f}", "number", (int)w->number,
                     "kind", kind_name(w->kind), "pid", (int)w->pid, "state", states[w->state],
                     "tasks", (json_int_t)w->tasks, "tasks_per_s",
                     rate(w->tasks, old ? old->tasks : 0, old ? seconds : 0), "busy",
                     busy_share(w, old, old ? seconds : 0), "bytes_in", (json_int_t)w->bytes_in,
                     "bytes_out", (json_int_t)w->bytes_out, "running_s",
                     (double)w->running_ns / 1e9);
}

static json_t *places_json(const struct erg_top_pool *p, const struct erg_top_pool *old,
                           double seconds) {
    json_t *places = json_array();
    for (size_t i = 0; i < p->places_len; i++) {
        const struct erg_top_place *h = &p->places[i], *was = place_before(old, i);
        json_t *name = json_string(h->name); /* NULL: not UTF-8 */
        json_array_append_new(
            places, json_pack("{s:o, s:s, s:i, s:i, s:i, s:I, s:f, s:f, s:I, s:I}", "name",
                              name ? name : json_string("?"), "state", place_state(h->state),
                              "slots", (int)h->slots, "cores", (int)h->cores, "leased",
                              (int)h->leased, "tasks", (json_int_t)h->tasks, "tasks_per_s",
                              rate(h->tasks, was ? was->tasks : 0, was ? seconds : 0), "busy",
                              place_busy(h, was, seconds), "bytes_in", (json_int_t)h->bytes_in,
                              "bytes_out", (json_int_t)h->bytes_out));
    }
    return places;
}

static int print_json(const struct erg_top *now, const struct erg_top *before) {
    double seconds = (double)(now->now_ns - before->now_ns) / 1e9;
    json_t *pools = json_array();
    for (size_t i = 0; i < now->pools_len; i++) {
        const struct erg_top_pool *p = &now->pools[i], *old = erg_top_find(before, p);
        json_t *workers = json_array();
        for (size_t k = 0; k < p->workers_len; k++) {
            const struct erg_top_worker *w = &p->workers[k];
            json_array_append_new(workers, worker_json(w, erg_top_worker_find(old, w), seconds));
        }
        json_t *program = json_string(p->program); /* NULL: not UTF-8 */
        json_array_append_new(
            pools, json_pack("{s:i, s:o, s:b, s:I, s:I, s:f, s:I, s:o, s:o}", "pid", (int)p->pid,
                             "program", program ? program : json_string("?"), "closed", p->closed,
                             "queued", (json_int_t)p->queued, "tasks", (json_int_t)p->tasks,
                             "tasks_per_s", rate(p->tasks, old ? old->tasks : 0, old ? seconds : 0),
                             "memory_bytes", (json_int_t)p->memory_bytes, "workers", workers,
                             "places", places_json(p, old, seconds)));
    }
    int rc = json_dumpf(pools, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(pools);
    return rc < 0 ? erg_cli_fail("top", "cannot write JSON") : erg_cli_end("top", ERG_CLI_OK);
}

/* --- the terminal ------------------------------------------------------------------------------------------------ */

static volatile sig_atomic_t ended;

static void on_end(int signal) {
    (void)signal;
    ended = 1;
}

static bool set_keys(struct termios *before) {
    struct termios raw;
    if (tcgetattr(STDIN_FILENO, before) < 0) {
        return false;
    }
    raw = *before;
    raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
    return tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

/* Waits for the next picture; false: that was the last. */
static bool wait_for_next(int seconds) {
    struct pollfd key = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&key, 1, seconds * 1000) > 0) {
        char pressed = 'q';
        return read(STDIN_FILENO, &pressed, 1) == 1 && pressed != 'q';
    }
    return true;
}

static int watch(const struct request *r) {
    struct erg_top before = {0}, now;
    struct screen s = {0};
    struct termios terminal;
    struct erg_error err;
    struct sigaction end = {.sa_handler = on_end};
    int status = ERG_CLI_OK, rc = 0;
    sigaction(SIGINT, &end, NULL);
    sigaction(SIGTERM, &end, NULL);
    bool keys = set_keys(&terminal);
    fputs("\033[?1049h\033[?25l", stdout);
    while (!ended && (rc = erg_top_read(r->pid, &now, &err)) == 0) {
        struct winsize size = {.ws_col = 80, .ws_row = 24};
        ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
        s.columns = size.ws_col > 1 ? size.ws_col : 80;
        s.lines_left = size.ws_row > 2 ? size.ws_row - 1 : 23;
        s.full = false;
        draw(&s, &now, before.now_ns ? &before : &now);
        printf("\033[H%.*s\033[J", (int)s.len, s.text ? s.text : "");
        fflush(stdout);
        erg_top_free(&before);
        before = now;
        if (!wait_for_next(r->interval)) {
            break;
        }
    }
    fputs("\033[?25h\033[?1049l", stdout);
    if (keys) {
        tcsetattr(STDIN_FILENO, TCSANOW, &terminal);
    }
    erg_top_free(&before);
    free(s.text);
    status = rc < 0 ? erg_cli_fail("top", "%s", err.text) : erg_cli_end("top", status);
    return status;
}

static int print_once(const struct request *r) {
    struct erg_top before, now;
    struct erg_error err;
    if (erg_top_read(r->pid, &before, &err) < 0) {
        return erg_cli_fail("top", "%s", err.text);
    }
    poll(NULL, 0, r->interval * 1000);
    if (erg_top_read(r->pid, &now, &err) < 0) {
        erg_top_free(&before);
        return erg_cli_fail("top", "%s", err.text);
    }
    int status = ERG_CLI_OK;
    if (r->json) {
        status = print_json(&now, &before);
    } else {
        struct screen s = {0};
        draw(&s, &now, &before);
        fwrite(s.text ? s.text : "", 1, s.len, stdout);
        free(s.text);
        status = erg_cli_end("top", status);
    }
    erg_top_free(&before);
    erg_top_free(&now);
    return status;
}

static int take(struct request *r, const char *name, const char *value) {
    bool pid = strcmp(name, "-p") == 0 || strcmp(name, "--pid") == 0;
    if (!value) {
        return erg_cli_wrong("top", "%s needs a value", name);
    }
    if (!erg_cli_number(value, 1, pid ? INT32_MAX : 3600, pid ? &r->pid : &r->interval)) {
        return erg_cli_wrong("top", "%s: '%s' is not a number of %s", name, value,
                             pid ? "a process" : "seconds, 1 to 3600");
    }
    return 0;
}

int erg_cli_top(int argc, char **argv) {
    struct request r = {.interval = 1};
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
            fputs(usage, stdout);
            return erg_cli_end("top", ERG_CLI_OK);
        }
        if (strcmp(word, "--once") == 0) {
            r.once = true;
        } else if (strcmp(word, "--json") == 0) {
            r.once = r.json = true;
        } else if (strcmp(word, "-p") == 0 || strcmp(word, "--pid") == 0 ||
                   strcmp(word, "-n") == 0 || strcmp(word, "--interval") == 0) {
            int rc = take(&r, word, i + 1 < argc ? argv[i + 1] : NULL);
            if (rc) {
                return rc;
            }
            i++;
        } else {
            return erg_cli_wrong("top", "unknown argument '%s'", word);
        }
    }
    return r.once || !isatty(STDOUT_FILENO) ? print_once(&r) : watch(&r);
}
