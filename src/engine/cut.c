#include "engine/cut.h"

#include "os/clock.h"
#include "table/range.h"
#include "table/record.h"

int erg_cut_wanted(struct erg_cut *best, struct erg_table *table, uint32_t queues) {
    struct erg_member_counts counts;
    erg_member_count(table, queues, &counts);
    *best = (struct erg_cut){.idle = counts.sleeping + counts.spinning};
    return best->idle > 0;
}

int erg_cut_look(struct erg_cut *best, struct erg_record *record, void *chunk) {
    enum erg_record_phase phase = erg_record_phase(record);
    if (phase == ERG_READY && ++best->waiting >= best->idle) {
        best->record = NULL;
        return 0;
    }
    uint32_t left = phase == ERG_RUNNING ? erg_range_left(record) : 0;
    if (left > best->left) {
        best->record = record;
        best->chunk = chunk;
        best->left = left;
    }
    return 1;
}

static uint32_t begun(const struct erg_cut *best) {
    return erg_range_end(best->record) - best->left - best->record->first;
}

static int64_t ran(const struct erg_cut *best) {
    uint64_t start = __atomic_load_n(&best->record->start_ns, __ATOMIC_ACQUIRE);
    return start ? (int64_t)(erg_clock_ns() - start) : 0; /* 0: it has only just been claimed */
}

uint32_t erg_cut_take(const struct erg_cut *best, const struct erg_balance *balance, uint32_t *from,
                      uint32_t *to) {
    if (!best->record)
        return 0;
    uint32_t n = erg_balance_cut(balance, begun(best), best->left, ran(best));
    if (n == 0)
        return 0;
    return erg_range_cut(best->record, 100 - (unsigned)((uint64_t)n * 100 / best->left), from, to);
}

/* A moment more: a wait that ends too early is a look in vain. */
enum { LOOK_LATER_NS = 10000 };

int64_t erg_cut_wait(const struct erg_cut *best, const struct erg_balance *balance,
                     int64_t most_ns) {
    if (!best->record)
        return most_ns;
    int64_t wait = erg_balance_cut_from(balance, begun(best), best->left) - ran(best);
    wait = (wait > 0 ? wait : 0) + LOOK_LATER_NS;
    return wait < most_ns ? wait : most_ns;
}
