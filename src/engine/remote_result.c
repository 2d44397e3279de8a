/* Results on their way in: read into the arena, and put into the records they belong to.
 *
 * What an agent says about a task is believed only as far as it can be: an agent that is broken, or lies, is lost with
 * its tasks, and the records stay in order. Of a chunk, [first, first + ndone) is what has come, and `next`, the low half
 * of its range, is what the agent may get to: its end when it was sent, less once the back of it was given back. */
#include "engine/remote_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static int nonsense(struct erg_error *err, const char *what) {
    return erg_error_set(err, ERG_EPROTOCOL, "its agent sends %s, which makes no sense", what);
}

static uint32_t next_of(const struct erg_record *record) {
    return (uint32_t)atomic_load(&((struct erg_record *)record)->range);
}

/* May the chunk's items up to `next` count as begun? */
static int may_be_next(const struct erg_record *record, uint32_t next) {
    uint32_t done = record->first + atomic_load(&((struct erg_record *)record)->ndone);
    return next >= done && next <= next_of(record);
}

/* How far it got: `next` is the first item that was not begun. */
static void set_next(struct erg_record *record, uint32_t next) {
    uint64_t seen = atomic_load(&record->range);
    while (!atomic_compare_exchange_weak(&record->range, &seen, (seen >> 32 << 32) | next))
        ;
}

/* NULL: the place was not sent that task, or it is there no more. */
static struct leased *find_at(struct place *p, erg_handle id) {
    struct leased *l = erg_remote_find(p->remote, id);
    return l && l->place == p && !l->parked ? l : NULL;
}

/* A result that comes in, or a value that stayed and was fetched. */
struct coming {
    struct place *place;
    int has_parcel, raw;
    int known;   /* the place had the task when it began to come */
    int refused; /* there is no room for it here: the parcel leads nowhere */
    struct erg_parcel parcel;
};

static int is_words(const struct erg_msg_result *m) {
    return m->outcome != ERG_OUT_OK && m->outcome != ERG_OUT_ERROR &&
           !(m->flags & ERG_RESULT_PARTIAL);
}

static int open_coming(struct place *p, const struct erg_msg_result *m, struct coming *in,
                       struct erg_error *err) {
    struct erg_remote *r = p->remote;
    struct leased *l = find_at(p, m->id);
    struct erg_record *record = l ? erg_table_record(r->table, ERG_HANDLE_INDEX(l->task)) : NULL;
    *in = (struct coming){.place = p, .raw = is_words(m), .known = l != NULL};
    int chunk = record && record->kind == ERG_KIND_CHUNK, items = chunk && !in->raw;
    if (record && !chunk && (m->flags & ERG_RESULT_PARTIAL))
        return nonsense(err, "a part of a result that has none");
    if (in->raw && m->payload.n > 0)
        return nonsense(err, "words with buffers");
    if (m->flags & ERG_RESULT_HELD)
        return m->payload.data_len == 0 ? 0 : nonsense(err, "a result that is here and there");
    if (record && !chunk && !in->raw && m->payload.stream_len == 0)
        return nonsense(err, "a result that is empty");
    if (items && m->outcome == ERG_OUT_ERROR && !(m->flags & ERG_RESULT_PARTIAL))
        return nonsense(err, "an exception of several calls");
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

/* As open_coming; where there is no room the bytes are read all the same, and the task alone fails. */
static int open_or_refuse(struct place *p, const struct erg_msg_result *m, struct coming *in,
                          struct erg_error *err) {
    int code = open_coming(p, m, in, err);
    if (code != ERG_ENOMEM)
        return code;
    in->refused = in->has_parcel = 1;
    return erg_parcel_open_sink(m->payload.data_len, &in->parcel, err);
}

/* It cannot have run for longer than it was there. */
static uint64_t run_time(const struct leased *l, const struct erg_msg_result *m) {
    int64_t about = l->place->remote->now - l->sent_at; /* too little, if anything */
    if (about > 0 && m->run_ns < (uint64_t)about)
        return m->run_ns;
    uint64_t there = (uint64_t)(erg_remote_now() - l->sent_at);
    return m->run_ns < there ? m->run_ns : there;
}

/* There is no room for the task's result, or for a note of it: it alone fails. */
static void fail_one(struct leased *l, uint64_t bytes) {
    struct place *p = l->place;
    char words[ERG_ERROR_TEXT_SIZE];
    snprintf(words, sizeof words,
             "host %s has run the task, and there is no room here for the %llu bytes of its result",
             p->name, (unsigned long long)bytes);
    erg_lease_on_done(&p->lease, l->bytes, -1);
    erg_leased_arrived(l);
    p->tasks++;
    atomic_fetch_add(&p->remote->finished, 1);
    erg_leased_fail(l, words);
}

static void on_refused(struct place *p, const struct erg_msg_result *m, struct coming *in) {
    struct leased *l = in->known ? find_at(p, m->id) : NULL;
    erg_parcel_abort(&in->parcel);
    if (l)
        fail_one(l, m->payload.data_len);
    else if (!(m->flags & ERG_RESULT_PARTIAL))
        erg_site_on_left(p, m->id);
}

/* It has kept a result that nobody here waits for any more: its task was begun anew elsewhere, or given up. A value of that name which
 * it was sent meanwhile has taken its place. */
static void let_go_of(struct place *p, const struct erg_msg_result *m) {
    unsigned char head[64];
    struct erg_msg_ids ids = {.what = ERG_DROP_VALUE, .n = 1, .ids = &m->id};
    if (m->flags & ERG_RESULT_HELD && !erg_site_sent(p, ERG_DROP_VALUE, m->id))
        erg_site_send(p, ERG_LANE_FIRST, ERG_MSG_DROP, head, erg_msg_ids_encode(&ids, head));
}

/* A result that stays there. */
static int on_held(struct leased *l, const struct erg_msg_result *m, struct erg_error *err) {
    int code = erg_away_keep(l, m, err);
    if (code == 0)
        erg_leased_finish_away(l, run_time(l, m));
    else if (code == ERG_ENOMEM)
        fail_one(l, m->bytes);
    return code == ERG_ENOMEM ? 0 : code;
}

/* Is what a chunk's result says possible? */
static int fits(const struct erg_record *record, const struct erg_msg_result *m,
                const struct coming *in) {
    uint32_t count = in->has_parcel && in->parcel.items ? in->parcel.count : 0;
    uint32_t done = record->first + atomic_load(&((struct erg_record *)record)->ndone);
    if (count > next_of(record) - done)
        return 0;
    return (m->flags & ERG_RESULT_PARTIAL) ||
           (m->first >= done + count && m->first <= next_of(record));
}

static int open_value(struct place *p, const struct erg_msg_value *m, struct coming *in,
                      struct erg_error *err) {
    *in = (struct coming){.place = p, .has_parcel = m->outcome == ERG_OUT_OK};
    if (!in->has_parcel)
        return 0;
    if (m->payload.stream_len == 0)
        return nonsense(err, "a value that is empty");
    int code = erg_parcel_open(p->remote->m, &m->payload, 0, NULL, 0, NULL, NULL, &in->parcel, err);
    if (code != ERG_ENOMEM)
        return code;
    in->refused = 1;
    return erg_parcel_open_sink(m->payload.data_len, &in->parcel, err);
}

static int on_value(struct place *p, const struct erg_msg_value *m, struct coming *in,
                    struct erg_error *err) {
    if (in->refused) {
        erg_parcel_abort(&in->parcel);
        in->has_parcel = 0;
    }
    int code = in->has_parcel ? erg_parcel_seal(&in->parcel, err) : 0;
    if (code < 0)
        return code;
    if (!erg_away_came(p, m, in->has_parcel ? &in->parcel : NULL) && in->has_parcel) {
        erg_payload_free_refs(p->remote->m, in->parcel.bytes, in->parcel.len);
        erg_arena_free(p->remote->m, in->parcel.block);
    }
    return 0;
}

static int value_message(struct place *p, const unsigned char *body, size_t len,
                         struct erg_error *err) {
    struct erg_msg_value m;
    struct coming in;
    int code = erg_msg_value_decode(body, len, 1, 0, &m, err);
    if (code == 0)
        code = open_value(p, &m, &in, err);
    if (code < 0)
        return code;
    if (in.has_parcel && !in.refused)
        erg_parcel_copy(&in.parcel, m.payload.data);
    return on_value(p, &m, &in, err);
}

/* Everything of it is there. Takes the parcel over. */
static int on_result(struct place *p, const struct erg_msg_result *m, struct coming *in,
                     struct erg_error *err) {
    if (in->refused) {
        on_refused(p, m, in);
        return 0;
    }
    struct erg_remote *r = p->remote;
    struct leased *l = in->known ? find_at(p, m->id) : NULL;
    if (!l) {
        if (in->has_parcel)
            erg_parcel_abort(&in->parcel);
        let_go_of(p, m);
        if (!(m->flags & ERG_RESULT_PARTIAL))
            erg_site_on_left(p, m->id);
        return 0;
    }
    uint32_t index = ERG_HANDLE_INDEX(l->task);
    struct erg_record *record = erg_table_record(r->table, index);
    if (m->flags & ERG_RESULT_HELD)
        return on_held(l, m, err);
    if (in->has_parcel && !in->raw) {
        int code = erg_parcel_seal(&in->parcel, err);
        if (code < 0)
            return code;
    }
    if (record->kind == ERG_KIND_CHUNK && !fits(record, m, in)) {
        if (in->has_parcel && in->parcel.items)
            erg_stream_free(r->m, in->parcel.block);
        else if (in->has_parcel)
            erg_parcel_abort(&in->parcel);
        return nonsense(err, "results of calls it was not given");
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
    erg_leased_finish(l, m->outcome, run_time(l, m));
    return 0;
}

/* A short result of a call goes straight into its record. 1: done. */
static int quick_result(struct place *p, const struct erg_msg_result *m) {
    struct erg_remote *r = p->remote;
    struct leased *l = find_at(p, m->id);
    size_t len = (size_t)m->payload.stream_len;
    if (!l || m->payload.n || len > 64 || len == 0 || (m->flags & ERG_RESULT_HELD))
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
    erg_leased_finish(l, m->outcome, run_time(l, m));
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
    code = open_or_refuse(p, &m, &in, err);
    if (code < 0)
        return code;
    if (in.has_parcel && !in.refused)
        erg_parcel_copy(&in.parcel, m.payload.data);
    return on_result(p, &m, &in, err);
}

int erg_site_on_bulk(struct place *p, uint16_t type, const unsigned char *head, size_t head_len,
                     uint64_t data_len, struct erg_bulk *to, struct erg_error *err) {
    struct erg_msg_result m;
    struct erg_msg_value v;
    if (type != ERG_MSG_RESULT && type != ERG_MSG_VALUE)
        return erg_error_set(err, ERG_EPROTOCOL, "an agent does not send %s",
                             erg_message_name(type));
    struct coming *in = malloc(sizeof *in);
    if (!in)
        return erg_error_set(err, ERG_ENOMEM, "no memory for a result");
    int code = type == ERG_MSG_VALUE ? erg_msg_value_decode(head, head_len, 0, data_len, &v, err)
                                     : erg_msg_result_decode(head, head_len, 0, data_len, &m, err);
    if (code == 0)
        code = type == ERG_MSG_VALUE ? open_value(p, &v, in, err) : open_or_refuse(p, &m, in, err);
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
    struct erg_msg_result m;
    struct erg_msg_value v;
    struct coming *in = got->user;
    uint64_t data_len = 0;
    for (size_t i = 0; i < got->n; i++)
        data_len += got->pieces[i].iov_len;
    int code = type == ERG_MSG_VALUE ? erg_msg_value_decode(head, head_len, 0, data_len, &v, err)
                                     : erg_msg_result_decode(head, head_len, 0, data_len, &m, err);
    if (code == 0)
        code = type == ERG_MSG_VALUE ? on_value(p, &v, in, err) : on_result(p, &m, in, err);
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
        struct leased *l = find_at(p, erg_msg_id(&ids, i));
        if (!l) {
            erg_site_on_left(p, erg_msg_id(&ids, i));
            continue;
        }
        uint32_t index = ERG_HANDLE_INDEX(l->task);
        if (l->last_block)
            return nonsense(err, "back what it has begun");
        erg_lease_on_done(&p->lease, l->bytes, -1);
        erg_leased_arrived(l);
        erg_leased_free(r, l);
        erg_lease_return(r->m, index);
    }
    return code;
}

/* The back of a chunk is the caller's again: its owner, who looks for something to cut, finds it. */
static int on_cutted(struct place *p, const unsigned char *body, size_t len,
                     struct erg_error *err) {
    struct erg_msg_cut m;
    int code = erg_msg_cut_decode(body, len, &m, err);
    struct leased *l = code == 0 ? find_at(p, m.id) : NULL;
    if (!l)
        return code;
    struct erg_record *record = erg_table_record(p->remote->table, ERG_HANDLE_INDEX(l->task));
    if (m.items == 0)
        return 0;
    if (record->kind != ERG_KIND_CHUNK || !may_be_next(record, m.from))
        return nonsense(err, "back calls it does not have");
    set_next(record, m.from);
    return 0;
}

int erg_site_on_message(struct place *p, uint16_t type, const unsigned char *body, size_t len,
                        struct erg_error *err) {
    switch (type) {
    case ERG_MSG_RESULT:
        return result_message(p, body, len, err);
    case ERG_MSG_VALUE:
        return value_message(p, body, len, err);
    case ERG_MSG_RETURNED:
        return on_returned(p, body, len, err);
    case ERG_MSG_CUTTED:
        return on_cutted(p, body, len, err);
    case ERG_MSG_PEER:
    case ERG_MSG_FETCHED:
        return erg_peer_on_message(p, type, body, len, err);
    default:
        return 0; /* what later versions say besides */
    }
}
