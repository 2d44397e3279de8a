/* table/rig: what the tests of this room share: a small table with its owner and, in the same process, workers. */
#ifndef ERG_TABLE_RIG_H
#define ERG_TABLE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "table/arena.h"
#include "table/bell.h"
#include "table/claim.h"
#include "table/inside.h"
#include "table/range.h"
#include "table/recover.h"

struct rig {
    struct erg_table *t;
    struct erg_member *owner, *worker;
};

/* Another member that serves `queues`, opened by the calling thread. */
static inline struct erg_member *rig_member(struct erg_table *t, uint32_t queues) {
    uint32_t number;
    struct erg_member *m;
    struct erg_error err;
    assert_int_equal(erg_member_reserve(t, ERG_MEMBER_THREAD, queues, &number, &err), 0);
    assert_int_equal(erg_member_open(t, number, &m, &err), 0);
    return m;
}

static inline void rig_open(struct rig *rig, uint32_t records) {
    struct erg_table_config config = {
        .records_max = records, .members_max = 80, .arena_bytes = (uint64_t)256 << 20};
    struct erg_error err;
    assert_int_equal(erg_table_create(&config, &rig->t, &err), 0);
    assert_int_equal(erg_member_open(rig->t, 0, &rig->owner, &err), 0);
    rig->worker = rig_member(rig->t, ERG_QUEUE_BIT(ERG_QUEUE_ANY));
}

static inline void rig_close(struct rig *rig) {
    erg_table_close(rig->t);
}

static inline uint32_t rig_new(struct rig *rig) {
    uint32_t index;
    assert_int_equal(erg_record_new(rig->owner, &index), 0);
    return index;
}

static inline erg_handle rig_handle(struct rig *rig, uint32_t index) {
    return erg_record_handle(rig->t, index);
}

static inline enum erg_record_phase rig_phase(struct rig *rig, uint32_t index) {
    return erg_record_phase(erg_table_record(rig->t, index));
}

/* Runs everything that is ready on the rig's worker; returns how many tasks. */
static inline int rig_run(struct rig *rig) {
    uint32_t index;
    int n = 0;
    while (erg_claim_next(rig->worker, &index)) {
        erg_claim_finish(rig->worker, index, ERG_OUT_OK);
        n++;
    }
    return n;
}

/* How many records could still be taken: takes them all, then frees them. */
static inline uint32_t rig_count_free(struct rig *rig) {
    uint32_t max = rig->t->header->records_max, n = 0, index;
    uint32_t *taken = test_malloc(max * sizeof *taken);
    erg_store_flush(rig->worker);
    while (n < max && erg_record_new(rig->owner, &index) == 0)
        taken[n++] = index;
    for (uint32_t i = 0; i < n; i++)
        erg_record_free(rig->owner, taken[i]);
    test_free(taken);
    return n;
}

#endif
