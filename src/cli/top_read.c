#include "cli/top.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "table/layout.h"

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool read_at(int fd, void *to, size_t len, uint64_t offset) {
    return pread(fd, to, len, (off_t)offset) == (ssize_t)len;
}

static void read_program(int32_t pid, char *to) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%" PRId32 "/cmdline", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, to, ERG_TOP_TEXT - 1);
    if (fd >= 0) {
        close(fd);
    }
    len = len < 0 ? 0 : len;
    for (ssize_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)to[i];
        to[i] =
            c < ' ' || c == 127 ? ' ' : to[i]; /* nobody's program shall write to our terminal */
    }
    while (len > 0 && to[len - 1] == ' ') {
        len--;
    }
    to[len] = 0;
}

static bool is_ours(const struct erg_table_header *h, const struct stat *about) {
    return h->magic == ERG_TABLE_MAGIC && h->version == ERG_TABLE_VERSION &&
           h->members_max <= ERG_MEMBERS_LIMIT && h->size <= (uint64_t)about->st_size &&
           h->members_offset < h->size && h->records_offset < h->size;
}

static uint64_t queued_in(const struct erg_table_header *h) {
    uint64_t found = 0;
    for (int queue = 0; queue < ERG_QUEUES; queue++) {
        for (uint32_t i = 0; i < h->ready[queue].lanes && i < ERG_RING_LANES; i++) {
            __auto_type lane = &h->ready[queue].lane[i];
            uint64_t head = lane->head, tail = lane->tail;
            found += tail > head ? tail - head : 0;
        }
    }
    return found;
}

static uint64_t running_ns(int fd, const struct erg_table_header *h,
                           const struct erg_member_slot *slot, uint32_t depth, uint64_t now) {
    uint32_t index = ERG_HANDLE_INDEX(slot->claims[depth - 1]);
    struct erg_record record;
    if (index >= h->records_max ||
        !read_at(fd, &record, sizeof record, h->records_offset + index * sizeof record) ||
        ERG_STATE_PHASE(record.state) != ERG_RUNNING) {
        return 0;
    }
    return now > record.start_ns ? now - record.start_ns : 0;
}

static bool read_worker(int fd, const struct erg_table_header *h, uint32_t number, uint64_t now,
                        struct erg_top_worker *w) {
    struct erg_member_slot slot;
    if (!read_at(fd, &slot, sizeof slot, h->members_offset + number * sizeof slot)) {
        return false;
    }
    uint32_t phase = slot.phase, depth = slot.depth;
    bool works = slot.kind == ERG_MEMBER_PROCESS || slot.kind == ERG_MEMBER_THREAD ||
                 slot.kind == ERG_MEMBER_PLACE;
    if (!works || phase == ERG_M_FREE || phase == ERG_M_DEAD) {
        return false;
    }
    *w = (struct erg_top_worker){
        .number = number,
        .serial = slot.serial,
        .kind = slot.kind,
        .pid = slot.pid,
        .tasks = slot.tasks,
        .busy_ns = slot.busy_ns,
        .bytes_in = slot.bytes_in,
        .bytes_out = slot.bytes_out,
    };
    w->state = phase == ERG_M_RESERVED  ? ERG_TOP_STARTING
               : phase == ERG_M_LEAVING ? ERG_TOP_LEAVING
                                        : ERG_TOP_IDLE;
    if (depth > 0 && depth <= ERG_CLAIMS_MAX && slot.kind != ERG_MEMBER_PLACE) {
        w->state = w->state == ERG_TOP_IDLE ? ERG_TOP_BUSY : w->state;
        w->running_ns = running_ns(fd, h, &slot, depth, now);
    }
    return true;
}

/* Without the memory for them, or when they are just being made, there are none. */
static void read_places(int fd, const struct erg_table_header *h, struct erg_top_pool *pool) {
    uint64_t at = h->place_rows, n = h->place_rows_len;
    uint64_t size = n * sizeof(struct erg_place_row);
    if (at == 0 || n == 0 || n > ERG_TOP_PLACES || at >= h->size || size > h->size - at) {
        return;
    }
    struct erg_place_row *rows = malloc(size);
    pool->places = calloc(n, sizeof *pool->places);
    if (rows && pool->places && read_at(fd, rows, size, at)) {
        pool->places_len = n;
    }
    for (size_t i = 0; i < pool->places_len; i++) {
        struct erg_top_place *p = &pool->places[i];
        memcpy(p->name, rows[i].name, sizeof p->name - 1);
        for (char *c = p->name; *c; c++) {
            *c = (unsigned char)*c < ' ' || *c == 127 ? ' ' : *c;
        }
        p->state = rows[i].state;
        p->slots = rows[i].slots;
        p->leased = rows[i].leased;
        p->cores = rows[i].cores;
        p->tasks = rows[i].tasks;
        p->busy_ns = rows[i].busy_ns;
        p->bytes_in = rows[i].bytes_in;
        p->bytes_out = rows[i].bytes_out;
    }
    free(rows);
}

static int read_pool(int fd, int32_t pid, uint64_t now, const struct stat *about,
                     struct erg_top_pool *pool) {
    struct erg_table_header header;
    struct erg_member_slot owner;
    if (!read_at(fd, &header, sizeof header, 0) || !is_ours(&header, about) ||
        !read_at(fd, &owner, sizeof owner, header.members_offset) || owner.pid != pid) {
        return 0; /* something else, or a worker's descriptor */
    }
    uint32_t top =
        header.members_top < header.members_max ? header.members_top : header.members_max;
    *pool = (struct erg_top_pool){
        .pid = pid,
        .inode = (uint64_t)about->st_ino,
        .queued = queued_in(&header),
        .memory_bytes = (uint64_t)about->st_blocks * 512,
        .records_used = header.records_used,
        .closed = header.closed != 0,
        .workers = calloc((size_t)top + 1, sizeof *pool->workers),
    };
    if (!pool->workers) {
        return ERG_ENOMEM;
    }
    read_program(pid, pool->program);
    read_places(fd, &header, pool);
    for (uint32_t i = 1; i < top; i++) {
        struct erg_top_worker *w = &pool->workers[pool->workers_len];
        if (read_worker(fd, &header, i, now, w)) {
            pool->workers_len++;
            pool->tasks += w->tasks;
            pool->busy_ns += w->busy_ns;
            pool->bytes_in += w->bytes_in;
            pool->bytes_out += w->bytes_out;
        }
    }
    return 1;
}

static bool is_known(const struct erg_top *top, int32_t pid, uint64_t inode) {
    for (size_t i = 0; i < top->pools_len; i++) {
        if (top->pools[i].pid == pid && top->pools[i].inode == inode) {
            return true;
        }
    }
    return false;
}

static int add(struct erg_top *top, int fd, int32_t pid) {
    struct stat about;
    if (fstat(fd, &about) < 0 || is_known(top, pid, (uint64_t)about.st_ino)) {
        return 0;
    }
    struct erg_top_pool *pools = realloc(top->pools, (top->pools_len + 1) * sizeof *pools);
    if (!pools) {
        return ERG_ENOMEM;
    }
    top->pools = pools;
    int rc = read_pool(fd, pid, top->now_ns, &about, &pools[top->pools_len]);
    top->pools_len += rc > 0;
    return rc < 0 ? rc : 0;
}

/* The tables among the descriptors of a process. Not being allowed to look is no error. */
static int read_process(struct erg_top *top, int32_t pid) {
    char path[64], target[64];
    snprintf(path, sizeof path, "/proc/%" PRId32 "/fd", pid);
    DIR *folder = opendir(path);
    int rc = 0;
    for (struct dirent *entry; folder && rc == 0 && (entry = readdir(folder));) {
        ssize_t len = readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1);
        target[len > 0 ? len : 0] = 0;
        if (strncmp(target, "/memfd:ergon", 12) != 0) {
            continue;
        }
        int fd = openat(dirfd(folder), entry->d_name, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            rc = add(top, fd, pid);
            close(fd);
        }
    }
    if (folder) {
        closedir(folder);
    }
    return rc;
}

int erg_top_read(int32_t pid, struct erg_top *top, struct erg_error *err) {
    *top = (struct erg_top){.now_ns = now_ns()};
    DIR *processes = pid ? NULL : opendir("/proc");
    if (!pid && !processes) {
        return erg_error_system(err, errno, "cannot read /proc");
    }
    int rc = pid ? read_process(top, pid) : 0;
    for (struct dirent *entry; processes && rc == 0 && (entry = readdir(processes));) {
        char *end;
        long found = strtol(entry->d_name, &end, 10);
        if (found > 0 && !*end) {
            rc = read_process(top, (int32_t)found);
        }
    }
    if (processes) {
        closedir(processes);
    }
    if (rc < 0) {
        erg_top_free(top);
        return erg_error_set(err, rc, "not enough memory");
    }
    return 0;
}

void erg_top_free(struct erg_top *top) {
    for (size_t i = 0; i < top->pools_len; i++) {
        free(top->pools[i].workers);
        free(top->pools[i].places);
    }
    free(top->pools);
    *top = (struct erg_top){0};
}

const struct erg_top_pool *erg_top_find(const struct erg_top *top,
                                        const struct erg_top_pool *pool) {
    for (size_t i = 0; i < top->pools_len; i++) {
        if (top->pools[i].pid == pool->pid && top->pools[i].inode == pool->inode) {
            return &top->pools[i];
        }
    }
    return NULL;
}

const struct erg_top_worker *erg_top_worker_find(const struct erg_top_pool *pool,
                                                 const struct erg_top_worker *worker) {
    for (size_t i = 0; pool && i < pool->workers_len; i++) {
        if (pool->workers[i].number == worker->number &&
            pool->workers[i].serial == worker->serial) {
            return &pool->workers[i];
        }
    }
    return NULL;
}
