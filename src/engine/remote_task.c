/* Tasks on their way out: taken from the rings, and sent behind whatever they need that is not there yet. */
#include "engine/remote_inside.h"
#include "table/ring.h"

#include <stdio.h>
#include <stdlib.h>

#define STARVED_NS (100 * MS)
enum { TAKE = 64 };

static int send_task(struct packing *k, uint32_t index) {
    struct place *p = k->place;
    struct erg_remote *r = p->remote;
    struct erg_record *record = erg_table_record(r->table, index);
    struct erg_parcel_out out;
    if (record->kind == ERG_KIND_CHUNK && record->user8 == ERG_USER8_STREAM)
        return ERG_EPROTOCOL; /* fn is not its function any more, but results */
    struct erg_fn_head *fn = erg_table_at(r->table, record->fn);
    int code = erg_site_send_func(k, record->fn);
    if (code == 0)
        code = erg_parcel_pack(r->table, erg_record_bytes(r->table, record, &record->args),
                               record->args.len, erg_site_name_ref, k, &out);
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
    if (record->kind == ERG_KIND_CALL && (record->first & ERG_CALL_STAYS))
        m.flags = ERG_TASK_HOLD;
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
    if (erg_session_is_bulk(most, out.payload.data_len))
        k->lease->lane = ERG_LANE_BULK;
    if (code == 0)
        code = erg_site_send_parcel(p, k->lease->lane, ERG_MSG_TASK, bytes,
                                    erg_msg_task_encode(&m, bytes), &out);
    if (bytes != few)
        free(bytes);
    erg_parcel_out_fini(&out);
    return code;
}

/* What cannot be sent fails. */
static void send_or_fail(struct packing *k, uint32_t index) {
    struct place *p = k->place;
    int code = send_task(k, index);
    if (code < 0) {
        char words[ERG_ERROR_TEXT_SIZE];
        snprintf(words, sizeof words, "the task could not be sent to host %s: %s", p->name,
                 code == ERG_EINVALID ? "it refers to more buffers and results than a message can "
                                        "name"
                 : code == ERG_EPROTOCOL ? "some of its calls have results already"
                                         : "no memory");
        erg_leased_fail(k->lease, words);
        return;
    }
    erg_lease_on_sent(&p->lease, k->lease->bytes);
}

/* The task is the place's. Without the memory to remember it, nothing is tried for a
 * while: it would be taken again at once. */
static void hand_over(struct place *p, uint32_t index, int64_t now) {
    struct erg_remote *r = p->remote;
    uint32_t i;
    if (erg_leased_new(r, p, index, &i) < 0) {
        p->starved_until = now + STARVED_NS;
        erg_lease_return(r->m, index);
        return;
    }
    struct packing k = {p, erg_leased_at(r, i)};
    k.lease->sent_at = now;
    if (erg_away_missing(p, index)) {
        k.lease->parked = 1;
        r->parked++;
        p->parked++;
        erg_lease_on_sent(&p->lease, 0);
    } else {
        send_or_fail(&k, index);
    }
}

void erg_leased_send(struct leased *l) {
    struct place *p = l->place;
    struct erg_remote *r = p->remote;
    struct packing k = {p, l};
    uint32_t index = ERG_HANDLE_INDEX(l->task);
    l->parked = 0;
    r->parked--;
    p->parked--;
    l->sent_at = erg_remote_now();
    erg_lease_on_done(&p->lease, 0, -1);
    if (erg_record_state(erg_table_record(r->table, index)) & ERG_STATE_CANCEL) {
        erg_leased_free(r, l);
        erg_lease_finish(r->m, index, ERG_OUT_CANCELLED, 0);
        return;
    }
    send_or_fail(&k, index);
}

static uint32_t room_of(const struct place *p) {
    if (p->state != ERG_PLACE_UP || p->left || !erg_session_writable(p->session))
        return 0;
    if (p->starved_until && erg_remote_now() < p->starved_until)
        return 0;
    uint32_t room = erg_lease_room(&p->lease);
    /* Tasks may be parked for what somebody has to make again first: they do not stand in the way of that. */
    uint32_t sent = p->lease.leased - p->parked;
    if (p->remote->nlost && p->parked && sent < p->slots && room < p->slots - sent)
        room = p->slots - sent;
    return room;
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
            if (n == 0)
                break;
            for (size_t i = 0; i < n; i++)
                hand_over(erg_away_nearest(p, indexes[i], room_of), indexes[i], p->remote->now);
            total += n;
            room = room_of(p);
        }
    }
    return total;
}

void erg_remote_place(struct place *p, uint32_t index) {
    struct place *best = erg_away_nearest(p, index, room_of);
    if (room_of(best) > 0)
        hand_over(best, index, erg_remote_now());
    else
        erg_lease_return(p->remote->m, index);
}

void erg_remote_dispatch(struct erg_remote *r) {
    uint32_t queues;
    erg_away_look(r);
    do {
        size_t taken;
        do {
            taken = 0;
            queues = 0;
            r->now = erg_remote_now();
            for (int i = 0; i < r->nplaces && !r->stopping; i++) {
                struct place *p = &r->places[(r->turn + (uint32_t)i) % (uint32_t)r->nplaces];
                uint32_t room = room_of(p);
                /* A worker's worth each first, so that the first place does not take it all. */
                taken += room ? feed(p, room < p->slots ? room : p->slots) : 0;
                if (room_of(p) > 0)
                    queues |= p->queues;
            }
            r->turn +=
                taken > 0; /* each is the first in turn, also of tasks that come one by one */
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
