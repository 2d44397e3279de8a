/* What a worker does with a task of C: find the function, check its predecessors, call it, keep its result. */
#include "engine/native.h"
#include "engine/worker.h"
#include "table/arena.h"
#include "table/claim.h"
#include "table/range.h"
#include "table/record.h"
#include "table/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RESOLVED = 256, TEXT_MAX = ERG_ERROR_TEXT_SIZE };

struct erg_native_worker {
    struct {
        uint64_t name;
        erg_function *function;
    } resolved[RESOLVED]; /* by offset, direct-mapped */
};

struct erg_task {
    struct erg_native_worker *worker;
    struct erg_member *member;
    struct erg_record *record;
    uint32_t index;
    erg_handle handle;
    const erg_handle *after;
    size_t after_len;
    struct chunk_head *chunk; /* NULL: a single task */
    struct chunk_cursor out;  /* chunk: where this item's result goes */
    int has_result;
    int failed; /* code given to erg_task_fail */
    char text[TEXT_MAX];
};

struct erg_native_worker *erg_native_worker_new(void) {
    return calloc(1, sizeof(struct erg_native_worker));
}

void erg_native_worker_free(struct erg_native_worker *w) {
    free(w);
}

/* --- streams of results: see native.h ---------------------------------------------------------------------- */
const struct chunk_item *erg_native_stream_next(struct chunk_cursor *c,
                                                const struct chunk_head *head) {
    if (!c->block)
        c->block = erg_table_at(c->table, head->stream);
    for (;;) {
        const struct chunk_item *item = (const void *)(c->block->bytes + c->at);
        if (item->len != CHUNK_NEXT) {
            c->at += sizeof *item + NATIVE_PAD(item->len);
            return item;
        }
        c->block = erg_table_at(c->table, c->block->next);
        c->at = 0;
    }
}

/* A block with room for `need` bytes becomes the one that is written to. The last bytes of every block are kept for the
 * mark that says so. */
static int stream_block(struct erg_task *task, uint64_t need) {
    struct chunk_cursor *c = &task->out;
    uint64_t size =
        c->block ? c->block->size * 2
                 : (uint64_t)task->chunk->count * (sizeof(struct chunk_item) + task->chunk->guess);
    if (size > (1 << 20))
        size = 1 << 20;
    if (size < need)
        size = need;
    size += sizeof(struct chunk_item);
    uint64_t offset;
    if (erg_arena_alloc(task->member, sizeof(struct chunk_block) + size, &offset, NULL) != 0)
        return ERG_ENOMEM;
    struct chunk_block *block = erg_table_at(task->member->table, offset);
    block->next = 0;
    block->size = size;
    if (c->block) {
        c->block->next = offset;
        ((struct chunk_item *)(void *)(c->block->bytes + c->at))->len = CHUNK_NEXT;
    } else
        task->chunk->stream = offset;
    c->block = block;
    c->at = 0;
    return 0;
}

/* The header of an item of len bytes at the cursor, which stays in front of it. NULL: no memory. */
static struct chunk_item *stream_item(struct erg_task *task, uint64_t len) {
    struct chunk_cursor *c = &task->out;
    if (len > UINT64_MAX / 4)
        return NULL;
    uint64_t need = sizeof(struct chunk_item) + NATIVE_PAD(len);
    if (!c->block || c->block->size - c->at < need + sizeof(struct chunk_item))
        if (stream_block(task, need) != 0)
            return NULL;
    struct chunk_item *item = (void *)(c->block->bytes + c->at);
    *item = (struct chunk_item){.len = len};
    return item;
}

/* --- what the function may call ---------------------------------------------------------------------------- */
void *erg_task_result(struct erg_task *task, size_t len) {
    if (!task->chunk)
        return erg_record_result_reserve(task->member, task->index, len);
    struct chunk_item *item = stream_item(task, len);
    task->has_result = item != NULL;
    return item ? item + 1 : NULL;
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
static int run_item(struct erg_task *task, erg_function *function, const void *input, size_t len) {
    task->failed = 0;
    task->has_result = 0;
    int rc = function(task, input, len);
    if (rc != 0 && erg_task_stopped(task))
        return ERG_ECANCELLED;
    struct chunk_item *item;
    if (rc != 0) {
        if (!task->failed)
            erg_task_fail(task, rc < 0 ? rc : ERG_ETASK, "the task's function returned %d", rc);
        size_t words = strlen(task->text);
        if (!(item = stream_item(task, words)))
            return ERG_ENOMEM;
        memcpy(item + 1, task->text, words);
        item->code = task->failed;
    } else if (task->has_result) {
        item = (void *)(task->out.block->bytes + task->out.at);
    } else if (!(item = stream_item(task, 0)))
        return ERG_ENOMEM;
    task->out.at += sizeof *item + NATIVE_PAD(item->len);
    return 0;
}

/* A chunk that was lost with an earlier worker goes on behind the results that are there; the item that was being run is
 * run again. What a submitter cut off its back is gone for good. */
static void go_on(struct erg_task *task) {
    struct erg_record *r = task->record;
    uint32_t done = atomic_load(&r->ndone);
    task->out = (struct chunk_cursor){.table = task->member->table};
    if (done == 0)
        task->chunk->stream = 0;
    for (uint32_t i = 0; i < done; i++)
        erg_native_stream_next(&task->out, task->chunk);
    uint64_t next = r->first + done, range = atomic_load(&r->range);
    while (!atomic_compare_exchange_weak(&r->range, &range, (range & ~(uint64_t)UINT32_MAX) | next))
        continue;
}

static enum erg_outcome run_chunk(struct erg_task *task, erg_function *function) {
    struct erg_record *r = task->record;
    unsigned char *args = erg_record_bytes(task->member->table, r, &r->args);
    struct chunk_head *head = (void *)args;
    const struct chunk_span *spans = (const void *)(head + 1);
    const unsigned char *data = (const unsigned char *)spans;
    int varies = head->item_len == CHUNK_VARIES;
    if (varies)
        data += sizeof *spans * (size_t)head->count;
    task->chunk = head;
    go_on(task);
    uint32_t item, done = atomic_load(&r->ndone);
    int rc = 0;
    while (rc == 0 && erg_range_take(r, &item)) {
        if (varies)
            rc = run_item(task, function, data + spans[item].at, spans[item].len);
        else
            rc = run_item(task, function, data + item * NATIVE_PAD(head->item_len), head->item_len);
        if (rc == 0)
            atomic_store_explicit(&r->ndone, ++done, memory_order_release);
        if (rc == 0 && erg_task_stopped(task))
            rc = ERG_ECANCELLED;
    }
    task->chunk = NULL;
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
    task.chunk = NULL;
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
