#include "table/table.h"
#include "os/cpu.h"
#include "os/shm.h"
#include "table/arena.h"
#include "table/inside.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORDS_DEFAULT 4000000u
#define RECORDS_LEAST 1024u
#define MEMBERS_DEFAULT 256u
#define ARENA_DEFAULT ((uint64_t)64 << 30)
#define ARENA_LEAST ((uint64_t)64 << 20)
#define FIXED_PAGE ((uint64_t)4096)

static uint64_t round_up(uint64_t n, uint64_t to) {
    return (n + to - 1) / to * to;
}

/* --- laying it out --------------------------------------------------------------------------------------- */

struct plan {
    uint32_t records_max, members_max, extents_max, ring_shift;
    uint64_t arena_bytes;
    uint64_t members_offset, cells_offset, records_offset, extents_offset, arena_offset, size;
};

static uint32_t short_shift(const struct plan *p) {
    return p->ring_shift < ERG_RING_SHORT_SHIFT ? p->ring_shift : ERG_RING_SHORT_SHIFT;
}

static uint64_t ring_bytes(const struct plan *p) {
    uint64_t cells = (uint64_t)1 << short_shift(p);
    if (p->ring_shift > ERG_RING_SHORT_SHIFT)
        cells += (uint64_t)1 << p->ring_shift;
    return cells * sizeof(uint64_t);
}

static void plan_offsets(struct plan *p) {
    p->extents_max = (uint32_t)(p->arena_bytes / ERG_EXTENT_BYTES);
    for (p->ring_shift = 6; ((uint64_t)1 << p->ring_shift) <= p->records_max;)
        p->ring_shift++;
    uint64_t cells = ring_bytes(p) * (ERG_QUEUES + 1);
    p->members_offset = round_up(sizeof(struct erg_table_header), FIXED_PAGE);
    p->cells_offset = round_up(
        p->members_offset + (uint64_t)p->members_max * sizeof(struct erg_member_slot), FIXED_PAGE);
    p->records_offset = round_up(p->cells_offset + cells, FIXED_PAGE);
    p->extents_offset = round_up(
        p->records_offset + (uint64_t)p->records_max * sizeof(struct erg_record), FIXED_PAGE);
    p->arena_offset = round_up(
        p->extents_offset + (uint64_t)p->extents_max * sizeof(struct erg_extent), ERG_EXTENT_BYTES);
    p->size = p->arena_offset + (uint64_t)p->extents_max * ERG_EXTENT_BYTES;
}

static int plan_make(const struct erg_table_config *config, struct plan *p, struct erg_error *err) {
    p->records_max = config && config->records_max ? config->records_max : RECORDS_DEFAULT;
    p->members_max = config && config->members_max ? config->members_max : MEMBERS_DEFAULT;
    p->arena_bytes = config ? config->arena_bytes : 0;
    if (p->records_max > ERG_RECORDS_LIMIT || p->members_max > ERG_MEMBERS_LIMIT)
        return erg_error_set(err, ERG_EINVALID,
                             "a pool's table takes at most %u records and %u members",
                             ERG_RECORDS_LIMIT, ERG_MEMBERS_LIMIT);
    if (p->arena_bytes == 0) {
        uint64_t memory = erg_cpu_memory();
        p->arena_bytes = memory > ARENA_DEFAULT / 4 ? memory * 4 : ARENA_DEFAULT;
    }
    p->arena_bytes = round_up(p->arena_bytes, ERG_EXTENT_BYTES);
    plan_offsets(p);
    return 0;
}

/* The next smaller plan. 0: there is none. */
static int plan_shrink(struct plan *p) {
    if (p->arena_bytes / 2 >= ARENA_LEAST)
        p->arena_bytes = round_up(p->arena_bytes / 2, ERG_EXTENT_BYTES);
    else if (p->records_max / 2 >= RECORDS_LEAST)
        p->records_max /= 2;
    else
        return 0;
    plan_offsets(p);
    return 1;
}

/* --- one process's view -------------------------------------------------------------------------------------- */

static struct erg_table *view_new(int fd, void *base, const struct plan *p) {
    struct erg_table *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->base = base;
    t->fd = fd;
    t->header = base;
    t->size = p->size;
    t->members = erg_table_at(t, p->members_offset);
    t->records = erg_table_at(t, p->records_offset);
    t->extents = erg_table_at(t, p->extents_offset);
    atomic_store(&t->refs, 1);
    return t;
}

static int map_planned(struct plan *p, int *fd, void **base, struct erg_error *err) {
    while (p->size > erg_shm_limit())
        if (!plan_shrink(p))
            break;
    for (;;) {
        int code = erg_shm_create("ergon", p->size, fd, err);
        if (code < 0)
            return code;
        *base = erg_shm_map(*fd, p->size, err);
        if (*base)
            return 0;
        close(*fd);
        if (!plan_shrink(p))
            return ERG_ENOMEM;
    }
}

static void ring_init(struct erg_ring *ring, const struct plan *p, uint64_t offset) {
    uint32_t shift[ERG_RING_LANES] = {short_shift(p), p->ring_shift};
    ring->lanes = p->ring_shift > ERG_RING_SHORT_SHIFT ? 2 : 1;
    for (uint32_t i = 0; i < ring->lanes; i++) {
        struct erg_ring_lane *lane = &ring->lane[i];
        lane->shift = shift[i];
        lane->mask = ((uint64_t)1 << shift[i]) - 1;
        lane->cells_offset = offset;
        offset += (uint64_t)sizeof(uint64_t) << shift[i];
    }
}

static void header_init(struct erg_table *t, const struct plan *p) {
    struct erg_table_header *h = t->header;
    h->version = ERG_TABLE_VERSION;
    h->members_max = p->members_max;
    h->records_max = p->records_max;
    h->extents_max = p->extents_max;
    h->size = p->size;
    h->members_offset = p->members_offset;
    h->records_offset = p->records_offset;
    h->extents_offset = p->extents_offset;
    h->arena_offset = p->arena_offset;
    h->cores = erg_cpu_count();
    h->memory = erg_cpu_memory();
    atomic_store(&h->free_batches, ERG_NIL);
    for (int i = 0; i < ERG_FEEDERS; i++)
        atomic_store(&h->feeders[i], ERG_HANDLE_NONE);
    struct erg_ring *rings[ERG_QUEUES + 1];
    for (int i = 0; i < ERG_QUEUES; i++)
        rings[i] = &h->ready[i];
    rings[ERG_QUEUES] = &h->completed;
    for (int i = 0; i <= ERG_QUEUES; i++)
        ring_init(rings[i], p, p->cells_offset + ring_bytes(p) * (uint64_t)i);
    h->magic = ERG_TABLE_MAGIC;
}

int erg_table_create(const struct erg_table_config *config, struct erg_table **out,
                     struct erg_error *err) {
    struct plan plan = {0};
    void *base;
    int fd, code = plan_make(config, &plan, err);
    if (code < 0)
        return code;
    code = map_planned(&plan, &fd, &base, err);
    if (code < 0)
        return code;
    struct erg_table *t = view_new(fd, base, &plan);
    if (!t) {
        munmap(base, plan.size);
        close(fd);
        return erg_error_set(err, ERG_ENOMEM, "no memory for a pool");
    }
    header_init(t, &plan);
    erg_view_init(t);
    uint32_t number;
    code = erg_member_reserve(t, ERG_MEMBER_CALLER, 0, &number, err);
    if (code < 0) {
        erg_table_close(t);
        return code;
    }
    *out = t;
    return 0;
}

static int check_header(const struct erg_table_header *h, off_t size, struct erg_error *err) {
    if (h->magic != ERG_TABLE_MAGIC)
        return erg_error_set(err, ERG_EPROTOCOL, "the descriptor is not a pool's table");
    if (h->version != ERG_TABLE_VERSION)
        return erg_error_set(err, ERG_EPROTOCOL,
                             "the pool's table is of version %u, this library's of version %u; "
                             "parent and worker must run the same Ergon",
                             h->version, ERG_TABLE_VERSION);
    if (h->size != (uint64_t)size)
        return erg_error_set(err, ERG_EPROTOCOL, "the pool's table is damaged: its size is wrong");
    return 0;
}

int erg_table_attach(int shared_fd, struct erg_table **out, struct erg_error *err) {
    struct stat st;
    int fd = fcntl(shared_fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int code = erg_error_system(err, errno, "cannot attach to the pool's table");
        if (fd >= 0)
            close(fd);
        return code;
    }
    int code = ERG_EPROTOCOL;
    void *base = NULL;
    if (st.st_size < (off_t)sizeof(struct erg_table_header))
        erg_error_set(err, ERG_EPROTOCOL, "the descriptor is not a pool's table");
    else if (!(base = erg_shm_map(fd, (uint64_t)st.st_size, err)))
        code = ERG_ENOMEM;
    else
        code = check_header(base, st.st_size, err);
    struct erg_table *t = NULL;
    if (code == 0) {
        const struct erg_table_header *h = base;
        struct plan plan = {.size = h->size,
                            .members_offset = h->members_offset,
                            .records_offset = h->records_offset,
                            .extents_offset = h->extents_offset};
        t = view_new(fd, base, &plan);
        if (t)
            erg_view_init(t);
        else
            code = erg_error_set(err, ERG_ENOMEM, "no memory for a pool");
    }
    if (!t) {
        if (base)
            munmap(base, (size_t)st.st_size);
        close(fd);
        return code;
    }
    *out = t;
    return 0;
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

static void view_free(struct erg_table *t) {
    for (struct erg_member *m = t->opened, *next; m; m = next) {
        next = m->sibling;
        erg_arena_close(m);
        free(m);
    }
    erg_view_fini(t);
    munmap(t->base, t->size);
    if (t->fd >= 0)
        close(t->fd);
    free(t->args);
    free(t);
}

void erg_table_ref(struct erg_table *t) {
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
}

void erg_table_unref(struct erg_table *t) {
    /* acq_rel: whatever the others did with the mapping happened before it goes */
    if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1)
        view_free(t);
}

void erg_table_close(struct erg_table *t) {
    for (;;) {
        erg_lock(&t->opened_lock);
        struct erg_member *m = t->opened;
        while (m && (m->closed || m->number == 0))
            m = m->sibling;
        erg_unlock(&t->opened_lock);
        if (!m)
            break;
        erg_member_close(m);
        if (atomic_load(&t->forked))
            break; /* closing does nothing in a forked child */
    }
    atomic_store(&t->closed, 1);
    for (struct erg_member *m = t->opened; m; m = m->sibling)
        if (m->number == 0 && !atomic_load(&t->forked))
            erg_arena_trim(m, 0);
    erg_table_unref(t);
}

void erg_table_fork_child(struct erg_table *t) {
    atomic_store(&t->forked, 1);
    void *base = mmap(t->base, t->size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, t->fd, 0);
    if (base == MAP_FAILED) /* strict overcommit: reading must do */
        base = mmap(t->base, t->size, PROT_READ, MAP_PRIVATE | MAP_FIXED, t->fd, 0);
    if (base == MAP_FAILED)
        mmap(t->base, t->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
             -1, 0);
    close(t->fd);
    t->fd = -1;
    /* Threads that held a lock do not exist here. */
    for (struct erg_member *m = t->opened; m; m = m->sibling) {
        atomic_store(&m->lock, 0);
        atomic_store(&m->release_lock, 0);
        atomic_store(&m->arena_lock, 0);
    }
    atomic_store(&t->opened_lock, 0);
    atomic_store(&t->view_lock, 0);
}

uint64_t erg_table_memory(const struct erg_table *t) {
    struct stat st;
    return t->fd >= 0 && fstat(t->fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

uint64_t erg_table_number(const struct erg_table *table) {
    struct stat st;
    if (table->header->number)
        return table->header->number;
    return fstat(erg_table_fd(table), &st) == 0 ? (uint64_t)st.st_ino : 0;
}
