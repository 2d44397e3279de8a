/* Results that stay at the place where they were made (table/away.h), until somebody here or at another place needs them.
 *
 * The place keeps such a value as it keeps one that was sent to it: a task that goes there needs no more than its name, and
 * of several places a task goes to the one that has the most of what it reads. A task that goes elsewhere is *parked*:
 * leased, but not sent before what it reads has been fetched. Whoever reads a value here asks for it through its struct;
 * the scout is woken and fetches. When a place is lost, so are the values only it had, unless they can be made again
 * (remote_again.c). */
#include "engine/remote_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct erg_away *away_at(struct erg_remote *r, const struct sent *s) {
    return erg_table_at(r->table, s->away);
}

/* --- a result that stays ------------------------------------------------------------------------------------------ */

/* There is no memory to note that the place has it: then it shall not. */
#ifdef ERG_TESTING
_Atomic int erg_testing_away_fails; /* so many times there is no memory */
#endif

static int note(struct leased *l, uint64_t bytes, uint64_t *offset) {
    struct erg_remote *r = l->place->remote;
#ifdef ERG_TESTING
    if (atomic_load(&erg_testing_away_fails) > 0 &&
        atomic_fetch_sub(&erg_testing_away_fails, 1) > 0)
        return ERG_ENOMEM;
#endif
    return erg_away_new(r->m, ERG_HANDLE_INDEX(l->task), l->place->number, bytes, offset);
}

static void not_kept(struct place *p, uint64_t id, struct sent *s) {
    unsigned char head[64];
    struct erg_msg_ids m = {.what = ERG_DROP_VALUE, .n = 1, .ids = &id};
    uint64_t unused;
    if (s) {
        erg_map_take(&p->sent[ERG_DROP_VALUE], id, &unused);
        free(s);
    }
    erg_site_send(p, ERG_LANE_FIRST, ERG_MSG_DROP, head, erg_msg_ids_encode(&m, head));
}

int erg_away_keep(struct leased *l, const struct erg_msg_result *m, struct erg_error *err) {
    struct place *p = l->place;
    struct erg_remote *r = p->remote;
    uint32_t index = ERG_HANDLE_INDEX(l->task);
    struct erg_record *record = erg_table_record(r->table, index);
    if (m->outcome != ERG_OUT_OK || record->kind != ERG_KIND_CALL ||
        !(record->first & ERG_CALL_STAYS) || erg_site_sent(p, ERG_DROP_VALUE, l->task))
        return erg_error_set(err, ERG_EPROTOCOL, "it keeps a result it was not asked to keep");
    uint64_t offset;
    struct sent *s = erg_site_sent_new(p, ERG_DROP_VALUE, l->task, 0);
    if (!s || note(l, m->bytes, &offset) < 0) {
        not_kept(p, l->task, s);
        return erg_error_set(err, ERG_ENOMEM, "no memory for a result");
    }
    s->away = offset;
    s->arrived = s->small = 1;
    r->held++;
    int bring = erg_again_note(r, index, away_at(r, s));
    /* Somebody waits already: fetched at once. */
    if (erg_record_state(record) & (ERG_STATE_WAITER | ERG_STATE_NOTIFY)) {
        erg_away_want(r->table, away_at(r, s));
        bring = 1;
    }
    if (bring)
        erg_away_fetch(p, s);
    return 0;
}

void erg_away_fetch(struct place *p, struct sent *s) {
    if (s->fetching || !p->session)
        return;
    unsigned char head[64];
    struct erg_msg_ids m = {.n = 1, .ids = &s->id};
    /* Without the memory to ask: whoever needs it next has it asked for again. */
    s->fetching =
        erg_site_send(p, ERG_LANE_FIRST, ERG_MSG_FETCH, head, erg_msg_ids_encode(&m, head)) == 0;
}

/* What is wanted (`all`: whatever is not dropped) is fetched; how many there are. */
static uint32_t fetch_wanted(struct erg_remote *r, int all) {
    uint32_t n = 0;
    for (int i = 0; i < r->nplaces && r->held > 0; i++) {
        struct place *p = &r->places[i];
        struct erg_map_cell cell;
        for (size_t at = 0; erg_map_next(&p->sent[ERG_DROP_VALUE], &at, &cell);) {
            struct sent *s = (struct sent *)(uintptr_t)cell.value;
            if (!s->away)
                continue;
            uint32_t state = atomic_load(&away_at(r, s)->state);
            if ((state & ERG_AWAY_PHASE) == ERG_AWAY_THERE && (all || (state & ERG_AWAY_WANTED))) {
                erg_away_fetch(p, s);
                n++;
            }
        }
        if (p->dirty)
            erg_site_write(p);
    }
    if (r->nlost) {
        n += all ? erg_again_bring_home(r) : 0;
        r->again_at = 0;
        erg_remote_ring(r);
    }
    return n;
}

void erg_away_look(struct erg_remote *r) {
    uint32_t wanted = atomic_load(&r->table->header->wanted);
    if (r->held == 0 || wanted == r->wanted_seen)
        return;
    r->wanted_seen = wanted;
    fetch_wanted(r, 0);
}

uint32_t erg_remote_bring_home(struct erg_remote *r) {
    pthread_mutex_lock(&r->lock);
    uint32_t n = r->held ? fetch_wanted(r, 1) : 0;
    pthread_mutex_unlock(&r->lock);
    return n;
}

/* --- the end of being away ---------------------------------------------------------------------------------------- */

int erg_away_due(struct erg_remote *r, const struct sent *s) {
    return erg_away_phase(away_at(r, s)) == ERG_AWAY_DROPPED;
}

/* The record is told, or, if it is gone, what came is thrown away. */
static void settle(struct place *p, struct sent *s, enum erg_away_phase phase, uint64_t offset,
                   uint64_t len) {
    struct erg_remote *r = p->remote;
    uint64_t away = s->away;
    s->away = 0;
    s->idle_at = erg_remote_now();
    r->held--;
    erg_again_forget(r, erg_table_at(r->table, away));
    if (erg_away_settle(r->m, away, phase, offset, len))
        return;
    if (phase == ERG_AWAY_HERE)
        erg_payload_free_refs(r->m, erg_table_at(r->table, offset), (size_t)len);
    if (offset)
        erg_arena_free(r->m, offset);
    erg_arena_free(r->m, away);
}

/* Another place has a copy: from now on it is the one that keeps it. */
static int taken_over(struct place *p, struct sent *s) {
    struct erg_remote *r = p->remote;
    struct erg_away *a = away_at(r, s);
    for (int i = 0; i < r->nplaces; i++) {
        struct place *q = &r->places[i];
        struct sent *copy = q != p && q->session ? erg_site_sent(q, s->kind, s->id) : NULL;
        if (!copy || copy->from || !copy->arrived || copy->away)
            continue;
        copy->away = s->away;
        s->away = 0;
        s->fetching = 0;
        a->place = q->number;
        if (atomic_load(&a->state) & ERG_AWAY_WANTED)
            erg_away_fetch(q, copy);
        return 1;
    }
    return 0;
}

void erg_away_lose(struct place *p, struct sent *s) {
    struct erg_remote *r = p->remote;
    if (!r->stopping && (taken_over(p, s) || erg_again_keep(p, s)))
        return;
    char words[2 * ERG_ERROR_TEXT_SIZE];
    uint64_t block = 0;
    if (r->stopping)
        snprintf(words, sizeof words, "the pool was terminated before the result was fetched");
    else
        snprintf(words, sizeof words, "host %s was lost, and the task's result with it: %s",
                 p->name, p->failure.text);
    size_t len = strlen(words);
    if (erg_arena_alloc(r->m, len, &block, NULL) < 0)
        block = 0, len = 0;
    else
        memcpy(erg_table_at(r->table, block), words, len);
    settle(p, s, ERG_AWAY_LOST, block, len);
}

void erg_away_forget(struct place *p, struct sent *s) {
    erg_again_forget(p->remote, away_at(p->remote, s));
    erg_arena_free(p->remote->m, s->away);
    s->away = 0;
    p->remote->held--;
}

int erg_away_came(struct place *p, const struct erg_msg_value *m, struct erg_parcel *parcel) {
    struct sent *s = erg_site_sent(p, ERG_DROP_VALUE, m->id);
    if (!s || !s->away)
        return 0;
    if (parcel && m->outcome == ERG_OUT_OK) {
        erg_again_not_needed(p->remote, away_at(p->remote, s));
        settle(p, s, ERG_AWAY_HERE, parcel->block, parcel->len);
    } else {
        erg_again_forget(p->remote,
                         away_at(p->remote, s)); /* there is no room for it, there or here */
        erg_away_lose(p, s);
    }
    s->fetching = 0;
    erg_away_unpark(p->remote);
    return parcel && m->outcome == ERG_OUT_OK;
}

/* --- tasks that read such results --------------------------------------------------------------------------------- */

static struct erg_ref *refs_of(struct erg_remote *r, uint32_t index, uint32_t *n) {
    struct erg_record *record = erg_table_record(r->table, index);
    return erg_payload_refs(erg_record_bytes(r->table, record, &record->args), record->args.len, n);
}

/* NULL: the reference is none to a result that is not here. */
static struct erg_away *away_of(struct erg_remote *r, const struct erg_ref *ref) {
    uint32_t flags = atomic_load_explicit(&((struct erg_ref *)ref)->flags, memory_order_relaxed);
    if (!(flags & ERG_REF_TASK))
        return NULL;
    struct erg_away *a =
        erg_record_away(r->table, erg_table_record(r->table, ERG_HANDLE_INDEX(ref->offset)));
    return a && erg_away_phase(a) == ERG_AWAY_THERE ? a : NULL;
}

struct place *erg_away_nearest(struct place *p, uint32_t index,
                               uint32_t (*room_of)(const struct place *)) {
    struct erg_remote *r = p->remote;
    if (r->held == 0)
        return p;
    uint64_t bytes[64] = {0}, most = 0;
    uint32_t n, queue = ERG_QUEUE_BIT(erg_table_record(r->table, index)->queue % ERG_QUEUES);
    struct erg_ref *refs = refs_of(r, index, &n);
    struct place *best = p;
    for (uint32_t i = 0; i < n; i++) {
        const struct erg_away *a = away_of(r, &refs[i]);
        for (int k = 0; a && k < r->nplaces && k < 64; k++) {
            const struct sent *s = erg_site_sent(&r->places[k], ERG_DROP_VALUE, a->task);
            if (s && !s->from)
                bytes[k] += a->bytes;
        }
    }
    if (p->number < 64)
        most = bytes[p->number];
    for (int i = 0; i < r->nplaces && i < 64; i++) {
        struct place *q = &r->places[i];
        if (bytes[i] > most && (q->queues & queue) && room_of(q) > 0) {
            most = bytes[i];
            best = q;
        }
    }
    return best;
}

int erg_away_missing(struct place *p, uint32_t index) {
    struct erg_remote *r = p->remote;
    uint32_t n;
    int missing = 0;
    if (r->held == 0 && r->coming == 0 && r->peers == 0)
        return 0;
    struct erg_ref *refs = refs_of(r, index, &n);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t flags = atomic_load_explicit(&refs[i].flags, memory_order_relaxed);
        if (flags & ERG_REF_BLOB)
            missing |= erg_peer_wait(p, refs[i].offset);
        if (!(flags & ERG_REF_TASK))
            continue;
        struct sent *s = erg_site_sent(p, ERG_DROP_VALUE, refs[i].offset);
        struct erg_away *a = away_of(r, &refs[i]);
        if (s || !a) {
            missing |= s && s->from;
            continue;
        }
        missing = 1;
        if (erg_again_wanted(r, a->task))
            continue;
        if (erg_peer_fetch(p, ERG_DROP_VALUE, a->task, 0, a->bytes))
            continue;
        struct place *q = &r->places[a->place];
        s = erg_site_sent(q, ERG_DROP_VALUE, a->task);
        if (s)
            erg_away_fetch(q, s);
    }
    return missing;
}

void erg_away_unpark(struct erg_remote *r) {
    for (int i = 0; i < r->nplaces && r->parked > 0; i++) {
        struct place *p = &r->places[i];
        for (uint32_t at = p->first; at != ERG_NIL;) {
            struct leased *l = erg_leased_at(r, at);
            at = l->after;
            if (l->parked && !erg_away_missing(p, ERG_HANDLE_INDEX(l->task)))
                erg_leased_send(l);
        }
    }
}
