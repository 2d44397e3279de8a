/* Private, writable views of blocks.
 *
 * A copy-on-write mapping sounds cheapest and is not: for 200 MB, mapping and reading it costs 20 ms, unmapping 14, and
 * writing it another 100, because each 4 KB page faults twice; copying into memory of our own that is warm already
 * and in huge pages costs 10. So a view is a copy in a buffer that is kept for the next one; only views too big to
 * keep are mapped, where reading a little of much may be all that is wanted. */
#include "table/arena.h"
#include "table/inside.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define COPY_MOST ((uint64_t)512 << 20) /* longer views are mapped */
#define HEAP_MOST                                                                                  \
    ((uint64_t)1 << 20) /* shorter ones come from malloc, which keeps them warm itself */
#define HUGE_PAGE ((uint64_t)2 << 20)

static uint64_t capacity_of(uint64_t len) {
    return (len + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

static int is_mapped(const struct erg_table *t, uint64_t len) {
    return len > t->view_most;
}

void erg_view_init(struct erg_table *t) {
    uint64_t share = t->header->memory / 32;
    t->view_most = share < COPY_MOST ? share : COPY_MOST;
}

/* A kept buffer that holds len bytes and is at most twice as long as needed. */
static void *take_kept(struct erg_table *t, uint64_t capacity) {
    void *buffer = NULL;
    int best = -1;
    erg_lock(&t->view_lock);
    for (int i = t->view_count - 1; i >= 0; i--) { /* of equals the one used last */
        uint64_t has = t->views[i].capacity;
        if (has >= capacity && has <= 2 * capacity && (best < 0 || has < t->views[best].capacity))
            best = i;
    }
    if (best >= 0) {
        buffer = t->views[best].buffer;
        t->view_bytes -= t->views[best].capacity;
        t->view_count--;
        memmove(t->views + best, t->views + best + 1,
                (size_t)(t->view_count - best) * sizeof t->views[0]);
    }
    erg_unlock(&t->view_lock);
    return buffer;
}

/* Huge pages need addresses that are multiples of their size. The buffer's real capacity stands in front of it. */
struct view_head {
    uint64_t capacity, mapped_bytes;
    void *mapped;
};

static void *new_buffer(uint64_t capacity) {
    uint64_t bytes = capacity + 2 * HUGE_PAGE;
    char *mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED)
        return NULL;
    char *buffer = (char *)(((uintptr_t)mapped + 2 * HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
    madvise(buffer, capacity, MADV_HUGEPAGE);
    struct view_head *head = (struct view_head *)buffer - 1;
    *head = (struct view_head){.capacity = capacity, .mapped_bytes = bytes, .mapped = mapped};
    return buffer;
}

static void drop_buffer(void *buffer) {
    struct view_head *head = (struct view_head *)buffer - 1;
    munmap(head->mapped, head->mapped_bytes);
}

/* Keeps it for the next view, in place of the oldest ones if there is not room for all. */
static void keep_buffer(struct erg_table *t, void *buffer) {
    uint64_t capacity = ((struct view_head *)buffer - 1)->capacity;
    void *old[ERG_VIEWS_KEPT];
    int n = 0;
    erg_lock(&t->view_lock);
    while (t->view_count > 0 &&
           (t->view_count == ERG_VIEWS_KEPT || t->view_bytes + capacity > t->view_most)) {
        old[n++] = t->views[0].buffer;
        t->view_bytes -= t->views[0].capacity;
        t->view_count--;
        memmove(t->views, t->views + 1, (size_t)t->view_count * sizeof t->views[0]);
    }
    t->views[t->view_count++] = (struct erg_view){buffer, capacity};
    t->view_bytes += capacity;
    erg_unlock(&t->view_lock);
    while (n > 0)
        drop_buffer(old[--n]);
}

void erg_view_fini(struct erg_table *t) {
    while (t->view_count > 0)
        drop_buffer(t->views[--t->view_count].buffer);
}

void *erg_arena_map_private(struct erg_table *t, uint64_t offset, uint64_t len) {
    void *view;
    if (is_mapped(t, len)) {
        view = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, t->fd,
                    (off_t)offset);
        return view == MAP_FAILED ? NULL : view;
    }
    if (len <= HEAP_MOST) {
        view = aligned_alloc(64, len ? (len + 63) / 64 * 64 : 64);
    } else {
        view = take_kept(t, capacity_of(len));
        if (!view)
            view = new_buffer(capacity_of(len));
    }
    if (view)
        memcpy(view, erg_table_at(t, offset), len);
    return view;
}

void erg_arena_unmap_private(struct erg_table *t, void *view, uint64_t len) {
    if (is_mapped(t, len))
        munmap(view, len);
    else if (len <= HEAP_MOST)
        free(view);
    else
        keep_buffer(t, view);
}
