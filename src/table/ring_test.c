#include "table/rig.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static struct erg_ring *ring_of(struct rig *rig) {
    return &rig->t->header->ready[ERG_QUEUE_FIRST];
}

static int pop(struct rig *rig, uint32_t *index) {
    struct erg_ring_peek peek;
    while (erg_ring_peek(rig->t, ring_of(rig), &peek))
        if (erg_ring_take(rig->t, &peek)) {
            *index = peek.index;
            return 1;
        }
    return 0;
}

static void keeps_order_over_many_laps(void **state) {
    (void)state;
    struct rig rig;
    uint32_t index;
    rig_open(&rig, 60); /* 64 cells */
    assert_int_equal(ring_of(&rig)->lane[0].mask, 63);
    assert_false(pop(&rig, &index));
    uint32_t in = 0, out = 0;
    for (int round = 0; round < 1000; round++) {
        for (int i = 0; i < 1 + round % 64; i++)
            assert_int_equal(erg_ring_push(rig.t, ring_of(&rig), in++), 1);
        while (pop(&rig, &index))
            assert_int_equal(index, out++);
        assert_int_equal(in, out);
    }
    rig_close(&rig);
}

static void says_when_it_is_full(void **state) {
    (void)state;
    struct rig rig;
    uint32_t index;
    erg_handle many[100];
    rig_open(&rig, 60);
    for (uint32_t i = 0; i < 100; i++)
        many[i] = i;
    for (int lap = 0; lap < 3; lap++) {
        assert_int_equal(erg_ring_push_many(rig.t, ring_of(&rig), many, 100), 64);
        assert_int_equal(erg_ring_push(rig.t, ring_of(&rig), 7), 0);
        assert_int_equal(erg_ring_len(ring_of(&rig)), 64);
        assert_true(pop(&rig, &index));
        assert_int_equal(erg_ring_push(rig.t, ring_of(&rig), 64), 1);
        assert_int_equal(erg_ring_push(rig.t, ring_of(&rig), 65), 0);
        for (uint32_t i = 1; i <= 64; i++) {
            assert_true(pop(&rig, &index));
            assert_int_equal(index, i);
        }
        assert_false(pop(&rig, &index));
    }
    rig_close(&rig);
}

/* A producer or consumer that died after its swap and before it pushed the hint on. */
static void heals_hints_that_stayed_behind(void **state) {
    (void)state;
    struct rig rig;
    uint32_t index;
    rig_open(&rig, 60);
    struct erg_ring *ring = ring_of(&rig);
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(erg_ring_push(rig.t, ring, 2 * i), 1);
        atomic_fetch_sub(&ring->lane[0].tail, 1);
        assert_int_equal(erg_ring_push(rig.t, ring, 2 * i + 1), 1);
        assert_true(pop(&rig, &index));
        assert_int_equal(index, 2 * i);
        atomic_fetch_sub(&ring->lane[0].head, 1);
        assert_true(pop(&rig, &index));
        assert_int_equal(index, 2 * i + 1);
        assert_false(pop(&rig, &index));
    }
    rig_close(&rig);
}

static void a_taken_entry_cannot_be_taken_again(void **state) {
    (void)state;
    struct rig rig;
    struct erg_ring_peek first, second;
    rig_open(&rig, 60);
    struct erg_ring *ring = ring_of(&rig);
    assert_int_equal(erg_ring_push(rig.t, ring, 5), 1);
    assert_true(erg_ring_peek(rig.t, ring, &first));
    assert_true(erg_ring_peek(rig.t, ring, &second));
    assert_true(erg_ring_take(rig.t, &first));
    assert_false(erg_ring_take(rig.t, &second));
    for (uint32_t i = 0; i < 64; i++) /* the same cell, a lap later */
        assert_int_equal(erg_ring_push(rig.t, ring, 5), 1);
    assert_false(erg_ring_take(rig.t, &second));
    rig_close(&rig);
}

/* More than the short lane holds: nothing is lost, the order stays, and afterwards the short one serves again. */
static void what_the_short_lane_has_no_room_for_waits_behind_it(void **state) {
    (void)state;
    struct rig rig;
    uint32_t index, in = 0, out = 0, total = 200000;
    rig_open(&rig, 200000);
    struct erg_ring *ring = ring_of(&rig);
    assert_int_equal(ring->lanes, 2);
    for (int lap = 0; lap < 3; lap++) {
        while (in < total) {
            erg_handle group[50];
            for (uint32_t k = 0; k < 50; k++)
                group[k] = in + k;
            assert_int_equal(erg_ring_push_many(rig.t, ring, group, 50), 50);
            in += 50;
        }
        assert_int_equal(erg_ring_len(ring), total);
        while (pop(&rig, &index))
            assert_int_equal(index, out++);
        assert_int_equal(out, total);
        uint64_t used = atomic_load(&ring->lane[1].tail);
        assert_int_equal(erg_ring_push(rig.t, ring, 1), 1);
        assert_int_equal(atomic_load(&ring->lane[1].tail), used);
        assert_true(pop(&rig, &index));
        in = out = 0;
    }
    rig_close(&rig);
}

/* A ring that never holds many entries never takes much memory. */
static void memory_does_not_grow_with_what_passes_through(void **state) {
    (void)state;
    struct rig rig;
    uint32_t index;
    rig_open(&rig, 4000000);
    uint64_t before = erg_table_memory(rig.t);
    for (uint32_t i = 0; i < 3000000; i++) {
        assert_int_equal(erg_ring_push(rig.t, ring_of(&rig), i), 1);
        assert_true(pop(&rig, &index));
    }
    assert_true(erg_table_memory(rig.t) - before <= (sizeof(uint64_t) << ERG_RING_SHORT_SHIFT));
    rig_close(&rig);
}

enum { THREADS = 3, EACH = 40000 };
struct crowd {
    struct rig rig;
    _Atomic uint32_t popped;
    _Atomic unsigned char seen[THREADS * EACH];
    _Atomic uint32_t producers;
};

static void *produce(void *arg) {
    struct crowd *c = arg;
    uint32_t base = atomic_fetch_add(&c->producers, 1) * EACH;
    erg_handle group[7];
    for (uint32_t i = 0; i < EACH;) {
        uint32_t n = 1 + i % 7 < EACH - i ? 1 + i % 7 : EACH - i;
        for (uint32_t k = 0; k < n; k++)
            group[k] = base + i + k;
        i += (uint32_t)erg_ring_push_many(c->rig.t, ring_of(&c->rig), group, n);
    }
    return NULL;
}

static void *consume(void *arg) {
    struct crowd *c = arg;
    uint32_t index;
    while (atomic_load(&c->popped) < THREADS * EACH)
        if (pop(&c->rig, &index)) {
            atomic_fetch_add(&c->seen[index], 1);
            atomic_fetch_add(&c->popped, 1);
        } else {
            erg_cpu_yield();
        }
    return NULL;
}

static void each_entry_goes_to_one_of_many_threads(void **state) {
    (void)state;
    struct crowd *c = calloc(1, sizeof *c);
    pthread_t threads[2 * THREADS];
    rig_open(&c->rig, 1000);
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, produce, c);
        pthread_create(&threads[THREADS + i], NULL, consume, c);
    }
    for (int i = 0; i < 2 * THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS * EACH; i++)
        assert_int_equal(atomic_load(&c->seen[i]), 1);
    rig_close(&c->rig);
    free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order_over_many_laps),
        cmocka_unit_test(says_when_it_is_full),
        cmocka_unit_test(heals_hints_that_stayed_behind),
        cmocka_unit_test(a_taken_entry_cannot_be_taken_again),
        cmocka_unit_test(what_the_short_lane_has_no_room_for_waits_behind_it),
        cmocka_unit_test(memory_does_not_grow_with_what_passes_through),
        cmocka_unit_test(each_entry_goes_to_one_of_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
