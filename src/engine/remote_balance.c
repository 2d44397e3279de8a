/* The end of a job: what waits at one place while others idle is asked back, and what runs at one for much longer than it
 * should is begun anew elsewhere, if it is pure. */
#include "engine/remote_inside.h"
#include "table/range.h"
#include "table/ring.h"

#define BALANCE_NS (5 * MS)

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

/* How many were asked for. */
static uint32_t recall_some(struct place *p, uint32_t n) {
    enum { MOST = 256 };
    uint64_t ids[MOST];
    unsigned char head[16 + 8 * MOST];
    uint32_t count = 0;
    struct erg_remote *r = p->remote;
    for (uint32_t i = p->last; i != ERG_NIL && count < n && count < MOST;) {
        struct leased *l = erg_leased_at(r, i);
        i = l->before;
        if (l->recalled || l->parked || l->left ||
            l->lane == ERG_LANE_BULK) /* big ones have travelled for long */
            continue;
        l->recalled = 1;
        ids[count++] = l->task;
    }
    struct erg_msg_ids m = {.what = count, .n = count, .ids = ids};
    if (count > 0)
        erg_site_send(p, ERG_LANE_FIRST, ERG_MSG_RECALL, head, erg_msg_ids_encode(&m, head));
    return count;
}

static void cut_some(struct place *p, uint32_t idle, int64_t now) {
    struct erg_remote *r = p->remote;
    uint32_t chunks = p->chunks; /* single tasks are many, and there is nothing to cut */
    for (uint32_t i = p->first; i != ERG_NIL && idle > 0 && chunks > 0;
         i = erg_leased_at(r, i)->after) {
        struct leased *l = erg_leased_at(r, i);
        struct erg_record *record = erg_table_record(r->table, ERG_HANDLE_INDEX(l->task));
        chunks -= l->chunk;
        if (!l->chunk || l->parked || l->left || l->lane == ERG_LANE_BULK ||
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

/* --- pure tasks that are late --- */

/* How long tasks take elsewhere than at p, where they are shortest; 0: not known. */
static int64_t mean_elsewhere(const struct place *p) {
    struct erg_remote *r = p->remote;
    uint32_t top = atomic_load(&r->table->header->members_top);
    uint64_t tasks = 0, busy_ns = 0, best = 0;
    for (uint32_t i = 0; i < top; i++) {
        struct erg_member_slot *slot = erg_table_slot(r->table, i);
        if (i == r->m->number)
            continue;
        tasks += atomic_load_explicit(&slot->tasks, memory_order_relaxed);
        busy_ns += atomic_load_explicit(&slot->busy_ns, memory_order_relaxed);
    }
    if (tasks > 0)
        best = busy_ns / tasks + 1;
    for (int i = 0; i < r->nplaces; i++) {
        const struct place *other = &r->places[i];
        uint64_t mean = other->lease.measured ? (uint64_t)other->lease.mean_ns : 0;
        if (other != p && other->state == ERG_PLACE_UP && mean && (!best || mean < best))
            best = mean;
    }
    return (int64_t)best;
}

static int is_pure(struct erg_remote *r, const struct leased *l) {
    struct erg_record *record = erg_table_record(r->table, ERG_HANDLE_INDEX(l->task));
    if (l->parked || l->left || record->queue != ERG_QUEUE_ANY ||
        (erg_record_state(record) & ERG_STATE_CANCEL))
        return 0;
    if (record->kind == ERG_KIND_CHUNK && record->args.len > 0)
        return __atomic_load_n(erg_record_bytes(r->table, record, &record->args),
                               __ATOMIC_RELAXED) &
               ERG_PAYLOAD_PURE;
    return record->kind == ERG_KIND_CALL && (record->first & ERG_CALL_PURE);
}

/* Its arguments, or a result it reads, may still be sent from memory that is freed once it was run elsewhere. */
static int on_its_way(const struct leased *l) {
    return l->lane == ERG_LANE_BULK && erg_session_queued(l->place->session) > 0;
}

/* The oldest are what runs there, or should. How many were left there. */
static uint32_t leave_late(struct place *p, uint32_t idle, int64_t now) {
    struct erg_remote *r = p->remote;
    int64_t elsewhere = -1;
    uint32_t n = 0, looked = 0;
    for (uint32_t i = p->first; i != ERG_NIL && n < idle && looked < p->slots;) {
        struct leased *l = erg_leased_at(r, i);
        i = l->after;
        looked += !l->left;
        if (!is_pure(r, l) || on_its_way(l))
            continue;
        if (elsewhere < 0)
            elsewhere = mean_elsewhere(p);
        if (!erg_lease_worth_anew(&p->lease, now - l->sent_at, elsewhere))
            break;
        erg_leased_leave(l);
        n++;
    }
    if (n > 0)
        erg_site_write(p);
    return n;
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
        uint32_t asked = n > 0 ? recall_some(p, n) : 0;
        cut_some(p, idle, now);
        idle -= asked < idle ? asked : idle;
    }
    for (int i = 0; i < r->nplaces && idle > 0; i++) {
        struct place *p = &r->places[i];
        uint32_t own = idle_slots(p); /* it will not get it back */
        if ((p->state == ERG_PLACE_UP || p->state == ERG_PLACE_BROKEN) && idle > own)
            idle -= leave_late(p, idle - own, now);
    }
}
