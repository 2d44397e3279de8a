/* What tests of places share: a runtime of C functions whose payloads may travel to other hosts, agents that are this very
 * program, and pools of them.
 *
 * Payloads: a flag byte, seven of padding, the bytes; behind them, if any, references to buffers and results. A function's
 * payload has its letter instead of bytes (see run_call). A program starts with place_program(). */
#ifndef ERG_ENGINE_PLACE_TEST_KIT_H
#define ERG_ENGINE_PLACE_TEST_KIT_H

#include "engine/agent.h"
#include "engine/pool_test_kit.h"
#include "engine/worker.h"
#include "table/claim.h"
#include "table/payload.h"
#include "table/range.h"
#include "table/record.h"
#include "table/table.h"

enum { FRONT = 8 }; /* of a payload: the flag byte and padding */

static inline size_t pad8(size_t n) {
    return (n + 7) & ~(size_t)7;
}

/* --- payloads ------------------------------------------------------------------------------------------------- */
/* How long one with `len` bytes and `n` references is. */
static inline size_t payload_len(size_t len, uint32_t n) {
    return n ? FRONT + pad8(len) + n * sizeof(struct erg_ref) + 4 : FRONT + len;
}

/* Makes one at `at` (payload_len bytes); its references are zero. */
static inline struct erg_ref *payload_make(unsigned char *at, const void *bytes, size_t len,
                                           uint32_t n) {
    memset(at, 0, payload_len(len, n));
    at[0] = n ? ERG_PAYLOAD_REFS : 0;
    if (len)
        memcpy(at + FRONT, bytes, len);
    if (n)
        memcpy(at + payload_len(len, n) - 4, &n, 4);
    return (struct erg_ref *)(void *)(at + FRONT + pad8(len));
}

/* A buffer of `len` bytes, all `fill`. */
static inline int buffer_make(struct erg_member *m, struct erg_ref *ref, uint64_t len, int fill) {
    if (erg_arena_alloc(m, len, &ref->offset, NULL) < 0)
        return ERG_ENOMEM;
    ref->len = len;
    memset(erg_table_at(m->table, ref->offset), fill, len);
    return 0;
}

/* --- what workers do ------------------------------------------------------------------------------------------ */
struct order { /* the bytes of a call's arguments */
    int64_t number;
    uint32_t buffers, len; /* 'b': so many, each so long, come back */
};

static inline int give_number(struct erg_member *m, uint32_t index, int64_t number) {
    unsigned char *to = erg_record_result_reserve(m, index, payload_len(sizeof number, 0));
    if (!to)
        return ERG_OUT_LOST;
    payload_make(to, &number, sizeof number, 0);
    return ERG_OUT_OK;
}

static inline int give_buffers(struct erg_member *m, uint32_t index, const struct order *o) {
    unsigned char *to =
        erg_record_result_reserve(m, index, payload_len(sizeof o->number, o->buffers));
    if (!to)
        return ERG_OUT_LOST;
    struct erg_ref *refs = payload_make(to, &o->number, sizeof o->number, o->buffers);
    for (uint32_t i = 0; i < o->buffers; i++)
        if (buffer_make(m, &refs[i], o->len, (int)i & 0xff) < 0)
            return ERG_OUT_LOST;
    return ERG_OUT_OK;
}

/* The number of its arguments, of the objects and results it refers to, and the first and last bytes of all buffers. */
static inline int64_t add_up(struct erg_table *t, const unsigned char *bytes, size_t len) {
    int64_t sum;
    uint32_t n;
    memcpy(&sum, bytes + FRONT, sizeof sum);
    struct erg_ref *refs = erg_payload_refs(bytes, len, &n);
    for (uint32_t i = 0; i < n; i++) {
        const unsigned char *b = erg_table_at(t, refs[i].offset);
        if (erg_ref_is_buffer(&refs[i])) {
            sum += b[0] + b[refs[i].len - 1];
        } else if (atomic_load(&refs[i].flags) & ERG_REF_BLOB) {
            const struct erg_blob_head *head = erg_table_at(t, refs[i].offset);
            sum += add_up(t, erg_table_at(t, head->offset), (size_t)head->len);
        } else {
            struct erg_record *r = erg_table_record(t, ERG_HANDLE_INDEX(refs[i].offset));
            sum += add_up(t, erg_record_bytes(t, r, &r->result), r->result.len);
        }
    }
    return sum;
}

static inline enum erg_outcome run_call(struct erg_member *m, uint32_t index, int letter) {
    struct erg_record *r = erg_table_record(m->table, index);
    unsigned char *args = erg_record_bytes(m->table, r, &r->args);
    struct order o;
    memcpy(&o, args + FRONT, sizeof o);
    switch (letter) {
    case '+':
        return (enum erg_outcome)give_number(m, index, add_up(m->table, args, r->args.len));
    case 'n': /* after a nap */
        doze(o.number);
        /* fallthrough */
    case 'b':
        return (enum erg_outcome)give_buffers(m, index, &o);
    case 'i':
        return (enum erg_outcome)give_number(m, index, (int64_t)m->table->header->init_len);
    case 'p':
        return (enum erg_outcome)give_number(m, index, getppid());
    case 'd': /* deaf as well */
        signal(SIGTERM, SIG_IGN);
        /* fallthrough */
    case 's':
        doze(o.number);
        return (enum erg_outcome)give_number(m, index, o.number);
    default:
        raise(SIGKILL);
        return ERG_OUT_LOST;
    }
}

/* Each item's result is its number, an atom of four bytes. */
static inline enum erg_outcome run_chunk(struct erg_member *m, uint32_t index, int letter) {
    struct erg_record *r = erg_table_record(m->table, index);
    uint32_t most = erg_range_end(r) - r->first, item;
    uint64_t offset;
    if (erg_arena_alloc(m, sizeof(struct erg_stream_block) + most * 6 + 1, &offset, NULL) < 0)
        return ERG_OUT_LOST;
    struct erg_stream_block *b = erg_table_at(m->table, offset);
    b->next = 0;
    b->size = most * 6 + 1;
    atomic_init(&b->used, 0);
    r->fn = offset;
    r->user8 = ERG_USER8_STREAM;
    for (char *to = b->data; erg_range_take(r, &item); to += 6) {
        if (letter == 's')
            doze(MS);
        to[0] = ERG_ITEM_ATOM;
        to[1] = 4;
        memcpy(to + 2, &item, 4);
        atomic_fetch_add(&b->used, 6);
        atomic_fetch_add(&r->ndone, 1);
    }
    return ERG_OUT_OK;
}

static inline int run_any(void *ctx, struct erg_member *m, uint32_t index) {
    struct erg_record *r = erg_table_record(m->table, index);
    const struct erg_fn_head *fn = erg_table_at(m->table, r->fn);
    int letter = fn->payload[FRONT];
    (void)ctx;
    erg_claim_finish(m, index,
                     r->kind == ERG_KIND_CHUNK ? run_chunk(m, index, letter)
                                               : run_call(m, index, letter));
    return 0;
}

/* --- what this program may be ---------------------------------------------------------------------------------- */
static char place_self[512];
static char *place_zygote[] = {place_self, (char[]){"--place-zygote"}, NULL};
static struct erg_runtime place_runtime = {.name = "letters", .zygote_argv = place_zygote};

static inline pid_t place_fork(void *ctx) {
    (void)ctx;
    return fork();
}

static inline int place_zygote_main(void) {
    static const struct erg_worker_ops ops = {.run = run_any};
    struct erg_worker_start start;
    if (erg_zygote_serve(ERG_ZYGOTE_FD, place_fork, NULL, &start, NULL) != 1)
        return 0;
    return erg_worker_process_main(&start, &ops, NULL);
}

/* An agent over stdin and stdout. deaf: it reads nothing, but goes on. */
static inline int place_agent_main(int deaf, uint64_t arena_bytes) {
    struct erg_agent_config config = {.runtime = &place_runtime,
                                      .tag = "letters",
                                      .python = "C",
                                      .one_link = 1,
                                      .arena_bytes = arena_bytes};
    struct erg_agent *agent;
    signal(SIGPIPE, SIG_IGN);
    int in = fcntl(0, F_DUPFD_CLOEXEC, 3), out = fcntl(1, F_DUPFD_CLOEXEC, 3);
    dup2(2, 1);
    if (write(out, "ERGON1 ready\n", 13) != 13 || erg_agent_new(&config, &agent, NULL) < 0)
        return 1;
    if (deaf) { /* stdin is closed, stdout stays */
        close(0);
        close(in);
        for (int i = 0; i < 200; i++)
            doze(100 * MS);
        return 0;
    }
    close(0);
    open("/dev/null", O_RDONLY);
    erg_agent_attach(agent, in, out, NULL, NULL);
    int rc = erg_agent_run(agent, NULL);
    erg_agent_free(agent);
    return rc == 0 ? 0 : 1;
}

/* At the top of main. */
static inline void place_program(int argc, char **argv) {
    ssize_t n = readlink("/proc/self/exe", place_self, sizeof place_self - 1);
    place_self[n > 0 ? n : 0] = '\0';
    if (argc == 2 && strcmp(argv[1], "--place-zygote") == 0)
        _exit(place_zygote_main());
    if (argc == 2 && strcmp(argv[1], "--place-agent") == 0)
        _exit(place_agent_main(0, 0));
    if (argc == 2 && strcmp(argv[1], "--place-small") == 0)
        _exit(place_agent_main(0, (uint64_t)128 << 20));
    if (argc == 2 && strcmp(argv[1], "--place-deaf") == 0)
        _exit(place_agent_main(1, 0));
}

/* --- pools and tasks -------------------------------------------------------------------------------------------- */
enum { PLACES_MAX = 4 };
static int64_t place_reconnect_ns = 20000 * MS; /* and the first wait for what was lost */

struct places {
    struct erg_engine *engine;
    struct erg_pool *pool;
    struct erg_table *t;
    struct erg_member *m;
    uint64_t uids;
    /* to be set before it is opened */
    uint64_t arena_bytes;
    size_t init_len; /* of start-up words for workers there */
    uint16_t port; /* the first of some that agents may listen on for each other; 0: they do not */
};

/* A pool of agents that are started with these arguments, and so many local workers. */
static inline void places_open(struct places *s, int processes, const char *const *arguments,
                               int n) {
    struct erg_place_spec specs[PLACES_MAX];
    static const char *const names[PLACES_MAX] = {"exec:a", "exec:b", "exec:c", "exec:d"};
    char *argv[PLACES_MAX][3];
    *s = (struct places){.arena_bytes = s->arena_bytes, .init_len = s->init_len, .port = s->port};
    char *init = calloc(1, s->init_len + 1);
    memset(specs, 0, sizeof specs);
    for (int i = 0; i < n; i++) {
        argv[i][0] = place_self;
        argv[i][1] = (char *)arguments[i];
        argv[i][2] = NULL;
        specs[i].name = names[i];
        specs[i].slots = 2;
        specs[i].init = init;
        specs[i].init_len = s->init_len;
        specs[i].tag = "letters";
        specs[i].reach = (struct erg_reach_spec){.kind = ERG_REACH_EXEC, .argv = argv[i]};
        specs[i].reconnect_ns = place_reconnect_ns;
        specs[i].port_low = s->port;
        specs[i].port_high = s->port ? (uint16_t)(s->port + 50) : 0;
    }
    struct erg_pool_spec spec = {.processes = processes, .places = specs, .places_len = n};
    spec.arena_bytes = s->arena_bytes;
    assert_int_equal(erg_engine_new(&s->engine, &err), 0);
    if (erg_pool_open(s->engine, &place_runtime, &spec, &s->pool, &err) != 0)
        fail_msg("%s", err.text);
    free(init);
    s->t = erg_pool_table(s->pool);
    s->m = erg_pool_member(s->pool);
}

static inline void places_up(struct places *s, int workers) {
    if (erg_pool_wait_up(s->pool, workers, 60000 * MS, &err) != 0)
        fail_msg("%s", err.text);
}

static inline enum erg_place_state place_state(struct places *s, int which,
                                               struct erg_place_info *info) {
    struct erg_place_info all[PLACES_MAX];
    assert_true(erg_pool_places(s->pool, all, PLACES_MAX) > which);
    *info = all[which];
    return info->state;
}

static inline void places_close(struct places *s) {
    assert_int_equal(erg_pool_close(s->pool), 0);
    if (erg_pool_join(s->pool, 60000 * MS, &err) != 0)
        fail_msg("%s", err.text);
    erg_engine_free(s->engine);
}

static inline uint64_t function(struct places *s, char letter) {
    uint64_t offset;
    assert_int_equal(erg_arena_alloc(s->m, sizeof(struct erg_fn_head) + FRONT + 1, &offset, &err),
                     0);
    struct erg_fn_head *fn = erg_table_at(s->t, offset);
    memset((void *)fn, 0, sizeof *fn);
    fn->uid = ++s->uids;
    fn->len = FRONT + 1;
    payload_make((unsigned char *)fn->payload, &letter, 1, 0);
    return offset;
}

/* A task with the order, `buffers` of `len` bytes, and the results of `after` (n of them) as its arguments; not
 * submitted yet. */
static inline uint32_t task_make(struct places *s, uint64_t fn, const struct order *o,
                                 uint32_t buffers, uint64_t len, const erg_handle *after,
                                 uint32_t n) {
    uint32_t index;
    assert_int_equal(erg_record_new(s->m, &index), 0);
    unsigned char *to = erg_record_args_reserve(s->m, index, payload_len(sizeof *o, buffers + n));
    assert_non_null(to);
    struct erg_ref *refs = payload_make(to, o, sizeof *o, buffers + n);
    for (uint32_t i = 0; i < buffers; i++)
        assert_int_equal(buffer_make(s->m, &refs[i], len, (int)i & 0xff), 0);
    for (uint32_t i = 0; i < n; i++) {
        refs[buffers + i].offset = after[i];
        atomic_init(&refs[buffers + i].flags, ERG_REF_TASK | ERG_REF_TAKEN);
        assert_true(erg_record_after(s->m, index, after[i]) >= 0);
    }
    erg_table_record(s->t, index)->fn = fn;
    return index;
}

static inline erg_handle task_go(struct places *s, uint32_t index) {
    erg_handle task = erg_record_handle(s->t, index);
    erg_record_submit(s->m, index);
    return task;
}

static inline enum erg_outcome task_wait(struct places *s, erg_handle task) {
    int rc;
    while ((rc = erg_record_wait(s->m, task, 60000 * MS)) == ERG_EINTR)
        continue;
    assert_int_equal(rc, 0);
    return erg_record_outcome(erg_table_record(s->t, ERG_HANDLE_INDEX(task)));
}

/* The words of one that failed. */
static inline const char *task_words(struct places *s, erg_handle task) {
    static char text[1024];
    struct erg_record *r = erg_table_record(s->t, ERG_HANDLE_INDEX(task));
    snprintf(text, sizeof text, "%.*s", (int)r->result.len,
             (const char *)erg_record_bytes(s->t, r, &r->result));
    return text;
}

static inline void task_free(struct places *s, erg_handle task) {
    uint32_t index = ERG_HANDLE_INDEX(task);
    struct erg_record *r = erg_table_record(s->t, index);
    enum erg_outcome outcome = erg_record_outcome(r);
    erg_payload_free_refs(s->m, erg_record_bytes(s->t, r, &r->args), r->args.len);
    if (r->kind == ERG_KIND_CHUNK && r->user8 == ERG_USER8_STREAM)
        erg_stream_free(s->m, r->fn);
    else if (r->result.len && (outcome == ERG_OUT_OK || outcome == ERG_OUT_ERROR))
        erg_payload_free_refs(s->m, erg_record_bytes(s->t, r, &r->result), r->result.len);
    erg_record_free(s->m, index);
}

/* The number a task returned; it stays. */
static inline int64_t task_number(struct places *s, erg_handle task) {
    int64_t number;
    enum erg_outcome outcome = task_wait(s, task);
    struct erg_record *r = erg_table_record(s->t, ERG_HANDLE_INDEX(task));
    if (outcome != ERG_OUT_OK)
        fail_msg("outcome %d: %s", outcome, task_words(s, task));
    assert_true(r->result.len >= FRONT + sizeof number);
    memcpy(&number, erg_record_bytes(s->t, r, &r->result) + FRONT, sizeof number);
    return number;
}

static inline int64_t task_end(struct places *s, erg_handle task) {
    int64_t number = task_number(s, task);
    task_free(s, task);
    return number;
}

static inline erg_handle chunk_go(struct places *s, uint64_t fn, uint32_t from, uint32_t to) {
    struct order o = {0};
    uint32_t index = task_make(s, fn, &o, 0, 0, NULL, 0);
    struct erg_record *r = erg_table_record(s->t, index);
    r->kind = ERG_KIND_CHUNK;
    erg_range_set(r, from, to);
    return task_go(s, index);
}

/* The items of a chunk that is done: each once, in order; how many. */
static inline uint32_t chunk_check(struct places *s, erg_handle task) {
    struct erg_record *r = erg_table_record(s->t, ERG_HANDLE_INDEX(task));
    uint32_t n = 0;
    for (uint64_t at = r->user8 == ERG_USER8_STREAM ? r->fn : 0; at;) {
        const struct erg_stream_block *b = erg_table_at(s->t, at);
        struct erg_item item;
        for (size_t pos = 0; erg_item_at(b, pos, &item) == 1; pos = item.next, n++) {
            uint32_t number;
            assert_int_equal(item.len, 4);
            memcpy(&number, b->data + item.at, 4);
            assert_int_equal(number, r->first + n);
        }
        at = b->next;
    }
    assert_int_equal(n, atomic_load(&r->ndone));
    return n;
}

#endif
