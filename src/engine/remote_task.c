/* Tasks of places: taken from the rings, sent with whatever they need that is not there yet, finished when their result
 * is back.
 *
 * What a task refers to (its function, put objects, results of other tasks) is sent once to each place and dropped
 * there when it has not been needed for a while. While it is needed it exists here too, because the task holds it. An
 * object that its owner lets go is kept by a mark in its head until the places have dropped it. */
#include "engine/remote_inside.h"
#include "table/range.h"
#include "table/ring.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define IDLE_VALUE_NS (1 * SECOND)
#define IDLE_FUNC_NS (30 * SECOND)
#define BALANCE_NS (5 * MS)
enum { TAKE = 64, FUNCS_KEPT = 512 };

/* --- leases ------------------------------------------------------------------------------------------------------- */

static struct leased *lease_at(struct erg_remote *r, uint32_t i) {
    return &r->leases[i];
}

static int leases_grow(struct erg_remote *r) {
    uint32_t cap = r->leases_cap ? r->leases_cap * 2 : 256;
    struct leased *grown = realloc(r->leases, cap * sizeof *grown);
    if (!grown)
        return ERG_ENOMEM;
    for (uint32_t i = 0; i < r->leases_cap; i++)
        if (grown[i].needs_cap == 2)
            grown[i].needs = grown[i].few_needs; /* it has moved */
    r->leases = grown;
    for (uint32_t i = r->leases_cap; i < cap; i++) {
        grown[i] = (struct leased){.next = r->leases_free};
        r->leases_free = i;
    }
    r->leases_cap = cap;
    return 0;
}

static int lease_new(struct erg_remote *r, struct place *p, uint32_t index, uint32_t *out) {
    if (r->leases_free == ERG_NIL && leases_grow(r) < 0)
        return ERG_ENOMEM;
    uint32_t i = r->leases_free;
    struct leased *l = lease_at(r, i);
    struct erg_record *record = erg_table_record(r->table, index);
    r->leases_free = l->next;
    *l = (struct leased){.place = p,
                         .task = erg_record_handle(r->table, index),
                         .fn = record->user8 == 0 ? record->fn : 0,
                         .needs_cap = 2,
                         .before = p->last,
                         .after = ERG_NIL};
    l->needs = l->few_needs;
    if (p->last == ERG_NIL)
        p->first = i;
    else
        lease_at(r, p->last)->after = i;
    p->last = i;
    r->lease_of[index] = i + 1;
    atomic_fetch_add(&r->leased_count, 1);
    *out = i;
    return 0;
}

static void lease_free(struct erg_remote *r, struct leased *l) {
    struct place *p = l->place;
    uint32_t i = (uint32_t)(l - r->leases);
    int64_t now = erg_remote_now();
    for (uint32_t k = 0; k < l->nneeds; k++)
        if (--l->needs[k]->users == 0)
            l->needs[k]->idle_at = now;
    if (l->needs != l->few_needs)
        free(l->needs);
    if (l->before == ERG_NIL)
        p->first = l->after;
    else
        lease_at(r, l->before)->after = l->after;
    if (l->after == ERG_NIL)
        p->last = l->before;
    else
        lease_at(r, l->after)->before = l->before;
    r->lease_of[ERG_HANDLE_INDEX(l->task)] = 0;
    l->place = NULL;
    l->next = r->leases_free;
    r->leases_free = i;
    atomic_fetch_sub(&r->leased_count, 1);
}

struct leased *erg_remote_find(struct erg_remote *r, erg_handle task) {
    uint32_t index = ERG_HANDLE_INDEX(task);
    if (index >= r->table->header->records_max || r->lease_of[index] == 0)
        return NULL;
    struct leased *l = lease_at(r, r->lease_of[index] - 1);
    return l->place && l->task == task ? l : NULL;
}

static int lease_needs(struct leased *l, struct sent *s) {
    for (uint32_t i = 0; i < l->nneeds; i++)
        if (l->needs[i] == s)
            return 0;
    if (l->nneeds == l->needs_cap) {
        uint32_t cap = l->needs_cap * 4;
        struct sent **grown = malloc(cap * sizeof(void *));
        if (!grown)
            return ERG_ENOMEM;
        memcpy(grown, l->needs, l->nneeds * sizeof(void *));
        if (l->needs != l->few_needs)
            free(l->needs);
        l->needs = grown;
        l->needs_cap = cap;
    }
    l->needs[l->nneeds++] = s;
    s->users++;
    if (!s->small && !s->arrived)
        l->lane = ERG_LANE_BULK;
    return 0;
}

/* --- what tasks need ---------------------------------------------------------------------------------------------- */

static struct sent *sent_find(struct place *p, uint32_t kind, uint64_t id) {
    uint64_t found;
    return erg_map_get(&p->sent[kind], id, &found) ? (struct sent *)(uintptr_t)found : NULL;
}

static struct sent *sent_new(struct place *p, uint32_t kind, uint64_t id, uint64_t offset) {
    struct sent *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    *s = (struct sent){.id = id, .kind = kind, .offset = offset};
    if (erg_map_set(&p->sent[kind], id, (uintptr_t)s) == 0)
        return s;
    free(s);
    return NULL;
}

static enum erg_lane lane_of(struct sent *s, uint64_t bytes) {
    s->small = bytes <= ERG_SESSION_COPY_MAX;
    return s->small ? ERG_LANE_FIRST : ERG_LANE_BULK;
}

static int send_parcel(struct place *p, enum erg_lane lane, uint16_t type, const void *head,
                       size_t len, const struct erg_parcel_out *out) {
    p->dirty = 1;
    return erg_session_send(p->session, lane, type, head, len, out->pieces, out->n, NULL, NULL,
                            NULL);
}

struct packing {
    struct place *place;
    struct leased *lease;
};

static int name_ref(void *ctx, const struct erg_ref *ref, struct erg_entry *entry);

static struct erg_text string_at(struct erg_remote *r, uint64_t offset) {
    const struct erg_string *s = offset ? erg_table_at(r->table, offset) : NULL;
    return s ? (struct erg_text){s->bytes, s->len} : (struct erg_text){NULL, 0};
}

/* It is there, or will be; or it could not be sent: then it is as if it had never been tried. */
static int was_sent(struct packing *k, struct sent *s, int code) {
    uint64_t unused;
    if (code == 0)
        return lease_needs(k->lease, s);
    if (s && erg_map_take(&k->place->sent[s->kind], s->id, &unused))
        free(s);
    return code;
}

static int send_func(struct packing *k, uint64_t offset) {
    struct place *p = k->place;
    struct erg_remote *r = p->remote;
    struct erg_fn_head *head = erg_table_at(r->table, offset);
    struct sent *s = sent_find(p, ERG_DROP_FUNC, head->uid);
    if (s)
        return lease_needs(k->lease, s);
    struct erg_parcel_out out;
    int code = erg_parcel_pack(r->table, head->payload, head->len, name_ref, k, &out);
    if (code < 0)
        return code;
    struct erg_msg_func m = {.uid = head->uid,
                             .flags = head->stable ? 1 : 0,
                             .name = string_at(r, atomic_load(&head->name)),
                             .path = string_at(r, head->path),
                             .payload = out.payload};
    unsigned char *bytes = malloc(erg_msg_func_size(&m));
    s = bytes ? sent_new(p, ERG_DROP_FUNC, head->uid, offset) : NULL;
    code = ERG_ENOMEM;
    if (s) {
        enum erg_lane lane = lane_of(s, out.payload.data_len);
        if (k->lease->lane == ERG_LANE_BULK) /* what it refers to went that way */
            lane = ERG_LANE_BULK, s->small = 0;
        code = send_parcel(p, lane, ERG_MSG_FUNC, bytes, erg_msg_func_encode(&m, bytes), &out);
    }
    free(bytes);
    erg_parcel_out_fini(&out);
    return was_sent(k, s, code);
}

/* The mark of the place member in the object's head: it is not freed before all places have dropped it. */
static void mark_blob(struct erg_remote *r, struct erg_blob_head *head) {
    uint32_t serial = atomic_load(&r->m->slot->serial);
    atomic_store_explicit(&head->held[r->m->number], serial * 2 + 1, memory_order_release);
}

static int send_blob(struct packing *k, uint64_t offset, uint64_t *id) {
    struct place *p = k->place;
    struct erg_remote *r = p->remote;
    struct erg_blob_head *head = erg_table_at(r->table, offset);
    *id = head->uid;
    struct sent *s = sent_find(p, ERG_DROP_BLOB, *id);
    if (s)
        return lease_needs(k->lease, s);
    struct erg_parcel_out out;
    int code = erg_parcel_pack(r->table, erg_table_at(r->table, head->offset), head->len, name_ref,
                               k, &out);
    if (code < 0)
        return code;
    struct erg_msg_blob m = {.uid = *id, .fresh = head->fresh, .payload = out.payload};
    unsigned char *bytes = malloc(erg_msg_blob_size(&m));
    s = bytes ? sent_new(p, ERG_DROP_BLOB, *id, offset) : NULL;
    code = s ? send_parcel(p, lane_of(s, out.payload.data_len), ERG_MSG_BLOB, bytes,
                           erg_msg_blob_encode(&m, bytes), &out)
             : ERG_ENOMEM;
    free(bytes);
    erg_parcel_out_fini(&out);
    if (code == 0)
        mark_blob(r, head);
    return was_sent(k, s, code);
}

/* The result of a task that this one comes after. It is done, and stays as long as this one needs it. */
static int send_value(struct packing *k, erg_handle task) {
    struct place *p = k->place;
    struct erg_remote *r = p->remote;
    struct sent *s = sent_find(p, ERG_DROP_VALUE, task);
    if (s)
        return lease_needs(k->lease, s);
    struct erg_record *pred = erg_table_record(r->table, ERG_HANDLE_INDEX(task));
    struct erg_msg_value m = {.id = task, .outcome = (uint8_t)erg_record_outcome(pred)};
    const unsigned char *from = erg_record_bytes(r->table, pred, &pred->result);
    struct erg_parcel_out out = {.pieces = out.few_pieces, .entries = out.few_entries, .n = 1};
    size_t len = pred->result.len;
    if (m.outcome == ERG_OUT_OK || m.outcome == ERG_OUT_ERROR) {
        int code = erg_parcel_pack(r->table, from, len, name_ref, k, &out);
        if (code < 0)
            return code;
    } else { /* words, not a payload; never quite nothing */
        out.pieces[0] = len ? (struct iovec){(void *)from, len} : (struct iovec){(void *)"?", 1};
        out.payload.stream_len = out.payload.data_len = out.pieces[0].iov_len;
    }
    m.payload = out.payload;
    unsigned char *bytes = malloc(erg_msg_value_size(&m));
    s = bytes ? sent_new(p, ERG_DROP_VALUE, task, 0) : NULL;
    int code = s ? send_parcel(p, lane_of(s, out.payload.data_len), ERG_MSG_VALUE, bytes,
                               erg_msg_value_encode(&m, bytes), &out)
                 : ERG_ENOMEM;
    free(bytes);
    erg_parcel_out_fini(&out);
    return was_sent(k, s, code);
}

static int name_ref(void *ctx, const struct erg_ref *ref, struct erg_entry *entry) {
    struct packing *k = ctx;
    uint32_t flags = atomic_load_explicit(&((struct erg_ref *)ref)->flags, memory_order_relaxed);
    if (flags & ERG_REF_BLOB) {
        entry->kind = ERG_ENTRY_BLOB;
        return send_blob(k, ref->offset, &entry->id);
    }
    entry->kind = ERG_ENTRY_VALUE;
    entry->id = ref->offset;
    return send_value(k, ref->offset);
}

/* --- out: tasks --------------------------------------------------------------------------------------------------- */

static int send_task(struct packing *k, uint32_t index) {
    struct place *p = k->place;
    struct erg_remote *r = p->remote;
    struct erg_record *record = erg_table_record(r->table, index);
    struct erg_parcel_out out;
    struct erg_fn_head *fn = erg_table_at(r->table, record->fn);
    int code = send_func(k, record->fn);
    if (code == 0)
        code = erg_parcel_pack(r->table, erg_record_bytes(r->table, record, &record->args),
                               record->args.len, name_ref, k, &out);
    if (code < 0)
        return code;
    uint64_t range = atomic_load(&record->range);
    struct erg_msg_task m = {.id = k->lease->task,
                             .fn = fn->uid,
                             .timeout_ns = record->timeout_ns,
                             .kind = record->kind,
                             .user8 = record->user8,
                             .user16 = record->user16,
                             .args = out.payload};
    if (record->kind == ERG_KIND_CHUNK) {
        m.first = record->first;
        m.next = record->first;
        m.end = (uint32_t)(range >> 32);
    }
    unsigned char few[256], *bytes = few;
    size_t most = erg_msg_task_size(&m);
    if (most > sizeof few && !(bytes = malloc(most)))
        code = ERG_ENOMEM;
    k->lease->bytes = out.payload.data_len;
    if (out.payload.data_len > ERG_SESSION_COPY_MAX)
        k->lease->lane = ERG_LANE_BULK;
    if (code == 0)
        code = send_parcel(p, k->lease->lane, ERG_MSG_TASK, bytes, erg_msg_task_encode(&m, bytes),
                           &out);
    if (bytes != few)
        free(bytes);
    erg_parcel_out_fini(&out);
    return code;
}

/* The task is the place's; if it cannot be sent (no memory), it is lost. */
static void hand_over(struct place *p, uint32_t index) {
    struct erg_remote *r = p->remote;
    uint32_t i;
    if (lease_new(r, p, index, &i) < 0) {
        erg_lease_return(r->m, index);
        return;
    }
    struct packing k = {p, lease_at(r, i)};
    k.lease->sent_at = erg_remote_now();
    if (send_task(&k, index) < 0) {
        lease_free(r, k.lease);
        erg_lease_finish(r->m, index, ERG_OUT_LOST, 0);
        return;
    }
    erg_lease_on_sent(&p->lease, k.lease->bytes);
    p->bytes_out += k.lease->bytes;
}

static uint32_t room_of(const struct place *p) {
    if (p->state != ERG_PLACE_UP || !erg_session_writable(p->session))
        return 0;
    return erg_lease_room(&p->lease);
}

/* Takes what the place has room for, from one queue after the other; how many. */
static size_t feed(struct place *p, uint32_t room) {
    uint32_t indexes[TAKE];
    size_t total = 0;
    for (uint32_t q = ERG_QUEUES; q-- > 0 && room > 0;) {
        int left = 1;
        while ((p->queues & ERG_QUEUE_BIT(q)) && left && room > 0) {
            size_t most = room < TAKE ? room : TAKE;
            size_t n = erg_lease_take(p->remote->m, q, indexes, most, &left);
            for (size_t i = 0; i < n; i++)
                hand_over(p, indexes[i]);
            if (n == 0)
                break;
            total += n;
            room = room_of(p);
        }
    }
    return total;
}

void erg_remote_dispatch(struct erg_remote *r) {
    uint32_t queues;
    do {
        size_t taken;
        do {
            taken = 0;
            queues = 0;
            for (int i = 0; i < r->nplaces && !r->stopping; i++) {
                struct place *p = &r->places[(r->turn + (uint32_t)i) % (uint32_t)r->nplaces];
                uint32_t room = room_of(p);
                /* A worker's worth each first, so that the first place does not take it all. */
                taken += room ? feed(p, room < p->slots ? room : p->slots) : 0;
                if (room_of(p) > 0)
                    queues |= p->queues;
            }
            r->turn++;
        } while (taken > 0);
    } while (!erg_lease_doze(r->m, queues));
    uint32_t beyond = 0;
    for (int i = 0; i < r->nplaces; i++) {
        struct place *p = &r->places[i];
        if (p->dirty)
            erg_site_write(p);
        if (p->state == ERG_PLACE_UP)
            beyond += erg_lease_window(&p->lease) - p->slots;
    }
    atomic_store_explicit(&r->beyond, beyond, memory_order_relaxed);
}

/* --- in: results -------------------------------------------------------------------------------------------------- */

static void arrived(struct leased *l) {
    for (uint32_t i = 0; i < l->nneeds; i++)
        l->needs[i]->arrived = 1;
}

/* What a result brought so far is thrown away. */
static void forget_result(struct erg_remote *r, struct erg_record *record) {
    if (record->kind == ERG_KIND_CHUNK)
        return; /* its owner has read some of it, perhaps: it stays */
    if (record->result.offset)
        erg_arena_free(r->m, record->result.offset);
    record->result.offset = 0;
    record->result.len = 0;
}

static void set_words(struct erg_remote *r, uint32_t index, const char *words, size_t len) {
    unsigned char *to = erg_record_result_reserve(r->m, index, len);
    if (to)
        memcpy(to, words, len);
}

/* A run that was lost: 1 if the task may run again, and does. */
static int retried(struct erg_remote *r, uint32_t index) {
    struct erg_record *record = erg_table_record(r->table, index);
    struct erg_loss loss = {.task = erg_record_handle(r->table, index),
                            .retries = record->kind == ERG_KIND_CHUNK ? 0 : record->retries,
                            .on_top = 1,
                            .cancelled = (erg_record_state(record) & ERG_STATE_CANCEL) != 0};
    if (erg_retry_decide(&r->retry, &loss, NULL) != ERG_VERDICT_RETRY)
        return 0;
    if (record->retries > 0)
        record->retries--;
    forget_result(r, record);
    erg_record_retry(r->m, index);
    return 1;
}

/* For traces. A chunk's results were counted as they came; a call's lies in its record. */
static void tell(const struct leased *l, enum erg_outcome outcome, uint64_t run_ns) {
    struct erg_remote *r = l->place->remote;
    if (!r->on_run || !atomic_load_explicit(&r->table->header->tracing, memory_order_relaxed))
        return;
    uint32_t index = ERG_HANDLE_INDEX(l->task);
    struct erg_record *record = erg_table_record(r->table, index);
    int chunk = record->kind == ERG_KIND_CHUNK;
    struct erg_elsewhere run = {
        .place = l->place->number,
        .name = l->place->name,
        .index = index,
        .items = chunk ? atomic_load(&record->ndone) : 1,
        .outcome = outcome,
        .fn = l->fn,
        .queued_ns = record->end_ns,
        .run_ns = run_ns,
        .bytes_in = l->bytes,
        .bytes_out = l->came,
    };
    if (!chunk && outcome <= ERG_OUT_ERROR && record->result.offset)
        run.bytes_out = erg_payload_size(erg_table_at(r->table, record->result.offset),
                                         (size_t)record->result.len);
    r->on_run(r->on_run_ctx, &run);
}

static void finish(struct leased *l, enum erg_outcome outcome, uint64_t run_ns) {
    struct place *p = l->place;
    struct erg_remote *r = p->remote;
    uint32_t index = ERG_HANDLE_INDEX(l->task);
    erg_lease_on_done(&p->lease, l->bytes, outcome == ERG_OUT_CANCELLED ? -1 : (int64_t)run_ns);
    tell(l, outcome, run_ns);
    arrived(l);
    lease_free(r, l);
    p->tasks++;
    p->busy_ns += run_ns;
    atomic_fetch_add(&r->finished, 1);
    if (outcome == ERG_OUT_LOST) {
        p->tasks_lost++;
        if (retried(r, index))
            return;
    }
    erg_lease_finish(r->m, index, outcome, run_ns);
}

/* Items of a chunk: linked behind those that came before, then published. */
static void add_items(struct leased *l, struct erg_record *record,
                      const struct erg_parcel *parcel) {
    struct erg_table *t = l->place->remote->table;
    if (l->last_block) {
        ((struct erg_stream_block *)erg_table_at(t, l->last_block))->next = parcel->block;
    } else {
        record->fn = parcel->block;
        atomic_thread_fence(memory_order_release);
        record->user8 = ERG_USER8_STREAM;
    }
    l->last_block = parcel->block;
    atomic_fetch_add_explicit(&record->ndone, parcel->count, memory_order_release);
}

/* How far it got: `next` is the first item that was not begun. */
static void set_next(struct erg_record *record, uint32_t next) {
    uint64_t seen = atomic_load(&record->range);
    while (!atomic_compare_exchange_weak(&record->range, &seen, (seen >> 32 << 32) | next))
        ;
}

/* A result that comes in. */
struct coming {
    struct place *place;
    int has_parcel, raw;
    struct erg_parcel parcel;
};

static int is_words(const struct erg_msg_result *m) {
    return m->outcome != ERG_OUT_OK && m->outcome != ERG_OUT_ERROR &&
           !(m->flags & ERG_RESULT_PARTIAL);
}

static int open_coming(struct place *p, const struct erg_msg_result *m, struct coming *in,
                       struct erg_error *err) {
    struct erg_remote *r = p->remote;
    struct leased *l = erg_remote_find(r, m->id);
    struct erg_record *record = l ? erg_table_record(r->table, ERG_HANDLE_INDEX(l->task)) : NULL;
    *in = (struct coming){.place = p, .raw = is_words(m)};
    int items = record && record->kind == ERG_KIND_CHUNK && !in->raw;
    if (m->payload.stream_len == 0 && m->payload.n == 0 && !items)
        return 0;
    in->has_parcel = 1;
    if (items || (m->flags & ERG_RESULT_PARTIAL))
        return erg_parcel_open_items(r->m, &m->payload, &in->parcel, err);
    return erg_parcel_open(r->m, &m->payload, 0, NULL, 0, NULL, NULL, &in->parcel, err);
}

static void set_result(struct erg_remote *r, uint32_t index, struct coming *in) {
    struct erg_record *record = erg_table_record(r->table, index);
    struct erg_parcel *parcel = &in->parcel;
    if (!parcel->nrefs && parcel->len <= 64) { /* short ones lie in the record */
        unsigned char *to = erg_record_result_reserve(r->m, index, parcel->len);
        if (to) {
            memcpy(to, parcel->bytes, parcel->len);
            erg_arena_free(r->m, parcel->block);
            return;
        }
    }
    record->result.offset = parcel->block;
    record->result.start = 0;
    record->result.len = parcel->len;
}

/* Everything of it is there. Takes the parcel over. */
static int on_result(struct place *p, const struct erg_msg_result *m, struct coming *in,
                     struct erg_error *err) {
    struct erg_remote *r = p->remote;
    struct leased *l = erg_remote_find(r, m->id);
    if (!l || l->place != p) {
        if (in->has_parcel)
            erg_parcel_abort(&in->parcel);
        return 0;
    }
    uint32_t index = ERG_HANDLE_INDEX(l->task);
    struct erg_record *record = erg_table_record(r->table, index);
    if (in->has_parcel && !in->raw) {
        int code = erg_parcel_seal(&in->parcel, err);
        if (code < 0)
            return code;
    }
    l->came += in->has_parcel ? in->parcel.len : 0;
    if (in->has_parcel && in->parcel.items)
        add_items(l, record, &in->parcel);
    else if (in->has_parcel)
        set_result(r, index, in);
    if (m->flags & ERG_RESULT_PARTIAL)
        return 0;
    if (record->kind == ERG_KIND_CHUNK)
        set_next(record, m->first);
    finish(l, m->outcome, m->run_ns);
    return 0;
}

/* A short result of a call goes straight into its record. 1: done. */
static int quick_result(struct place *p, const struct erg_msg_result *m) {
    struct erg_remote *r = p->remote;
    struct leased *l = erg_remote_find(r, m->id);
    size_t len = (size_t)m->payload.stream_len;
    if (!l || l->place != p || m->payload.n || len > 64 || len == 0)
        return 0;
    uint32_t index = ERG_HANDLE_INDEX(l->task);
    struct erg_record *record = erg_table_record(r->table, index);
    if (record->kind == ERG_KIND_CHUNK)
        return 0;
    unsigned char *to = erg_record_result_reserve(r->m, index, len);
    if (!to)
        return 0;
    memcpy(to, m->payload.data, len);
    if (!is_words(m))
        to[0] &= (unsigned char)~ERG_PAYLOAD_REFS;
    l->came = len;
    finish(l, m->outcome, m->run_ns);
    return 1;
}

static int result_message(struct place *p, const unsigned char *body, size_t len,
                          struct erg_error *err) {
    struct erg_msg_result m;
    struct coming in;
    int code = erg_msg_result_decode(body, len, 1, 0, &m, err);
    if (code < 0)
        return code;
    if (m.outcome == ERG_OUT_NONE || m.outcome > ERG_OUT_TIMEOUT)
        return erg_error_set(err, ERG_EPROTOCOL, "a result that is none");
    if (quick_result(p, &m))
        return 0;
    code = open_coming(p, &m, &in, err);
    if (code < 0)
        return code;
    if (in.has_parcel)
        erg_parcel_copy(&in.parcel, m.payload.data);
    return on_result(p, &m, &in, err);
}

int erg_site_on_bulk(struct place *p, uint16_t type, const unsigned char *head, size_t head_len,
                     uint64_t data_len, struct erg_bulk *to, struct erg_error *err) {
    struct erg_msg_result m;
    if (type != ERG_MSG_RESULT)
        return erg_error_set(err, ERG_EPROTOCOL, "an agent does not send %s",
                             erg_message_name(type));
    struct coming *in = malloc(sizeof *in);
    if (!in)
        return erg_error_set(err, ERG_ENOMEM, "no memory for a result");
    int code = erg_msg_result_decode(head, head_len, 0, data_len, &m, err);
    if (code == 0)
        code = open_coming(p, &m, in, err);
    if (code < 0) {
        free(in);
        return code;
    }
    *to = (struct erg_bulk){.user = in};
    if (in->has_parcel) {
        to->pieces = in->parcel.pieces;
        to->n = in->parcel.n;
    }
    return 0;
}

int erg_site_on_done(struct place *p, uint16_t type, const unsigned char *head, size_t head_len,
                     struct erg_bulk *got, struct erg_error *err) {
    (void)type;
    struct erg_msg_result m;
    struct coming *in = got->user;
    uint64_t data_len = 0;
    for (size_t i = 0; i < got->n; i++)
        data_len += got->pieces[i].iov_len;
    int code = erg_msg_result_decode(head, head_len, 0, data_len, &m, err);
    if (code == 0)
        code = on_result(p, &m, in, err);
    free(in);
    return code;
}

void erg_site_on_drop(struct erg_bulk *got) {
    struct coming *in = got->user;
    if (in->has_parcel)
        erg_parcel_abort(&in->parcel);
    free(in);
}

static int on_returned(struct place *p, const unsigned char *body, size_t len,
                       struct erg_error *err) {
    struct erg_remote *r = p->remote;
    struct erg_msg_ids ids;
    int code = erg_msg_ids_decode(body, len, &ids, err);
    for (uint32_t i = 0; code == 0 && i < ids.n; i++) {
        struct leased *l = erg_remote_find(r, erg_msg_id(&ids, i));
        if (!l || l->place != p)
            continue;
        uint32_t index = ERG_HANDLE_INDEX(l->task);
        erg_lease_on_done(&p->lease, l->bytes, -1);
        arrived(l);
        lease_free(r, l);
        if (erg_record_state(erg_table_record(r->table, index)) & ERG_STATE_CANCEL)
            erg_lease_finish(r->m, index, ERG_OUT_CANCELLED, 0);
        else
            erg_lease_return(r->m, index);
    }
    return code;
}

/* The back of a chunk is the caller's again: its owner, who looks for something to cut, finds it. */
static int on_cutted(struct place *p, const unsigned char *body, size_t len,
                     struct erg_error *err) {
    struct erg_msg_cut m;
    int code = erg_msg_cut_decode(body, len, &m, err);
    struct leased *l = code == 0 ? erg_remote_find(p->remote, m.id) : NULL;
    if (!l || l->place != p)
        return code;
    struct erg_record *record = erg_table_record(p->remote->table, ERG_HANDLE_INDEX(l->task));
    if (m.items > 0 && record->kind == ERG_KIND_CHUNK && m.from >= record->first)
        set_next(record, m.from);
    return 0;
}

int erg_site_on_message(struct place *p, uint16_t type, const unsigned char *body, size_t len,
                        struct erg_error *err) {
    switch (type) {
    case ERG_MSG_RESULT:
        return result_message(p, body, len, err);
    case ERG_MSG_RETURNED:
        return on_returned(p, body, len, err);
    case ERG_MSG_CUTTED:
        return on_cutted(p, body, len, err);
    default:
        return 0; /* what later versions say besides */
    }
}

/* --- loss and tidying --------------------------------------------------------------------------------------------- */

static void sent_drop(struct place *p, struct sent *s) {
    struct erg_remote *r = p->remote;
    uint64_t unused;
    erg_map_take(&p->sent[s->kind], s->id, &unused);
    if (s->kind == ERG_DROP_BLOB) { /* the last place takes the mark away */
        int others = 0;
        for (int i = 0; i < r->nplaces; i++)
            others |= sent_find(&r->places[i], ERG_DROP_BLOB, s->id) != NULL;
        struct erg_blob_head *head = erg_table_at(r->table, s->offset);
        if (!others)
            atomic_store_explicit(&head->held[r->m->number], 0, memory_order_release);
    }
    free(s);
}

static void sent_drop_all(struct place *p) {
    struct erg_map_cell cell;
    for (uint32_t kind = ERG_DROP_FUNC; kind <= ERG_DROP_VALUE; kind++) {
        for (size_t at = 0; erg_map_next(&p->sent[kind], &at, &cell); at = 0)
            sent_drop(p, (struct sent *)(uintptr_t)cell.value);
        erg_map_fini(&p->sent[kind]);
    }
}

void erg_site_lose_tasks(struct place *p, enum erg_outcome outcome, const char *words) {
    struct erg_remote *r = p->remote;
    while (p->first != ERG_NIL) {
        struct leased *l = lease_at(r, p->first);
        uint32_t index = ERG_HANDLE_INDEX(l->task);
        erg_lease_on_done(&p->lease, l->bytes, -1);
        tell(l, outcome, 0);
        lease_free(r, l);
        if (outcome == ERG_OUT_LOST) {
            p->tasks_lost++;
            if (retried(r, index))
                continue;
        }
        struct erg_record *record = erg_table_record(r->table, index);
        int cancelled = (erg_record_state(record) & ERG_STATE_CANCEL) != 0;
        forget_result(r, record);
        set_words(r, index, words, strlen(words));
        erg_lease_finish(r->m, index, cancelled ? ERG_OUT_CANCELLED : outcome, 0);
    }
    sent_drop_all(p);
}

static int is_due(struct erg_remote *r, const struct sent *s, size_t many, int64_t now) {
    if (s->users > 0)
        return 0;
    if (s->kind == ERG_DROP_BLOB)
        return atomic_load(&((struct erg_blob_head *)erg_table_at(r->table, s->offset))->dead) != 0;
    if (s->kind == ERG_DROP_VALUE)
        return now - s->idle_at > IDLE_VALUE_NS;
    return many > FUNCS_KEPT || now - s->idle_at > IDLE_FUNC_NS;
}

enum { SWEPT_AT_ONCE = 256 };

/* What has arrived there, or went the fast way, is named before anything that is sent from now on; what may still be
 * under way among the big ones is named behind it. */
static void send_drop(struct place *p, uint32_t kind, struct sent **due, uint32_t n, int fast) {
    uint64_t ids[SWEPT_AT_ONCE];
    unsigned char head[16 + 8 * SWEPT_AT_ONCE];
    struct erg_msg_ids m = {.what = kind, .ids = ids};
    for (uint32_t i = 0; i < n; i++)
        if ((due[i]->small || due[i]->arrived) == fast)
            ids[m.n++] = due[i]->id;
    if (m.n > 0)
        erg_site_send(p, fast ? ERG_LANE_FIRST : ERG_LANE_BULK, ERG_MSG_DROP, head,
                      erg_msg_ids_encode(&m, head));
}

void erg_site_sweep(struct place *p, int64_t now) {
    struct sent *due[SWEPT_AT_ONCE];
    for (uint32_t kind = ERG_DROP_FUNC; kind <= ERG_DROP_VALUE && p->state == ERG_PLACE_UP;
         kind++) {
        size_t at = 0;
        uint32_t n;
        do { /* what a removal moves to a place already looked at waits for the next sweep */
            struct erg_map_cell cell;
            for (n = 0; n < SWEPT_AT_ONCE && erg_map_next(&p->sent[kind], &at, &cell);) {
                struct sent *s = (struct sent *)(uintptr_t)cell.value;
                if (is_due(p->remote, s, p->sent[kind].len - n, now))
                    due[n++] = s;
            }
            send_drop(p, kind, due, n, 1);
            send_drop(p, kind, due, n, 0);
            for (uint32_t i = 0; i < n; i++)
                sent_drop(p, due[i]);
        } while (n == SWEPT_AT_ONCE);
    }
}

/* --- the end of a job: what waits at one place while others idle ---------------------------------------------------- */

static uint32_t idle_here(struct erg_remote *r) {
    struct erg_member_counts counts;
    erg_member_count(r->table, ERG_QUEUE_BIT(ERG_QUEUE_ANY), &counts);
    uint32_t place = atomic_load(&r->table->header->place);
    uint32_t n = counts.sleeping + counts.spinning;
    uint64_t word = atomic_load(&r->table->header->sleeping[place / 64]);
    return n - ((word >> (place % 64)) & 1 && n > 0 ? 1 : 0);
}

static uint32_t idle_slots(const struct place *p) {
    return p->state == ERG_PLACE_UP && p->lease.leased < p->slots ? p->slots - p->lease.leased : 0;
}

static void recall_some(struct place *p, uint32_t n) {
    enum { MOST = 256 };
    uint64_t ids[MOST];
    unsigned char head[16 + 8 * MOST];
    uint32_t count = 0;
    struct erg_remote *r = p->remote;
    for (uint32_t i = p->last; i != ERG_NIL && count < n && count < MOST;) {
        struct leased *l = lease_at(r, i);
        i = l->before;
        if (l->recalled || l->lane == ERG_LANE_BULK) /* big ones have travelled for long */
            continue;
        l->recalled = 1;
        ids[count++] = l->task;
    }
    struct erg_msg_ids m = {.what = count, .n = count, .ids = ids};
    if (count > 0)
        erg_site_send(p, ERG_LANE_FIRST, ERG_MSG_RECALL, head, erg_msg_ids_encode(&m, head));
}

static void cut_some(struct place *p, uint32_t idle, int64_t now) {
    struct erg_remote *r = p->remote;
    for (uint32_t i = p->first; i != ERG_NIL && idle > 0; i = lease_at(r, i)->after) {
        struct leased *l = lease_at(r, i);
        struct erg_record *record = erg_table_record(r->table, ERG_HANDLE_INDEX(l->task));
        if (record->kind != ERG_KIND_CHUNK || l->lane == ERG_LANE_BULK ||
            !erg_lease_worth_cut(&p->lease, (now - l->sent_at) >> l->cut_asked))
            continue;
        uint32_t items = erg_range_end(record) - record->first - atomic_load(&record->ndone);
        if (items < 2)
            continue;
        unsigned char head[64];
        struct erg_msg_cut m = {.id = l->task, .items = items / 2};
        l->cut_asked++;
        idle--;
        erg_site_send(p, ERG_LANE_FIRST, ERG_MSG_CUT, head, erg_msg_cut_encode(&m, head));
    }
}

void erg_remote_balance(struct erg_remote *r, int64_t now) {
    if (now < r->balance_at || atomic_load(&r->leased_count) == 0)
        return;
    r->balance_at = now + BALANCE_NS;
    for (int q = 0; q < ERG_QUEUE_NAMED; q++)
        if (erg_ring_len(&r->table->header->ready[q]) > 0)
            return;
    uint32_t idle = idle_here(r);
    for (int i = 0; i < r->nplaces; i++)
        idle += idle_slots(&r->places[i]);
    for (int i = 0; i < r->nplaces && idle > 0; i++) {
        struct place *p = &r->places[i];
        if (p->state != ERG_PLACE_UP || idle_slots(p) > 0)
            continue;
        uint32_t n = erg_lease_recall(&p->lease, idle);
        if (n > 0)
            recall_some(p, n);
        cut_some(p, idle, now);
        idle -= n < idle ? n : idle;
    }
}

void erg_remote_tasks_fini(struct erg_remote *r) {
    for (int i = 0; i < r->nplaces; i++)
        sent_drop_all(&r->places[i]);
    free(r->leases);
    if (r->lease_of)
        munmap(r->lease_of, r->lease_of_bytes);
}
