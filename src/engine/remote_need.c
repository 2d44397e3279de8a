/* What tasks refer to (functions, put objects, results of other tasks) is sent once to each place and dropped
 * there when it has not been needed for a while. While it is needed it exists here too, because the task holds it. An
 * object that its owner lets go is kept by a mark in its head until the places have dropped it. */
#include "engine/remote_inside.h"

#include <stdlib.h>
#include <string.h>

#define IDLE_VALUE_NS (1 * SECOND)
#define IDLE_FUNC_NS (30 * SECOND)
enum { FUNCS_KEPT = 512 };

struct sent *erg_site_sent(struct place *p, uint32_t kind, uint64_t id) {
    uint64_t found;
    return erg_map_get(&p->sent[kind], id, &found) ? (struct sent *)(uintptr_t)found : NULL;
}

struct sent *erg_site_sent_new(struct place *p, uint32_t kind, uint64_t id, uint64_t offset) {
    struct sent *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    *s = (struct sent){.id = id, .kind = kind, .offset = offset, .last = ERG_HANDLE_NONE};
    if (erg_map_set(&p->sent[kind], id, (uintptr_t)s) == 0)
        return s;
    free(s);
    return NULL;
}

static enum erg_lane lane_of(struct sent *s, size_t head, uint64_t bytes) {
    s->small = !erg_session_is_bulk(head, bytes);
    return s->small ? ERG_LANE_FIRST : ERG_LANE_BULK;
}

int erg_site_send_parcel(struct place *p, enum erg_lane lane, uint16_t type, const void *head,
                         size_t len, const struct erg_parcel_out *out) {
    p->dirty = 1;
    p->bytes_out += out->payload.data_len;
    return erg_session_send(p->session, lane, type, head, len, out->pieces, out->n, NULL, NULL,
                            NULL);
}

static struct erg_text string_at(struct erg_remote *r, uint64_t offset) {
    const struct erg_string *s = offset ? erg_table_at(r->table, offset) : NULL;
    return s ? (struct erg_text){s->bytes, s->len} : (struct erg_text){NULL, 0};
}

/* It is there, or will be; or it could not be sent: then it is as if it had never been tried. */
static int was_sent(struct packing *k, struct sent *s, int code) {
    uint64_t unused;
    if (code == 0)
        return erg_leased_needs(k->lease, s);
    if (s && erg_map_take(&k->place->sent[s->kind], s->id, &unused))
        free(s);
    return code;
}

int erg_site_send_func(struct packing *k, uint64_t offset) {
    struct place *p = k->place;
    struct erg_remote *r = p->remote;
    struct erg_fn_head *head = erg_table_at(r->table, offset);
    struct sent *s = erg_site_sent(p, ERG_DROP_FUNC, head->uid);
    if (s)
        return erg_leased_needs(k->lease, s);
    struct erg_parcel_out out;
    int code = erg_parcel_pack(r->table, head->payload, head->len, erg_site_name_ref, k, &out);
    if (code < 0)
        return code;
    struct erg_msg_func m = {.uid = head->uid,
                             .flags = head->stable ? 1 : 0,
                             .name = string_at(r, atomic_load(&head->name)),
                             .path = string_at(r, head->path),
                             .payload = out.payload};
    unsigned char *bytes = malloc(erg_msg_func_size(&m));
    s = bytes ? erg_site_sent_new(p, ERG_DROP_FUNC, head->uid, offset) : NULL;
    code = ERG_ENOMEM;
    if (s) {
        enum erg_lane lane = lane_of(s, erg_msg_func_size(&m), out.payload.data_len);
        if (k->lease->lane == ERG_LANE_BULK) /* what it refers to went that way */
            lane = ERG_LANE_BULK, s->small = 0;
        code = erg_site_send_parcel(p, lane, ERG_MSG_FUNC, bytes, erg_msg_func_encode(&m, bytes),
                                    &out);
    }
    free(bytes);
    erg_parcel_out_fini(&out);
    return was_sent(k, s, code);
}

/* The mark of the place member in the object's head: it is not freed before all places have dropped it. */
void erg_site_mark_blob(struct erg_remote *r, uint64_t offset) {
    struct erg_blob_head *head = erg_table_at(r->table, offset);
    uint32_t serial = atomic_load(&r->m->slot->serial);
    atomic_store_explicit(&head->held[r->m->number], serial * 2 + 1, memory_order_release);
}

static int send_blob(struct packing *k, uint64_t offset, uint64_t *id) {
    struct place *p = k->place;
    struct erg_remote *r = p->remote;
    struct erg_blob_head *head = erg_table_at(r->table, offset);
    *id = head->uid;
    struct sent *s = erg_site_sent(p, ERG_DROP_BLOB, *id);
    if (s && !s->from)
        return erg_leased_needs(k->lease, s);
    struct erg_parcel_out out;
    int code = erg_parcel_pack(r->table, erg_table_at(r->table, head->offset), head->len,
                               erg_site_name_ref, k, &out);
    if (code < 0)
        return code;
    struct erg_msg_blob m = {.uid = *id, .fresh = head->fresh, .payload = out.payload};
    unsigned char *bytes = malloc(erg_msg_blob_size(&m));
    if (s)
        erg_peer_forget(p, s); /* as in send_value */
    else if (bytes)
        s = erg_site_sent_new(p, ERG_DROP_BLOB, *id, offset);
    code = ERG_ENOMEM;
    if (s && bytes)
        code = erg_site_send_parcel(p, lane_of(s, erg_msg_blob_size(&m), out.payload.data_len),
                                    ERG_MSG_BLOB, bytes, erg_msg_blob_encode(&m, bytes), &out);
    free(bytes);
    erg_parcel_out_fini(&out);
    if (code == 0) {
        erg_site_mark_blob(r, offset);
        erg_peer_spread(p, s, m.payload.data_len);
    }
    return was_sent(k, s, code);
}

/* The result of a task that this one comes after. It is done, and stays as long as this one needs it. */
static int send_value(struct packing *k, erg_handle task) {
    struct place *p = k->place;
    struct erg_remote *r = p->remote;
    struct sent *s = erg_site_sent(p, ERG_DROP_VALUE, task);
    if (s && !s->from)
        return erg_leased_needs(k->lease, s);
    struct erg_record *pred = erg_table_record(r->table, ERG_HANDLE_INDEX(task));
    const unsigned char *from;
    size_t len;
    struct erg_msg_value m = {.id = task,
                              .outcome = (uint8_t)erg_record_result(r->table, pred, &from, &len)};
    struct erg_parcel_out out = {.pieces = out.few_pieces, .entries = out.few_entries, .n = 1};
    if (m.outcome == ERG_OUT_OK || m.outcome == ERG_OUT_ERROR) {
        int code = erg_parcel_pack(r->table, from, len, erg_site_name_ref, k, &out);
        if (code < 0)
            return code;
    } else { /* words, not a payload; never quite nothing */
        out.pieces[0] = len ? (struct iovec){(void *)from, len} : (struct iovec){(void *)"?", 1};
        out.payload.stream_len = out.payload.data_len = out.pieces[0].iov_len;
    }
    m.payload = out.payload;
    unsigned char *bytes = malloc(erg_msg_value_size(&m));
    if (s) /* it was to come from another place, and is needed at once: what still comes from there is dropped */
        erg_peer_forget(p, s);
    else if (bytes)
        s = erg_site_sent_new(p, ERG_DROP_VALUE, task, 0);
    int code = ERG_ENOMEM;
    if (s && bytes)
        code = erg_site_send_parcel(p, lane_of(s, erg_msg_value_size(&m), out.payload.data_len),
                                    ERG_MSG_VALUE, bytes, erg_msg_value_encode(&m, bytes), &out);
    free(bytes);
    erg_parcel_out_fini(&out);
    return was_sent(k, s, code);
}

int erg_site_name_ref(void *ctx, const struct erg_ref *ref, struct erg_entry *entry) {
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

/* --- tidying ------------------------------------------------------------------------------------------------------- */

void erg_site_unsent(struct place *p, struct sent *s) {
    struct erg_remote *r = p->remote;
    uint64_t unused;
    erg_map_take(&p->sent[s->kind], s->id, &unused);
    erg_peer_forget(p, s);
    if (s->away)
        erg_away_forget(p, s);
    if (s->kind == ERG_DROP_BLOB) { /* the last place takes the mark away */
        int others = 0;
        for (int i = 0; i < r->nplaces; i++)
            others |= erg_site_sent(&r->places[i], ERG_DROP_BLOB, s->id) != NULL;
        struct erg_blob_head *head = erg_table_at(r->table, s->offset);
        if (!others)
            atomic_store_explicit(&head->held[r->m->number], 0, memory_order_release);
    }
    free(s);
}

void erg_site_drop_all(struct place *p) {
    struct erg_map_cell cell;
    for (uint32_t kind = ERG_DROP_FUNC; kind <= ERG_DROP_VALUE; kind++) {
        for (int some = 1;
             some;) { /* a removal may move what was not seen yet behind us: once more */
            some = 0;
            for (size_t at = 0; erg_map_next(&p->sent[kind], &at, &cell); some = 1) {
                struct sent *s = (struct sent *)(uintptr_t)cell.value;
                if (s->away)
                    erg_away_lose(p, s);
                erg_site_unsent(p, s);
            }
        }
        erg_map_fini(&p->sent[kind]);
    }
    erg_peer_gone(p);
}

static int is_due(struct erg_remote *r, const struct sent *s, size_t many, int64_t now) {
    if (s->users > 0 || s->from)
        return 0;
    if (s->kind == ERG_DROP_BLOB)
        return atomic_load(&((struct erg_blob_head *)erg_table_at(r->table, s->offset))->dead) != 0;
    if (s->away)
        return erg_away_due(r, s);
    if (s->kind == ERG_DROP_VALUE && r->parked > 0)
        return 0; /* who waits for another result may need this one as well */
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
                erg_site_unsent(p, due[i]);
        } while (n == SWEPT_AT_ONCE);
    }
}
