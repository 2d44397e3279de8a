/* What refers to something else can be found, measured and freed without knowing what it means. */
#include "table/rig.h"

#include "table/payload.h"
#include <string.h>

static uint64_t block(struct rig *rig, uint64_t len) {
    uint64_t offset;
    assert_int_equal(erg_arena_alloc(rig->owner, len, &offset, NULL), 0);
    return offset;
}

/* flag byte, 3 bytes, padding, entries, count */
static size_t make(char *out, const struct erg_ref *entries, uint32_t n) {
    memset(out, 'x', 8);
    out[0] = n ? ERG_PAYLOAD_REFS : 0;
    if (n)
        memcpy(out + 8, (const char *)entries, n * sizeof *entries);
    memcpy(out + 8 + n * sizeof *entries, &n, 4);
    return n ? 8 + n * sizeof *entries + 4 : 8;
}

static void entries_are_found_and_freed(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 64);
    uint64_t kept = block(&rig, 1000);
    struct erg_ref in[] = {
        {.offset = block(&rig, 1000), .len = 1000},
        {.offset = kept, .len = 500, .flags = ERG_REF_TAKEN},
        {.offset = 77, .flags = ERG_REF_TASK | ERG_REF_TAKEN},
    };
    _Alignas(8) char bytes[256];
    size_t len = make(bytes, in, 3);
    uint32_t n;
    struct erg_ref *found = erg_payload_refs(bytes, len, &n);
    assert_int_equal(n, 3);
    assert_true(erg_ref_is_buffer(&found[0]) && !erg_ref_is_buffer(&found[2]));
    assert_int_equal(erg_payload_size(bytes, len), len + 1500);
    erg_payload_free_refs(rig.owner, bytes, len);
    assert_int_equal(block(&rig, 1000), in[0].offset); /* came back, and only that one */
    assert_int_not_equal(block(&rig, 1000), kept);
    rig_close(&rig);
}

static void broken_bytes_have_no_entries(void **state) {
    (void)state;
    struct erg_ref one = {.offset = 16, .len = 8};
    _Alignas(8) char bytes[256];
    uint32_t n;
    size_t len = make(bytes, &one, 1);
    for (size_t cut = 0; cut < 5; cut++)
        assert_null(erg_payload_refs(bytes, cut, &n));
    uint32_t many = 1u << 30;
    memcpy(bytes + len - 4, &many, 4);
    assert_null(erg_payload_refs(bytes, len, &n));
    assert_int_equal(n, 0);
    len = make(bytes, NULL, 0);
    assert_null(erg_payload_refs(bytes, len, &n));
}

static size_t put(struct erg_stream_block *b, size_t at, int kind, const char *bytes,
                  uint32_t len) {
    b->data[at] = (char)kind;
    size_t start;
    if (kind == ERG_ITEM_ATOM) {
        b->data[at + 1] = (char)len;
        start = at + 2;
    } else {
        memcpy(b->data + at + 1, &len, 4);
        start = (at + 5 + 7) & ~(size_t)7;
    }
    memcpy(b->data + start, bytes, len);
    return start + len;
}

static void streams_are_walked_and_freed(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 64);
    uint64_t first = block(&rig, 1024), second = block(&rig, 1024), buffer = block(&rig, 2000);
    struct erg_stream_block *a = erg_table_at(rig.t, first), *b = erg_table_at(rig.t, second);
    struct erg_ref in = {.offset = buffer, .len = 2000};
    _Alignas(8) char payload[64];
    size_t len = make(payload, &in, 1);
    *a = (struct erg_stream_block){.next = second, .size = 900};
    *b = (struct erg_stream_block){.size = 900};
    size_t at = put(a, 0, ERG_ITEM_ATOM, "abc", 3);
    atomic_store(&a->used, at);
    a->data[at] = ERG_ITEM_NEXT;
    at = put(b, 0, ERG_ITEM_STREAM, payload, (uint32_t)len);
    atomic_store(&b->used, put(b, at, ERG_ITEM_ATOM, "z", 1));
    struct erg_item item;
    assert_int_equal(erg_item_at(a, 0, &item), 1);
    assert_memory_equal(a->data + item.at, "abc", 3);
    assert_int_equal(erg_item_at(a, item.next, &item), 0);
    assert_int_equal(erg_item_at(b, 0, &item), 1);
    assert_int_equal(item.kind, ERG_ITEM_STREAM);
    assert_int_equal(item.len, len);
    assert_int_equal(erg_item_at(b, item.next, &item), 1);
    assert_int_equal(erg_item_at(b, item.next, &item), 0);
    b->data[0] = 9;
    assert_int_equal(erg_item_at(b, 0, &item), ERG_EPROTOCOL);
    b->data[0] = ERG_ITEM_STREAM;
    uint32_t huge = 5000;
    memcpy(b->data + 1, &huge, 4);
    assert_int_equal(erg_item_at(b, 0, &item), ERG_EPROTOCOL);
    huge = (uint32_t)len;
    memcpy(b->data + 1, &huge, 4);
    erg_stream_free(rig.owner, first);
    assert_int_equal(block(&rig, 2000), buffer);
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_found_and_freed),
        cmocka_unit_test(broken_bytes_have_no_entries),
        cmocka_unit_test(streams_are_walked_and_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
