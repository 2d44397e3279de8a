#include "table/payload.h"
#include <string.h>

uint64_t erg_payload_size(const void *bytes, size_t len) {
    uint32_t n;
    uint64_t size = len;
    const struct erg_ref *entries = erg_payload_refs(bytes, len, &n);
    for (uint32_t i = 0; i < n; i++)
        size += entries[i].len;
    return size;
}

void erg_payload_free_refs(struct erg_member *m, const void *bytes, size_t len) {
    uint32_t n;
    struct erg_ref *entries = erg_payload_refs(bytes, len, &n);
    for (uint32_t i = 0; i < n; i++)
        if (!(atomic_load_explicit(&entries[i].flags, memory_order_acquire) & ERG_REF_TAKEN))
            erg_arena_free(m, entries[i].offset);
}

/* The owner does not die before its pool, so its functions need no list. */
void erg_fn_publish(struct erg_member *m, uint64_t offset) {
    struct erg_fn_head *head = erg_table_at(m->table, offset);
    uint64_t before = m->is_owner ? 0 : atomic_load_explicit(&m->slot->fns, memory_order_relaxed);
    atomic_store_explicit(&head->next, before, memory_order_relaxed);
    if (!m->is_owner)
        atomic_store_explicit(&m->slot->fns, offset, memory_order_release);
}

void erg_fn_free(struct erg_member *m, uint64_t offset) {
    struct erg_fn_head *head = erg_table_at(m->table, offset);
    _Atomic uint64_t *link = &m->slot->fns;
    uint64_t at;
    while ((at = atomic_load_explicit(link, memory_order_relaxed)) && at != offset)
        link = &((struct erg_fn_head *)erg_table_at(m->table, at))->next;
    if (at)
        atomic_store_explicit(link, atomic_load_explicit(&head->next, memory_order_relaxed),
                              memory_order_release);
    erg_payload_free_refs(m, head->payload, head->len);
    erg_arena_free(m, offset);
}

int erg_blob_held(const struct erg_table *t, uint64_t offset) {
    struct erg_blob_head *head = erg_table_at(t, offset);
    for (uint32_t i = 0; i < t->header->members_max; i++) {
        uint32_t holder = atomic_load_explicit(&head->held[i], memory_order_acquire);
        if (!holder)
            continue;
        const struct erg_member_slot *slot = &t->members[i];
        if (holder % 2 == 1 ||
            (atomic_load(&((struct erg_member_slot *)slot)->serial) == holder / 2 &&
             atomic_load(&((struct erg_member_slot *)slot)->phase) != ERG_M_FREE))
            return 1;
    }
    return 0;
}

void erg_blob_free(struct erg_member *m, uint64_t offset) {
    struct erg_blob_head *head = erg_table_at(m->table, offset);
    erg_payload_free_refs(m, erg_table_at(m->table, head->offset), head->len);
    erg_arena_free(m, head->offset);
    erg_arena_free(m, offset);
}

int erg_item_at(const struct erg_stream_block *block, size_t at, struct erg_item *item) {
    size_t used =
        atomic_load_explicit(&((struct erg_stream_block *)block)->used, memory_order_acquire);
    if (at >= used)
        return 0;
    const unsigned char *data = (const unsigned char *)block->data;
    item->kind = data[at];
    if (item->kind == ERG_ITEM_NEXT)
        return 0;
    if (item->kind == ERG_ITEM_ATOM) {
        if (used - at < 2)
            return ERG_EPROTOCOL;
        item->len = data[at + 1];
        item->at = at + 2;
    } else if (item->kind == ERG_ITEM_STREAM || item->kind == ERG_ITEM_ERROR) {
        if (used - at < 5)
            return ERG_EPROTOCOL;
        memcpy(&item->len, data + at + 1, 4);
        item->at = (at + 5 + 7) & ~(size_t)7;
    } else {
        return ERG_EPROTOCOL;
    }
    if (item->at > used || item->len > used - item->at)
        return ERG_EPROTOCOL;
    item->next = item->at + item->len;
    return 1;
}

void erg_stream_free(struct erg_member *m, uint64_t first) {
    while (first) {
        struct erg_stream_block *block = erg_table_at(m->table, first);
        uint64_t next = block->next;
        struct erg_item item;
        for (size_t at = 0; erg_item_at(block, at, &item) == 1; at = item.next)
            if (item.kind != ERG_ITEM_ATOM)
                erg_payload_free_refs(m, block->data + item.at, item.len);
        erg_arena_free(m, first);
        first = next;
    }
}
