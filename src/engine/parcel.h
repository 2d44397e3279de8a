/* engine/parcel: payloads between a table and a link.
 *
 * Out: the payload's bytes and buffers stay where they are; a parcel lists them in the order they travel. In: a parcel
 * makes room in the arena first, so that the link can read straight into it; it becomes a payload when all is there.
 * What the stream says is the runtime's business; every reference out of it is checked. One thread at a time; a parcel
 * does not outlive the message it was made from. */
#ifndef ERG_ENGINE_PARCEL_H
#define ERG_ENGINE_PARCEL_H

#include "table/payload.h"
#include "wire/message.h"

#include <sys/uio.h>

enum { ERG_PARCEL_FEW = 8 };

/* --- out ------------------------------------------------------------------------------------------------------ */
struct erg_parcel_out {
    struct erg_msg_payload payload; /* for the head's encoder */
    struct iovec *pieces;           /* what goes behind the head */
    size_t n;
    size_t cap;
    struct erg_entry few_entries[ERG_PARCEL_FEW], *entries;
    struct iovec few_pieces[ERG_PARCEL_FEW + 1];
};

/* Names what a reference stands for over there: sets entry->kind and entry->id. 0 or negative. */
typedef int (*erg_parcel_name)(void *ctx, const struct erg_ref *ref, struct erg_entry *entry);

/* The payload at `bytes`. 0, ERG_ENOMEM, or what name() returned. */
int erg_parcel_pack(struct erg_table *t, const void *bytes, size_t len, erg_parcel_name name,
                    void *ctx, struct erg_parcel_out *out);
/* The items of one block of a chunk's results; *count: how many. ERG_ECORRUPT when they are none. */
int erg_parcel_pack_items(struct erg_table *t, const struct erg_stream_block *block,
                          struct erg_parcel_out *out, uint32_t *count);
void erg_parcel_out_fini(struct erg_parcel_out *out);

/* --- in ------------------------------------------------------------------------------------------------------- */
struct erg_parcel {
    struct erg_member *m;
    uint64_t
        block; /* arena block the payload lies in, behind `front` bytes; 0: in the memory the caller gave */
    unsigned char *bytes; /* the payload */
    size_t len;
    int items;      /* what comes are items of a chunk: the block is a struct erg_stream_block */
    uint32_t count; /* items: how many, once sealed */
    uint32_t nrefs;
    struct erg_ref
        *refs; /* those of the payload; for items a list of our own, until they are sealed */
    struct iovec *pieces; /* where the data belongs */
    size_t n;
    struct iovec few_pieces[ERG_PARCEL_FEW + 1];
};

/* What the entry of a reference means here: sets ref->offset. 0 or negative, with words. */
typedef int (*erg_parcel_find)(void *ctx, const struct erg_entry *entry, struct erg_ref *ref,
                               struct erg_error *err);

/* Room for a payload that is on its way. front: bytes to leave free before it in its block (for a struct erg_fn_head).
 * here/here_len: memory to use instead of a block where it fits and front is 0; may be NULL. ERG_ENOMEM, ERG_EPROTOCOL,
 * or what find() returned; then nothing is left to be freed. */
int erg_parcel_open(struct erg_member *m, const struct erg_msg_payload *payload, size_t front,
                    unsigned char *here, size_t here_len, erg_parcel_find find, void *ctx,
                    struct erg_parcel *parcel, struct erg_error *err);
int erg_parcel_open_items(struct erg_member *m, const struct erg_msg_payload *payload,
                          struct erg_parcel *parcel, struct erg_error *err);
/* For data that there is no room for: `len` bytes of it are read and go nowhere. To be aborted, never sealed. ERG_ENOMEM;
 * ERG_EPROTOCOL: nobody has as much. */
int erg_parcel_open_sink(uint64_t len, struct erg_parcel *parcel, struct erg_error *err);
/* The data came with the message: copies it to where it belongs. */
void erg_parcel_copy(struct erg_parcel *parcel, const unsigned char *data);
/* All the data is there. 0: block, bytes and len are the caller's now; ERG_EPROTOCOL: everything was freed. */
int erg_parcel_seal(struct erg_parcel *parcel, struct erg_error *err);
/* It will not come: frees everything. */
void erg_parcel_abort(struct erg_parcel *parcel);

#endif
