/* What a worker does with a task of C: find the function, check its predecessors, call it, keep its result. */
#include "engine/native.h"
#include "engine/worker.h"
#include "table/claim.h"
#include "table/range.h"
#include "table/record.h"
#include "table/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RESOLVED = 256, TEXT_MAX = ERG_ERROR_TEXT_SIZE };

/* A growing buffer: results of a chunk, until all are there. */
struct buffer {
    unsigned char *bytes;
    size_t len, cap;
};

struct erg_native_worker {
    struct {
        uint64_t name;
        erg_function *function;
    } resolved[RESOLVED]; /* by offset, direct-mapped */
    struct buffer out;
};

struct erg_task {
    struct erg_native_worker *worker;
    struct erg_member *member;
    struct erg_record *record;
    uint32_t index;
    erg_handle handle;
    const erg_handle *after;
    size_t after_len;
    int in_chunk;
    size_t item_at; /* chunk: where in `out` this item's result starts */
    int failed;     /* code given to erg_task_fail */
    char text[TEXT_MAX];
};

struct erg_native_worker *erg_native_worker_new(void) {
    return calloc(1, sizeof(struct erg_native_worker));
}

void erg_native_worker_free(struct erg_native_worker *w) {
    if (w)
        free(w->out.bytes);
    free(w);
}

static int make_room(struct buffer *b, size_t more) {
    if (b->cap - b->len >= more)
        return 0;
    size_t cap = b->cap ? b->cap : 4096;
    while (cap - b->len < more) {
        if (cap > SIZE_MAX / 2)
            return ERG_ENOMEM;
        cap *= 2;
    }
    unsigned char *grown = realloc(b->bytes, cap);
    if (!grown)
        return ERG_ENOMEM;
    b->bytes = grown;
    b->cap = cap;
    return 0;
}

/* --- what the function may call ---------------------------------------------------------------------------- */
void *erg_task_result(struct erg_task *task, size_t len) {
    if (!task->in_chunk)
        return erg_record_result_reserve(task->member, task->index, len);
    struct buffer *out = &task->worker->out;
    out->len = task->item_at + sizeof(struct chunk_item);
    if (len > SIZE_MAX / 4 || make_room(out, NATIVE_PAD(len)) != 0)
        return NULL;
    ((struct chunk_item *)(void *)(out->bytes + task->item_at))->len = len;
    out->len += NATIVE_PAD(len);
    return out->bytes + task->item_at + sizeof(struct chunk_item);
}

int erg_task_fail(struct erg_task *task, int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(task->text, sizeof task->text, format, args);
    va_end(args);
    task->failed = code ? code : ERG_ETASK;
    return task->failed;
}

struct erg_bytes erg_task_after(struct erg_task *task, size_t i) {
    struct erg_bytes none = {NULL, 0};
    if (i >= task->after_len)
        return none;
    const struct erg_table *t = task->member->table;
    const struct erg_record *r = erg_table_record(t, ERG_HANDLE_INDEX(task->after[i]));
    if (r->result.len == 0)
        return none;
    return (struct erg_bytes){erg_record_bytes(t, r, &r->result), r->result.len};
}

int erg_task_stopped(const struct erg_task *task) {
    return atomic_load_explicit(&task->member->slot->cancel, memory_order_relaxed) == task->handle;
}

/* --- finding the function ------------------------------------------------------------------------------------ */
static erg_function *find(struct erg_native_worker *w, struct erg_member *m, uint64_t name,
                          struct erg_error *err) {
    size_t i = (size_t)(name >> 4) % RESOLVED;
    if (w->resolved[i].name == name)
        return w->resolved[i].function;
    erg_function *function = erg_native_resolve(erg_table_at(m->table, name), err);
    if (function) {
        w->resolved[i].name = name;
        w->resolved[i].function = function;
    }
    return function;
}

/* --- results --------------------------------------------------------------------------------------------------- */
static void fail(struct erg_task *task, int code, const char *text) {
    int32_t number = code;
    size_t len = strlen(text);
    unsigned char *to = erg_record_result_reserve(task->member, task->index, sizeof number + len);
    if (to) {
        memcpy(to, &number, sizeof number);
        memcpy(to + sizeof number, text, len);
    }
}

/* The outcome of a function that returned rc; its words are stored. */
static enum erg_outcome conclude(struct erg_task *task, int rc) {
    if (rc == 0)
        return ERG_OUT_OK;
    if (erg_task_stopped(task)) {
        int cancelled = (erg_record_state(task->record) & ERG_STATE_CANCEL) != 0;
        const char *text = cancelled ? "was cancelled while it ran" : "ran out of time and stopped";
        unsigned char *to = erg_record_result_reserve(task->member, task->index, strlen(text));
        if (to)
            memcpy(to, text, strlen(text));
        return cancelled ? ERG_OUT_CANCELLED : ERG_OUT_TIMEOUT;
    }
    if (!task->failed)
        erg_task_fail(task, rc < 0 ? rc : ERG_ETASK, "the task's function returned %d", rc);
    fail(task, task->failed, task->text);
    return ERG_OUT_ERROR;
}

/* --- single tasks ------------------------------------------------------------------------------------------------ */
/* 0, or the failure of the first predecessor that failed, which is then this task's too. */
static int check_predecessors(struct erg_task *task) {
    const struct erg_table *t = task->member->table;
    for (size_t i = 0; i < task->after_len; i++) {
        const struct erg_record *r = erg_table_record(t, ERG_HANDLE_INDEX(task->after[i]));
        enum erg_outcome outcome = erg_record_outcome(r);
        if (outcome == ERG_OUT_OK)
            continue;
        const char *words = (const char *)erg_record_bytes(t, r, &r->result);
        size_t len = r->result.len;
        int32_t code = outcome == ERG_OUT_LOST      ? ERG_ELOST
                       : outcome == ERG_OUT_TIMEOUT ? ERG_ETIMEOUT
                       : outcome == ERG_OUT_ERROR   ? ERG_ETASK
                                                    : ERG_ECANCELLED;
        if (outcome == ERG_OUT_ERROR && len >= sizeof code) {
            memcpy(&code, words, sizeof code);
            words += sizeof code;
            len -= sizeof code;
        }
        return erg_task_fail(task, code, "task %zu of those it comes after failed: %.*s", i,
                             (int)len, words);
    }
    return 0;
}

static enum erg_outcome run_call(struct erg_task *task, erg_function *function) {
    struct erg_record *r = task->record;
    unsigned char *args = erg_record_bytes(task->member->table, r, &r->args);
    size_t skip = (size_t)r->user16 * sizeof(erg_handle);
    task->after = (const erg_handle *)(const void *)args;
    task->after_len = r->user16;
    int rc = task->after_len > 0 ? check_predecessors(task) : 0;
    if (rc == 0)
        rc = function(task, args + skip, r->args.len - skip);
    return conclude(task, rc);
}

/* --- chunks ------------------------------------------------------------------------------------------------------ */
static int run_item(struct erg_task *task, erg_function *function, const void *item, size_t len) {
    struct buffer *out = &task->worker->out;
    task->item_at = out->len;
    if (make_room(out, sizeof(struct chunk_item)) != 0)
        return ERG_ENOMEM;
    out->len += sizeof(struct chunk_item);
    memset(out->bytes + task->item_at, 0, sizeof(struct chunk_item));
    task->failed = 0;
    int rc = function(task, item, len);
    if (rc != 0) {
        if (!task->failed)
            erg_task_fail(task, rc < 0 ? rc : ERG_ETASK, "the task's function returned %d", rc);
        void *to = erg_task_result(task, strlen(task->text));
        if (!to)
            return ERG_ENOMEM;
        memcpy(to, task->text, strlen(task->text));
        ((struct chunk_item *)(void *)(out->bytes + task->item_at))->code = task->failed;
    }
    return 0;
}

/* A chunk that was lost with an earlier worker starts over; only what was cut off its back is gone for good. */
static void start_over(struct erg_record *r) {
    uint64_t range = atomic_load(&r->range);
    while (!atomic_compare_exchange_weak(&r->range, &range,
                                         (range & ~(uint64_t)UINT32_MAX) | r->first))
        continue;
}

static enum erg_outcome run_chunk(struct erg_task *task, erg_function *function) {
    struct erg_record *r = task->record;
    const unsigned char *args = erg_record_bytes(task->member->table, r, &r->args);
    const struct chunk_head *head = (const void *)args;
    const uint64_t *offsets = (const void *)(head + 1);
    const unsigned char *data = (const unsigned char *)offsets;
    if (head->item_len == CHUNK_VARIES)
        data += sizeof *offsets * ((size_t)head->count + 1);
    uint32_t item;
    int rc = 0;
    task->in_chunk = 1;
    task->worker->out.len = 0;
    start_over(r);
    while (rc == 0 && erg_range_take(r, &item)) {
        if (head->item_len == CHUNK_VARIES)
            rc = run_item(task, function, data + offsets[item], offsets[item + 1] - offsets[item]);
        else
            rc = run_item(task, function, data + (size_t)item * head->item_len, head->item_len);
        if (erg_task_stopped(task))
            rc = ERG_ECANCELLED;
    }
    task->in_chunk = 0;
    struct buffer *out = &task->worker->out;
    unsigned char *to =
        rc == 0 ? erg_record_result_reserve(task->member, task->index, out->len) : NULL;
    if (to)
        memcpy(to, out->bytes, out->len);
    else if (rc == 0)
        rc = ERG_ENOMEM;
    if (rc == ERG_ENOMEM)
        erg_task_fail(task, rc, "no memory for the results of a chunk");
    return conclude(task, rc);
}

/* --- the loop's part ------------------------------------------------------------------------------------------------ */
static int run(void *ctx, struct erg_member *m, uint32_t index) {
    struct erg_record *r = erg_table_record(m->table, index);
    struct erg_task task;
    struct erg_error err;
    task.worker = ctx;
    task.member = m;
    task.record = r;
    task.index = index;
    task.handle = erg_record_handle(m->table, index);
    task.after_len = 0;
    task.in_chunk = 0;
    task.failed = 0;
    erg_function *function = find(ctx, m, r->fn, &err);
    enum erg_outcome outcome;
    if (!function) {
        fail(&task, err.code, err.text);
        outcome = ERG_OUT_ERROR;
    } else
        outcome =
            r->kind == ERG_KIND_CHUNK ? run_chunk(&task, function) : run_call(&task, function);
    erg_claim_finish(m, index, outcome);
    return 0;
}

const struct erg_worker_ops erg_native_ops = {.run = run};
