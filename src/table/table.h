/* table/table: the shared memory of one pool, as one process sees it.
 *
 * The owner creates it and is member 0; workers inherit the descriptor and attach. The mapping lives until
 * erg_table_close() was called and the last reference on its arena is gone (erg_table_ref/unref): arrays handed to
 * the user may outlive the pool. All functions may be called from any thread unless they say otherwise. */
#ifndef ERG_TABLE_TABLE_H
#define ERG_TABLE_TABLE_H

#include "base/error.h"
#include "table/layout.h"

/* Zero means: the default. */
struct erg_table_config {
    uint32_t records_max; /* tasks that can be outstanding; default 4,000,000 */
    uint32_t members_max; /* default 256, at most ERG_MEMBERS_LIMIT */
    uint64_t
        arena_bytes; /* address space for payloads; default max(64 GiB, 4 x memory), less where a limit of the
                           * process or the system wants it. Nothing of it is memory before it is used. */
};

struct erg_member;

/* A private buffer kept for the next view (view.c). */
enum { ERG_VIEWS_KEPT = 8 };
struct erg_view {
    void *buffer;
    uint64_t capacity;
};

/* A process's view of a table. */
struct erg_table {
    unsigned char *base; /* of the mapping */
    struct erg_table_header *header;
    struct erg_record *records;
    struct erg_member_slot *members;
    struct erg_extent *extents;
    uint64_t size;
    int fd;
    _Atomic uint32_t refs; /* 1 for being open, 1 for each erg_table_ref */
    _Atomic uint32_t
        closed; /* erg_table_close was called: freed blocks give their memory back at once */
    _Atomic uint32_t forked;   /* we are a forked child that must not touch the pool */
    struct erg_member *opened; /* members opened in this process; freed with the table */
    _Atomic uint32_t opened_lock;
    uint64_t graves;          /* functions of dead members that somebody may still use: recover.c */
    struct erg_payload *args; /* of chunks of dead members, likewise */
    size_t args_len;
    _Atomic uint32_t view_lock;
    int view_count;
    uint64_t view_bytes, view_most; /* kept now; longest view that is a copy, and most to keep */
    struct erg_view views[ERG_VIEWS_KEPT]; /* oldest first */
};

/* Makes the memory and the table in it; the caller's process becomes member 0, reserved but not yet open (see
 * member.h). ERG_ENOMEM, ERG_EINVALID or ERG_ESYSTEM, with words. */
int erg_table_create(const struct erg_table_config *config, struct erg_table **out,
                     struct erg_error *err);
/* Maps a table another process made. Does not take the descriptor: a duplicate is kept. ERG_EPROTOCOL when it is no
 * table or one of another version. */
int erg_table_attach(int fd, struct erg_table **out, struct erg_error *err);
/* Drops the reference of create/attach. Members of this process are closed with it. No other call on the table may
 * run or follow, except erg_arena_free, erg_table_at and erg_table_unref on blocks that hold a reference. */
void erg_table_close(struct erg_table *table);
void erg_table_ref(struct erg_table *table);
void erg_table_unref(struct erg_table *table);

/* In a forked child of any attached process: replaces the mapping in place by a private copy, so that nothing done
 * here reaches the pool, and closes the descriptor. Reading goes on to work. Async-signal-safe; call it from an
 * atfork handler or first thing in the child. Blocking calls on the table then return ERG_ECLOSED. */
void erg_table_fork_child(struct erg_table *table);

/* Bytes of memory (not address space) the table and its arena take now. */
uint64_t erg_table_memory(const struct erg_table *table);

/* The same in every process that has the table mapped: its memory's inode; or that of the table elsewhere it stands for. */
uint64_t erg_table_number(const struct erg_table *table);
static inline int erg_table_fd(const struct erg_table *table) {
    return table->fd;
}
static inline struct erg_table_header *erg_table_header(const struct erg_table *table) {
    return table->header;
}
static inline void *erg_table_at(const struct erg_table *table, uint64_t offset) {
    return table->base + offset;
}
static inline struct erg_record *erg_table_record(const struct erg_table *table, uint32_t index) {
    return &table->records[index];
}
static inline struct erg_member_slot *erg_table_slot(const struct erg_table *table,
                                                     uint32_t number) {
    return &table->members[number];
}

#endif
