/* table/payload: what arguments, results, functions and shared objects look like in the arena.
 *
 * What the bytes mean is the runtime's business. Where they refer to something outside of themselves is everybody's: so
 * that a payload can be measured, freed, or moved to another table (another host's) without the runtime, every such
 * reference is an *entry* behind the bytes:
 *
 *     flag byte | the runtime's stream | padding to 8, struct erg_ref entries[n], uint32_t n, if ERG_PAYLOAD_REFS
 *
 * A payload owns the blocks of its BUFFER entries until a reader marks them TAKEN. TASK and BLOB entries own nothing.
 * Everything here is plain memory: no locks, any thread; the structures are changed by those who own them. */
#ifndef ERG_TABLE_PAYLOAD_H
#define ERG_TABLE_PAYLOAD_H

#include "table/arena.h"

#define ERG_PAYLOAD_REFS 1u /* of the flag byte; the others are the runtime's, but */
#define ERG_PAYLOAD_PURE                                                                           \
    128u /* of a chunk's arguments: its calls may be begun anew elsewhere while they run */

enum erg_ref_flags {
    ERG_REF_SHARED = 2, /* several tasks may look at it: writers need a copy */
    ERG_REF_TAKEN =
        4, /* whoever read it keeps it, or it owns nothing: not to be freed with the payload */
    ERG_REF_TASK = 8, /* offset: the handle of a task this one comes after, whose result it reads */
    ERG_REF_BLOB = 16, /* offset: of a struct erg_blob_head */
};
#define ERG_REF_ELSEWHERE (ERG_REF_TASK | ERG_REF_BLOB)

struct erg_ref {
    uint64_t offset; /* an arena block, or as the flags say */
    uint64_t len;    /* of the buffer; 0 for references */
    _Atomic uint32_t flags;
    uint32_t pad;
};

static inline int erg_ref_is_buffer(const struct erg_ref *e) {
    return !(atomic_load_explicit(&((struct erg_ref *)e)->flags, memory_order_relaxed) &
             ERG_REF_ELSEWHERE);
}

/* The entries of a payload, *n of them; NULL when it has none or its bytes cannot be a payload. */
static inline struct erg_ref *erg_payload_refs(const void *bytes, size_t len, uint32_t *n) {
    *n = 0;
    if (len < 5 || !(*(const unsigned char *)bytes & ERG_PAYLOAD_REFS))
        return NULL;
    uint32_t count;
    __builtin_memcpy(&count, (const char *)bytes + len - 4, 4);
    if (count > (len - 5) / sizeof(struct erg_ref))
        return NULL;
    *n = count;
    return (struct erg_ref *)((char *)bytes + len - 4 - count * sizeof(struct erg_ref));
}
/* Its bytes with those of its buffers. */
uint64_t erg_payload_size(const void *bytes, size_t len);
/* Frees the buffers nobody took; not the payload's own block. */
void erg_payload_free_refs(struct erg_member *m, const void *bytes, size_t len);

/* --- what record.fn names -------------------------------------------------------------------------------- */
struct erg_fn_head {
    uint64_t uid;    /* never used again for another */
    uint32_t stable; /* loaded once by each worker; else anew for every task */
    uint32_t pad;
    uint64_t path; /* of a struct erg_string: where its modules are, 0: where workers look anyway */
    _Atomic uint64_t name; /* of a struct erg_string: what traces call it, 0: nobody asked */
    _Atomic uint64_t next; /* the one published before by the same member */
    uint64_t len;          /* of the payload that follows */
    char payload[];
};
/* The member's own function, at `offset`, is complete: should the member die, recovery frees it once nobody uses it.
 * By one thread of the member's process at a time, as erg_fn_free. */
void erg_fn_publish(struct erg_member *m, uint64_t offset);
/* Frees what erg_fn_publish was told of. */
void erg_fn_free(struct erg_member *m, uint64_t offset);

struct erg_string {
    uint64_t len;
    char bytes[];
};

/* --- an object several tasks take -------------------------------------------------------------------------- */
struct erg_blob_head {
    uint64_t uid;
    uint64_t offset, len;  /* payload, an arena block */
    uint32_t fresh;        /* every task gets a copy of its own */
    _Atomic uint32_t dead; /* its owner let go: views are dropped as soon as may be */
    /* Who keeps views of it, by member number: 0 nobody, else the member's serial * 2, + 1 if it lives in the owner's
     * process. A process that died keeps none any more although it never said so; its number may be another's by now. */
    _Atomic uint32_t held[]; /* members_max of the table */
};
static inline size_t erg_blob_head_size(const struct erg_table *t) {
    return sizeof(struct erg_blob_head) +
           t->header->members_max * sizeof(((struct erg_blob_head *)0)->held[0]);
}

/* Does anybody keep a view of it? */
int erg_blob_held(const struct erg_table *t, uint64_t head);
/* Frees head and payload. */
void erg_blob_free(struct erg_member *m, uint64_t head);

/* --- results of a chunk: blocks in the arena, linked -------------------------------------------------------- */
struct erg_stream_block {
    uint64_t next;         /* offset of the next, 0 */
    uint64_t size;         /* bytes there is room for */
    _Atomic uint64_t used; /* bytes of items that are complete; published before record.ndone */
    char data[];
};
/* Each item: one of these bytes, then … */
enum {
    ERG_ITEM_ATOM, /* … uint8_t length, bytes without references */
    ERG_ITEM_STREAM, /* … uint32_t length, padding to 8 from the start of the block's data, a payload */
    ERG_ITEM_ERROR, /* … the same: the payload of an error */
    ERG_ITEM_NEXT,  /* goes on in the next block */
};
/* Where it begins: the runner, once it knows the function, leaves the offset in record.fn and says so in user8. The
 * record's own result stays free for the words of whoever buries it. */
enum { ERG_USER8_BY_REFERENCE = 1, ERG_USER8_STREAM = 2 };

struct erg_item {
    int kind;
    uint32_t len;
    size_t at;   /* of its bytes, in the block's data */
    size_t next; /* of the item after it */
};
/* The item at `at`. 1; 0: the block has no more; ERG_EPROTOCOL: that is none. */
int erg_item_at(const struct erg_stream_block *block, size_t at, struct erg_item *item);
/* Frees the blocks from `first` on, and the buffers of all items in them. */
void erg_stream_free(struct erg_member *m, uint64_t first);

#endif
