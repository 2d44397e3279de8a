#include "sched/retry.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_rules(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct erg_loss loss;
        enum erg_verdict verdict;
    } cases[] = {
        {"plain", {.on_top = 1}, ERG_VERDICT_FAIL_LOST},
        {"retries left", {.on_top = 1, .retries = 1}, ERG_VERDICT_RETRY},
        {"pure", {.on_top = 1, .pure = 1}, ERG_VERDICT_RETRY},
        {"waited", {.retries = 0}, ERG_VERDICT_FAIL_LOST},
        {"waited, pure", {.pure = 1}, ERG_VERDICT_RETRY},
        {"timeout",
         {.on_top = 1, .retries = 5, .asked = ERG_ASKED_TIMEOUT},
         ERG_VERDICT_FAIL_TIMEOUT},
        {"cancel", {.on_top = 1, .pure = 1, .asked = ERG_ASKED_CANCEL}, ERG_VERDICT_FAIL_CANCELLED},
        {"cancelled meanwhile",
         {.on_top = 1, .retries = 5, .cancelled = 1},
         ERG_VERDICT_FAIL_CANCELLED},
        {"timeout beats cancelled",
         {.on_top = 1, .cancelled = 1, .asked = ERG_ASKED_TIMEOUT},
         ERG_VERDICT_FAIL_TIMEOUT},
        {"worker ended for another reason",
         {.on_top = 1, .asked = ERG_ASKED_WORKER},
         ERG_VERDICT_FAIL_LOST},
        {"the same, retries left",
         {.on_top = 1, .retries = 1, .asked = ERG_ASKED_WORKER},
         ERG_VERDICT_RETRY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct erg_retry retry;
        uint32_t kills = 99;
        erg_retry_init(&retry, 0);
        enum erg_verdict verdict = erg_retry_decide(&retry, &cases[i].loss, &kills);
        if (verdict != cases[i].verdict || kills != 1)
            fail_msg("%s: verdict %d, kills %u", cases[i].name, verdict, kills);
    }
}

static void test_user_retries_are_all_granted(void **state) {
    (void)state;
    struct erg_retry retry;
    erg_retry_init(&retry, 0);
    struct erg_loss loss = {.task = 7, .on_top = 1};
    for (uint32_t left = 20; left > 0; left--) {
        loss.retries = left;
        assert_int_equal(erg_retry_decide(&retry, &loss, NULL), ERG_VERDICT_RETRY);
    }
    uint32_t kills;
    loss.retries = 0;
    assert_int_equal(erg_retry_decide(&retry, &loss, &kills), ERG_VERDICT_FAIL_KILLER);
    assert_int_equal(kills, 21);
}

static void test_pure_killer_ends(void **state) {
    (void)state;
    struct erg_retry retry;
    erg_retry_init(&retry, 0);
    const struct erg_loss killer = {.task = 1, .pure = 1, .on_top = 1};
    const struct erg_loss bystander = {.task = 2, .pure = 1};
    for (int i = 1; i < ERG_KILLS_MAX; i++) {
        assert_int_equal(erg_retry_decide(&retry, &killer, NULL), ERG_VERDICT_RETRY);
        assert_int_equal(erg_retry_decide(&retry, &bystander, NULL), ERG_VERDICT_RETRY);
    }
    assert_int_equal(erg_retry_decide(&retry, &killer, NULL), ERG_VERDICT_FAIL_KILLER);
    assert_int_equal(erg_retry_decide(&retry, &bystander, NULL), ERG_VERDICT_FAIL_LOST);
    /* decided means forgotten: a new task of that name starts from nothing */
    assert_int_equal(erg_retry_decide(&retry, &killer, NULL), ERG_VERDICT_RETRY);
}

/* One killer among a flood of other losses: still found, since it comes back at once. */
static void test_flood_does_not_hide_a_killer(void **state) {
    (void)state;
    struct erg_retry retry;
    erg_retry_init(&retry, 0);
    const struct erg_loss killer = {.task = UINT64_C(1) << 40, .pure = 1, .on_top = 1};
    int runs = 0;
    uint64_t other = 0;
    do {
        for (int i = 0; i < 8; i++) {
            const struct erg_loss loss = {.task = ++other, .pure = 1, .on_top = 1};
            erg_retry_decide(&retry, &loss, NULL);
        }
        assert_true(++runs < 100);
    } while (erg_retry_decide(&retry, &killer, NULL) == ERG_VERDICT_RETRY);
    assert_int_equal(runs, ERG_KILLS_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_user_retries_are_all_granted),
        cmocka_unit_test(test_pure_killer_ends),
        cmocka_unit_test(test_flood_does_not_hide_a_killer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
