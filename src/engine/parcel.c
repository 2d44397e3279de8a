/* On a link a payload is its stream (flag byte, the runtime's bytes, padding) and then the bytes of its buffers; its
 * references travel in the message's head. The items of a chunk are the bytes of their block as they are, references
 * included: over there each of them is given the buffer that belongs to it, in order. */
#include "engine/parcel.h"

#include <stdlib.h>
#include <string.h>

/* --- out ------------------------------------------------------------------------------------------------------ */

static void out_init(struct erg_parcel_out *out) {
    memset(&out->payload, 0, sizeof out->payload);
    out->pieces = out->few_pieces;
    out->entries = out->few_entries;
    out->n = 0;
    out->cap = ERG_PARCEL_FEW;
}

void erg_parcel_out_fini(struct erg_parcel_out *out) {
    if (out->pieces != out->few_pieces)
        free(out->pieces);
    if (out->entries != out->few_entries)
        free(out->entries);
}

static int out_grow(struct erg_parcel_out *out, size_t least) {
    size_t cap = out->cap * 2 > least ? out->cap * 2 : least;
    struct iovec *pieces = malloc((cap + 1) * sizeof *pieces);
    struct erg_entry *entries = malloc(cap * sizeof *entries);
    if (!pieces || !entries) {
        free(pieces);
        free(entries);
        return ERG_ENOMEM;
    }
    memcpy(pieces, out->pieces, out->n * sizeof *pieces);
    memcpy(entries, out->entries, out->payload.n * sizeof *entries);
    erg_parcel_out_fini(out);
    out->pieces = pieces;
    out->entries = entries;
    out->cap = cap;
    return 0;
}

static void add_piece(struct erg_parcel_out *out, const void *bytes, size_t len) {
    out->pieces[out->n++] = (struct iovec){(void *)bytes, len};
    out->payload.data_len += len;
}

static int add_ref(struct erg_table *t, const struct erg_ref *ref, erg_parcel_name name, void *ctx,
                   struct erg_parcel_out *out) {
    if (out->payload.n == out->cap && out_grow(out, 0) < 0)
        return ERG_ENOMEM;
    uint32_t flags = atomic_load_explicit(&((struct erg_ref *)ref)->flags, memory_order_relaxed);
    struct erg_entry *entry = &out->entries[out->payload.n++];
    *entry = (struct erg_entry){.kind = ERG_ENTRY_BUFFER, .flags = (uint8_t)flags};
    if (!erg_ref_is_buffer(ref))
        return name ? name(ctx, ref, entry) : ERG_EINVALID;
    entry->len = ref->len;
    add_piece(out, erg_table_at(t, ref->offset), ref->len);
    return 0;
}

int erg_parcel_pack(struct erg_table *t, const void *bytes, size_t len, erg_parcel_name name,
                    void *ctx, struct erg_parcel_out *out) {
    uint32_t n;
    struct erg_ref *refs = erg_payload_refs(bytes, len, &n);
    size_t stream = n ? (size_t)((const char *)refs - (const char *)bytes) : len;
    int code = 0;
    out_init(out);
    if (n > out->cap)
        code = out_grow(out, n);
    if (code == 0)
        add_piece(out, bytes, stream);
    out->payload.stream_len = stream;
    for (uint32_t i = 0; i < n && code == 0; i++)
        code = add_ref(t, &refs[i], name, ctx, out);
    out->payload.entries = out->entries;
    if (code < 0)
        erg_parcel_out_fini(out);
    return code;
}

int erg_parcel_pack_items(struct erg_table *t, const struct erg_stream_block *block,
                          struct erg_parcel_out *out, uint32_t *count) {
    struct erg_item item;
    size_t at = 0;
    int code = 0, more;
    out_init(out);
    add_piece(out, block->data, 0);
    *count = 0;
    while (code == 0 && (more = erg_item_at(block, at, &item)) != 0) {
        uint32_t n = 0;
        struct erg_ref *refs = NULL;
        if (more < 0)
            code = ERG_ECORRUPT;
        else if (item.kind != ERG_ITEM_ATOM)
            refs = erg_payload_refs(block->data + item.at, item.len, &n);
        for (uint32_t i = 0; i < n && code == 0; i++)
            code = add_ref(t, &refs[i], NULL, NULL, out);
        at = item.next;
        ++*count;
    }
    out->pieces[0].iov_len = at;
    out->payload.stream_len = at;
    out->payload.data_len += at;
    out->payload.entries = out->entries;
    if (code < 0)
        erg_parcel_out_fini(out);
    return code;
}

/* --- in ------------------------------------------------------------------------------------------------------- */

static int broken(struct erg_error *err, const char *what) {
    return erg_error_set(err, ERG_EPROTOCOL, "a payload from another host makes no sense: %s",
                         what);
}

/* Frees the buffers that were allocated so far. */
static void free_buffers(struct erg_parcel *p) {
    for (uint32_t i = 0; i < p->nrefs; i++)
        if (erg_ref_is_buffer(&p->refs[i]) && p->refs[i].offset)
            erg_arena_free(p->m, p->refs[i].offset);
}

void erg_parcel_abort(struct erg_parcel *p) {
    free_buffers(p);
    if (p->items)
        free(p->refs);
    if (p->pieces != p->few_pieces)
        free(p->pieces);
    if (p->block)
        erg_arena_free(p->m, p->block);
    p->block = 0;
}

/* The refs in p->refs, zeroed before, and a piece for each buffer behind p->pieces[0]. */
static int open_refs(struct erg_parcel *p, const struct erg_msg_payload *payload,
                     erg_parcel_find find, void *ctx, struct erg_error *err) {
    struct erg_entry entry;
    for (uint32_t i = 0; i < payload->n; i++) {
        struct erg_ref *ref = &p->refs[i];
        erg_msg_payload_entry(payload, i, &entry);
        uint32_t flags = entry.flags & (ERG_REF_SHARED | ERG_REF_TAKEN);
        if (entry.kind == ERG_ENTRY_BUFFER) {
            int code = erg_arena_alloc(p->m, entry.len, &ref->offset, err);
            if (code < 0)
                return code;
            ref->len = entry.len;
            ref->flags = flags & ~(uint32_t)ERG_REF_TAKEN;
            p->pieces[p->n++] = (struct iovec){erg_table_at(p->m->table, ref->offset), ref->len};
            continue;
        }
        ref->flags =
            flags | ERG_REF_TAKEN | (entry.kind == ERG_ENTRY_BLOB ? ERG_REF_BLOB : ERG_REF_TASK);
        int code = find ? find(ctx, &entry, ref, err) : broken(err, "a reference nobody expects");
        if (code < 0)
            return code;
    }
    return 0;
}

static int open_pieces(struct erg_parcel *p, uint32_t n) {
    p->pieces = p->few_pieces;
    if (n > ERG_PARCEL_FEW)
        p->pieces = malloc(((size_t)n + 1) * sizeof *p->pieces);
    return p->pieces ? 0 : ERG_ENOMEM;
}

int erg_parcel_open(struct erg_member *m, const struct erg_msg_payload *payload, size_t front,
                    unsigned char *here, size_t here_len, erg_parcel_find find, void *ctx,
                    struct erg_parcel *p, struct erg_error *err) {
    uint32_t n = payload->n;
    size_t refs = n ? n * sizeof(struct erg_ref) + 4 : 0;
    if (payload->stream_len < 1 || payload->stream_len > UINT32_MAX ||
        (n && payload->stream_len % 8))
        return broken(err, "its length");
    *p = (struct erg_parcel){.m = m, .len = (size_t)payload->stream_len + refs};
    int code = open_pieces(p, n);
    if (code < 0)
        return erg_error_set(err, code, "no memory for a payload");
    if (here && !front && p->len <= here_len && n == 0) {
        p->bytes = here;
    } else {
        code = erg_arena_alloc(m, front + p->len, &p->block, err);
        if (code < 0) {
            erg_parcel_abort(p);
            return code;
        }
        p->bytes = (unsigned char *)erg_table_at(m->table, p->block) + front;
    }
    p->pieces[p->n++] = (struct iovec){p->bytes, (size_t)payload->stream_len};
    if (n) {
        p->refs = (struct erg_ref *)(p->bytes + payload->stream_len);
        memset((void *)p->refs, 0, n * sizeof *p->refs);
        memcpy(p->bytes + p->len - 4, &n, 4);
        p->nrefs = n;
        code = open_refs(p, payload, find, ctx, err);
    }
    if (code < 0)
        erg_parcel_abort(p);
    return code;
}

int erg_parcel_open_items(struct erg_member *m, const struct erg_msg_payload *payload,
                          struct erg_parcel *p, struct erg_error *err) {
    size_t len = (size_t)payload->stream_len;
    if (len > UINT32_MAX)
        return broken(err, "its length");
    *p = (struct erg_parcel){.m = m, .len = len, .items = 1, .nrefs = payload->n};
    int code = open_pieces(p, payload->n);
    p->refs = calloc((size_t)payload->n + 1, sizeof *p->refs);
    if (code == 0 && !p->refs)
        code = ERG_ENOMEM;
    if (code == 0)
        /* one byte more: the mark that the stream goes on elsewhere */
        code = erg_arena_alloc(m, sizeof(struct erg_stream_block) + len + 1, &p->block, err);
    if (code < 0) {
        free(p->refs);
        p->nrefs = 0;
        p->refs = NULL;
        p->items = 0;
        erg_parcel_abort(p);
        return code;
    }
    struct erg_stream_block *block = erg_table_at(m->table, p->block);
    block->next = 0;
    block->size = len + 1;
    atomic_init(&block->used, len);
    block->data[len] = ERG_ITEM_NEXT;
    p->bytes = (unsigned char *)block->data;
    p->pieces[p->n++] = (struct iovec){block->data, len};
    code = open_refs(p, payload, NULL, NULL, err);
    if (code < 0)
        erg_parcel_abort(p);
    return code;
}

int erg_parcel_open_sink(uint64_t len, struct erg_parcel *p, struct erg_error *err) {
    const size_t room = (size_t)1 << 20;
    const uint64_t most = (uint64_t)1 << 40; /* the list of pieces has a price: 16 MiB for these */
    size_t n = (size_t)(len / room + 1);
    if (len > most)
        return erg_error_set(err, ERG_EPROTOCOL, "the other side announces %llu bytes at once",
                             (unsigned long long)len);
    *p = (struct erg_parcel){.n = n};
    p->pieces = malloc(n * sizeof *p->pieces + room); /* all of them lead to the same memory */
    if (!p->pieces)
        return erg_error_set(err, ERG_ENOMEM, "no memory to read past what there is no room for");
    for (size_t i = 0; i < n; i++)
        p->pieces[i] = (struct iovec){p->pieces + n, i + 1 < n ? room : (size_t)(len % room)};
    return 0;
}

void erg_parcel_copy(struct erg_parcel *p, const unsigned char *data) {
    for (size_t i = 0; i < p->n; i++) {
        erg_arena_copy(p->pieces[i].iov_base, data, p->pieces[i].iov_len);
        data += p->pieces[i].iov_len;
    }
}

/* Gives the references inside the items their buffers. */
static int seal_items(struct erg_parcel *p) {
    struct erg_stream_block *block = erg_table_at(p->m->table, p->block);
    struct erg_item item;
    uint32_t given = 0;
    int more;
    for (size_t at = 0; (more = erg_item_at(block, at, &item)) == 1; at = item.next, p->count++) {
        uint32_t n = 0;
        if (item.kind == ERG_ITEM_ATOM)
            continue;
        unsigned char *bytes = (unsigned char *)block->data + item.at;
        struct erg_ref *refs = erg_payload_refs(bytes, item.len, &n);
        if (item.len < 1 || (!n && (bytes[0] & ERG_PAYLOAD_REFS)) || n > p->nrefs - given)
            return 0;
        for (uint32_t i = 0; i < n; i++, given++)
            memcpy((char *)&refs[i], (const char *)&p->refs[given], sizeof refs[i]);
    }
    return more == 0 && given == p->nrefs;
}

int erg_parcel_seal(struct erg_parcel *p, struct erg_error *err) {
    if (!p->items) {
        p->bytes[0] =
            (unsigned char)((p->bytes[0] & ~ERG_PAYLOAD_REFS) | (p->nrefs ? ERG_PAYLOAD_REFS : 0));
    } else if (!seal_items(p)) {
        erg_parcel_abort(p);
        return broken(err, "the results of a chunk");
    } else {
        free(p->refs);
    }
    if (p->pieces != p->few_pieces)
        free(p->pieces);
    return 0;
}
