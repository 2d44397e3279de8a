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

uint32_t erg_cut_take(const struct erg_cut *best, const struct erg_balance *balance, uint32_t *from,
                      uint32_t *to) {
    struct erg_record *r = best->record;
    if (!r)
        return 0;
    uint32_t begun = erg_range_end(r) - best->left - r->first;
    int64_t ran = (int64_t)(erg_clock_ns() - r->start_ns);
    uint32_t n = erg_balance_cut(balance, begun, best->left, ran);
    if (n == 0)
        return 0;
    return erg_range_cut(r, 100 - (unsigned)((uint64_t)n * 100 / best->left), from, to);
}
