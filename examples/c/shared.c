/* Functions of a shared object can be tasks without erg_init(): worker processes are forked from the installed `ergon`
 * command, which loads the object when the first of its functions comes along. So a library or a plug-in can use
 * pools in a program that knows nothing of it.
 *
 *     cc -O2 -fPIC -shared -o shared.so shared.c $(pkg-config --cflags --libs ergon)
 *
 * and from anywhere: shared_total(1000, &total, &err). */
#include <ergon/ergon.h>

#include <stdlib.h>
#include <string.h>

static int square(struct erg_task *task, const void *input, size_t len) {
    uint64_t n, *result = erg_task_result(task, sizeof *result);
    if (!result || len != sizeof n)
        return erg_task_fail(task, ERG_EINVALID, "no number of %zu bytes", sizeof n);
    memcpy(&n, input, sizeof n);
    *result = n * n;
    return 0;
}

/* The sum of the first `count` squares. zygote: NULL, or where the `ergon` command is. */
__attribute__((visibility("default"))) int shared_total(uint64_t count, const char *zygote,
                                                        uint64_t *total, struct erg_error *err);

int shared_total(uint64_t count, const char *zygote, uint64_t *total, struct erg_error *err) {
    struct erg_open_options options = {.zygote = zygote};
    struct erg_pool *pool;
    uint64_t *numbers = calloc(count, 2 * sizeof *numbers), *squares = numbers + count;
    if (!numbers)
        return erg_error_set(err, ERG_ENOMEM, "no memory for %llu numbers",
                             (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++)
        numbers[i] = i + 1;
    int rc = erg_open("local:2", &options, &pool, err);
    if (rc == 0) {
        rc = erg_map_array(pool, square, numbers, sizeof *numbers, count, squares, sizeof *squares,
                           NULL, err);
        if (rc == 0)
            rc = erg_close(pool, err);
        else
            erg_abort(pool);
    }
    *total = 0;
    for (uint64_t i = 0; rc == 0 && i < count; i++)
        *total += squares[i];
    free(numbers);
    return rc;
}
