/* Payloads that leave one table arrive in another as they were; what makes no sense leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/parcel.h"
#include "table/record.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct side {
    struct erg_table *t;
    struct erg_member *m;
};

static struct side open_side(void) {
    struct side s;
    struct erg_error err;
    struct erg_table_config config = {.records_max = 1024, .arena_bytes = (uint64_t)64 << 20};
    assert_int_equal(erg_table_create(&config, &s.t, &err), 0);
    assert_int_equal(erg_member_open(s.t, 0, &s.m, &err), 0);
    return s;
}

static uint64_t block_of(struct side *s, const void *bytes, size_t len) {
    uint64_t offset;
    assert_int_equal(erg_arena_alloc(s->m, len, &offset, NULL), 0);
    memcpy(erg_table_at(s->t, offset), bytes, len);
    return offset;
}

static size_t make(char *out, const char *stream, const struct erg_ref *refs, uint32_t n) {
    size_t len = strlen(stream) + 1;
    out[0] = n ? ERG_PAYLOAD_REFS : 0;
    memcpy(out + 1, stream, len - 1);
    if (!n)
        return len;
    size_t pad = -len & 7;
    memset(out + len, 0, pad);
    memcpy(out + len + pad, (const char *)refs, n * sizeof *refs);
    memcpy(out + len + pad + n * sizeof *refs, &n, 4);
    return len + pad + n * sizeof *refs + 4;
}

static int name_it(void *ctx, const struct erg_ref *ref, struct erg_entry *entry) {
    (void)ctx;
    entry->kind = (ref->flags & ERG_REF_BLOB) ? ERG_ENTRY_BLOB : ERG_ENTRY_VALUE;
    entry->id = ref->offset + 1000;
    return 0;
}

static int find_it(void *ctx, const struct erg_entry *entry, struct erg_ref *ref,
                   struct erg_error *err) {
    (void)ctx;
    (void)err;
    ref->offset = entry->id - 1000;
    return 0;
}

/* What travels: the head as the other side decodes it, and the data in one piece. */
struct travel {
    unsigned char *head, *data;
    struct erg_msg_blob m;
};

static struct travel travel(const struct erg_parcel_out *out) {
    struct travel t;
    struct erg_error err;
    struct erg_msg_blob m = {.uid = 5, .payload = out->payload};
    t.head = malloc(erg_msg_blob_size(&m));
    size_t len = erg_msg_blob_encode(&m, t.head);
    t.data = malloc(out->payload.data_len + 1);
    size_t at = 0;
    for (size_t i = 0; i < out->n; i++) {
        memcpy(t.data + at, out->pieces[i].iov_base, out->pieces[i].iov_len);
        at += out->pieces[i].iov_len;
    }
    assert_int_equal(at, out->payload.data_len);
    assert_int_equal(erg_msg_blob_decode(t.head, len, 0, at, &t.m, &err), 0);
    return t;
}

static void travel_end(struct travel *t) {
    free(t->head);
    free(t->data);
}

static void a_payload_arrives_as_it_was(void **state) {
    (void)state;
    struct side a = open_side(), b = open_side();
    struct erg_error err;
    enum { BUFFERS = 20 };
    struct erg_ref refs[BUFFERS + 2] = {{.offset = 77, .flags = ERG_REF_TASK | ERG_REF_TAKEN}};
    char text[64];
    for (int i = 0; i < BUFFERS; i++) {
        snprintf(text, sizeof text, "buffer %d", i);
        refs[i + 1].offset = block_of(&a, text, strlen(text));
        refs[i + 1].len = strlen(text);
        refs[i + 1].flags = i % 2 ? ERG_REF_SHARED : 0;
    }
    refs[BUFFERS + 1].offset = 88;
    refs[BUFFERS + 1].flags = ERG_REF_BLOB | ERG_REF_TAKEN;
    _Alignas(8) char bytes[2048];
    size_t len = make(bytes, "a stream", refs, BUFFERS + 2);
    struct erg_parcel_out out;
    assert_int_equal(erg_parcel_pack(a.t, bytes, len, name_it, NULL, &out), 0);
    struct travel t = travel(&out);
    struct erg_parcel in;
    assert_int_equal(erg_parcel_open(b.m, &t.m.payload, 40, NULL, 0, find_it, NULL, &in, &err), 0);
    erg_parcel_copy(&in, t.data);
    assert_int_equal(erg_parcel_seal(&in, &err), 0);
    assert_int_equal(in.len, len);
    assert_memory_equal(in.bytes + 1, "a stream", 8);
    uint32_t n;
    struct erg_ref *got = erg_payload_refs(in.bytes, in.len, &n);
    assert_int_equal(n, BUFFERS + 2);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(got[i].flags, refs[i].flags);
        assert_int_equal(got[i].len, refs[i].len);
        if (erg_ref_is_buffer(&got[i]))
            assert_memory_equal(erg_table_at(b.t, got[i].offset), erg_table_at(a.t, refs[i].offset),
                                refs[i].len);
        else
            assert_int_equal(got[i].offset, refs[i].offset);
    }
    travel_end(&t);
    erg_parcel_out_fini(&out);
    erg_table_close(a.t);
    erg_table_close(b.t);
}

static size_t put(struct erg_stream_block *b, size_t at, int kind, const char *bytes,
                  uint32_t len) {
    size_t start = kind == ERG_ITEM_ATOM ? at + 2 : (at + 5 + 7) & ~(size_t)7;
    b->data[at] = (char)kind;
    if (kind == ERG_ITEM_ATOM)
        b->data[at + 1] = (char)len;
    else
        memcpy(b->data + at + 1, &len, 4);
    memcpy(b->data + start, bytes, len);
    return start + len;
}

static struct erg_stream_block *make_items(struct side *s, uint64_t *offset) {
    assert_int_equal(erg_arena_alloc(s->m, 4096, offset, NULL), 0);
    struct erg_stream_block *block = erg_table_at(s->t, *offset);
    *block = (struct erg_stream_block){.size = 4000};
    size_t at = put(block, 0, ERG_ITEM_ATOM, "K\5.", 3);
    for (int i = 0; i < 3; i++) {
        struct erg_ref ref = {.offset = block_of(s, "array", 5), .len = 5};
        _Alignas(8) char bytes[256];
        size_t len = make(bytes, "item", &ref, i == 1 ? 0 : 1);
        at = put(block, at, i == 2 ? ERG_ITEM_ERROR : ERG_ITEM_STREAM, bytes, (uint32_t)len);
    }
    atomic_store(&block->used, at);
    return block;
}

static void items_of_a_chunk_arrive_with_their_buffers(void **state) {
    (void)state;
    struct side a = open_side(), b = open_side();
    struct erg_error err;
    uint64_t offset;
    uint32_t count;
    struct erg_stream_block *block = make_items(&a, &offset);
    struct erg_parcel_out out;
    assert_int_equal(erg_parcel_pack_items(a.t, block, &out, &count), 0);
    assert_int_equal(count, 4);
    struct travel t = travel(&out);
    struct erg_parcel in;
    assert_int_equal(erg_parcel_open_items(b.m, &t.m.payload, &in, &err), 0);
    erg_parcel_copy(&in, t.data);
    assert_int_equal(erg_parcel_seal(&in, &err), 0);
    assert_int_equal(in.count, 4);
    struct erg_stream_block *got = erg_table_at(b.t, in.block);
    struct erg_item item;
    int buffers = 0;
    for (size_t at = 0; erg_item_at(got, at, &item) == 1; at = item.next) {
        uint32_t n = 0;
        struct erg_ref *refs =
            item.kind == ERG_ITEM_ATOM ? NULL : erg_payload_refs(got->data + item.at, item.len, &n);
        for (uint32_t i = 0; i < n; i++, buffers++)
            assert_memory_equal(erg_table_at(b.t, refs[i].offset), "array", 5);
    }
    assert_int_equal(buffers, 2);
    erg_stream_free(b.m, in.block);
    travel_end(&t);
    erg_parcel_out_fini(&out);
    erg_table_close(a.t);
    erg_table_close(b.t);
}

/* Whatever one byte of the items is changed to, nothing outside of the parcel is touched (the sanitizers look). */
static void damaged_items_are_refused_or_harmless(void **state) {
    (void)state;
    struct side a = open_side(), b = open_side();
    struct erg_error err;
    uint64_t offset;
    uint32_t count;
    struct erg_stream_block *block = make_items(&a, &offset);
    struct erg_parcel_out out;
    assert_int_equal(erg_parcel_pack_items(a.t, block, &out, &count), 0);
    struct travel t = travel(&out);
    int refused = 0;
    for (size_t i = 0; i < out.pieces[0].iov_len; i++) {
        unsigned char kept = t.data[i];
        t.data[i] = (unsigned char)(kept + 1 + i % 254);
        struct erg_parcel in;
        assert_int_equal(erg_parcel_open_items(b.m, &t.m.payload, &in, &err), 0);
        erg_parcel_copy(&in, t.data);
        int code = erg_parcel_seal(&in, &err);
        if (code == 0)
            erg_arena_free(b.m, in.block);
        refused += code == ERG_EPROTOCOL;
        t.data[i] = kept;
    }
    assert_true(refused > 5);
    travel_end(&t);
    erg_parcel_out_fini(&out);
    erg_table_close(a.t);
    erg_table_close(b.t);
}

static void nonsense_is_refused(void **state) {
    (void)state;
    struct side b = open_side();
    struct erg_error err;
    struct erg_parcel in;
    struct erg_msg_payload none = {.stream_len = 0};
    assert_int_equal(erg_parcel_open(b.m, &none, 0, NULL, 0, NULL, NULL, &in, &err), ERG_EPROTOCOL);
    struct erg_msg_payload huge = {.stream_len = (uint64_t)1 << 40};
    assert_int_equal(erg_parcel_open(b.m, &huge, 0, NULL, 0, NULL, NULL, &in, &err), ERG_EPROTOCOL);
    assert_int_equal(erg_parcel_open_items(b.m, &huge, &in, &err), ERG_EPROTOCOL);
    erg_table_close(b.t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_payload_arrives_as_it_was),
        cmocka_unit_test(items_of_a_chunk_arrive_with_their_buffers),
        cmocka_unit_test(damaged_items_are_refused_or_harmless),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
