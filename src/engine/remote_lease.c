/* Tasks that are at places: entered when they are sent, let go when they come back, retried or failed when they will not. */
#include "engine/remote_inside.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct leased *erg_leased_at(struct erg_remote *r, uint32_t i) {
    return &r->leases[i];
}

#ifdef ERG_TESTING
_Atomic int erg_testing_leases_fail; /* so many times there is no memory */
#endif

static int leases_grow(struct erg_remote *r) {
#ifdef ERG_TESTING
    if (atomic_load(&erg_testing_leases_fail) > 0 &&
        atomic_fetch_sub(&erg_testing_leases_fail, 1) > 0)
        return ERG_ENOMEM;
#endif
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

int erg_leased_new(struct erg_remote *r, struct place *p, uint32_t index, uint32_t *out) {
    if (r->leases_free == ERG_NIL && leases_grow(r) < 0)
        return ERG_ENOMEM;
    uint32_t i = r->leases_free;
    struct leased *l = erg_leased_at(r, i);
    struct erg_record *record = erg_table_record(r->table, index);
    r->leases_free = l->next;
    *l = (struct leased){.place = p,
                         .task = erg_record_handle(r->table, index),
                         .fn = record->user8 == 0 ? record->fn : 0,
                         .chunk = record->kind == ERG_KIND_CHUNK,
                         .needs_cap = 2,
                         .before = p->last,
                         .after = ERG_NIL};
    l->needs = l->few_needs;
    if (p->last == ERG_NIL)
        p->first = i;
    else
        erg_leased_at(r, p->last)->after = i;
    p->last = i;
    p->chunks += l->chunk;
    r->lease_of[index] = i + 1;
    atomic_fetch_add(&r->leased_count, 1);
    *out = i;
    return 0;
}

void erg_leased_free(struct erg_remote *r, struct leased *l) {
    struct place *p = l->place;
    uint32_t i = (uint32_t)(l - r->leases);
    for (uint32_t k = 0; k < l->nneeds; k++) {
        struct sent *s = l->needs[k];
        if (--s->users == 0)
            s->idle_at = r->now;
        if (s->last == l->task) /* it may be sent there again */
            s->last = ERG_HANDLE_NONE;
    }
    if (l->needs != l->few_needs)
        free(l->needs);
    if (l->before == ERG_NIL)
        p->first = l->after;
    else
        erg_leased_at(r, l->before)->after = l->after;
    if (l->after == ERG_NIL)
        p->last = l->before;
    else
        erg_leased_at(r, l->after)->before = l->before;
    if (!l->left) {
        r->lease_of[ERG_HANDLE_INDEX(l->task)] = 0;
        atomic_fetch_sub(&r->leased_count, 1);
    }
    p->left -= l->left;
    p->chunks -= l->chunk;
    r->parked -= l->parked;
    p->parked -= l->parked;
    l->parked = 0;
    l->place = NULL;
    l->next = r->leases_free;
    r->leases_free = i;
}

struct leased *erg_remote_find(struct erg_remote *r, erg_handle task) {
    uint32_t index = ERG_HANDLE_INDEX(task);
    if (index >= r->table->header->records_max || r->lease_of[index] == 0)
        return NULL;
    struct leased *l = erg_leased_at(r, r->lease_of[index] - 1);
    return l->place && l->task == task ? l : NULL;
}

int erg_leased_needs(struct leased *l, struct sent *s) {
    if (s->last == l->task) /* it is in the list already */
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
    s->last = l->task;
    s->users++;
    if (!s->small && !s->arrived)
        l->lane = ERG_LANE_BULK;
    return 0;
}

/* --- the end of one ------------------------------------------------------------------------------------------------ */

void erg_leased_arrived(struct leased *l) {
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
                            .pure =
                                record->kind == ERG_KIND_CALL && (record->first & ERG_CALL_ANEW),
                            .on_top = 1,
                            .cancelled = (erg_record_state(record) & ERG_STATE_CANCEL) != 0};
    if (erg_retry_decide(&r->retry, &loss, NULL) != ERG_VERDICT_RETRY)
        return 0;
    if (record->retries > 0 && --record->retries == 0 && record->kind == ERG_KIND_CALL &&
        !(record->first & ERG_CALL_ANEW))
        record->first &= ~(uint32_t)ERG_CALL_STAYS; /* it could not be made again */
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
    if (!chunk && outcome <= ERG_OUT_ERROR && record->result.offset &&
        record->result.start != ERG_RESULT_AWAY)
        run.bytes_out = erg_payload_size(erg_table_at(r->table, record->result.offset),
                                         (size_t)record->result.len);
    r->on_run(r->on_run_ctx, &run);
}

/* The lease's own end; the record is still to be finished. */
static uint32_t close_lease(struct leased *l, enum erg_outcome outcome, uint64_t run_ns) {
    struct place *p = l->place;
    struct erg_remote *r = p->remote;
    uint32_t index = ERG_HANDLE_INDEX(l->task);
    erg_lease_on_done(&p->lease, l->bytes, outcome == ERG_OUT_CANCELLED ? -1 : (int64_t)run_ns);
    tell(l, outcome, run_ns);
    erg_leased_arrived(l);
    erg_leased_free(r, l);
    p->tasks++;
    p->busy_ns += run_ns;
    atomic_fetch_add(&r->finished, 1);
    return index;
}

void erg_leased_finish(struct leased *l, enum erg_outcome outcome, uint64_t run_ns) {
    struct place *p = l->place;
    struct erg_remote *r = p->remote;
    uint32_t index = close_lease(l, outcome, run_ns);
    if (outcome == ERG_OUT_LOST) {
        p->tasks_lost++;
        if (retried(r, index))
            return;
    }
    erg_lease_finish(r->m, index, outcome, run_ns);
}

void erg_leased_fail(struct leased *l, const char *words) {
    struct place *p = l->place;
    struct erg_remote *r = p->remote;
    uint32_t index = ERG_HANDLE_INDEX(l->task);
    struct erg_record *record = erg_table_record(r->table, index);
    int cancelled = (erg_record_state(record) & ERG_STATE_CANCEL) != 0;
    tell(l, ERG_OUT_LOST, 0);
    erg_leased_free(r, l);
    p->tasks_lost++;
    forget_result(r, record);
    set_words(r, index, words, strlen(words));
    erg_lease_finish(r->m, index, cancelled ? ERG_OUT_CANCELLED : ERG_OUT_LOST, 0);
}

void erg_leased_finish_away(struct leased *l, uint64_t run_ns) {
    struct place *p = l->place;
    struct erg_remote *r = p->remote;
    uint32_t index = close_lease(l, ERG_OUT_OK, run_ns);
    uint32_t next = erg_lease_finish_away(r->m, index, run_ns, p->queues);
    if (next != ERG_NIL)
        erg_remote_place(p, next);
}

/* Its items that have not come are its owner's again, as those of a chunk that was lost before it began them. They are
 * pure no more: not from one to the next for ever. */
static void give_rest(struct erg_remote *r, uint32_t index) {
    struct erg_record *record = erg_table_record(r->table, index);
    uint32_t next = record->first + atomic_load(&record->ndone);
    uint64_t seen = atomic_load(&record->range);
    while (!atomic_compare_exchange_weak(&record->range, &seen, (seen >> 32 << 32) | next))
        ;
    __atomic_fetch_and(erg_record_bytes(r->table, record, &record->args),
                       (unsigned char)~ERG_PAYLOAD_PURE, __ATOMIC_RELAXED);
    erg_lease_finish(r->m, index, ERG_OUT_LOST, 0);
}

/* The worker there is busy until it says so: the lease stays, and the place gets nothing new meanwhile. */
void erg_leased_leave(struct leased *l) {
    struct place *p = l->place;
    struct erg_remote *r = p->remote;
    uint32_t index = ERG_HANDLE_INDEX(l->task);
    struct erg_record *record = erg_table_record(r->table, index);
    unsigned char head[64];
    uint64_t id = l->task;
    struct erg_msg_ids m = {.n = 1, .ids = &id};
    erg_site_send(p, l->lane, ERG_MSG_CANCEL, head, erg_msg_ids_encode(&m, head));
    tell(l, ERG_OUT_NONE, 0);
    int64_t now = erg_remote_now(); /* it shall not be the place itself that is free first */
    p->starved_until = now + (now - l->sent_at);
    l->left = 1;
    p->left++;
    r->lease_of[index] = 0;
    atomic_fetch_sub(&r->leased_count, 1);
    if (record->kind == ERG_KIND_CHUNK) {
        give_rest(r, index);
        return;
    }
    record->first &= ~(uint32_t)ERG_CALL_PURE; /* not from one to the next for ever */
    erg_lease_return(r->m, index);
}

static void end_left(struct leased *l) {
    struct place *p = l->place;
    erg_lease_on_done(&p->lease, l->bytes, -1);
    erg_leased_arrived(l);
    erg_leased_free(p->remote, l);
}

void erg_site_on_left(struct place *p, erg_handle task) {
    struct erg_remote *r = p->remote;
    for (uint32_t i = p->left ? p->first : ERG_NIL; i != ERG_NIL; i = erg_leased_at(r, i)->after) {
        struct leased *l = erg_leased_at(r, i);
        if (l->left && l->task == task) {
            end_left(l);
            return;
        }
    }
}

void erg_site_lose_tasks(struct place *p, enum erg_outcome outcome, const char *words) {
    struct erg_remote *r = p->remote;
    while (p->first != ERG_NIL) {
        struct leased *l = erg_leased_at(r, p->first);
        uint32_t index = ERG_HANDLE_INDEX(l->task);
        if (l->left) {
            end_left(l);
            continue;
        }
        erg_lease_on_done(&p->lease, l->bytes, -1);
        int parked = l->parked;
        if (!parked)
            tell(l, outcome, 0);
        erg_leased_free(r, l);
        if (parked && outcome == ERG_OUT_LOST) { /* it never was there */
            erg_lease_return(r->m, index);
            continue;
        }
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
    erg_site_drop_all(p);
    erg_away_unpark(r);
}

void erg_remote_tasks_fini(struct erg_remote *r) {
    for (int i = 0; i < r->nplaces; i++)
        erg_site_drop_all(&r->places[i]);
    free(r->leases);
    if (r->lease_of)
        munmap(r->lease_of, r->lease_of_bytes);
}
