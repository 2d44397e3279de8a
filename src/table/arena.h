/* table/arena: payload memory inside the table.
 *
 * A member allocates from extents of its own (4 MiB each, taken from a shared map by swap) and keeps what is freed
 * warm, because a fresh page costs ten times a copy. Any member may free any block: it goes home to its
 * allocator's `returned` stack. Blocks are named by their offset in the mapping.
 * Any thread of a member's process may call. */
#ifndef ERG_TABLE_ARENA_H
#define ERG_TABLE_ARENA_H

#include "table/member.h"

/* A block of at least len bytes, 16-byte aligned; page aligned (64 KiB) from 64 KiB on. What is in it is undefined. Big
 * ones are backed by memory at once, so that running out is ERG_ENOMEM here and not SIGBUS later. */
int erg_arena_alloc(struct erg_member *m, uint64_t len, uint64_t *offset, struct erg_error *err);
/* The same for a block that nobody but the allocator can reach yet: if it dies before it called erg_arena_settle on
 * it, recovery frees it (blocks over 32 KiB; shorter ones stay until the pool closes). Settle before the store that
 * makes it reachable; settling any other block does nothing. */
int erg_arena_alloc_pending(struct erg_member *m, uint64_t len, uint64_t *offset,
                            struct erg_error *err);
void erg_arena_settle(struct erg_table *t, uint64_t offset);
/* Any member, any block, once. Offset 0 is ignored. */
void erg_arena_free(struct erg_member *m, uint64_t offset);
/* Bytes that can be used at `offset`, the start of a block. */
uint64_t erg_arena_block_size(const struct erg_table *t, uint64_t offset);

/* A private, writable view of [offset, offset + len): it shows what is there now, and what is written to it reaches
 * nobody. Usually a copy in memory that is kept warm for the next view, see view.c; a very long one is a copy-on-write
 * mapping, and then offset must be page aligned and the block must stay as it is while the view lives. NULL: no
 * memory. Any thread. */
void *erg_arena_map_private(struct erg_table *t, uint64_t offset, uint64_t len);
void erg_arena_unmap_private(struct erg_table *t, void *view, uint64_t len);

/* Takes back what others freed, and returns the memory of free blocks to the system until at most keep_bytes of
 * it stay warm. Returns how many bytes were given back. */
uint64_t erg_arena_trim(struct erg_member *m, uint64_t keep_bytes);

/* The fastest way to copy len bytes into or out of a block: past the cache for big ones. */
void erg_arena_copy(void *to, const void *from, size_t len);

#endif
