/* Which immutable values a pickle has already, found by what they are rather than by which object they are, so that the bytes do not
 * depend on who shares them with whom: texts, bytes, tuples and frozensets.
 *
 * A text is known by the place in the stream where it was written: nothing of it is kept. A tuple or frozenset is known by
 * its *outline*: its items, when all of them are in the memo: atoms in
 * full and everything else as its index there. Two tuples are written as one exactly if they have the same
 * outline: the same atoms bit by bit, equal immutable values and the same mutable objects; what has a NaN in it has none, as no NaN equals
 * another. The outline of a tuple is known at its end; if the
 * pickle has it already, nothing in the tuple was new, and what was written of it is taken back (seq.c).
 *
 * Streams that are not there until the end (of a Pickler object, over several dumps) or that have no texts as such (protocols below
 * 4) know texts by an object, which the memo keeps alive.
 *
 * Hashes are seeded with a number of the process's own: who chooses the values cannot choose where they collide. */
#ifndef ERG_CORE_PICKLE_VALUES_H
#define ERG_CORE_PICKLE_VALUES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum pk_value_kind {
    PK_V_STR,
    PK_V_BYTES,
    PK_V_TUPLE,
    PK_V_FROZENSET,
    PK_V_NUMBERS, /* a tuple of numbers and the like: its outline is what was written of it */
};

struct pk_value_slot {
    uint32_t hash;
    uint32_t entry; /* its number + 1; 0: free */
};

struct pk_value_entry {
    size_t
        at; /* texts and numbers: where its opcode is in the sink, or the object; else where its outline is */
    uint32_t index;
    uint32_t kind;
};

struct pk_values {
    struct pk_value_slot *slots; /* NULL until the first insertion */
    uint32_t mask;               /* number of slots - 1 */
    uint32_t n;
    uint32_t cap;   /* of entries */
    uint32_t limit; /* no more than that before there has to be more room */
    struct pk_value_entry *entries;
    uint64_t *outlines; /* each behind its number of words */
    size_t noutlines, capoutlines;
    uint64_t *words; /* of the outline that is being made */
    size_t capwords;
};

/* Room for one more. 0, or -1 with MemoryError. */
int pk_values_grow(struct pk_values *values);
void pk_values_clear(struct pk_values *values); /* keeps what is small */
/* Forgets all but the first n, and the outlines behind the first noutlines words of them. */
void pk_values_trim(struct pk_values *values, uint32_t n, size_t noutlines);
void pk_values_fini(struct pk_values *values);

static inline int pk_values_room(struct pk_values *values) {
    return values->n < values->limit ? 0 : pk_values_grow(values);
}

/* Fills a free slot. */
static inline void pk_values_fill(struct pk_values *values, struct pk_value_slot *slot,
                                  uint32_t hash, enum pk_value_kind kind, size_t at,
                                  uint32_t index) {
    values->entries[values->n] = (struct pk_value_entry){at, index, kind};
    slot->hash = hash;
    slot->entry = ++values->n;
}

/* --- hashes ------------------------------------------------------------------------------------------------ */

static inline uint64_t pk_read64(const unsigned char *at) {
    uint64_t value;
    memcpy(&value, at, 8);
    return value;
}

static inline uint64_t pk_read32(const unsigned char *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return value;
}

/* Both halves of the product, folded. Both factors have to have the seed in them: nothing of the other is left where one is 0. */
static inline uint64_t pk_fold(uint64_t a, uint64_t b) {
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

#define PK_ODD UINT64_C(0x9E3779B97F4A7C15)

/* Sixteen bytes a step; what is left over is read again together with what is before it. */
static inline uint32_t pk_hash(uint64_t seed, unsigned kind, const void *data, size_t len) {
    const unsigned char *at = data;
    uint64_t a, b, odd = seed ^ PK_ODD, h = seed ^ (len << 2 | kind) * PK_ODD;
    if (len >= 16) {
        const unsigned char *last = at + len - 16;
        for (; at < last; at += 16)
            h = pk_fold(pk_read64(at) ^ h, pk_read64(at + 8) ^ odd);
        a = pk_read64(last);
        b = pk_read64(last + 8);
    } else if (len >= 8) {
        a = pk_read64(at);
        b = pk_read64(at + len - 8);
    } else if (len >= 4) {
        a = pk_read32(at);
        b = pk_read32(at + len - 4);
    } else {
        a = len ? (uint64_t)at[0] << 16 | (uint64_t)at[len / 2] << 8 | at[len - 1] : 0;
        b = 0;
    }
    h = pk_fold(a ^ h, b ^ odd);
    return (uint32_t)(h ^ h >> 32);
}

#endif
