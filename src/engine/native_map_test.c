/* Maps: every item once, whatever happens to the others. */
#include "engine/pool_test_kit.h"

/* Items: strings. "bad" fails, "die" kills the worker; else the string twice. */
static int twice(struct erg_task *task, const void *input, size_t len) {
    if (len == 3 && memcmp(input, "bad", 3) == 0)
        return erg_task_fail(task, 0, "a bad item");
    if (len == 3 && memcmp(input, "die", 3) == 0)
        raise(SIGKILL);
    char *out = erg_task_result(task, len);
    memcpy(out, input, len);
    out = erg_task_result(task, 2 * len); /* asking again starts over */
    memcpy(out, input, len);
    memcpy(out + len, input, len);
    return 0;
}

/* --- maps -------------------------------------------------------------------------------------------------------- */
static void maps_of_arrays(void **state) {
    (void)state;
    enum { N = 200000 };
    int *in = malloc(N * sizeof *in), *out = calloc(N, sizeof *out);
    for (int i = 0; i < N; i++)
        in[i] = i;
    struct erg_pool *pool = open_pool("local:2", NULL);
    if (erg_map_array(pool, add_one, in, sizeof *in, N, out, sizeof *out, NULL, &err) != 0)
        fail_msg("%s", err.text);
    for (int i = 0; i < N; i++)
        assert_int_equal(out[i], i + 1);
    assert_int_equal(erg_map_array(pool, add_one, in, sizeof *in, 0, out, sizeof *out, NULL, &err),
                     0);
    assert_int_equal(erg_map_array(pool, add_one, in, sizeof *in, 10, out, 8, NULL, &err),
                     ERG_EINVALID);
    close_pool(pool);
    free(in);
    free(out);
}

static void maps_of_anything(void **state) {
    (void)state;
    enum { N = 1000 };
    static char text[N][40];
    struct erg_bytes items[N];
    for (int i = 0; i < N; i++) {
        snprintf(text[i], sizeof text[i], "%0*d", 1 + i % 30, i);
        items[i] = (struct erg_bytes){text[i], strlen(text[i])};
    }
    items[500] = (struct erg_bytes){"bad", 3};
    items[700] = (struct erg_bytes){NULL, 0};
    struct erg_pool *pool = open_pool("local:1 threads:1", NULL);
    struct erg_results *results;
    assert_int_equal(erg_map(pool, twice, items, N, NULL, &results, &err), ERG_ETASK);
    assert_non_null(strstr(err.text, "item 500: a bad item"));
    for (size_t i = 0; i < N; i++) {
        struct erg_bytes b;
        int rc = erg_results_get(results, i, &b, &err);
        assert_int_equal(rc, i == 500 ? ERG_ETASK : 0);
        if (rc != 0)
            continue;
        assert_int_equal(b.len, 2 * items[i].len);
        if (b.len > 0) {
            assert_memory_equal(b.data, items[i].data, items[i].len);
            assert_memory_equal((const char *)b.data + items[i].len, items[i].data, items[i].len);
        }
    }
    assert_int_equal(erg_results_get(results, N, NULL, &err), ERG_EINVALID);
    erg_results_free(results);
    close_pool(pool);
}

static void a_deadly_item_costs_itself_only(void **state) {
    (void)state;
    enum { N = 5000 };
    struct erg_bytes items[N];
    for (int i = 0; i < N; i++)
        items[i] = (struct erg_bytes){"item", 4};
    items[3000] = (struct erg_bytes){"die", 3};
    struct erg_pool *pool = open_pool("local:2", NULL);
    struct erg_results *results;
    assert_int_equal(erg_map(pool, twice, items, N, NULL, &results, &err), ERG_ELOST);
    assert_non_null(strstr(err.text, "item 3000: worker"));
    for (size_t i = 0; i < N; i++)
        if (i != 3000)
            assert_int_equal(erg_results_get(results, i, NULL, &err), 0);
    erg_results_free(results);
    works(pool);
    close_pool(pool);
}

static void uneven_maps_use_all_workers(void **state) {
    (void)state;
    /* One long item first, many short ones behind: whoever has the long one must not hold others back. */
    enum { N = 400 };
    uint32_t in[N], out[N];
    for (int i = 0; i < N; i++)
        in[i] = i == 0 ? 100000 : 250;
    struct erg_pool *pool = open_up("threads:2", NULL);
    if (erg_map_array(pool, busy_us, in, sizeof in[0], N, out, sizeof out[0], NULL, &err) != 0)
        fail_msg("%s", err.text);
    assert_memory_equal(in, out, sizeof in);
    struct erg_worker w[2];
    assert_int_equal(erg_workers(pool, w, 2), 2);
    assert_true(w[0].tasks > 0 && w[1].tasks > 0);
    close_pool(pool);
}

int main(int argc, char **argv) {
    erg_init(&argc, &argv);
    begin_tests(argc, argv);
    const struct CMUnitTest tests[] = {
        WITH(maps_of_arrays),
        WITH(maps_of_anything),
        WITH(a_deadly_item_costs_itself_only),
        WITH(uneven_maps_use_all_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
