#include "os/clock.h"
#include "table/bell.h"
#include "table/rig.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static void goes_through_its_phases(void **state) {
    (void)state;
    struct rig rig;
    uint32_t index, got;
    rig_open(&rig, 100);
    index = rig_new(&rig);
    struct erg_record *r = erg_table_record(rig.t, index);
    erg_handle h = rig_handle(&rig, index);
    assert_int_equal(rig_phase(&rig, index), ERG_ENTERED);
    assert_int_equal(r->kind, ERG_KIND_CALL);
    assert_int_equal(r->args.len, 0);
    assert_true(h != 0 && h != ERG_HANDLE_NONE);
    assert_false(erg_claim_next(rig.worker, &got));
    erg_record_submit(rig.owner, index);
    assert_int_equal(rig_phase(&rig, index), ERG_READY);
    assert_true(erg_claim_next(rig.worker, &got));
    assert_int_equal(got, index);
    assert_int_equal(rig_phase(&rig, index), ERG_RUNNING);
    assert_int_equal(ERG_STATE_RUNNER(erg_record_state(r)), rig.worker->number);
    assert_false(erg_record_done(rig.t, h));
    assert_int_equal(erg_record_outcome(r), ERG_OUT_NONE);
    assert_int_equal(erg_record_wait(rig.owner, h, 0), ERG_ETIMEOUT);
    assert_int_equal(erg_record_wait(rig.owner, h, 1000), ERG_ETIMEOUT);
    erg_claim_finish(rig.worker, index, ERG_OUT_ERROR);
    assert_true(erg_record_done(rig.t, h));
    assert_int_equal(erg_record_outcome(r), ERG_OUT_ERROR);
    assert_int_equal(erg_record_wait(rig.owner, h, -1), 0);
    assert_true(r->start_ns > 0 && r->end_ns >= r->start_ns);
    assert_int_equal(rig.worker->slot->tasks, 1);
    erg_record_free(rig.owner, index);
    assert_int_equal(rig_phase(&rig, index), ERG_FREE);
    assert_true(erg_record_done(rig.t, h)); /* a stale handle counts as done */
    assert_int_equal(erg_record_cancel(rig.owner, h), 0);
    assert_int_equal(erg_record_notify(rig.owner, h), 1);
    rig_close(&rig);
}

static void an_overdue_record_is_waited_for_no_more(void **state) {
    (void)state;
    struct rig rig;
    uint32_t index, got;
    erg_handle told;
    rig_open(&rig, 100);
    index = rig_new(&rig);
    erg_handle h = rig_handle(&rig, index);
    erg_record_set_overdue(rig.owner, h, rig.worker->number); /* it does not run yet */
    assert_false(erg_record_overdue(rig.t, h));
    erg_record_submit(rig.owner, index);
    assert_true(erg_claim_next(rig.worker, &got));
    erg_record_set_overdue(rig.owner, h, rig.worker->number + 1); /* another's run */
    assert_false(erg_record_overdue(rig.t, h));
    assert_int_equal(erg_record_notify(rig.owner, h), 0);
    erg_record_set_overdue(rig.owner, h, rig.worker->number);
    assert_true(erg_record_overdue(rig.t, h));
    assert_false(erg_record_done(rig.t, h));
    assert_int_equal(erg_record_wait(rig.owner, h, -1), ERG_ETIMEOUT);
    assert_true(erg_bell_take(rig.t, &told));
    assert_true(told == h);
    assert_false(erg_bell_take(rig.t, &told));
    assert_int_equal(erg_record_notify(rig.owner, h), 1);
    erg_claim_finish(rig.worker, index, ERG_OUT_TIMEOUT);
    assert_false(erg_record_overdue(rig.t, h));
    assert_true(erg_record_done(rig.t, h));
    assert_false(erg_bell_take(rig.t, &told)); /* that word was said */
    assert_int_equal(erg_record_outcome(erg_table_record(rig.t, index)), ERG_OUT_TIMEOUT);
    erg_record_free(rig.owner, index);
    rig_close(&rig);
}

static void says_when_no_record_is_left(void **state) {
    (void)state;
    struct rig rig;
    uint32_t index;
    rig_open(&rig, 100);
    for (int round = 0; round < 3; round++)
        assert_int_equal(rig_count_free(&rig), 100);
    for (int i = 0; i < 100; i++)
        rig_new(&rig);
    assert_int_equal(erg_record_new(rig.owner, &index), ERG_EFULL);
    rig_close(&rig);
}

static void payloads_lie_inline_or_in_the_arena(void **state) {
    (void)state;
    static const struct {
        size_t args, result;
        int args_inline, result_inline;
    } cases[] = {
        {0, 0, 1, 1},   {10, 20, 1, 1}, {104, 0, 1, 1},   {104, 1, 1, 0},
        {50, 48, 1, 1}, {50, 49, 1, 0}, {105, 104, 0, 1}, {100000, 200000, 0, 0},
    };
    struct rig rig;
    rig_open(&rig, 100);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t index = rig_new(&rig);
        struct erg_record *r = erg_table_record(rig.t, index);
        unsigned char *args = erg_record_args_reserve(rig.owner, index, cases[i].args);
        unsigned char *result = erg_record_result_reserve(rig.owner, index, cases[i].result);
        assert_non_null(args);
        assert_non_null(result);
        memset(args, 'a', cases[i].args);
        memset(result, 'r', cases[i].result);
        assert_int_equal(r->args.offset == 0, cases[i].args_inline);
        assert_int_equal(r->result.offset == 0, cases[i].result_inline);
        assert_ptr_equal(erg_record_bytes(rig.t, r, &r->args), args);
        assert_ptr_equal(erg_record_bytes(rig.t, r, &r->result), result);
        for (size_t k = 0; k < cases[i].args; k++)
            assert_int_equal(args[k], 'a');
        erg_record_free(rig.owner, index);
    }
    rig_close(&rig);
}

static void a_diamond_runs_in_order(void **state) {
    (void)state;
    struct rig rig;
    uint32_t top, left, right, bottom, got;
    rig_open(&rig, 100);
    top = rig_new(&rig), left = rig_new(&rig), right = rig_new(&rig), bottom = rig_new(&rig);
    assert_int_equal(erg_record_after(rig.owner, left, rig_handle(&rig, top)), 0);
    assert_int_equal(erg_record_after(rig.owner, right, rig_handle(&rig, top)), 0);
    assert_int_equal(erg_record_after(rig.owner, bottom, rig_handle(&rig, left)), 0);
    assert_int_equal(erg_record_after(rig.owner, bottom, rig_handle(&rig, right)), 0);
    uint32_t order[4] = {bottom, left, top, right};
    erg_record_submit_many(rig.owner, order, 4);
    assert_int_equal(rig_phase(&rig, left), ERG_WAITING);
    assert_true(erg_claim_next(rig.worker, &got));
    assert_int_equal(got, top);
    assert_false(rig.worker->slot->next != ERG_HANDLE_NONE);
    erg_claim_finish(rig.worker, got, ERG_OUT_OK);
    assert_int_equal(rig_phase(&rig, left), ERG_READY);
    assert_int_equal(rig_phase(&rig, right), ERG_READY);
    assert_int_equal(rig_phase(&rig, bottom), ERG_WAITING);
    assert_true(rig.worker->slot->next != ERG_HANDLE_NONE); /* one of them it keeps */
    assert_true(erg_claim_next(rig.worker, &got));
    erg_claim_finish(rig.worker, got, ERG_OUT_OK);
    assert_int_equal(rig_phase(&rig, bottom), ERG_WAITING);
    assert_int_equal(rig_run(&rig), 2);
    assert_int_equal(rig_phase(&rig, bottom), ERG_DONE);
    assert_int_equal(erg_record_after(rig.owner, rig_new(&rig), rig_handle(&rig, bottom)), 1);
    rig_close(&rig);
}

static void a_record_has_six_edges_in_its_life(void **state) {
    (void)state;
    struct rig rig;
    uint32_t preds[8];
    rig_open(&rig, 100);
    uint32_t last = rig_new(&rig);
    for (int i = 0; i < 8; i++)
        preds[i] = rig_new(&rig);
    for (int i = 0; i < 6; i++)
        assert_int_equal(erg_record_after(rig.owner, last, rig_handle(&rig, preds[i])), 0);
    assert_int_equal(erg_record_after(rig.owner, last, rig_handle(&rig, preds[6])), ERG_EFULL);
    erg_record_submit(rig.owner, preds[0]);
    assert_int_equal(rig_run(&rig), 1);
    assert_int_equal(erg_record_after(rig.owner, last, rig_handle(&rig, preds[6])), ERG_EFULL);
    assert_int_equal(erg_record_after(rig.owner, last, rig_handle(&rig, preds[0])), 1);
    erg_record_submit(rig.owner, last);
    erg_record_submit_many(rig.owner, preds + 1, 5);
    assert_int_equal(rig_run(&rig), 6);
    assert_int_equal(rig_phase(&rig, last), ERG_DONE);
    rig_close(&rig);
}

static void fan_in(struct rig *rig, uint32_t n, uint32_t done_before, uint32_t done_between) {
    uint32_t *preds = test_malloc((n + 1) * sizeof *preds);
    erg_handle *handles = test_malloc((n + 1) * sizeof *handles);
    uint32_t last = rig_new(rig);
    for (uint32_t i = 0; i < n; i++) {
        preds[i] = rig_new(rig);
        handles[i] = rig_handle(rig, preds[i]);
    }
    erg_record_submit_many(rig->owner, preds, done_before);
    assert_int_equal(rig_run(rig), done_before);
    assert_int_equal(erg_record_after_many(rig->owner, last, handles, n), 0);
    erg_record_submit_many(rig->owner, preds + done_before, done_between);
    assert_int_equal(rig_run(rig), done_between);
    erg_record_submit(rig->owner, last);
    if (done_before + done_between < n) {
        assert_int_equal(rig_phase(rig, last), ERG_WAITING);
        uint32_t at = done_before + done_between;
        for (; at + 1 < n; at++) {
            erg_record_submit(rig->owner, preds[at]);
            assert_int_equal(rig_run(rig), 1);
            assert_int_equal(rig_phase(rig, last), ERG_WAITING);
        }
        erg_record_submit(rig->owner, preds[at]);
        assert_int_equal(rig_run(rig), 2);
    } else {
        assert_int_equal(rig_run(rig), 1);
    }
    assert_int_equal(rig_phase(rig, last), ERG_DONE);
    erg_record_free(rig->owner, last);
    for (uint32_t i = 0; i < n; i++)
        erg_record_free(rig->owner, preds[i]);
    test_free(preds);
    test_free(handles);
}

static void a_wide_fan_in_waits_for_all(void **state) {
    (void)state;
    static const uint32_t sizes[] = {0, 1, 6, 7, 8, 36, 37, 43, 216, 217, 1300};
    struct rig rig;
    rig_open(&rig, 2000);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint32_t n = sizes[i];
        fan_in(&rig, n, 0, 0);
        fan_in(&rig, n, n / 2, 0);
        fan_in(&rig, n, n, 0);
        fan_in(&rig, n, n / 3, n / 3);
        fan_in(&rig, n, 0, n);
    }
    assert_int_equal(rig_count_free(&rig), 2000); /* no JOIN stays behind */
    rig_close(&rig);
}

static void a_wide_fan_out_releases_all(void **state) {
    (void)state;
    struct rig rig;
    uint32_t each[1000];
    rig_open(&rig, 2000);
    uint32_t first = rig_new(&rig);
    for (int i = 0; i < 1000; i++) {
        each[i] = rig_new(&rig);
        assert_int_equal(erg_record_after(rig.owner, each[i], rig_handle(&rig, first)), 0);
    }
    erg_record_submit_many(rig.owner, each, 1000);
    assert_int_equal(rig_run(&rig), 0);
    erg_record_submit(rig.owner, first);
    assert_int_equal(rig_run(&rig), 1001);
    rig_close(&rig);
}

/* Everything done in one go, through JOINs and through tasks: must not need stack. */
static void a_long_chain_needs_no_stack(void **state) {
    (void)state;
    enum { LENGTH = 100000 };
    struct rig rig;
    rig_open(&rig, LENGTH + 10);
    uint32_t *chain = test_malloc(LENGTH * sizeof *chain);
    for (int i = 0; i < LENGTH; i++) {
        chain[i] = rig_new(&rig);
        if (i % 2 == 1)
            erg_table_record(rig.t, chain[i])->kind = ERG_KIND_JOIN;
        if (i > 0)
            assert_int_equal(erg_record_after(rig.owner, chain[i], rig_handle(&rig, chain[i - 1])),
                             0);
    }
    for (int i = 0; i < LENGTH; i++)
        erg_record_submit(rig.owner, chain[i]);
    assert_int_equal(rig_run(&rig), LENGTH / 2);
    for (int i = 0; i < LENGTH; i++)
        erg_record_free(rig.owner, chain[i]);
    for (int i = 0; i < LENGTH; i++) { /* JOINs only: one release walks them all */
        chain[i] = rig_new(&rig);
        if (i > 0) {
            erg_table_record(rig.t, chain[i])->kind = ERG_KIND_JOIN;
            assert_int_equal(erg_record_after(rig.owner, chain[i], rig_handle(&rig, chain[i - 1])),
                             0);
        }
    }
    for (int i = LENGTH - 1; i >= 0; i--)
        erg_record_submit(rig.owner, chain[i]);
    assert_int_equal(rig_run(&rig), 1);
    assert_int_equal(rig_phase(&rig, chain[LENGTH - 1]), ERG_DONE);
    test_free(chain);
    rig_close(&rig);
}

static void cancel_ends_what_has_not_started(void **state) {
    (void)state;
    struct rig rig;
    uint32_t ready, waiting, after, running, got;
    rig_open(&rig, 100);
    running = rig_new(&rig), ready = rig_new(&rig), waiting = rig_new(&rig), after = rig_new(&rig);
    erg_record_submit(rig.owner, running);
    assert_true(erg_claim_next(rig.worker, &got));
    assert_int_equal(erg_record_after(rig.owner, waiting, rig_handle(&rig, running)), 0);
    assert_int_equal(erg_record_after(rig.owner, after, rig_handle(&rig, waiting)), 0);
    assert_int_equal(erg_record_cancel(rig.owner, rig_handle(&rig, ready)), 0); /* still ENTERED */
    erg_record_submit(rig.owner, ready);
    erg_record_submit(rig.owner, waiting);
    erg_record_submit(rig.owner, after);
    assert_int_equal(erg_record_cancel(rig.owner, rig_handle(&rig, ready)), 1);
    assert_int_equal(erg_record_cancel(rig.owner, rig_handle(&rig, ready)), 0);
    assert_int_equal(erg_record_cancel(rig.owner, rig_handle(&rig, waiting)), 1);
    assert_int_equal(erg_record_outcome(erg_table_record(rig.t, waiting)), ERG_OUT_CANCELLED);
    assert_int_equal(rig_phase(&rig, after), ERG_READY);
    assert_int_equal(erg_record_cancel(rig.owner, rig_handle(&rig, running)), 2);
    assert_int_equal(rig.worker->slot->cancel, rig_handle(&rig, running));
    assert_true(erg_record_state(erg_table_record(rig.t, running)) & ERG_STATE_CANCEL);
    /* freed while running's list still leads to it: not to be used again before that is over */
    erg_handle old = rig_handle(&rig, waiting);
    erg_record_free(rig.owner, waiting);
    assert_int_equal(ERG_HANDLE_GEN(old), erg_record_gen(erg_table_record(rig.t, waiting)));
    assert_int_equal(rig_count_free(&rig), 100 - 4);
    erg_claim_finish(rig.worker, running, ERG_OUT_CANCELLED);
    assert_int_not_equal(ERG_HANDLE_GEN(old), erg_record_gen(erg_table_record(rig.t, waiting)));
    assert_int_equal(rig_run(&rig), 1);
    erg_record_free(rig.owner, running);
    erg_record_free(rig.owner, ready);
    erg_record_free(rig.owner, after);
    assert_int_equal(rig_count_free(&rig), 100);
    rig_close(&rig);
}

/* Cancelled and submitted again and again while nobody takes anything: hints pile up and go stale. */
static void stale_hints_do_not_fill_the_ring(void **state) {
    (void)state;
    struct rig rig;
    uint32_t keep[10];
    rig_open(&rig, 60);
    for (int i = 0; i < 10; i++)
        erg_record_submit(rig.owner, keep[i] = rig_new(&rig));
    for (int i = 0; i < 1000; i++) {
        uint32_t index = rig_new(&rig);
        erg_record_submit(rig.owner, index);
        assert_int_equal(erg_record_cancel(rig.owner, rig_handle(&rig, index)), 1);
        erg_record_free(rig.owner, index);
    }
    assert_int_equal(rig_run(&rig), 10);
    for (int i = 0; i < 10; i++)
        assert_int_equal(rig_phase(&rig, keep[i]), ERG_DONE);
    rig_close(&rig);
}

static void an_entered_record_can_be_given_up(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 100);
    uint32_t pred = rig_new(&rig), dropped = rig_new(&rig), succ = rig_new(&rig);
    assert_int_equal(erg_record_after(rig.owner, dropped, rig_handle(&rig, pred)), 0);
    assert_int_equal(erg_record_after(rig.owner, succ, rig_handle(&rig, dropped)), 0);
    erg_record_submit(rig.owner, succ);
    erg_record_free(rig.owner, dropped);
    assert_int_equal(rig_phase(&rig, succ), ERG_READY);
    assert_int_equal(rig_run(&rig), 1);
    assert_int_equal(rig_count_free(&rig), 97);
    erg_record_submit(rig.owner, pred);
    assert_int_equal(rig_run(&rig), 1);
    assert_int_equal(rig_count_free(&rig), 98);
    rig_close(&rig);
}

static void completions_ring_once(void **state) {
    (void)state;
    struct rig rig;
    uint32_t index[3];
    erg_handle h;
    rig_open(&rig, 100);
    assert_false(erg_bell_take(rig.t, &h));
    for (int i = 0; i < 3; i++) {
        index[i] = rig_new(&rig);
        if (i != 1)
            assert_int_equal(erg_record_notify(rig.owner, rig_handle(&rig, index[i])), 0);
        erg_record_submit(rig.owner, index[i]);
    }
    uint32_t seen = erg_bell_prepare(rig.t);
    assert_int_equal(erg_bell_wait(rig.t, seen, 1000), ERG_ETIMEOUT);
    assert_int_equal(rig_run(&rig), 3);
    assert_int_equal(erg_bell_wait(rig.t, seen, -1), 0);
    assert_int_equal(erg_ring_push(rig.t, &rig.t->header->completed, rig_handle(&rig, index[0])),
                     1); /* a second hint */
    assert_true(erg_bell_take(rig.t, &h));
    assert_int_equal(h, rig_handle(&rig, index[0]));
    assert_true(erg_bell_take(rig.t, &h));
    assert_int_equal(h, rig_handle(&rig, index[2]));
    assert_false(erg_bell_take(rig.t, &h));
    assert_int_equal(erg_record_notify(rig.owner, h), 1);
    rig_close(&rig);
}

static void one_task_of_many_can_be_taken(void **state) {
    (void)state;
    struct rig rig;
    uint32_t index[3], got;
    erg_handle handle[3];
    rig_open(&rig, 100);
    for (int i = 0; i < 3; i++) {
        index[i] = rig_new(&rig);
        handle[i] = rig_handle(&rig, index[i]);
        erg_record_submit(rig.owner, index[i]);
    }
    assert_int_equal(erg_claim_this(rig.worker, handle[1], &got), 1);
    assert_int_equal(got, index[1]);
    assert_int_equal(rig_phase(&rig, got), ERG_RUNNING);
    assert_int_equal(erg_claim_this(rig.worker, handle[1], &got), 0); /* it runs */
    erg_claim_finish(rig.worker, index[1], ERG_OUT_OK);
    assert_int_equal(erg_claim_this(rig.worker, handle[1], &got), 0); /* it is done */
    erg_record_free(rig.owner, index[1]);
    assert_int_equal(erg_claim_this(rig.worker, handle[1], &got), 0);
    assert_true(erg_claim_next(rig.worker, &got)); /* the hint it left is nobody's */
    assert_int_equal(got, index[0]);
    erg_claim_finish(rig.worker, got, ERG_OUT_OK);
    assert_true(erg_claim_next(rig.worker, &got));
    assert_int_equal(got, index[2]);
    erg_claim_finish(rig.worker, got, ERG_OUT_OK);
    assert_false(erg_claim_next(rig.worker, &got));
    rig_close(&rig);
}

static void a_task_may_run_others_while_it_waits(void **state) {
    (void)state;
    struct rig rig;
    uint32_t outer[ERG_CLAIMS_MAX + 1], got;
    rig_open(&rig, ERG_CLAIMS_MAX + 100);
    for (int i = 0; i <= ERG_CLAIMS_MAX; i++) {
        outer[i] = rig_new(&rig);
        erg_record_submit(rig.owner, outer[i]);
    }
    for (int i = 0; i < ERG_CLAIMS_MAX; i++) {
        assert_true(erg_claim_next(rig.worker, &got));
        assert_int_equal(got, outer[i]);
    }
    assert_false(erg_claim_next(rig.worker, &got)); /* deep enough */
    for (int i = ERG_CLAIMS_MAX - 1; i >= 0; i--)
        erg_claim_finish(rig.worker, outer[i], ERG_OUT_OK);
    assert_true(erg_claim_next(rig.worker, &got));
    erg_claim_return(rig.worker, got);
    assert_int_equal(rig_phase(&rig, got), ERG_READY);
    assert_int_equal(rig_run(&rig), 1);
    rig_close(&rig);
}

static void queues_are_served_by_those_who_may(void **state) {
    (void)state;
    struct rig rig;
    uint32_t got, thread, any, first;
    rig_open(&rig, 100);
    struct erg_member *other =
        rig_member(rig.t, ERG_QUEUE_BIT(ERG_QUEUE_THREAD) | ERG_QUEUE_BIT(ERG_QUEUE_FIRST));
    thread = rig_new(&rig), any = rig_new(&rig), first = rig_new(&rig);
    erg_table_record(rig.t, thread)->queue = ERG_QUEUE_THREAD;
    erg_table_record(rig.t, first)->queue = ERG_QUEUE_FIRST;
    uint32_t all[] = {thread, any, first};
    erg_record_submit_many(rig.owner, all, 3);
    assert_true(erg_claim_next(rig.worker, &got));
    assert_int_equal(got, any);
    erg_claim_finish(rig.worker, got, ERG_OUT_OK);
    assert_false(erg_claim_next(rig.worker, &got));
    assert_true(erg_claim_next(other, &got));
    assert_int_equal(got, first);
    erg_claim_finish(other, got, ERG_OUT_OK);
    assert_true(erg_claim_next(other, &got));
    assert_int_equal(got, thread);
    erg_claim_finish(other, got, ERG_OUT_OK);
    rig_close(&rig);
}

static void workers_leave_when_asked(void **state) {
    (void)state;
    struct rig rig;
    uint32_t got;
    rig_open(&rig, 100);
    assert_int_equal(erg_claim_wait(rig.worker, &got, 0, 1000), ERG_ETIMEOUT);
    assert_int_equal(erg_claim_wait(rig.worker, &got, 1000, 2000), ERG_ETIMEOUT);
    uint32_t index = rig_new(&rig);
    erg_record_submit(rig.owner, index);
    erg_member_stop(rig.t, rig.worker->number);
    assert_int_equal(erg_claim_wait(rig.worker, &got, 1000, -1), 0);
    assert_int_equal(rig_phase(&rig, index), ERG_READY);
    struct erg_member *other = rig_member(rig.t, ERG_QUEUE_BIT(ERG_QUEUE_ANY));
    atomic_store(&rig.t->header->closed, 1);
    assert_int_equal(erg_claim_wait(other, &got, 1000, -1), 1); /* closed, but not empty */
    erg_claim_finish(other, got, ERG_OUT_OK);
    assert_int_equal(erg_claim_wait(other, &got, 1000, -1), 0);
    rig_close(&rig);
}

static void on_alarm(int number) {
    (void)number;
}

static void signals_interrupt_a_wait(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 100);
    struct sigaction action = {.sa_handler = on_alarm}, old;
    sigaction(SIGUSR1, &action, &old);
    uint32_t index = rig_new(&rig);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec in = {.it_value = {.tv_nsec = 20000000},
                            .it_interval = {.tv_nsec = 20000000}};
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    timer_settime(timer, 0, &in, NULL);
    assert_int_equal(erg_record_wait(rig.owner, rig_handle(&rig, index), -1), ERG_EINTR);
    timer_delete(timer);
    sigaction(SIGUSR1, &old, NULL);
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_through_its_phases),
        cmocka_unit_test(an_overdue_record_is_waited_for_no_more),
        cmocka_unit_test(says_when_no_record_is_left),
        cmocka_unit_test(payloads_lie_inline_or_in_the_arena),
        cmocka_unit_test(a_diamond_runs_in_order),
        cmocka_unit_test(a_record_has_six_edges_in_its_life),
        cmocka_unit_test(a_wide_fan_in_waits_for_all),
        cmocka_unit_test(a_wide_fan_out_releases_all),
        cmocka_unit_test(a_long_chain_needs_no_stack),
        cmocka_unit_test(cancel_ends_what_has_not_started),
        cmocka_unit_test(stale_hints_do_not_fill_the_ring),
        cmocka_unit_test(an_entered_record_can_be_given_up),
        cmocka_unit_test(completions_ring_once),
        cmocka_unit_test(a_task_may_run_others_while_it_waits),
        cmocka_unit_test(one_task_of_many_can_be_taken),
        cmocka_unit_test(queues_are_served_by_those_who_may),
        cmocka_unit_test(workers_leave_when_asked),
        cmocka_unit_test(signals_interrupt_a_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
