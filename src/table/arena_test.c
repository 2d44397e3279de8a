#include "table/rig.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t take(struct erg_member *m, uint64_t len) {
    uint64_t offset;
    struct erg_error err;
    assert_int_equal(erg_arena_alloc(m, len, &offset, &err), 0);
    return offset;
}

static void blocks_are_big_enough_and_aligned(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 100);
    for (uint64_t len = 0; len < 40000; len += len < 300 ? 1 : 97) {
        uint64_t offset = take(rig.owner, len), size = erg_arena_block_size(rig.t, offset);
        assert_int_equal(offset % 16, 0);
        assert_true(size >= len && (size <= 64 || len > 32768 || size <= len + len / 4 + 16));
        memset(erg_table_at(rig.t, offset), 0xff, size);
        erg_arena_free(rig.owner, offset);
    }
    static const uint64_t big[] = {65536,   65537,   131072,   1000000,  2000000,
                                   4194304, 4194305, 10000000, 50000000, 200000000};
    for (size_t i = 0; i < sizeof big / sizeof big[0]; i++) {
        uint64_t offset = take(rig.owner, big[i]), size = erg_arena_block_size(rig.t, offset);
        assert_int_equal(offset % 65536, 0);
        assert_true(size >= big[i]);
        ((char *)erg_table_at(rig.t, offset))[big[i] - 1] = 1;
        erg_arena_free(rig.owner, offset);
    }
    rig_close(&rig);
}

static void says_when_there_is_no_room(void **state) {
    (void)state;
    struct rig rig;
    struct erg_error err;
    uint64_t offset = 77, kept[64];
    int n = 0;
    rig_open(&rig, 100);
    assert_int_equal(erg_arena_alloc(rig.owner, (uint64_t)300 << 20, &offset, &err), ERG_ENOMEM);
    assert_non_null(strstr(err.text, "no shared memory"));
    assert_int_equal(erg_arena_alloc(rig.owner, UINT64_MAX, &offset, &err), ERG_ENOMEM);
    assert_int_equal(offset, 77);
    while (n < 64 && erg_arena_alloc(rig.owner, 4 << 20, &kept[n], &err) == 0)
        n++;
    assert_int_equal(n, 64); /* 256 MiB in extents of 4 */
    assert_int_equal(erg_arena_alloc(rig.worker, 1, &offset, &err), ERG_ENOMEM);
    for (int i = 0; i < n; i++)
        erg_arena_free(rig.owner, kept[i]);
    erg_arena_trim(rig.owner, 0);
    offset = take(rig.worker, (uint64_t)250 << 20); /* and all of it is in one piece again */
    erg_arena_free(rig.owner, offset);
    rig_close(&rig);
}

static void what_was_freed_comes_back_warm(void **state) {
    (void)state;
    static const uint64_t sizes[] = {10, 1000, 30000, 65536, 2000000, 9000000};
    struct rig rig;
    rig_open(&rig, 100);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t first = take(rig.owner, sizes[i]), second = take(rig.owner, sizes[i]);
        assert_true(first != second);
        erg_arena_free(rig.owner, first);
        erg_arena_free(rig.owner, second);
        assert_int_equal(take(rig.owner, sizes[i]), second); /* last in, first out */
        assert_int_equal(take(rig.owner, sizes[i]), first);
    }
    rig_close(&rig);
}

static void blocks_go_home_to_their_allocator(void **state) {
    (void)state;
    static const uint64_t sizes[] = {16, 5000, 70000, 3000000, 20000000};
    struct rig rig;
    rig_open(&rig, 100);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t offset = take(rig.worker, sizes[i]);
        memset(erg_table_at(rig.t, offset), 1, sizes[i]);
        erg_arena_free(rig.owner, offset);
        assert_true(rig.worker->slot->returned == offset);
        /* the warm block is found once the allocator has no other */
        uint64_t again = 0;
        for (int tries = 0; tries < 5000 && again != offset; tries++)
            again = take(rig.worker, sizes[i]);
        assert_int_equal(again, offset);
    }
    rig_close(&rig);
}

static void memory_is_given_back(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 100);
    uint64_t before = erg_table_memory(rig.t);
    uint64_t a = take(rig.owner, 50000000), b = take(rig.owner, 3000000);
    assert_true(erg_table_memory(rig.t) >= before + 53000000);
    erg_arena_free(rig.owner, a);
    erg_arena_free(rig.owner, b);
    assert_true(erg_table_memory(rig.t) >= before + 53000000); /* kept warm */
    assert_true(erg_arena_trim(rig.owner, (uint64_t)1 << 40) < 4000000);
    assert_true(erg_table_memory(rig.t) >= before + 50000000);
    assert_true(erg_arena_trim(rig.owner, 0) >= 50000000);
    assert_true(erg_table_memory(rig.t) <= before + 1000000);
    rig_close(&rig);
}

static void only_so_much_stays_warm(void **state) {
    (void)state;
    enum { PIECES = 12 };
    static const uint64_t sizes[] = {20 << 20, 3 << 20, 20000};
    struct rig rig;
    uint64_t blocks[1000];
    rig_open(&rig, 100);
    rig.owner->warm_most = 1 << 20;
    for (int i = 0; i < 3; i++) {
        int n = i == 2 ? 1000 : PIECES;
        uint64_t before = erg_table_memory(rig.t), peak;
        for (int k = 0; k < n; k++)
            memset(erg_table_at(rig.t, blocks[k] = take(rig.owner, sizes[i])), 1, sizes[i]);
        peak = erg_table_memory(rig.t);
        for (int k = 0; k < n; k++)
            erg_arena_free(rig.owner, blocks[k]);
        assert_true(erg_table_memory(rig.t) < before + (peak - before) / 2);
    }
    rig_close(&rig);
}

static void slabs_of_free_blocks_are_given_back(void **state) {
    (void)state;
    enum { MANY = 100000 };
    struct rig rig;
    rig_open(&rig, 100);
    uint64_t *blocks = test_malloc(MANY * sizeof *blocks), before = erg_table_memory(rig.t);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) {
            blocks[i] = take(rig.owner, 200 + (uint64_t)i % 900);
            *(uint64_t *)erg_table_at(rig.t, blocks[i]) = blocks[i];
        }
        uint64_t peak = erg_table_memory(rig.t);
        for (int i = 0; i < MANY; i++)
            if (i % 1000 != 0)
                erg_arena_free(i % 2 ? rig.owner : rig.worker, blocks[i]);
        erg_arena_trim(rig.owner, (uint64_t)1 << 40);
        assert_true(erg_table_memory(rig.t) >= peak - (1 << 20));
        assert_true(erg_arena_trim(rig.owner, 0) > (peak - before) / 2);
        assert_true(erg_table_memory(rig.t) < before + (peak - before) / 3);
        for (int i = 0; i < MANY; i += 1000) {
            assert_int_equal(*(uint64_t *)erg_table_at(rig.t, blocks[i]), blocks[i]);
            erg_arena_free(rig.owner, blocks[i]);
        }
    }
    test_free(blocks);
    rig_close(&rig);
}

static void a_private_view_keeps_writes_to_itself(void **state) {
    (void)state;
    static const uint64_t lengths[] = {1, 100000, 1 << 20, (1 << 20) + 1, 30000000, 60000000};
    struct rig rig;
    rig_open(&rig, 100);
    for (int mapped = 0; mapped < 2; mapped++) {
        if (mapped)
            rig.t->view_most = 0; /* as if each were too long to copy */
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            uint64_t len = lengths[i], offset = take(rig.owner, len < 65536 ? 65536 : len);
            char *shared = erg_table_at(rig.t, offset);
            memset(shared, 'a', len);
            char *view = erg_arena_map_private(rig.t, offset, len);
            assert_non_null(view);
            assert_int_equal(view[len - 1], 'a');
            assert_int_equal(view[len / 2], 'a');
            memset(view, 'b', len);
            assert_int_equal(shared[len - 1], 'a');
            assert_int_equal(view[len - 1], 'b');
            erg_arena_unmap_private(rig.t, view, len);
            erg_arena_free(rig.owner, offset);
        }
    }
    rig_close(&rig);
}

static void views_are_kept_within_limits(void **state) {
    (void)state;
    struct rig rig;
    void *views[20];
    rig_open(&rig, 100);
    rig.t->view_most = (uint64_t)50 << 20;
    uint64_t offset = take(rig.owner, 20 << 20);
    memset(erg_table_at(rig.t, offset), 1, 20 << 20);
    for (int i = 0; i < 20; i++) {
        views[i] = erg_arena_map_private(rig.t, offset, (2 << 20) + i * 700000);
        assert_non_null(views[i]);
    }
    for (int i = 0; i < 20; i++)
        erg_arena_unmap_private(rig.t, views[i], (2 << 20) + i * 700000);
    assert_true(rig.t->view_count > 0 && rig.t->view_count <= ERG_VIEWS_KEPT);
    assert_true(rig.t->view_bytes <= rig.t->view_most);
    void *again = erg_arena_map_private(rig.t, offset, (2 << 20) + 19 * 700000);
    assert_ptr_equal(again, views[19]);
    erg_arena_unmap_private(rig.t, again, (2 << 20) + 19 * 700000);
    rig_close(&rig);
}

/* --- against a model ------------------------------------------------------------------------------------------ */

enum { LIVE = 300, STEPS = 60000 };
struct model_block {
    uint64_t offset, len;
    unsigned char fill;
};

static uint64_t random_len(unsigned *seed) {
    switch (rand_r(seed) % 10) {
    case 0:
        return (uint64_t)(rand_r(seed) % 3000000);
    case 1:
        return (uint64_t)(rand_r(seed) % 200000);
    default:
        return (uint64_t)(rand_r(seed) % 3000);
    }
}

static void check(struct erg_table *t, const struct model_block *b) {
    const unsigned char *bytes = erg_table_at(t, b->offset);
    if (b->len > 0) {
        assert_int_equal(bytes[0], b->fill);
        assert_int_equal(bytes[b->len / 2], b->fill);
        assert_int_equal(bytes[b->len - 1], b->fill);
    }
}

static void no_two_blocks_ever_overlap(void **state) {
    (void)state;
    struct rig rig;
    struct model_block live[LIVE] = {0};
    unsigned seed = 12345;
    rig_open(&rig, 100);
    for (int step = 0; step < STEPS; step++) {
        struct model_block *b = &live[rand_r(&seed) % LIVE];
        struct erg_member *m = rand_r(&seed) % 2 ? rig.owner : rig.worker;
        if (b->offset) {
            check(rig.t, b);
            erg_arena_free(m, b->offset);
            b->offset = 0;
        } else {
            struct erg_error err;
            b->len = random_len(&seed);
            b->fill = (unsigned char)rand_r(&seed);
            if (erg_arena_alloc(m, b->len, &b->offset, &err) < 0) {
                erg_arena_trim(rig.owner, 0);
                erg_arena_trim(rig.worker, 0);
                continue;
            }
            memset(erg_table_at(rig.t, b->offset), b->fill, b->len);
        }
        if (step % 5000 == 0)
            erg_arena_trim(m, (uint64_t)(rand_r(&seed) % 20000000));
    }
    for (int i = 0; i < LIVE; i++)
        if (live[i].offset) {
            check(rig.t, &live[i]);
            erg_arena_free(rig.owner, live[i].offset);
        }
    rig_close(&rig);
}

static void what_a_leaver_handed_out_stays_good(void **state) {
    (void)state;
    struct rig rig;
    struct model_block kept[50];
    rig_open(&rig, 100);
    uint64_t before = erg_table_memory(rig.t);
    for (int round = 0; round < 20; round++) {
        struct erg_member *m = rig_member(rig.t, 0);
        for (int i = 0; i < 50; i++) {
            kept[i].len = (uint64_t)i * i * i * 20;
            kept[i].fill = (unsigned char)i;
            kept[i].offset = take(m, kept[i].len);
            memset(erg_table_at(rig.t, kept[i].offset), i, kept[i].len);
            if (i % 3 == 0) /* some are already on their way home */
                erg_arena_free(rig.worker, kept[i].offset);
        }
        erg_member_close(m);
        struct erg_member *next = rig_member(rig.t, 0);
        for (int i = 0; i < 50; i++)
            take(next, (uint64_t)i * 1000);
        for (int i = 0; i < 50; i++)
            if (i % 3 != 0) {
                check(rig.t, &kept[i]);
                erg_arena_free(rig.worker, kept[i].offset);
            }
        erg_member_close(next);
        erg_arena_trim(rig.owner, 0);
    }
    for (uint32_t i = 0; i < rig.t->header->extents_top; i++)
        assert_true(rig.t->extents[i].holder != rig.worker->number + 2 + 1);
    assert_true(erg_table_memory(rig.t) < before + (uint64_t)200000000);
    rig_close(&rig);
}

static void what_only_the_dead_knew_of_is_freed(void **state) {
    (void)state;
    static const uint64_t sizes[] = {100, 70000, 3000000, 30000000};
    struct rig rig;
    uint64_t settled[4], pending[4], freed[4];
    struct erg_error err;
    rig_open(&rig, 100);
    uint64_t before = erg_table_memory(rig.t);
    struct erg_member *dead = rig_member(rig.t, 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(erg_arena_alloc_pending(dead, sizes[i], &settled[i], &err), 0);
        assert_int_equal(erg_arena_alloc_pending(dead, sizes[i], &pending[i], &err), 0);
        assert_int_equal(erg_arena_alloc_pending(dead, sizes[i], &freed[i], &err), 0);
        memset(erg_table_at(rig.t, settled[i]), 5, sizes[i]);
        memset(erg_table_at(rig.t, pending[i]), 6, sizes[i]);
        erg_arena_settle(rig.t, settled[i]);
        erg_arena_free(i % 2 ? dead : rig.owner, freed[i]);
    }
    assert_int_equal(erg_table_recover(rig.owner, dead->number, NULL, NULL), 0);
    assert_true(erg_table_memory(rig.t) < before + 33073100 + 10000000);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(((char *)erg_table_at(rig.t, settled[i]))[sizes[i] - 1], 5);
        erg_arena_free(rig.worker, settled[i]);
    }
    erg_arena_free(rig.owner, pending[0]); /* a small one is not followed up */
    erg_arena_trim(rig.owner, 0);
    assert_true(erg_table_memory(rig.t) <= before + 1000000);
    rig_close(&rig);
}

/* It died between two extents of a run it was taking, or giving back. */
static void half_a_run_is_free_again(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 100);
    struct erg_member *dead = rig_member(rig.t, 0);
    uint64_t whole = take(dead, 30000000), kept = take(dead, 10000000);
    struct erg_extent *extents = rig.t->extents;
    uint32_t first = (uint32_t)((whole - rig.t->header->arena_offset) / ERG_EXTENT_BYTES);
    uint32_t other = (uint32_t)((kept - rig.t->header->arena_offset) / ERG_EXTENT_BYTES);
    extents[first].run = 0; /* taken, and not yet told to be one */
    for (uint32_t i = 0; i < 8; i++)
        extents[first + i].live = 0;
    extents[other].run = 2; /* shrunk, and the third not yet given back */
    memset(erg_table_at(rig.t, kept), 9, 8 << 20);
    assert_int_equal(erg_table_recover(rig.owner, dead->number, NULL, NULL), 0);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(extents[first + i].holder, 0);
    assert_int_equal(extents[other].holder, 1 | ERG_EXTENT_ORPHAN);
    assert_int_equal(extents[other + 1].holder, 1 | ERG_EXTENT_ORPHAN);
    assert_int_equal(extents[other + 2].holder, 0);
    assert_int_equal(*(char *)erg_table_at(rig.t, kept), 9);
    erg_arena_free(rig.worker, kept);
    erg_arena_trim(rig.owner, 0);
    assert_int_equal(extents[other].holder, 0);
    rig_close(&rig);
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

enum { TRADERS = 4, TRADES = 4000, STALL = 64 };
struct market {
    struct rig rig;
    _Atomic uint64_t stall[STALL];
};

static void *trade(void *arg) {
    struct market *market = arg;
    struct erg_member *m = rig_member(market->rig.t, 0);
    unsigned seed = m->number;
    for (int i = 0; i < TRADES; i++) {
        uint64_t len = 16 + random_len(&seed) / 16;
        uint64_t offset = take(m, len);
        memset(erg_table_at(market->rig.t, offset), (int)m->number, len);
        *(uint64_t *)erg_table_at(market->rig.t, offset) = offset;
        uint64_t other = atomic_exchange(&market->stall[rand_r(&seed) % STALL], offset);
        if (other) {
            assert_true(*(uint64_t *)erg_table_at(market->rig.t, other) == other);
            erg_arena_free(m, other);
        }
    }
    erg_member_close(m);
    return NULL;
}

static void members_free_one_anothers_blocks(void **state) {
    (void)state;
    struct market *market = calloc(1, sizeof *market);
    pthread_t threads[TRADERS];
    rig_open(&market->rig, 100);
    for (int i = 0; i < TRADERS; i++)
        pthread_create(&threads[i], NULL, trade, market);
    for (int i = 0; i < TRADERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < STALL; i++)
        erg_arena_free(market->rig.owner, market->stall[i]);
    erg_arena_trim(market->rig.owner, 0);
    for (uint32_t i = 0; i < market->rig.t->header->extents_top; i++)
        if (atomic_load(&market->rig.t->extents[i].holder))
            assert_int_equal(atomic_load(&market->rig.t->extents[i].live), 0);
    rig_close(&market->rig);
    free(market);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_big_enough_and_aligned),
        cmocka_unit_test(says_when_there_is_no_room),
        cmocka_unit_test(what_was_freed_comes_back_warm),
        cmocka_unit_test(blocks_go_home_to_their_allocator),
        cmocka_unit_test(memory_is_given_back),
        cmocka_unit_test(only_so_much_stays_warm),
        cmocka_unit_test(slabs_of_free_blocks_are_given_back),
        cmocka_unit_test(a_private_view_keeps_writes_to_itself),
        cmocka_unit_test(views_are_kept_within_limits),
        cmocka_unit_test(no_two_blocks_ever_overlap),
        cmocka_unit_test(what_a_leaver_handed_out_stays_good),
        cmocka_unit_test(what_only_the_dead_knew_of_is_freed),
        cmocka_unit_test(half_a_run_is_free_again),
        cmocka_unit_test(members_free_one_anothers_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
