/* Maps: items go out in chunks, whose sizes follow what was measured (sched/balance.h). While chunks are on their way
 * and a worker is idle, the one with the most left is cut.
 *
 * A chunk that ends badly (its worker died, its time was over) costs one item: what it had finished is in its stream of
 * results, and what it had not begun is entered anew. */
#include "engine/cut.h"
#include "engine/native.h"
#include "os/clock.h"
#include "sched/balance.h"
#include "table/arena.h"
#include "table/idle.h"
#include "table/range.h"
#include "table/record.h"
#include "table/table.h"

#include <stdlib.h>
#include <string.h>

enum { GUESS_DEFAULT = 32 };
#define SLICE_NS 1000000 /* a sleep, where nothing ends it */

struct chunk {
    uint32_t index;
    uint64_t base; /* number of its first item */
    uint32_t count;
    struct chunk *next;
};

/* What a map is, and how far it is. */
struct job {
    struct native_pool *np;
    uint64_t name;
    const struct erg_task_options *options;
    const struct erg_bytes *items; /* of any length, */
    const unsigned char *array;    /* or in an array */
    uint64_t item_len, count, next;
    uint64_t guess; /* bytes a result may have */
    struct chunk *first, **last;
    uint32_t outstanding;
    struct erg_balance balance;
    /* where a result goes: called in any order of items. 0 or the error of the whole call */
    int (*keep)(struct job *job, uint64_t item, int code, const void *bytes, uint64_t len);
    void *ctx;
};

static struct erg_member *member_of(const struct job *job) {
    return erg_pool_member(job->np->pool);
}

static struct erg_table *table_of(const struct job *job) {
    return erg_pool_table(job->np->pool);
}

/* --- entering a chunk ------------------------------------------------------------------------------------------ */
static uint64_t args_len(const struct job *job, uint64_t base, uint32_t count) {
    if (!job->items)
        return sizeof(struct chunk_head) + count * NATIVE_PAD(job->item_len);
    uint64_t len = sizeof(struct chunk_head) + count * sizeof(struct chunk_span);
    for (uint32_t i = 0; i < count; i++)
        len += NATIVE_PAD(job->items[base + i].len);
    return len;
}

static void write_array(const struct job *job, unsigned char *to, uint64_t base, uint32_t count) {
    uint64_t stride = NATIVE_PAD(job->item_len);
    const unsigned char *from = job->array + base * job->item_len;
    if (stride == job->item_len) {
        erg_arena_copy(to, from, count * stride);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        memcpy(to + i * stride, from + i * job->item_len, job->item_len);
}

static void write_items(const struct job *job, unsigned char *to, uint64_t base, uint32_t count) {
    struct chunk_span *spans = (void *)to;
    unsigned char *data = to + count * sizeof *spans;
    uint64_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct erg_bytes *item = &job->items[base + i];
        spans[i] = (struct chunk_span){at, item->len};
        if (item->len > 0)
            memcpy(data + at, item->data, item->len);
        at += NATIVE_PAD(item->len);
    }
}

static void set_options(const struct job *job, struct erg_record *r) {
    const struct erg_task_options *o = job->options;
    if (!o)
        return;
    r->retries = (uint8_t)(o->retries < UINT8_MAX ? o->retries : UINT8_MAX);
    r->queue = (uint8_t)o->where;
    if (o->timeout_ns > 0) {
        r->timeout_ns = (uint64_t)o->timeout_ns;
        erg_pool_expect_timeout(job->np->pool, r->timeout_ns);
    }
}

static int fill(const struct job *job, uint32_t index, uint64_t base, uint32_t count) {
    unsigned char *args =
        erg_record_args_reserve(member_of(job), index, args_len(job, base, count));
    if (!args)
        return ERG_ENOMEM;
    struct chunk_head *head = (void *)args;
    *head = (struct chunk_head){.count = count,
                                .guess = (uint32_t)(job->guess < (1 << 16) ? job->guess : 1 << 16),
                                .item_len = job->items ? CHUNK_VARIES : job->item_len};
    if (job->items)
        write_items(job, args + sizeof *head, base, count);
    else
        write_array(job, args + sizeof *head, base, count);
    struct erg_record *r = erg_table_record(table_of(job), index);
    r->kind = ERG_KIND_CHUNK;
    r->fn = job->name;
    erg_range_set(r, 0, count);
    set_options(job, r);
    return 0;
}

static int enter(struct job *job, uint64_t base, uint32_t count, struct erg_error *err) {
    struct chunk *c = malloc(sizeof *c);
    if (!c)
        return erg_error_set(err, ERG_ENOMEM, "no memory for a chunk of a map");
    if (erg_record_new(member_of(job), &c->index) != 0) {
        free(c);
        return erg_error_set(err, ERG_EFULL,
                             "%u tasks and unreleased futures are there: release some",
                             job->np->records_max);
    }
    if (fill(job, c->index, base, count) != 0) {
        erg_record_free(member_of(job), c->index);
        free(c);
        return erg_error_set(err, ERG_ENOMEM, "no memory for the input of %u items of a map",
                             count);
    }
    c->base = base;
    c->count = count;
    c->next = NULL;
    *job->last = c;
    job->last = &c->next;
    job->outstanding++;
    erg_record_submit(member_of(job), c->index);
    return 0;
}

/* --- taking what has ended --------------------------------------------------------------------------------------- */
static struct chunk_head *head_of(const struct job *job, const struct chunk *c) {
    struct erg_record *r = erg_table_record(table_of(job), c->index);
    return (void *)erg_record_bytes(table_of(job), r, &r->args);
}

static void free_chunk(struct job *job, struct chunk *c) {
    for (uint64_t offset = head_of(job, c)->stream; offset;) {
        struct chunk_block *block = erg_table_at(table_of(job), offset);
        uint64_t next = block->next;
        erg_arena_free(member_of(job), offset);
        offset = next;
    }
    erg_record_free(member_of(job), c->index);
    free(c);
    job->outstanding--;
}

/* What became of the items of a chunk that is DONE. */
static int collect(struct job *job, const struct chunk *c, struct erg_error *err) {
    struct erg_record *r = erg_table_record(table_of(job), c->index);
    struct chunk_cursor cursor = {.table = table_of(job)};
    const struct chunk_head *head = head_of(job, c);
    uint32_t done = atomic_load(&r->ndone), end = erg_range_end(r), i = 0;
    int rc = 0;
    for (; i < done && rc == 0; i++) {
        const struct chunk_item *item = erg_native_stream_next(&cursor, head);
        rc = job->keep(job, c->base + i, item->code, item + 1, item->len);
    }
    if (rc == 0 && r->start_ns && done > 0)
        erg_balance_measure(&job->balance, done, (int64_t)(r->end_ns - r->start_ns));
    struct erg_error why = {0};
    int code = erg_native_outcome(job->np, c->index, &why);
    if (rc != 0 || code == 0 || done >= end)
        return rc;
    rc = job->keep(job, c->base + done, code, why.text, strlen(why.text));
    if (rc != 0 || done + 1 >= end)
        return rc;
    if (erg_pool_check(job->np->pool, NULL) == 0)
        return enter(job, c->base + done + 1, end - done - 1, err);
    for (i = done + 1; i < end && rc == 0; i++)
        rc = job->keep(job, c->base + i, code, why.text, strlen(why.text));
    return rc;
}

/* Takes what is done out of the list. Returns how many, or a negative erg_err. */
static int collect_done(struct job *job, struct erg_error *err) {
    int n = 0;
    for (struct chunk **at = &job->first; *at;) {
        struct chunk *c = *at;
        if (!erg_record_done(table_of(job), erg_record_handle(table_of(job), c->index))) {
            at = &c->next;
            continue;
        }
        int rc = collect(job, c, err);
        *at = c->next; /* after collect: it may have entered a chunk behind this one */
        if (!*at)
            job->last = at;
        free_chunk(job, c);
        if (rc < 0)
            return rc;
        n++;
    }
    return n;
}

/* --- waiting ------------------------------------------------------------------------------------------------------- */
static uint32_t queue_bit(const struct job *job) {
    return ERG_QUEUE_BIT(job->options ? (uint32_t)job->options->where : ERG_QUEUE_ANY);
}

/* Somebody idles for whom nothing is ready: cut the chunk that has most left. 1: cut; 0: *best says who idles and
 * *wait_ns how long to sleep; negative: erg_err. */
static int cut(struct job *job, struct erg_cut *best, int64_t *wait_ns, struct erg_error *err) {
    uint32_t from, to;
    *wait_ns = SLICE_NS;
    if (!erg_cut_wanted(best, table_of(job), queue_bit(job)))
        return 0;
    for (struct chunk *c = job->first; c; c = c->next)
        if (!erg_cut_look(best, erg_table_record(table_of(job), c->index), c))
            break;
    if (job->next < job->count)
        return 0;
    if (!erg_cut_take(best, &job->balance, &from, &to)) {
        *wait_ns = erg_cut_wait(best, &job->balance, SLICE_NS);
        return 0;
    }
    int rc = enter(job, ((struct chunk *)best->chunk)->base + from, to - from, err);
    return rc == 0 ? 1 : rc;
}

/* Until something has ended. */
static int wait_some(struct job *job, struct erg_error *err) {
    for (;;) {
        struct erg_cut best;
        int64_t wait_ns;
        int rc = collect_done(job, err);
        if (rc != 0 || !job->first)
            return rc;
        do
            rc = cut(job, &best, &wait_ns, err);
        while (rc > 0);
        if (rc < 0)
            return rc;
        rc = erg_idle_wait(member_of(job), erg_record_handle(table_of(job), job->first->index),
                           queue_bit(job), best.idle, wait_ns);
        if (rc == ERG_ECLOSED)
            return erg_error_set(err, rc, "waiting for a map: %s", erg_strerror(rc));
    }
}

/* The call failed as a whole: nothing of it may stay behind. */
static void give_up(struct job *job) {
    for (struct chunk *c = job->first; c; c = c->next)
        erg_pool_cancel(job->np->pool, erg_record_handle(table_of(job), c->index));
    while (job->first) {
        struct chunk *c = job->first;
        while (erg_record_wait(member_of(job), erg_record_handle(table_of(job), c->index), -1) ==
               ERG_EINTR)
            continue;
        job->first = c->next;
        free_chunk(job, c);
    }
}

static uint32_t workers_of(const struct job *job) {
    const struct erg_pool_spec *spec = &job->np->spec;
    enum erg_where where = job->options ? job->options->where : ERG_ANYWHERE;
    int n = (where == ERG_ON_THREAD ? 0 : spec->processes) +
            (where == ERG_ON_PROCESS ? 0 : spec->threads);
    return (uint32_t)n;
}

static uint32_t chunk_size(const struct job *job) {
    /* A limit is meant for one item. */
    if (job->options && job->options->timeout_ns > 0)
        return 1;
    return erg_balance_chunk(&job->balance, job->count - job->next);
}

static int run(struct job *job, struct erg_error *err) {
    int rc = 0;
    job->last = &job->first;
    erg_balance_init(&job->balance, workers_of(job));
    while (rc >= 0 && (job->next < job->count || job->first)) {
        if (job->next == job->count || job->outstanding >= erg_balance_ahead(&job->balance)) {
            rc = wait_some(job, err);
            continue;
        }
        uint64_t began = erg_clock_ns();
        uint32_t n = chunk_size(job);
        rc = enter(job, job->next, n, err);
        if (rc == ERG_EFULL && job->first) { /* others hold most of the records: wait for ours */
            rc = wait_some(job, err);
            continue;
        }
        if (rc == 0) {
            erg_balance_entered(&job->balance, n, args_len(job, job->next, n),
                                (int64_t)(erg_clock_ns() - began));
            job->next += n;
        }
    }
    if (rc < 0)
        give_up(job);
    return rc < 0 ? rc : 0;
}

static int prepare(struct job *job, struct erg_pool *pool, erg_function *function,
                   const struct erg_task_options *options, struct erg_error *err) {
    job->np = erg_native_of(pool);
    job->options = options;
    int rc = erg_pool_check(pool, err);
    if (rc != 0)
        return rc;
    if (options && options->after_len > 0)
        return erg_error_set(err, ERG_EINVALID,
                             "a map cannot come after futures: wait for them first");
    if (options && (options->where > ERG_ON_THREAD || workers_of(job) == 0))
        return erg_error_set(err, ERG_EINVALID,
                             "the pool has no worker of the kind the items are to run on");
    job->name = erg_native_name(job->np, function, err);
    return job->name ? 0 : err ? err->code : ERG_EINVALID;
}

/* --- arrays ---------------------------------------------------------------------------------------------------------- */
struct array_out {
    unsigned char *results;
    uint64_t result_len;
    uint64_t failed; /* lowest number of an item that failed; UINT64_MAX */
    struct erg_error why;
};

static int keep_in_array(struct job *job, uint64_t item, int code, const void *bytes,
                         uint64_t len) {
    struct array_out *out = job->ctx;
    if (code == 0 && len == out->result_len) {
        memcpy(out->results + item * len, bytes, len);
        return 0;
    }
    if (item >= out->failed)
        return 0;
    out->failed = item;
    if (code == 0)
        erg_error_set(&out->why, ERG_EINVALID,
                      "item %llu: the function's result has %llu bytes, not the %llu that results "
                      "are to have",
                      (unsigned long long)item, (unsigned long long)len,
                      (unsigned long long)out->result_len);
    else
        erg_error_set(&out->why, code, "item %llu: %.*s", (unsigned long long)item, (int)len,
                      (const char *)bytes);
    return 0;
}

int erg_map_array(struct erg_pool *pool, erg_function *function, const void *items, size_t item_len,
                  size_t count, void *results, size_t result_len,
                  const struct erg_task_options *options, struct erg_error *err) {
    struct array_out out = {.results = results, .result_len = result_len, .failed = UINT64_MAX};
    struct job job = {.array = items,
                      .item_len = item_len,
                      .count = count,
                      .guess = NATIVE_PAD(result_len),
                      .keep = keep_in_array,
                      .ctx = &out};
    int rc = prepare(&job, pool, function, options, err);
    if (rc == 0)
        rc = run(&job, err);
    if (rc == 0 && out.failed != UINT64_MAX) {
        rc = out.why.code;
        if (err)
            *err = out.why;
    }
    return rc;
}

/* --- anything ---------------------------------------------------------------------------------------------------------- */
struct erg_results {
    uint64_t count;
    uint64_t failed;
    struct {
        void *bytes;
        uint64_t len;
        int code;
    } items[];
};

static int keep_as_result(struct job *job, uint64_t item, int code, const void *bytes,
                          uint64_t len) {
    struct erg_results *r = job->ctx;
    void *copy = malloc(len ? len : 1);
    if (!copy)
        return ERG_ENOMEM;
    memcpy(copy, bytes, len);
    r->items[item].bytes = copy;
    r->items[item].len = len;
    r->items[item].code = code;
    if (code != 0 && item < r->failed)
        r->failed = item;
    return 0;
}

int erg_map(struct erg_pool *pool, erg_function *function, const struct erg_bytes *items,
            size_t count, const struct erg_task_options *options, struct erg_results **results,
            struct erg_error *err) {
    struct job job = {
        .items = items, .count = count, .guess = GUESS_DEFAULT, .keep = keep_as_result};
    *results = NULL;
    int rc = prepare(&job, pool, function, options, err);
    if (rc != 0)
        return rc;
    struct erg_results *r = calloc(1, sizeof *r + count * sizeof r->items[0]);
    if (!r)
        return erg_error_set(err, ERG_ENOMEM, "no memory for %zu results", count);
    r->count = count;
    r->failed = UINT64_MAX;
    job.ctx = r;
    rc = run(&job, err);
    if (rc != 0) {
        erg_results_free(r);
        return rc == ERG_ENOMEM ? erg_error_set(err, rc, "no memory for the results of a map") : rc;
    }
    *results = r;
    return r->failed == UINT64_MAX ? 0 : erg_results_get(r, r->failed, NULL, err);
}

int erg_results_get(const struct erg_results *r, size_t i, struct erg_bytes *result,
                    struct erg_error *err) {
    if (i >= r->count)
        return erg_error_set(err, ERG_EINVALID, "there are %llu results, not %zu",
                             (unsigned long long)r->count, i + 1);
    if (r->items[i].code != 0)
        return erg_error_set(err, r->items[i].code, "item %zu: %.*s", i, (int)r->items[i].len,
                             (const char *)r->items[i].bytes);
    if (result)
        *result = (struct erg_bytes){r->items[i].bytes, r->items[i].len};
    return 0;
}

void erg_results_free(struct erg_results *r) {
    if (!r)
        return;
    for (uint64_t i = 0; i < r->count; i++)
        free(r->items[i].bytes);
    free(r);
}
