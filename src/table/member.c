#include "table/member.h"
#include "table/inside.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static void slot_reset(struct erg_member_slot *slot, uint32_t kind, uint32_t queues) {
    slot->kind = kind;
    atomic_store(&slot->pid, 0);
    atomic_store(&slot->queues, queues);
    atomic_fetch_add(&slot->serial, 1);
    atomic_store(&slot->depth, 0);
    atomic_store(&slot->entered, 0);
    atomic_store(&slot->next, ERG_HANDLE_NONE);
    atomic_store(&slot->edge, ERG_EDGE_NONE);
    atomic_store(&slot->releasing, ERG_RELEASING_NONE);
    for (int i = 0; i < ERG_CLAIMS_MAX; i++)
        atomic_store_explicit(&slot->claims[i], ERG_HANDLE_NONE, memory_order_relaxed);
    atomic_store(&slot->stop, 0);
    atomic_store(&slot->cancel, 0);
    atomic_store(&slot->returned, 0);
    atomic_store(&slot->fns, 0);
    atomic_store(&slot->cpu, 0);
    atomic_store(&slot->tasks, 0);
    atomic_store(&slot->busy_ns, 0);
    atomic_store(&slot->waits, ERG_WAITS_NOT);
    atomic_store(&slot->bytes_in, 0);
    atomic_store(&slot->bytes_out, 0);
    atomic_store(&slot->magazines[0].count, 0);
    atomic_store(&slot->magazines[1].count, 0);
}

int erg_member_reserve(struct erg_table *t, uint32_t kind, uint32_t queues, uint32_t *number,
                       struct erg_error *err) {
    struct erg_table_header *h = t->header;
    for (uint32_t i = 0; i < h->members_max; i++) {
        uint32_t seen = ERG_M_FREE;
        if (!atomic_compare_exchange_strong(&t->members[i].phase, &seen, ERG_M_RESERVED))
            continue;
        slot_reset(&t->members[i], kind, queues);
        uint32_t top = atomic_load(&h->members_top);
        while (top < i + 1 && !atomic_compare_exchange_weak(&h->members_top, &top, i + 1))
            ;
        *number = i;
        return 0;
    }
    return erg_error_set(err, ERG_EFULL,
                         "the pool has %u members already, the most its table was made for",
                         h->members_max);
}

void erg_member_unreserve(struct erg_table *t, uint32_t number) {
    uint32_t seen = ERG_M_RESERVED;
    atomic_compare_exchange_strong(&t->members[number].phase, &seen, ERG_M_FREE);
}

int erg_member_open(struct erg_table *t, uint32_t number, struct erg_member **out,
                    struct erg_error *err) {
    if (number >= t->header->members_max ||
        atomic_load(&t->members[number].phase) != ERG_M_RESERVED)
        return erg_error_set(err, ERG_ESTATE, "member %u of the pool was not reserved", number);
    struct erg_member *m = calloc(1, sizeof *m);
    if (!m)
        return erg_error_set(err, ERG_ENOMEM, "no memory for a member of the pool");
    m->table = t;
    m->number = number;
    m->slot = &t->members[number];
    m->queues = atomic_load(&m->slot->queues);
    m->is_owner = number == 0;
    int code = erg_arena_open(m, err);
    if (code < 0) {
        free(m);
        return code;
    }
    atomic_store(&m->slot->pid, (int32_t)getpid());
    atomic_store(&m->slot->phase, ERG_M_UP);
    if (m->slot->kind == ERG_MEMBER_PLACE)
        atomic_store(&t->header->place, number);
    else
        atomic_fetch_add(&t->header->members_up, 1);
    erg_lock(&t->opened_lock);
    m->sibling = t->opened;
    t->opened = m;
    erg_unlock(&t->opened_lock);
    *out = m;
    return 0;
}

void erg_member_close(struct erg_member *m) {
    struct erg_table *t = m->table;
    if (m->closed || atomic_load(&t->forked))
        return;
    m->closed = 1;
    atomic_store(&m->slot->phase, ERG_M_LEAVING);
    erg_claim_drop(m);
    erg_store_flush(m);
    if (m->number == 0)
        return; /* what it handed out comes home to it to the end */
    erg_arena_orphan(m, m->number);
    if (m->slot->kind == ERG_MEMBER_PLACE) {
        atomic_store(&t->header->place, 0);
        erg_awake_bit(t->header->sleeping, m->number, 0);
    } else {
        atomic_fetch_sub(&t->header->members_up, 1);
    }
    atomic_store(&m->slot->queues, 0);
    atomic_store(&m->slot->phase, ERG_M_FREE);
    erg_lock(&t->opened_lock);
    struct erg_member **link = &t->opened;
    while (*link && *link != m)
        link = &(*link)->sibling;
    if (*link)
        *link = m->sibling;
    erg_unlock(&t->opened_lock);
    erg_arena_close(m);
    free(m);
}
