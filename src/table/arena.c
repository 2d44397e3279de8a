/* Payload memory.
 *
 * The arena is a row of extents of 4 MiB. A member takes extents from the shared map by swapping its number into
 * `holder`, one after another for a run, undoing what it got where somebody else is in the way: no lock, so nobody can
 * die holding one. An extent is either divided into 64 pages or part of a run of whole extents. Sizes:
 *
 *     up to 32 KiB  a slab: one page cut into blocks of one class, four classes to a doubling
 *     up to 4 MiB   a run of pages inside one extent
 *     above         a run of whole extents
 *
 * What lies where is written in the extents (page[], run) for everybody; which blocks are free is the holder's
 * private knowledge, so allocation is a pop from a list in the usual case. A block somebody else frees is pushed onto
 * the holder's `returned` stack through its own first word and taken in when the holder next looks. Freed blocks
 * stay as they are, last in first out, because their pages are warm; free page runs are merged only when no warm one
 * fits.
 *
 * `live` counts an extent's blocks that are out. It is raised before a block is handed out and lowered after it came
 * home, so it may be too high by one when the holder dies, never too low. When a member leaves or dies its extents go to the owner as
 * orphans: not allocated from, each given back to the map when `live` falls to 0. */
#include "table/arena.h"
#include "os/shm.h"
#include "table/inside.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WARM_LEAST ((uint64_t)256 << 20)

enum {
    SMALL_CLASSES = 40,
    SMALL_MAX = 32 << 10,
    WARM_RUNS = 32,          /* runs of whole extents kept warm */
    RETURNED_CLOSED = 1,     /* slot->returned of a member that is gone */
    POPULATE_PAGES = 2,      /* runs from here on get their memory at once */
    PAGE_FREE = 0,           /* page[]: free, or not the start of anything */
    PAGE_SLAB = 1,           /* + class */
    PAGE_RUN = 0x40,         /* + pages, 1 to 64 */
    PAGE_BIG = 0xff,         /* page[0] of a run of whole extents */
    SLAB_RECLAIMED = 0xffff, /* count of a slab's free blocks while slabs are reclaimed */
    NO_EXTENT = -1,
};

/* What a holder knows about one of its extents. */
struct own_extent {
    uint64_t free;  /* pages in no slab, run or warm list */
    uint64_t dirty; /* pages that have memory; a big run: how many bytes from its start */
    int32_t next;   /* in arena->parts */
    int32_t listed;
};

struct erg_arena {
    uint64_t small[SMALL_CLASSES]; /* first free block of each class */
    uint64_t fresh[SMALL_CLASSES],
        fresh_end[SMALL_CLASSES];        /* the part of its newest slab never used */
    uint64_t runs[ERG_EXTENT_PAGES + 1]; /* first warm run of each number of pages */
    uint32_t big[WARM_RUNS], big_count;  /* warm runs of whole extents: first extent; newest last */
    int32_t parts;                       /* extents with free pages */
    uint64_t warm_bytes;                 /* in runs and big */
    uint64_t small_bytes;                /* in small */
    size_t own_bytes;
    struct own_extent
        *own; /* one per extent of the arena; pages of it that are not used take no memory */
};

/* --- sizes -------------------------------------------------------------------------------------------------------- */

/* Classes: 16, 32, 48, 64, then four to a doubling: 80 96 112 128, 160 … 32768. */
static uint32_t small_class(uint64_t len) {
    if (len <= 64)
        return len == 0 ? 0 : (uint32_t)(len - 1) / 16;
    uint32_t top = 63 - (uint32_t)__builtin_clzll(len - 1); /* 2^top < len <= 2^(top + 1) */
    uint32_t quarter = (uint32_t)((len - 1) >> (top - 2)) & 3;
    return 4 + (top - 6) * 4 + quarter;
}

static uint64_t small_size(uint32_t class) {
    if (class < 4)
        return ((uint64_t) class + 1) * 16;
    uint32_t top = 6 + (class - 4) / 4;
    return ((uint64_t)1 << top) + ((uint64_t)((class - 4) % 4) + 1) * ((uint64_t)1 << (top - 2));
}

/* Page counts rounded so that runs of nearly the same size can serve for one another. */
static uint32_t round_pages(uint64_t len) {
    uint32_t n = (uint32_t)((len + ERG_PAGE_BYTES - 1) / ERG_PAGE_BYTES);
    uint32_t step = n <= 16 ? 1 : n <= 32 ? 2 : 4;
    return (n + step - 1) / step * step;
}

static uint32_t extents_of(uint64_t len) {
    return (uint32_t)((len + ERG_EXTENT_BYTES - 1) / ERG_EXTENT_BYTES);
}

/* --- places --------------------------------------------------------------------------------------------------------- */

static uint64_t extent_offset(const struct erg_table *t, uint32_t extent) {
    return t->header->arena_offset + (uint64_t)extent * ERG_EXTENT_BYTES;
}
static uint32_t extent_at(const struct erg_table *t, uint64_t offset) {
    return (uint32_t)((offset - t->header->arena_offset) / ERG_EXTENT_BYTES);
}
static uint32_t page_at(const struct erg_table *t, uint64_t offset) {
    return (uint32_t)((offset - t->header->arena_offset) % ERG_EXTENT_BYTES / ERG_PAGE_BYTES);
}
static uint64_t *word_at(const struct erg_table *t, uint64_t offset) {
    return erg_table_at(t, offset);
}
static uint64_t page_mask(uint32_t first, uint32_t n) {
    return (n == 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1) << first;
}
static uint32_t kind_of(const struct erg_table *t, uint32_t extent, uint32_t page) {
    return atomic_load_explicit(&t->extents[extent].page[page], memory_order_relaxed);
}
static void set_kind(const struct erg_table *t, uint32_t extent, uint32_t page, uint32_t kind) {
    atomic_store_explicit(&t->extents[extent].page[page], (uint8_t)kind, memory_order_relaxed);
}

void erg_arena_settle(struct erg_table *t, uint64_t offset) {
    if (!offset)
        return;
    _Atomic uint64_t *pending = &t->extents[extent_at(t, offset)].pending;
    uint64_t bit = page_mask(page_at(t, offset), 1);
    /* release: before whatever makes the block reachable */
    if (atomic_load_explicit(pending, memory_order_relaxed) & bit)
        atomic_fetch_and_explicit(pending, ~bit, memory_order_release);
}

/* `live` has one writer at a time, the holder under its lock: no read-modify-write needed. */
static uint32_t add_live(const struct erg_table *t, uint32_t extent, int by) {
    _Atomic uint32_t *live = &t->extents[extent].live;
    uint32_t now = atomic_load_explicit(live, memory_order_relaxed) + (uint32_t)by;
    atomic_store_explicit(live, now, memory_order_release);
    return now;
}

/* --- the shared map -------------------------------------------------------------------------------------------------- */

static void put_extents(struct erg_table *t, uint32_t first, uint32_t n) {
    for (uint32_t i = n; i-- > 0;)
        atomic_store_explicit(&t->extents[first + i].holder, 0, memory_order_release);
    uint32_t hint = atomic_load_explicit(&t->header->extents_hint, memory_order_relaxed);
    if (first < hint)
        atomic_store_explicit(&t->header->extents_hint, first, memory_order_relaxed);
}

/* Tries for [first, first + n): 0 when it is the caller's, else how far to step on. */
static uint32_t try_extents(struct erg_table *t, uint32_t holder, uint32_t first, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        uint32_t seen = 0;
        if (atomic_load_explicit(&t->extents[first + i].holder, memory_order_relaxed) != 0 ||
            !atomic_compare_exchange_strong_explicit(&t->extents[first + i].holder, &seen, holder,
                                                     memory_order_acquire, memory_order_relaxed)) {
            put_extents(t, first, i);
            return i + 1;
        }
        atomic_store_explicit(&t->extents[first + i].live, 0, memory_order_relaxed);
        atomic_store_explicit(&t->extents[first + i].run, 0, memory_order_relaxed);
        atomic_store_explicit(&t->extents[first + i].pending, 0, memory_order_relaxed);
        ERG_POINT("extent-taken");
    }
    return 0;
}

static int64_t take_extents(struct erg_member *m, uint32_t n) {
    struct erg_table *t = m->table;
    struct erg_table_header *h = t->header;
    uint32_t hint = atomic_load_explicit(&h->extents_hint, memory_order_relaxed);
    for (int lap = 0; lap < 2; lap++) {
        uint32_t first = lap == 0 ? hint : 0;
        while (n <= h->extents_max && first <= h->extents_max - n) {
            uint32_t top = atomic_load(&h->extents_top);
            while (top < first + n &&
                   !atomic_compare_exchange_weak(&h->extents_top, &top, first + n))
                ;
            uint32_t step = try_extents(t, m->number + 1, first, n);
            if (step == 0) {
                if (n == 1 || first == hint)
                    atomic_store_explicit(&h->extents_hint, first + n, memory_order_relaxed);
                return first;
            }
            first += step;
        }
    }
    return NO_EXTENT;
}

/* Back to the map, without memory. */
static void drop_extents(struct erg_member *m, uint32_t first, uint32_t n) {
    struct erg_table *t = m->table;
    erg_shm_punch(t->fd, t->base, extent_offset(t, first), n * ERG_EXTENT_BYTES);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t page = 0; page < ERG_EXTENT_PAGES; page++)
            set_kind(t, first + i, page, PAGE_FREE);
        atomic_store_explicit(&t->extents[first + i].run, 0, memory_order_relaxed);
    }
    put_extents(t, first, n);
}

/* --- pages of own extents ----------------------------------------------------------------------------------------------- */

static void list_part(struct erg_arena *a, uint32_t extent) {
    struct own_extent *own = &a->own[extent];
    if (own->listed)
        return;
    own->listed = 1;
    own->next = a->parts;
    a->parts = (int32_t)extent;
}

/* First of n free pages in a row, or -1. */
static int find_pages(uint64_t free, uint32_t n) {
    uint64_t runs = free; /* bit i: pages i … i + have - 1 are free */
    uint32_t have = 1;
    while (runs && have < n) {
        uint32_t shift = have * 2 <= n ? have : n - have;
        runs &= runs >> shift;
        have += shift;
    }
    return runs ? __builtin_ctzll(runs) : -1;
}

static int populate(struct erg_member *m, uint64_t offset, uint64_t len) {
    return erg_shm_populate(m->table->fd, m->table->base, offset, len);
}

/* Memory for pages [page, page + n) where there is none. */
static int populate_pages(struct erg_member *m, uint32_t extent, uint32_t page, uint32_t n) {
    struct own_extent *own = &m->arena->own[extent];
    uint64_t need = page_mask(page, n) & ~own->dirty;
    if (need && n >= POPULATE_PAGES) {
        uint32_t first = (uint32_t)__builtin_ctzll(need),
                 last = 63 - (uint32_t)__builtin_clzll(need);
        uint64_t offset = extent_offset(m->table, extent) + first * ERG_PAGE_BYTES;
        if (populate(m, offset, (last - first + 1) * ERG_PAGE_BYTES) < 0)
            return ERG_ENOMEM;
    }
    own->dirty |= need;
    return 0;
}

static int64_t carve_from(struct erg_member *m, uint32_t extent, uint32_t n) {
    struct own_extent *own = &m->arena->own[extent];
    int page = find_pages(own->free & own->dirty, n);
    if (page < 0)
        page = find_pages(own->free, n);
    if (page < 0)
        return -1;
    if (populate_pages(m, extent, (uint32_t)page, n) < 0)
        return ERG_ENOMEM;
    own->free &= ~page_mask((uint32_t)page, n);
    return (int64_t)(extent_offset(m->table, extent) + (uint32_t)page * ERG_PAGE_BYTES);
}

enum { CARVE_NONE = -1 };
_Static_assert(ERG_ENOMEM == -1, "carve_from and carve give the same answer for both");

static int64_t carve(struct erg_member *m, uint32_t n) {
    struct erg_arena *a = m->arena;
    for (int32_t *link = &a->parts; *link >= 0;) {
        struct own_extent *own = &a->own[*link];
        int64_t offset = own->free ? carve_from(m, (uint32_t)*link, n) : CARVE_NONE;
        if (own->free == 0) {
            own->listed = 0;
            *link = own->next;
        } else {
            link = &own->next;
        }
        if (offset >= 0)
            return offset;
    }
    return CARVE_NONE;
}

/* All warm page runs become plain free pages again, so that they can merge. */
static void flush_runs(struct erg_member *m) {
    struct erg_arena *a = m->arena;
    for (uint32_t n = 1; n <= ERG_EXTENT_PAGES; n++)
        while (a->runs[n]) {
            uint64_t offset = a->runs[n];
            uint32_t extent = extent_at(m->table, offset), page = page_at(m->table, offset);
            a->runs[n] = *word_at(m->table, offset);
            set_kind(m->table, extent, page, PAGE_FREE);
            a->own[extent].free |= page_mask(page, n);
            a->warm_bytes -= n * ERG_PAGE_BYTES;
            list_part(a, extent);
        }
}

static int64_t take_pages(struct erg_member *m, uint32_t n) {
    struct erg_arena *a = m->arena;
    int64_t offset = carve(m, n);
    if (offset >= 0)
        return offset;
    flush_runs(m);
    offset = carve(m, n);
    if (offset >= 0)
        return offset;
    int64_t extent = take_extents(m, 1);
    if (extent < 0)
        return ERG_ENOMEM;
    struct own_extent *own = &a->own[extent];
    own->free = ~(uint64_t)0;
    own->dirty = 0;
    list_part(a, (uint32_t)extent);
    return carve_from(m, (uint32_t)extent, n);
}

/* --- blocks coming home ---------------------------------------------------------------------------------------------------- */

static void orphan_home(struct erg_member *m, uint32_t extent, uint32_t page, uint32_t kind) {
    struct erg_table *t = m->table;
    uint32_t n = kind == PAGE_BIG ? atomic_load(&t->extents[extent].run) : 1;
    if (kind >= PAGE_RUN && kind != PAGE_BIG) {
        erg_shm_punch(t->fd, t->base, extent_offset(t, extent) + page * ERG_PAGE_BYTES,
                      (kind - PAGE_RUN) * ERG_PAGE_BYTES);
        set_kind(t, extent, page, PAGE_FREE);
    }
    if (add_live(t, extent, -1) == 0)
        drop_extents(m, extent, n);
}

static void big_home(struct erg_member *m, uint32_t extent) {
    struct erg_arena *a = m->arena;
    struct erg_table *t = m->table;
    if (a->big_count == WARM_RUNS) {
        uint32_t oldest = a->big[0], n = atomic_load(&t->extents[oldest].run);
        memmove(a->big, a->big + 1, (WARM_RUNS - 1) * sizeof a->big[0]);
        a->big_count--;
        a->warm_bytes -= n * ERG_EXTENT_BYTES;
        drop_extents(m, oldest, n);
    }
    a->big[a->big_count++] = extent;
    a->warm_bytes += atomic_load(&t->extents[extent].run) * ERG_EXTENT_BYTES;
}

/* A block of one of m's extents, or of an orphan when m is the owner's. */
static void home(struct erg_member *m, uint64_t offset) {
    struct erg_table *t = m->table;
    struct erg_arena *a = m->arena;
    uint32_t extent = extent_at(t, offset), page = page_at(t, offset);
    uint32_t kind = kind_of(t, extent, page);
    erg_arena_settle(t, offset);
    if (atomic_load_explicit(&t->extents[extent].holder, memory_order_relaxed) &
        ERG_EXTENT_ORPHAN) {
        orphan_home(m, extent, page, kind);
        return;
    }
    if (kind == PAGE_BIG) {
        big_home(m, extent);
    } else if (kind > PAGE_RUN) {
        uint32_t n = kind - PAGE_RUN;
        *word_at(t, offset) = a->runs[n];
        a->runs[n] = offset;
        a->warm_bytes += n * ERG_PAGE_BYTES;
    } else {
        *word_at(t, offset) = a->small[kind - PAGE_SLAB];
        a->small[kind - PAGE_SLAB] = offset;
        a->small_bytes += small_size(kind - PAGE_SLAB);
    }
    add_live(t, extent, -1);
}

/* Who takes in the block at offset. */
static uint32_t holder_of(const struct erg_table *t, uint64_t offset) {
    uint32_t holder =
        atomic_load_explicit(&t->extents[extent_at(t, offset)].holder, memory_order_acquire);
    return (holder & ~ERG_EXTENT_ORPHAN) - 1;
}

/* Pushes the block onto its holder's stack; tries again when that member is just leaving. */
static void send_home(struct erg_member *m, uint64_t offset) {
    struct erg_table *t = m->table;
    for (;;) {
        _Atomic uint64_t *stack = &t->members[holder_of(t, offset)].returned;
        uint64_t seen = atomic_load_explicit(stack, memory_order_relaxed);
        while (seen != RETURNED_CLOSED) {
            *word_at(t, offset) = seen;
            /* release: the link, and all we did to the block */
            if (atomic_compare_exchange_weak_explicit(stack, &seen, offset, memory_order_release,
                                                      memory_order_relaxed))
                return;
        }
        erg_cpu_relax(); /* its extents were given to the owner before its stack was closed */
    }
}

/* Takes in what others freed. 1 if anything came. */
static int take_returned(struct erg_member *m, _Atomic uint64_t *stack, uint64_t leave) {
    if (atomic_load_explicit(stack, memory_order_relaxed) <= RETURNED_CLOSED && leave == 0)
        return 0;
    uint64_t offset = atomic_exchange_explicit(stack, leave, memory_order_acquire);
    int any = 0;
    while (offset > RETURNED_CLOSED) {
        uint64_t next = *word_at(m->table, offset);
        if (holder_of(m->table, offset) == m->number)
            home(m, offset);
        else /* meant for who had this slot before us */
            send_home(m, offset);
        offset = next;
        any = 1;
    }
    return any;
}

static int look_returned(struct erg_member *m) {
    return take_returned(m, &m->slot->returned, 0);
}

/* --- allocation --------------------------------------------------------------------------------------------------------------- */

static uint64_t alloc_small(struct erg_member *m, uint64_t len) {
    struct erg_table *t = m->table;
    struct erg_arena *a = m->arena;
    uint32_t class = small_class(len);
    uint64_t size = small_size(class), offset = a->small[class];
    if (!offset && look_returned(m))
        offset = a->small[class];
    if (offset) {
        add_live(t, extent_at(t, offset), 1);
        a->small[class] = *word_at(t, offset);
        a->small_bytes -= size;
        return offset;
    }
    if (a->fresh_end[class] - a->fresh[class] < size) {
        int64_t slab = take_pages(m, 1);
        if (slab < 0)
            return 0;
        set_kind(t, extent_at(t, (uint64_t)slab), page_at(t, (uint64_t)slab), PAGE_SLAB + class);
        a->fresh[class] = (uint64_t)slab;
        a->fresh_end[class] = (uint64_t)slab + ERG_PAGE_BYTES;
    }
    offset = a->fresh[class];
    add_live(t, extent_at(t, offset), 1);
    a->fresh[class] += size;
    return offset;
}

static uint64_t alloc_run(struct erg_member *m, uint64_t len) {
    struct erg_table *t = m->table;
    struct erg_arena *a = m->arena;
    uint32_t n = round_pages(len);
    if (!a->runs[n])
        look_returned(m);
    uint64_t offset = a->runs[n];
    if (offset) {
        add_live(t, extent_at(t, offset), 1);
        a->runs[n] = *word_at(t, offset);
        a->warm_bytes -= n * ERG_PAGE_BYTES;
        return offset;
    }
    int64_t got = take_pages(m, n);
    if (got < 0)
        return 0;
    offset = (uint64_t)got;
    add_live(t, extent_at(t, offset), 1);
    set_kind(t, extent_at(t, offset), page_at(t, offset), PAGE_RUN + n);
    return offset;
}

/* The newest warm run that is long enough and not a quarter too long. */
static int64_t warm_big(struct erg_member *m, uint32_t n) {
    struct erg_arena *a = m->arena;
    for (uint32_t i = a->big_count; i-- > 0;) {
        uint32_t extent = a->big[i], run = atomic_load(&m->table->extents[extent].run);
        if (run < n || run > n + n / 4)
            continue;
        memmove(a->big + i, a->big + i + 1, (a->big_count - i - 1) * sizeof a->big[0]);
        a->big_count--;
        a->warm_bytes -= run * ERG_EXTENT_BYTES;
        return extent;
    }
    return NO_EXTENT;
}

static void drop_warm_big(struct erg_member *m) {
    struct erg_arena *a = m->arena;
    while (a->big_count > 0) {
        uint32_t extent = a->big[--a->big_count], n = atomic_load(&m->table->extents[extent].run);
        a->warm_bytes -= n * ERG_EXTENT_BYTES;
        drop_extents(m, extent, n);
    }
}

static int64_t fresh_big(struct erg_member *m, uint32_t n) {
    int64_t extent = take_extents(m, n);
    if (extent < 0 && m->arena->big_count > 0) {
        drop_warm_big(m);
        extent = take_extents(m, n);
    }
    if (extent < 0)
        return NO_EXTENT;
    atomic_store_explicit(&m->table->extents[extent].run, n, memory_order_relaxed);
    set_kind(m->table, (uint32_t)extent, 0, PAGE_BIG);
    m->arena->own[extent].dirty = 0;
    return extent;
}

static uint64_t alloc_big(struct erg_member *m, uint64_t len) {
    struct erg_table *t = m->table;
    uint32_t n = extents_of(len);
    look_returned(m);
    int64_t extent = warm_big(m, n);
    if (extent < 0)
        extent = fresh_big(m, n);
    if (extent < 0)
        return 0;
    struct own_extent *own = &m->arena->own[extent];
    uint64_t offset = extent_offset(t, (uint32_t)extent);
    uint64_t need = (len + ERG_PAGE_BYTES - 1) / ERG_PAGE_BYTES * ERG_PAGE_BYTES;
    if (own->dirty < need) {
        if (populate(m, offset + own->dirty, need - own->dirty) < 0) {
            drop_extents(m, (uint32_t)extent, atomic_load(&t->extents[extent].run));
            return 0;
        }
        own->dirty = need;
    }
    add_live(t, (uint32_t)extent, 1);
    return offset;
}

static uint64_t trim_locked(struct erg_member *m, uint64_t keep_bytes);

/* However much the user lets go of, only so much stays warm. */
static void keep_within_limit(struct erg_member *m) {
    struct erg_arena *a = m->arena;
    if (a->warm_bytes + a->small_bytes > m->warm_most)
        trim_locked(m, m->warm_most / 4);
}

int erg_arena_alloc(struct erg_member *m, uint64_t len, uint64_t *offset, struct erg_error *err) {
    uint64_t got = 0;
    if (len <= m->table->size) {
        erg_lock(&m->arena_lock);
        got = len <= SMALL_MAX          ? alloc_small(m, len)
              : len <= ERG_EXTENT_BYTES ? alloc_run(m, len)
                                        : alloc_big(m, len);
        keep_within_limit(m);
        erg_unlock(&m->arena_lock);
    }
    if (!got)
        return erg_error_set(
            err, ERG_ENOMEM, "no shared memory for %llu more bytes; the pool holds %llu now",
            (unsigned long long)len, (unsigned long long)erg_table_memory(m->table));
    ERG_POINT("allocated");
    *offset = got;
    return 0;
}

int erg_arena_alloc_pending(struct erg_member *m, uint64_t len, uint64_t *offset,
                            struct erg_error *err) {
    int code = erg_arena_alloc(m, len, offset, err);
    if (code == 0 && len > SMALL_MAX)
        atomic_fetch_or_explicit(&m->table->extents[extent_at(m->table, *offset)].pending,
                                 page_mask(page_at(m->table, *offset), 1), memory_order_relaxed);
    return code;
}

void erg_arena_free(struct erg_member *m, uint64_t offset) {
    if (!offset)
        return;
    if (holder_of(m->table, offset) != m->number || !m->arena) {
        send_home(m, offset);
        return;
    }
    erg_lock(&m->arena_lock);
    home(m, offset);
    keep_within_limit(m);
    if (m->is_owner && atomic_load_explicit(&m->table->closed, memory_order_relaxed))
        drop_warm_big(m); /* the pool is over: what the user let go of is not needed warm */
    erg_unlock(&m->arena_lock);
}

uint64_t erg_arena_block_size(const struct erg_table *t, uint64_t offset) {
    uint32_t extent = extent_at(t, offset), kind = kind_of(t, extent, page_at(t, offset));
    if (kind == PAGE_BIG)
        return atomic_load(&t->extents[extent].run) * ERG_EXTENT_BYTES;
    return kind > PAGE_RUN ? (kind - PAGE_RUN) * ERG_PAGE_BYTES : small_size(kind - PAGE_SLAB);
}

/* --- giving back -------------------------------------------------------------------------------------------------------------- */

/* Memory of free pages of one extent back to the system. */
static uint64_t trim_part(struct erg_member *m, uint32_t extent) {
    struct erg_table *t = m->table;
    struct own_extent *own = &m->arena->own[extent];
    uint64_t given = 0, cold;
    while ((cold = own->free & own->dirty) != 0) {
        uint32_t first = (uint32_t)__builtin_ctzll(cold);
        uint64_t rest = ~(cold >> first);
        uint32_t n = rest ? (uint32_t)__builtin_ctzll(rest) : 64;
        if (n > 64 - first)
            n = 64 - first;
        erg_shm_punch(t->fd, t->base, extent_offset(t, extent) + first * ERG_PAGE_BYTES,
                      n * ERG_PAGE_BYTES);
        own->dirty &= ~page_mask(first, n);
        given += n * ERG_PAGE_BYTES;
    }
    return given;
}

/* Slabs of this class with no block in use become free pages. `count` has a cell for each page of the arena, all 0. */
static void reclaim_class(struct erg_member *m, uint32_t class, uint16_t *count) {
    struct erg_table *t = m->table;
    struct erg_arena *a = m->arena;
    uint64_t size = small_size(class), kept = 0, next;
    uint32_t whole = (uint32_t)(ERG_PAGE_BYTES / size);
    for (uint64_t at = a->small[class]; at; at = *word_at(t, at))
        count[(at - t->header->arena_offset) / ERG_PAGE_BYTES]++;
    for (uint64_t at = a->small[class]; at; at = next) {
        uint16_t *blocks = &count[(at - t->header->arena_offset) / ERG_PAGE_BYTES];
        next = *word_at(t, at);
        if (*blocks == whole) {
            uint32_t extent = extent_at(t, at), page = page_at(t, at);
            set_kind(t, extent, page, PAGE_FREE);
            a->own[extent].free |= page_mask(page, 1);
            list_part(a, extent);
            *blocks = SLAB_RECLAIMED;
        }
        if (*blocks == SLAB_RECLAIMED) {
            a->small_bytes -= size;
        } else { /* some of its blocks are in use, or were never handed out */
            *word_at(t, at) = kept;
            kept = at;
        }
    }
    a->small[class] = kept;
}

static void reclaim_slabs(struct erg_member *m) {
    uint64_t pages = (uint64_t)atomic_load(&m->table->header->extents_top) * ERG_EXTENT_PAGES;
    uint16_t *count = calloc(pages ? pages : 1, sizeof *count);
    for (uint32_t class = 0; count && class < SMALL_CLASSES; class ++)
        reclaim_class(m, class, count);
    free(count);
}

static uint64_t trim_locked(struct erg_member *m, uint64_t keep_bytes) {
    struct erg_arena *a = m->arena;
    uint64_t given = 0;
    look_returned(m);
    while (a->big_count > 0 && a->warm_bytes > keep_bytes) {
        uint32_t extent = a->big[0], n = atomic_load(&m->table->extents[extent].run);
        memmove(a->big, a->big + 1, (a->big_count - 1) * sizeof a->big[0]);
        a->big_count--;
        a->warm_bytes -= n * ERG_EXTENT_BYTES;
        given += a->own[extent].dirty;
        drop_extents(m, extent, n);
    }
    if (a->warm_bytes > keep_bytes)
        flush_runs(m);
    if (a->small_bytes > keep_bytes)
        reclaim_slabs(m);
    for (int32_t *link = &a->parts; *link >= 0;) {
        uint32_t extent = (uint32_t)*link;
        struct own_extent *own = &a->own[extent];
        given += trim_part(m, extent);
        if (~own->free == 0) { /* nothing of it in use */
            *link = own->next;
            own->listed = 0;
            drop_extents(m, extent, 1);
        } else {
            link = &own->next;
        }
    }
    return given;
}

uint64_t erg_arena_trim(struct erg_member *m, uint64_t keep_bytes) {
    erg_lock(&m->arena_lock);
    uint64_t given = trim_locked(m, keep_bytes);
    erg_unlock(&m->arena_lock);
    return given;
}

/* --- coming and going ---------------------------------------------------------------------------------------------------------- */

int erg_arena_open(struct erg_member *m, struct erg_error *err) {
    struct erg_arena *a = calloc(1, sizeof *a);
    if (!a)
        return erg_error_set(err, ERG_ENOMEM, "no memory for a member of the pool");
    a->parts = NO_EXTENT;
    uint64_t share = m->table->header->memory / 16;
    m->warm_most = share > WARM_LEAST ? share : WARM_LEAST;
    a->own_bytes = m->table->header->extents_max * sizeof *a->own;
    a->own = mmap(NULL, a->own_bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (a->own == MAP_FAILED) {
        free(a);
        return erg_error_set(err, ERG_ENOMEM, "no memory for a member of the pool");
    }
    m->arena = a;
    return 0;
}

void erg_arena_close(struct erg_member *m) {
    if (!m->arena)
        return;
    munmap(m->arena->own, m->arena->own_bytes);
    free(m->arena);
    m->arena = NULL;
}

/* Blocks of an extent that only its dead holder knew of. */
static void drop_pending(struct erg_table *t, uint32_t extent) {
    uint64_t pending = atomic_exchange(&t->extents[extent].pending, 0);
    for (; pending; pending &= pending - 1) {
        uint32_t page = (uint32_t)__builtin_ctzll(pending), kind = kind_of(t, extent, page);
        if (kind > PAGE_RUN && kind != PAGE_BIG) {
            erg_shm_punch(t->fd, t->base, extent_offset(t, extent) + page * ERG_PAGE_BYTES,
                          (kind - PAGE_RUN) * ERG_PAGE_BYTES);
            set_kind(t, extent, page, PAGE_FREE);
        }
        add_live(t, extent, -1);
    }
}

/* Extents of a member that is gone: first all of them change hands, then its stack is closed, so that a block pushed
 * onto it in the meantime is either seen here or sent to the new holder. Then those nobody uses are freed; an extent
 * that belongs to no finished run (the member died taking or giving back) has no live block. */
void erg_arena_orphan(struct erg_member *m, uint32_t number) {
    struct erg_table *t = m->table;
    uint32_t top = atomic_load(&t->header->extents_top), holder = number + 1;
    erg_lock(&m->arena_lock);
    for (uint32_t i = 0; i < top; i++) {
        if (atomic_load_explicit(&t->extents[i].holder, memory_order_acquire) != holder)
            continue;
        uint32_t run = atomic_load(&t->extents[i].run);
        if (run == 0)
            run = 1;
        drop_pending(t, i);
        if (atomic_load(&t->extents[i].live) == 0) {
            drop_extents(m, i, run);
        } else {
            for (uint32_t k = 0; k < run; k++)
                atomic_store_explicit(&t->extents[i + k].holder, 1 | ERG_EXTENT_ORPHAN,
                                      memory_order_release);
        }
        i += run - 1;
    }
    take_returned(m, &t->members[number].returned, RETURNED_CLOSED);
    erg_unlock(&m->arena_lock);
}

void erg_arena_copy(void *to, const void *from, size_t len) {
    memcpy(to, from, len);
}
