/* What an agent does with what its client sends: functions and objects are put into its table until they are dropped,
 * tasks are entered, results go back. The client's ids are the names of everything; here they lead to offsets and
 * records. */
#include "engine/agent_inside.h"
#include "engine/agent_peer.h"
#include "table/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Results from this size on stay where they were made until somebody needs them: smaller ones take less time to send
 * than to ask for. At most a part of the memory is kept for them. */
enum { KEEP_LEAST = 64 << 10, KEEP_SHARE = 4 };

/* In the place of what was sent and not kept, because there was no room for it: who needs it is refused. */
#define NO_ROOM UINT64_MAX

static int strange(struct erg_error *err, const char *what) {
    return erg_error_set(err, ERG_EPROTOCOL, "the client names %s it never sent", what);
}

static int no_room(struct erg_error *err, const char *what) {
    return erg_error_set(err, ERG_ENOMEM, "there was no room for %s", what);
}

/* --- out: results ----------------------------------------------------------------------------------------------- */

/* Everything its result was sent with has gone: the record is free. */
static void forget(struct erg_agent *a, uint32_t index) {
    struct erg_record *r = erg_table_record(a->table, index);
    enum erg_outcome outcome = erg_record_outcome(r);
    if (r->args.len)
        erg_payload_free_refs(a->m, erg_record_bytes(a->table, r, &r->args), r->args.len);
    if (r->kind == ERG_KIND_CHUNK && r->user8 == ERG_USER8_STREAM)
        erg_stream_free(a->m, r->fn);
    else if (r->result.len && (outcome == ERG_OUT_OK || outcome == ERG_OUT_ERROR))
        erg_payload_free_refs(a->m, erg_record_bytes(a->table, r, &r->result), r->result.len);
    erg_record_free(a->m, index);
}

static void released(void *ctx, void *user) {
    struct erg_agent *a = ctx;
    uint32_t index = (uint32_t)(uintptr_t)user;
    if (--a->tasks[index].messages == 0 && !a->tasks[index].kept)
        forget(a, index);
}

static void send_result(struct erg_agent *a, uint32_t index, enum erg_lane lane,
                        const struct erg_msg_result *m, const struct erg_parcel_out *out) {
    unsigned char few[512], *head = few;
    size_t most = erg_msg_result_size(m);
    if (most > sizeof few && !(head = malloc(most)))
        return; /* its client will miss it; there is nobody to tell without memory */
    size_t len = erg_msg_result_encode(m, head);
    erg_session_send(a->session, lane, ERG_MSG_RESULT, head, len, out ? out->pieces : NULL,
                     out ? out->n : 0, released, a, (void *)(uintptr_t)index);
    if (head != few)
        free(head);
}

static enum erg_lane lane_for(uint64_t bytes) {
    return bytes > ERG_SESSION_COPY_MAX ? ERG_LANE_BULK : ERG_LANE_FIRST;
}

/* The outcome's words stand in the result as plain text. */
static void words_out(struct erg_agent *a, const struct erg_record *r, struct erg_parcel_out *out) {
    memset(&out->payload, 0, sizeof out->payload);
    out->pieces = out->few_pieces;
    out->entries = out->few_entries;
    out->n = 1;
    out->pieces[0] = (struct iovec){erg_record_bytes(a->table, r, &r->result), r->result.len};
    out->payload.stream_len = out->payload.data_len = r->result.len;
}

/* It cannot be sent: its client is told so instead. */
static void lost_out(struct erg_msg_result *m, struct erg_parcel_out *out) {
    static char words[] = "there was no memory to send its result";
    memset(&out->payload, 0, sizeof out->payload);
    out->pieces = out->few_pieces;
    out->entries = out->few_entries;
    out->n = 1;
    out->pieces[0] = (struct iovec){words, sizeof words - 1};
    out->payload.stream_len = out->payload.data_len = sizeof words - 1;
    m->outcome = ERG_OUT_LOST;
}

/* A large result that nobody waits for stays, as long as there is room. 1: it does, and the client is told how large
 * it is. */
static int keep(struct erg_agent *a, uint32_t index, struct erg_msg_result *m) {
    struct erg_record *r = erg_table_record(a->table, index);
    struct agent_task *task = &a->tasks[index];
    uint64_t known;
    if (!task->hold || m->outcome != ERG_OUT_OK || r->result.len == 0)
        return 0;
    uint64_t bytes =
        erg_payload_size(erg_record_bytes(a->table, r, &r->result), (size_t)r->result.len);
    if (bytes < KEEP_LEAST || a->kept_bytes + bytes > a->table->header->memory / KEEP_SHARE ||
        erg_map_get(&a->values, task->id, &known) || erg_map_set(&a->values, task->id, index) < 0)
        return 0;
    if (r->args.len)
        erg_payload_free_refs(a->m, erg_record_bytes(a->table, r, &r->args), r->args.len);
    r->args.len = 0;
    task->kept = 1;
    task->bytes = bytes;
    a->kept_bytes += bytes;
    m->flags = ERG_RESULT_HELD;
    m->bytes = bytes;
    return 1;
}

static void send_call(struct erg_agent *a, uint32_t index, struct erg_msg_result *m) {
    struct erg_record *r = erg_table_record(a->table, index);
    struct erg_parcel_out out;
    int is_payload = m->outcome == ERG_OUT_OK || m->outcome == ERG_OUT_ERROR;
    a->tasks[index].messages = 1;
    if (keep(a, index, m)) {
        send_result(a, index, ERG_LANE_FIRST, m, NULL);
        return;
    }
    if (!is_payload || r->result.len == 0)
        words_out(a, r, &out);
    else if (erg_parcel_pack(a->table, erg_record_bytes(a->table, r, &r->result), r->result.len,
                             NULL, NULL, &out) < 0)
        lost_out(m, &out);
    m->payload = out.payload;
    m->bytes = out.payload.data_len;
    send_result(a, index, lane_for(m->bytes), m, &out);
    erg_parcel_out_fini(&out);
}

static uint32_t count_blocks(struct erg_agent *a, uint64_t at, uint64_t *bytes) {
    uint32_t n = 0;
    for (; at; n++) {
        const struct erg_stream_block *b = erg_table_at(a->table, at);
        *bytes += atomic_load(&((struct erg_stream_block *)b)->used);
        struct erg_item item;
        for (size_t pos = 0; erg_item_at(b, pos, &item) == 1; pos = item.next)
            if (item.kind != ERG_ITEM_ATOM)
                *bytes += erg_payload_size(b->data + item.at, item.len) - item.len;
        at = b->next;
    }
    return n;
}

/* One message for each block of results; the last one says how it ended, and has the words if it went wrong. */
static void send_chunk(struct erg_agent *a, uint32_t index, struct erg_msg_result *m) {
    struct erg_record *r = erg_table_record(a->table, index);
    uint64_t at = r->user8 == ERG_USER8_STREAM ? r->fn : 0, bytes = 0;
    uint32_t blocks = count_blocks(a, at, &bytes), ndone = atomic_load(&r->ndone);
    uint32_t next = (uint32_t)atomic_load(&r->range), done = 0, outcome = m->outcome;
    int words_last = outcome != ERG_OUT_OK;
    enum erg_lane lane = lane_for(bytes);
    struct erg_parcel_out out;
    a->tasks[index].messages = blocks + (words_last || blocks == 0);
    for (uint32_t i = 0; i < blocks; i++) {
        const struct erg_stream_block *b = erg_table_at(a->table, at);
        int last = i + 1 == blocks && !words_last;
        at = b->next;
        if (erg_parcel_pack_items(a->table, b, &out, &m->count) < 0)
            words_out(a, r, &out), m->count = 0;
        m->flags = last ? 0 : ERG_RESULT_PARTIAL;
        m->first = last ? next : r->first + done;
        done += m->count;
        m->payload = out.payload;
        m->bytes = out.payload.data_len;
        send_result(a, index, lane, m, &out);
        erg_parcel_out_fini(&out);
    }
    if (!words_last && blocks > 0)
        return;
    words_out(a, r, &out);
    m->flags = 0;
    m->first = next;
    m->count = 0;
    m->payload = out.payload;
    m->bytes = out.payload.data_len;
    (void)ndone;
    send_result(a, index, lane, m, &out);
}

static void send_done(struct erg_agent *a, uint32_t index) {
    struct erg_record *r = erg_table_record(a->table, index);
    uint64_t unused;
    struct agent_task *task = &a->tasks[index];
    erg_map_take(&a->by_id, task->id, &unused);
    struct erg_msg_result m = {.id = task->id,
                               .outcome = (uint8_t)erg_record_outcome(r),
                               .worker = (uint16_t)ERG_STATE_RUNNER(erg_record_state(r)),
                               .begin_ns = r->start_ns};
    m.run_ns = r->start_ns && r->end_ns > r->start_ns ? r->end_ns - r->start_ns : 0;
    if (task->wanted && m.outcome == ERG_OUT_CANCELLED) {
        unsigned char head[64];
        struct erg_msg_ids ids = {.n = 1, .ids = &task->id};
        size_t len = erg_msg_ids_encode(&ids, head);
        erg_session_send(a->session, ERG_LANE_FIRST, ERG_MSG_RETURNED, head, len, NULL, 0, NULL,
                         NULL, NULL);
        forget(a, index);
    } else if (r->kind == ERG_KIND_CHUNK) {
        send_chunk(a, index, &m);
    } else {
        send_call(a, index, &m);
    }
}

/* A result that is here, made or sent, as VALUE. ERG_ENOTFOUND: there is none (any more). */
static int give_value(struct erg_agent *a, struct erg_session *to, uint64_t id) {
    struct erg_parcel_out out;
    uint64_t index;
    if (!erg_map_get(&a->values, id, &index) || index == NO_ROOM)
        return ERG_ENOTFOUND;
    struct erg_record *r = erg_table_record(a->table, (uint32_t)index);
    if (erg_record_outcome(r) != ERG_OUT_OK ||
        erg_parcel_pack(a->table, erg_record_bytes(a->table, r, &r->result), r->result.len, NULL,
                        NULL, &out) < 0)
        return ERG_ENOTFOUND;
    struct erg_msg_value m = {.id = id, .outcome = ERG_OUT_OK, .payload = out.payload};
    unsigned char *head = malloc(erg_msg_value_size(&m));
    int code = ERG_ENOMEM;
    a->tasks[index].messages++;
    if (head)
        code = erg_session_send(to, lane_for(out.payload.data_len), ERG_MSG_VALUE, head,
                                erg_msg_value_encode(&m, head), out.pieces, out.n, released, a,
                                (void *)(uintptr_t)index);
    if (code < 0)
        a->tasks[index].messages--;
    free(head);
    erg_parcel_out_fini(&out);
    return code;
}

/* The client wants it. What is not there (any more) is said to be NONE. */
static int send_value(struct erg_agent *a, uint64_t id) {
    int code = give_value(a, a->session, id);
    if (code != ERG_ENOTFOUND)
        return code;
    struct erg_msg_value m = {.id = id, .outcome = ERG_OUT_NONE};
    unsigned char head[128];
    return erg_session_send(a->session, ERG_LANE_FIRST, ERG_MSG_VALUE, head,
                            erg_msg_value_encode(&m, head), NULL, 0, NULL, NULL, NULL);
}

static void sweep_blobs(struct erg_agent *a);

/* While an object is being sent, our own mark in its head keeps it. */
static void given(void *ctx, void *user) {
    struct erg_agent *a = ctx;
    uint64_t offset = (uintptr_t)user, n = 1;
    erg_map_take(&a->giving, offset, &n);
    if (n > 1 && erg_map_set(&a->giving, offset, n - 1) == 0)
        return;
    struct erg_blob_head *head = erg_table_at(a->table, offset);
    atomic_store_explicit(&head->held[a->m->number], 0, memory_order_release);
    sweep_blobs(a);
}

/* An object as BLOB. ERG_ENOTFOUND as well when it refers to others. */
static int give_blob(struct erg_agent *a, struct erg_session *to, uint64_t uid) {
    struct erg_parcel_out out;
    uint64_t offset, n = 0;
    if (!erg_map_get(&a->blobs, uid, &offset) || offset == NO_ROOM)
        return ERG_ENOTFOUND;
    struct erg_blob_head *head = erg_table_at(a->table, offset);
    if (erg_parcel_pack(a->table, erg_table_at(a->table, head->offset), (size_t)head->len, NULL,
                        NULL, &out) < 0)
        return ERG_ENOTFOUND;
    struct erg_msg_blob m = {.uid = uid, .fresh = head->fresh, .payload = out.payload};
    unsigned char *bytes = malloc(erg_msg_blob_size(&m));
    int code = ERG_ENOMEM;
    erg_map_get(&a->giving, offset, &n);
    if (bytes)
        code = erg_map_set(&a->giving, offset, n + 1);
    if (code == 0) {
        uint32_t serial = atomic_load(&a->m->slot->serial);
        atomic_store_explicit(&head->held[a->m->number], serial * 2 + 1, memory_order_release);
        code = erg_session_send(to, lane_for(out.payload.data_len), ERG_MSG_BLOB, bytes,
                                erg_msg_blob_encode(&m, bytes), out.pieces, out.n, given, a,
                                (void *)(uintptr_t)offset);
        if (code < 0)
            given(a, (void *)(uintptr_t)offset);
    }
    free(bytes);
    erg_parcel_out_fini(&out);
    return code;
}

int erg_agent_give(struct erg_agent *a, struct erg_session *to, uint32_t kind, uint64_t id) {
    return kind == ERG_DROP_VALUE ? give_value(a, to, id) : give_blob(a, to, id);
}

int erg_agent_has(struct erg_agent *a, uint32_t kind, uint64_t id) {
    uint64_t found;
    return erg_map_get(kind == ERG_DROP_VALUE ? &a->values : &a->blobs, id, &found);
}

void erg_agent_on_complete(void *ctx, const erg_handle *tasks, size_t n) {
    struct erg_agent *a = ctx;
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < n && !a->closing; i++)
        send_done(a, ERG_HANDLE_INDEX(tasks[i]));
    struct erg_error err;
    int was_blocked = a->io.blocked;
    int code = erg_linkio_up(&a->io) ? erg_linkio_flush(&a->io, &err) : 0;
    int look = code < 0 || (a->io.blocked && !was_blocked);
    pthread_mutex_unlock(&a->lock);
    if (look) { /* the other thread sees to the link */
        uint64_t one = 1;
        ssize_t rc = write(a->bell, &one, sizeof one);
        (void)rc;
    }
}

/* --- in: functions, objects, values ----------------------------------------------------------------------------- */

static uint64_t put_string(struct erg_agent *a, struct erg_text text) {
    uint64_t offset = 0;
    if (text.len == 0 ||
        erg_arena_alloc(a->m, sizeof(struct erg_string) + text.len, &offset, NULL) < 0)
        return 0;
    struct erg_string *s = erg_table_at(a->table, offset);
    s->len = text.len;
    memcpy(s->bytes, text.bytes, text.len);
    return offset;
}

static void drop_func(struct erg_agent *a, uint64_t uid) {
    uint64_t offset;
    if (!erg_map_take(&a->funcs, uid, &offset) || offset == NO_ROOM)
        return;
    struct erg_fn_head *head = erg_table_at(a->table, offset);
    erg_payload_free_refs(a->m, head->payload, head->len);
    erg_arena_free(a->m, head->path); /* its name stays: what happened is told with it */
    erg_arena_free(a->m, offset);
}

static void drop_blob(struct erg_agent *a, uint64_t uid) {
    uint64_t offset;
    if (!erg_map_take(&a->blobs, uid, &offset) || offset == NO_ROOM)
        return;
    struct erg_blob_head *head = erg_table_at(a->table, offset);
    atomic_store_explicit(&head->dead, 1, memory_order_release);
    if (!erg_blob_held(a->table, offset) || erg_map_set(&a->dropped, offset, 0) < 0)
        erg_blob_free(a->m, offset);
}

/* Objects that were dropped while workers still had views of them. */
static void sweep_blobs(struct erg_agent *a) {
    struct erg_map_cell cell;
    uint64_t unused;
    for (size_t at = 0; erg_map_next(&a->dropped, &at, &cell);) {
        if (erg_blob_held(a->table, cell.key))
            continue;
        erg_map_take(&a->dropped, cell.key, &unused);
        erg_blob_free(a->m, cell.key);
        at = 0;
    }
}

static void drop_value(struct erg_agent *a, uint64_t id) {
    uint64_t index;
    if (!erg_map_take(&a->values, id, &index) || index == NO_ROOM)
        return;
    struct agent_task *task = &a->tasks[index];
    a->kept_bytes -= task->bytes;
    task->bytes = 0;
    task->kept = 0;
    if (task->messages == 0) /* else when the last of them has gone */
        forget(a, (uint32_t)index);
}

static void drop(struct erg_agent *a, const struct erg_msg_ids *ids) {
    for (uint32_t i = 0; i < ids->n; i++) {
        uint64_t id = erg_msg_id(ids, i);
        if (ids->what == ERG_DROP_FUNC)
            drop_func(a, id);
        else if (ids->what == ERG_DROP_BLOB)
            drop_blob(a, id);
        else if (ids->what == ERG_DROP_VALUE)
            drop_value(a, id);
    }
    sweep_blobs(a);
}

static int find_ref(void *ctx, const struct erg_entry *entry, struct erg_ref *ref,
                    struct erg_error *err) {
    struct erg_agent *a = ctx;
    uint64_t found;
    if (entry->kind == ERG_ENTRY_BLOB) {
        if (!erg_map_get(&a->blobs, entry->id, &found))
            return strange(err, "an object");
        if (found == NO_ROOM)
            return no_room(err, "an object it takes");
        ref->offset = found;
        return 0;
    }
    if (!erg_map_get(&a->values, entry->id, &found))
        return strange(err, "a result");
    if (found == NO_ROOM)
        return no_room(err, "a result it takes");
    ref->offset = erg_record_handle(a->table, (uint32_t)found);
    return 0;
}

/* A payload that comes in: what it is of stands in the head, which is decoded again when it is there. */
struct arriving {
    struct erg_agent *agent;
    uint32_t index; /* TASK, VALUE: the record; else ERG_NIL */
    int refused;    /* there was no room for it: the parcel leads nowhere, and `why` says so */
    struct erg_error why;
    struct erg_parcel parcel;
};

union payload_message {
    struct erg_msg_func func;
    struct erg_msg_blob blob;
    struct erg_msg_value value;
    struct erg_msg_task task;
};

static int decode(uint16_t type, const unsigned char *bytes, size_t len, int whole,
                  uint64_t data_len, union payload_message *m, struct erg_msg_payload **payload,
                  struct erg_error *err) {
    switch (type) {
    case ERG_MSG_FUNC:
        *payload = &m->func.payload;
        return erg_msg_func_decode(bytes, len, whole, data_len, &m->func, err);
    case ERG_MSG_BLOB:
        *payload = &m->blob.payload;
        return erg_msg_blob_decode(bytes, len, whole, data_len, &m->blob, err);
    case ERG_MSG_VALUE:
        *payload = &m->value.payload;
        return erg_msg_value_decode(bytes, len, whole, data_len, &m->value, err);
    case ERG_MSG_TASK:
        *payload = &m->task.args;
        return erg_msg_task_decode(bytes, len, whole, data_len, &m->task, err);
    default:
        return erg_error_set(err, ERG_EPROTOCOL, "a client does not send %s",
                             erg_message_name(type));
    }
}

/* Room for what comes: the parcel is open, and the record (if it needs one) is there. */
static int open_arriving(struct erg_agent *a, uint16_t type, const struct erg_msg_payload *payload,
                         struct arriving *in, struct erg_error *err) {
    size_t front = type == ERG_MSG_FUNC ? sizeof(struct erg_fn_head) : 0;
    unsigned char *here = NULL;
    in->agent = a;
    in->index = ERG_NIL;
    in->refused = 0;
    if (a->stage != AGENT_READY && a->stage != AGENT_OPENING)
        return erg_error_set(err, ERG_EPROTOCOL, "the client sends %s before it said what it wants",
                             erg_message_name(type));
    if (type == ERG_MSG_TASK || type == ERG_MSG_VALUE) {
        int code = erg_record_new(a->m, &in->index);
        if (code < 0)
            return erg_error_set(err, ERG_ENOMEM, "it has as many tasks as it can hold");
        here = erg_table_record(a->table, in->index)->inline_bytes;
    }
    int code = erg_parcel_open(a->m, payload, front, here, ERG_INLINE_BYTES, find_ref, a,
                               &in->parcel, err);
    if (code < 0 && in->index != ERG_NIL)
        erg_record_free(a->m, in->index);
    return code;
}

/* No room for a task: it fails, and nothing else does. What tasks need is remembered as missing. */
static int refuse(struct erg_agent *a, uint16_t type, const union payload_message *m,
                  const struct erg_error *why, struct erg_error *err) {
    char words[ERG_ERROR_TEXT_SIZE + sizeof a->name];
    unsigned char head[256];
    struct iovec piece = {words, 0};
    int code = 0;
    if (type == ERG_MSG_FUNC || type == ERG_MSG_BLOB || type == ERG_MSG_VALUE) {
        struct erg_map *map = type == ERG_MSG_FUNC   ? &a->funcs
                              : type == ERG_MSG_BLOB ? &a->blobs
                                                     : &a->values;
        uint64_t id = type == ERG_MSG_FUNC   ? m->func.uid
                      : type == ERG_MSG_BLOB ? m->blob.uid
                                             : m->value.id;
        code = erg_map_set(map, id, NO_ROOM);
    } else {
        int len = snprintf(words, sizeof words, "host %s could not take the task: %s", a->name,
                           why->text);
        piece.iov_len = (size_t)len;
        struct erg_msg_result result = {.id = m->task.id,
                                        .outcome = ERG_OUT_LOST,
                                        .bytes = (uint64_t)len,
                                        .first = m->task.first};
        result.payload.stream_len = result.payload.data_len = (uint64_t)len;
        code = erg_session_send(a->session, ERG_LANE_FIRST, ERG_MSG_RESULT, head,
                                erg_msg_result_encode(&result, head), &piece, 1, NULL, NULL, NULL);
    }
    return code < 0 ? erg_error_set(err, code, "no memory to refuse what the client sends") : 0;
}

static void abort_arriving(struct arriving *in) {
    erg_parcel_abort(&in->parcel);
    if (!in->refused && in->index != ERG_NIL)
        erg_record_free(in->agent->m, in->index);
}

/* It is all there, and nobody will know of it. */
static void free_parcel(struct erg_agent *a, const struct erg_parcel *p) {
    erg_payload_free_refs(a->m, p->bytes, p->len);
    if (p->block)
        erg_arena_free(a->m, p->block);
}

#ifdef ERG_TESTING
_Atomic int erg_testing_enter_fails; /* so many times there is no memory to remember what came */
#endif

static int remember(struct erg_map *map, uint64_t id, uint64_t what) {
#ifdef ERG_TESTING
    if (atomic_load(&erg_testing_enter_fails) > 0 &&
        atomic_fetch_sub(&erg_testing_enter_fails, 1) > 0)
        return ERG_ENOMEM;
#endif
    return erg_map_set(map, id, what);
}

static int enter_func(struct erg_agent *a, const struct erg_msg_func *m, struct erg_parcel *p) {
    struct erg_fn_head *head = erg_table_at(a->table, p->block);
    /* A worker's own functions have numbers of their own making: ours must not be among them. */
    head->uid = m->uid ^ (uint64_t)1 << 63;
    head->stable = m->flags & 1;
    head->pad = 0;
    atomic_init(&head->next, 0);
    head->path = put_string(a, m->path);
    atomic_init(&head->name, put_string(a, m->name));
    head->len = p->len;
    drop_func(a, m->uid);
    int code = remember(&a->funcs, m->uid, p->block);
    if (code == 0)
        return 0;
    erg_arena_free(a->m, head->path);
    erg_arena_free(a->m, atomic_load(&head->name));
    free_parcel(a, p);
    return code;
}

static int enter_blob(struct erg_agent *a, const struct erg_msg_blob *m, struct erg_parcel *p,
                      struct erg_error *err) {
    uint64_t offset;
    size_t size = erg_blob_head_size(a->table);
    int code = erg_arena_alloc(a->m, size, &offset, err);
    if (code < 0) {
        free_parcel(a, p);
        return code;
    }
    struct erg_blob_head *head = erg_table_at(a->table, offset);
    memset((void *)head, 0, size);
    head->uid = m->uid;
    head->offset = p->block;
    head->len = p->len;
    head->fresh = (uint32_t)m->fresh;
    drop_blob(a, m->uid);
    sweep_blobs(a);
    code = remember(&a->blobs, m->uid, offset);
    if (code < 0)
        erg_blob_free(a->m, offset);
    return code;
}

static struct erg_payload place_of(const struct erg_parcel *p) {
    return (struct erg_payload){.offset = p->block, .len = p->len};
}

static int enter_value(struct erg_agent *a, const struct erg_msg_value *m, struct arriving *in) {
    struct erg_record *r = erg_table_record(a->table, in->index);
    r->result.offset = in->parcel.block;
    r->result.start = 0;
    r->result.len = in->parcel.len;
    drop_value(a, m->id);
    a->tasks[in->index] = (struct agent_task){.id = m->id, .kept = 1};
    erg_record_settle(a->m, in->index, m->outcome);
    int code = remember(&a->values, m->id, in->index);
    if (code < 0)
        forget(a, in->index);
    return code;
}

static int enter_task(struct erg_agent *a, const struct erg_msg_task *m, struct arriving *in,
                      struct erg_error *err) {
    uint64_t fn;
    if (!erg_map_get(&a->funcs, m->fn, &fn)) {
        strange(err, "a function");
        return ERG_EPROTOCOL;
    }
    struct erg_record *r = erg_table_record(a->table, in->index);
    r->args = place_of(&in->parcel);
    if (fn == NO_ROOM)
        return no_room(err, "its function");
    r->kind = m->kind == ERG_KIND_CHUNK ? ERG_KIND_CHUNK : ERG_KIND_CALL;
    r->user16 = m->user16;
    r->fn = fn;
    r->timeout_ns = m->timeout_ns;
    if (r->kind == ERG_KIND_CHUNK) {
        erg_range_set(r, m->next, m->end);
        r->first = m->first;
    }
    if (m->timeout_ns)
        erg_pool_expect_timeout(a->pool, m->timeout_ns);
    if (erg_map_set(&a->by_id, m->id, in->index) < 0)
        return no_room(err, "its name");
    a->tasks[in->index] = (struct agent_task){
        .id = m->id, .hold = r->kind == ERG_KIND_CALL && (m->flags & ERG_TASK_HOLD)};
    erg_record_notify(a->m, erg_record_handle(a->table, in->index));
    a->batch[a->batch_len++] = in->index;
    if (a->batch_len == AGENT_BATCH)
        erg_agent_submit(a);
    return 0;
}

void erg_agent_submit(struct erg_agent *a) {
    if (a->batch_len == 1)
        erg_record_submit(a->m, a->batch[0]);
    else if (a->batch_len > 1)
        erg_record_submit_many(a->m, a->batch, a->batch_len);
    a->batch_len = 0;
}

/* All of it is there. Takes `in` over. */
static int enter(struct erg_agent *a, uint16_t type, const union payload_message *m,
                 struct arriving *in, struct erg_error *err) {
    int code = 0;
    /* The result of a task that failed is plain text, not a payload. */
    int words = type == ERG_MSG_VALUE && m->value.outcome != ERG_OUT_OK &&
                m->value.outcome != ERG_OUT_ERROR;
    if (!words)
        code = erg_parcel_seal(&in->parcel, err);
    if (code < 0) {
        if (in->index != ERG_NIL)
            erg_record_free(a->m, in->index);
        return code;
    }
    switch (type) {
    case ERG_MSG_FUNC:
        code = enter_func(a, &m->func, &in->parcel);
        break;
    case ERG_MSG_BLOB:
        code = enter_blob(a, &m->blob, &in->parcel, err);
        break;
    case ERG_MSG_VALUE:
        code = enter_value(a, &m->value, in);
        break;
    default:
        code = enter_task(a, &m->task, in, err);
        if (code == ERG_ENOMEM) {
            struct erg_error why = *err;
            struct erg_record *r = erg_table_record(a->table, in->index);
            erg_payload_free_refs(a->m, erg_record_bytes(a->table, r, &r->args), r->args.len);
            erg_record_free(a->m, in->index);
            code = refuse(a, type, m, &why, err);
        }
        break;
    }
    if (code == ERG_ENOMEM && type != ERG_MSG_TASK)
        erg_error_set(err, code, "no memory to remember what came");
    return code; /* what failed here ends the session, the client's or that with another agent */
}

/* --- in: messages -------------------------------------------------------------------------------------------------- */

static int on_payload(struct erg_agent *a, uint16_t type, const unsigned char *body, size_t len,
                      struct erg_error *err) {
    union payload_message m;
    struct erg_msg_payload *payload = NULL;
    struct arriving in;
    int code = decode(type, body, len, 1, 0, &m, &payload, err);
    if (code == 0)
        code = open_arriving(a, type, payload, &in, err);
    if (code == ERG_ENOMEM) {
        in.why = *err;
        return refuse(a, type, &m, &in.why, err);
    }
    if (code < 0)
        return code;
    erg_parcel_copy(&in.parcel, payload->data);
    return enter(a, type, &m, &in, err);
}

static int has_payload(uint16_t type) {
    return type == ERG_MSG_FUNC || type == ERG_MSG_BLOB || type == ERG_MSG_VALUE ||
           type == ERG_MSG_TASK;
}

int erg_agent_on_bulk(struct erg_agent *a, uint16_t type, const unsigned char *head,
                      size_t head_len, uint64_t data_len, struct erg_bulk *to,
                      struct erg_error *err) {
    union payload_message m;
    struct erg_msg_payload *payload = NULL;
    if (!has_payload(type)) { /* short, in the slow lane for the sake of order */
        *to = (struct erg_bulk){0};
        return data_len == 0 ? 0
                             : erg_error_set(err, ERG_EPROTOCOL, "%s with data behind it",
                                             erg_message_name(type));
    }
    struct arriving *in = malloc(sizeof *in);
    if (!in)
        return erg_error_set(err, ERG_ENOMEM, "no memory for what the client sends");
    int code = decode(type, head, head_len, 0, data_len, &m, &payload, err);
    if (code == 0)
        code = open_arriving(a, type, payload, in, err);
    if (code == ERG_ENOMEM) {
        in->why = *err;
        in->refused = 1;
        code = erg_parcel_open_sink(data_len, &in->parcel, err);
    }
    if (code < 0) {
        free(in);
        return code;
    }
    *to = (struct erg_bulk){in->parcel.pieces, in->parcel.n, in};
    return 0;
}

int erg_agent_on_done(struct erg_agent *a, uint16_t type, const unsigned char *head,
                      size_t head_len, struct erg_bulk *got, struct erg_error *err) {
    union payload_message m;
    struct erg_msg_payload *payload = NULL;
    struct arriving *in = got->user;
    uint64_t data_len = 0;
    if (!in)
        return erg_agent_on_message(a, type, head, head_len, err);
    for (size_t i = 0; i < got->n; i++)
        data_len += got->pieces[i].iov_len;
    int code = decode(type, head, head_len, 0, data_len, &m, &payload, err);
    if (code == 0 && !in->refused)
        code = enter(a, type, &m, in, err);
    else
        abort_arriving(in);
    if (code == 0 && in->refused)
        code = refuse(a, type, &m, &in->why, err);
    free(in);
    return code;
}

void erg_agent_on_drop(struct erg_bulk *got) {
    if (!got->user)
        return;
    abort_arriving(got->user);
    free(got->user);
}

static void cancel(struct erg_agent *a, const struct erg_msg_ids *ids) {
    uint64_t index;
    erg_agent_submit(a);
    for (uint32_t i = 0; i < ids->n; i++)
        if (erg_map_get(&a->by_id, erg_msg_id(ids, i), &index))
            erg_pool_cancel(a->pool, erg_record_handle(a->table, (uint32_t)index));
}

/* Tasks that have not begun go back: those named if they can, then any. */
static void recall(struct erg_agent *a, const struct erg_msg_ids *ids) {
    uint64_t index;
    erg_agent_submit(a);
    for (uint32_t i = 0; i < ids->n; i++) {
        if (!erg_map_get(&a->by_id, erg_msg_id(ids, i), &index))
            continue;
        a->tasks[index].wanted = 1;
        if (erg_record_phase(erg_table_record(a->table, (uint32_t)index)) != ERG_READY ||
            erg_record_cancel(a->m, erg_record_handle(a->table, (uint32_t)index)) != 1)
            a->tasks[index].wanted = 0; /* its completion waits for the lock that we hold */
    }
}

/* Items off the back of a chunk that runs. */
static int cut(struct erg_agent *a, const struct erg_msg_cut *wish) {
    struct erg_msg_cut given = {.id = wish->id};
    uint64_t index;
    uint32_t to;
    erg_agent_submit(a);
    if (erg_map_get(&a->by_id, wish->id, &index)) {
        struct erg_record *r = erg_table_record(a->table, (uint32_t)index);
        uint32_t left = erg_range_left(r);
        uint32_t keep = left > wish->items ? left - wish->items : 0;
        if (left > 0)
            given.items =
                erg_range_cut(r, (unsigned)((uint64_t)keep * 100 / left), &given.from, &to);
    }
    unsigned char head[64];
    size_t len = erg_msg_cut_encode(&given, head);
    return erg_session_send(a->session, ERG_LANE_FIRST, ERG_MSG_CUTTED, head, len, NULL, 0, NULL,
                            NULL, NULL);
}

static int on_open(struct erg_agent *a, const unsigned char *body, size_t len,
                   struct erg_error *err) {
    struct erg_msg_open open;
    int code = erg_msg_open_decode(body, len, &open, err);
    if (code == 0 && a->stage != AGENT_NEW)
        code = erg_error_set(err, ERG_EPROTOCOL, "the client opens what is open");
    return code < 0 ? code : erg_agent_open_pool(a, &open, err);
}

static int on_ids(struct erg_agent *a, uint16_t type, const unsigned char *body, size_t len,
                  struct erg_error *err) {
    struct erg_msg_ids ids;
    int code = erg_msg_ids_decode(body, len, &ids, err);
    if (code < 0 || !a->pool)
        return code;
    if (type == ERG_MSG_DROP)
        drop(a, &ids);
    else if (type == ERG_MSG_FETCH && ids.what != 0)
        code = erg_peers_fetch(a, &ids);
    else if (type == ERG_MSG_FETCH)
        for (uint32_t i = 0; i < ids.n && code == 0; i++)
            code = send_value(a, erg_msg_id(&ids, i));
    else if (type == ERG_MSG_CANCEL)
        cancel(a, &ids);
    else
        recall(a, &ids);
    return code;
}

int erg_agent_on_message(struct erg_agent *a, uint16_t type, const unsigned char *body, size_t len,
                         struct erg_error *err) {
    struct erg_msg_cut wish;
    switch (type) {
    case ERG_MSG_OPEN:
        return on_open(a, body, len, err);
    case ERG_MSG_DROP:
    case ERG_MSG_CANCEL:
    case ERG_MSG_RECALL:
    case ERG_MSG_FETCH:
        return on_ids(a, type, body, len, err);
    case ERG_MSG_PEER:
        return erg_peers_on_peer(a, body, len, err);
    case ERG_MSG_CUT:
        if (erg_msg_cut_decode(body, len, &wish, err) < 0)
            return ERG_EPROTOCOL;
        return a->pool ? cut(a, &wish) : 0;
    case ERG_MSG_BYE:
        a->stage = AGENT_OVER;
        a->result = 0;
        return 0;
    default:
        return on_payload(a, type, body, len, err);
    }
}
