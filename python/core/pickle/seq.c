/* The end of tuples and frozensets: one that the pickle has already becomes a reference to that.
 *
 * An outline is made of words. An item is one word, its kind in the lowest byte: the index of what is in the memo, or a small int, or None
 * and the like; floats and larger ints have their value in the words after that. */
#include <math.h>

#include "pickler.h"

enum { O_INDEX, O_SMALL, O_FLOAT, O_INT, O_NONE, O_TRUE, O_FALSE, O_EMPTY };

static size_t length(const struct pickler *p) {
    return (size_t)(p->cur - (unsigned char *)p->sink->buf);
}

/* --- outlines ---------------------------------------------------------------------------------------------- */

static inline uint64_t word_of(unsigned kind, uint64_t value) {
    return value << 8 | kind;
}

/* A NaN is not equal to itself: two tuples of NaNs are two keys of a dict. */
static inline int is_nan(PyObject *item) {
    return PyFloat_CheckExact(item) && isnan(PyFloat_AS_DOUBLE(item));
}

/* Words of an atom that is neither text nor bytes nor a large int nor a NaN; 0: it is one. There must be room for two. */
static inline size_t outline_atom(PyObject *item, uint64_t *at) {
    PyTypeObject *type = Py_TYPE(item);
    long value;
    if (type == &PyLong_Type) {
        if (!core_long_small(item, &value) || value != (int32_t)value)
            return 0;
        at[0] = word_of(O_SMALL, (uint32_t)value);
        return 1;
    }
    if (type == &PyFloat_Type && !is_nan(item)) {
        double number = PyFloat_AS_DOUBLE(item);
        at[0] = O_FLOAT;
        memcpy(at + 1, &number, sizeof number);
        return 2;
    }
    if (item == Py_None || type == &PyBool_Type) {
        at[0] = item == Py_None ? O_NONE : item == Py_True ? O_TRUE : O_FALSE;
        return 1;
    }
    return 0;
}

/* Room for `need` more words of the outline that is being made. */
static int outline_room(struct pk_values *values, size_t n, size_t need) {
    if (n + need <= values->capwords)
        return 0;
    size_t cap = (n + need) * 2 + 64;
    uint64_t *bigger = PyMem_Realloc(values->words, cap * sizeof *bigger);
    if (!bigger) {
        PyErr_NoMemory();
        return -1;
    }
    values->words = bigger;
    values->capwords = cap;
    return 0;
}

/* An int of any size: how many words it has, and these. */
static int outline_int(struct pk_values *values, PyObject *item, size_t *n) {
    size_t bits = _PyLong_NumBits(item), words = bits / 64 + 1;
    if (bits == (size_t)-1 || outline_room(values, *n, words + 1) < 0)
        return -1;
    values->words[*n] = word_of(O_INT, words);
    if (core_long_as_bytes(item, (unsigned char *)(values->words + *n + 1), words * 8) < 0)
        return -1;
    *n += words + 1;
    return 1;
}

/* 1: done, 0: the memo has it not (NaNs, objects that travel by a name of their own, or as a buffer), -1 */
static int outline_item(struct pickler *p, PyObject *item, size_t *n) {
    struct pk_values *values = &p->values;
    PyTypeObject *type = Py_TYPE(item);
    uint32_t index;
    if (outline_room(values, *n, 2) < 0)
        return -1;
    size_t words = outline_atom(item, values->words + *n);
    *n += words;
    if (words)
        return 1;
    if (type == &PyLong_Type)
        return outline_int(values, item, n);
    int rc = 1;
    uint64_t word = O_EMPTY;
    if (type != &PyTuple_Type || PyTuple_GET_SIZE(item) > 0) {
        rc = type == &PyUnicode_Type || type == &PyBytes_Type
                 ? pk_text_index(p, item, &index)
                 : pk_memo_find(&p->memo, item, &index);
        if (rc <= 0)
            return rc;
        word = word_of(O_INDEX, index);
    }
    values->words[(*n)++] = word;
    return 1;
}

static inline uint32_t hash_words(uint64_t seed, unsigned kind, const uint64_t *words, size_t n) {
    uint64_t odd = seed ^ PK_ODD, h = seed ^ (n << 2 | kind) * PK_ODD;
    for (size_t i = 0; i + 1 < n; i += 2)
        h = pk_fold(words[i] ^ h, words[i + 1] ^ odd);
    h = pk_fold((n & 1 ? words[n - 1] : n) ^ h, odd);
    return (uint32_t)(h ^ h >> 32);
}

/* The slot with this outline, or the free one where it belongs. */
static inline struct pk_value_slot *find(struct pk_values *values, uint32_t hash, unsigned kind,
                                         const uint64_t *words, size_t n) {
    for (uint32_t i = hash & values->mask;; i = (i + 1) & values->mask) {
        struct pk_value_slot *slot = &values->slots[i];
        if (!slot->entry)
            return slot;
        if (slot->hash != hash)
            continue;
        const struct pk_value_entry *entry = &values->entries[slot->entry - 1];
        const uint64_t *there = values->outlines + entry->at;
        if (entry->kind == kind && there[0] == n &&
            (n == 0 || memcmp(there + 1, words, n * 8) == 0))
            return slot;
    }
}

static int keep_outline(struct pk_values *values, const uint64_t *words, size_t n) {
    size_t at = values->noutlines, need = at + 1 + n;
    if (need > values->capoutlines) {
        uint64_t *bigger = PyMem_Realloc(values->outlines, (need * 2 + 128) * sizeof *bigger);
        if (!bigger) {
            PyErr_NoMemory();
            return -1;
        }
        values->outlines = bigger;
        values->capoutlines = need * 2 + 128;
    }
    values->outlines[at] = n;
    for (size_t i = 0; i < n; i++)
        values->outlines[at + 1 + i] = words[i];
    values->noutlines = need;
    return 0;
}

/* What a tuple or frozenset with this outline is: 1: the pickle has it at *index, 0: it has not, and will have it at the next one, -1 */
static inline int known(struct pickler *p, const struct pk_seq *seq, const uint64_t *words,
                        size_t n, uint32_t *index) {
    struct pk_values *values = &p->values;
    if (pk_values_room(values) < 0)
        return -1;
    uint32_t hash = hash_words(p->st->seed, seq->kind, words, n);
    struct pk_value_slot *slot = find(values, hash, seq->kind, words, n);
    if (!slot->entry) {
        size_t at = values->noutlines;
        if (keep_outline(values, words, n) < 0)
            return -1;
        pk_values_fill(values, slot, hash, seq->kind, at, p->next);
        return 0;
    }
    *index = values->entries[slot->entry - 1].index;
    /* If something in it is new all the same, it is among its own items' arguments: what is written stays. */
    return p->next == seq->next;
}

/* --- the end ----------------------------------------------------------------------------------------------- */

static int known_items(struct pickler *p, const struct pk_seq *seq, uint32_t *index) {
    const char *at = seq->items;
    size_t n = 0;
    int rc = 1;
    for (Py_ssize_t i = 0; rc > 0 && i < seq->n; i++, at += seq->stride)
        rc = outline_item(p, *(PyObject *const *)at, &n);
    return rc <= 0 ? rc : known(p, seq, p->values.words, n, index);
}

/* The same of a tuple of numbers: what is written of it from seq->start on, its opcode included, says all about it. */
static inline int known_numbers(struct pickler *p, const struct pk_seq *seq, uint32_t *index) {
    struct pk_values *values = &p->values;
    if (pk_values_room(values) < 0)
        return -1;
    const unsigned char *written = (const unsigned char *)p->sink->buf + seq->start;
    size_t len = length(p) - seq->start;
    uint32_t hash = pk_hash(p->st->seed, PK_V_NUMBERS, written, len);
    for (uint32_t i = hash & values->mask;; i = (i + 1) & values->mask) {
        struct pk_value_slot *slot = &values->slots[i];
        if (!slot->entry) {
            pk_values_fill(values, slot, hash, PK_V_NUMBERS, seq->start, p->next);
            return 0;
        }
        if (slot->hash != hash)
            continue;
        const struct pk_value_entry *entry = &values->entries[slot->entry - 1];
        const unsigned char *there = (const unsigned char *)p->sink->buf + entry->at;
        if (entry->kind == PK_V_NUMBERS && memcmp(there, written, len) == 0) {
            *index = entry->index;
            return 1;
        }
    }
}

static inline int finish(struct pickler *p, PyObject *obj, const struct pk_seq *seq, int known,
                         uint32_t index) {
    if (known < 0)
        return -1;
    if (known) {
        p->cur = (unsigned char *)p->sink->buf + seq->start;
        if (pk_get(p, index) < 0)
            return -1;
    } else {
        index = p->next;
        if (pk_put(p, seq->op) < 0 || pk_write_put(p) < 0)
            return -1;
    }
    return seq->once ? 0 : pk_memo_put(&p->memo, obj, index);
}

int pk_seq_close(struct pickler *p, PyObject *obj, const struct pk_seq *seq) {
    uint32_t index = 0;
    int rc = p->persistent_id ? 0 : known_items(p, seq, &index);
    return finish(p, obj, seq, rc, index);
}

/* --- tuples of a few atoms ----------------------------------------------------------------------------------- */

enum { FEW = 8 };

/* The index of the text that was written from there on: it is new, or was got from the memo. */
static uint32_t text_written(const struct pickler *p, uint32_t next, size_t from) {
    const unsigned char *at = (const unsigned char *)p->sink->buf + from;
    return p->next != next ? p->next - 1 : at[0] == OP_BINGET ? at[1] : (uint32_t)pk_read32(at + 1);
}

/* Writes an atom; its words, 0: exception. */
static inline size_t save_item(struct pickler *p, PyObject *item, uint64_t *words) {
    size_t n = outline_atom(item, words);
    if (n)
        return pk_save_atom(p, item) < 0 ? 0 : n;
    uint32_t next = p->next;
    size_t from = length(p);
    if (pk_save_atom(p, item) < 0)
        return 0;
    words[0] = word_of(O_INDEX, text_written(p, next, from));
    return 1;
}

/* Atoms but for large ints and NaNs. */
static int is_small(PyObject *item) {
    long value;
    return pk_is_atom(item) && !is_nan(item) &&
           (!PyLong_CheckExact(item) || (core_long_small(item, &value) && value == (int32_t)value));
}

static int save_numbers(struct pickler *p, PyObject *tuple, const struct pk_seq *seq) {
    uint32_t index = 0;
    for (Py_ssize_t i = 0; i < seq->n; i++)
        if (pk_save_atom(p, PyTuple_GET_ITEM(tuple, i)) < 0)
            return -1;
    if (pk_put(p, seq->op) < 0)
        return -1;
    int rc = known_numbers(p, seq, &index);
    if (rc < 0)
        return -1;
    if (rc) {
        p->cur = (unsigned char *)p->sink->buf + seq->start;
        if (pk_get(p, index) < 0)
            return -1;
    } else {
        index = p->next;
        if (pk_write_put(p) < 0)
            return -1;
    }
    return seq->once || pk_memo_put(&p->memo, tuple, index) == 0 ? 1 : -1;
}

static int save_few(struct pickler *p, PyObject *tuple, struct pk_seq *seq, int numbers) {
    uint64_t words[2 * FEW];
    size_t n = 0, more;
    uint32_t index = 0;
    if (seq->n > 3 && pk_put(p, OP_MARK) < 0)
        return -1;
    if (numbers)
        return save_numbers(p, tuple, seq);
    for (Py_ssize_t i = 0; i < seq->n; i++, n += more)
        if (!(more = save_item(p, PyTuple_GET_ITEM(tuple, i), words + n)))
            return -1;
    int rc = known(p, seq, words, n, &index);
    return finish(p, tuple, seq, rc, index) < 0 ? -1 : 1;
}

int pk_save_few(struct pickler *p, PyObject *tuple, struct pk_seq *seq) {
    if (seq->n > FEW || p->persistent_id || p->keeps)
        return 0;
    int numbers = 1;
    for (Py_ssize_t i = 0; i < seq->n; i++) {
        PyObject *item = PyTuple_GET_ITEM(tuple, i);
        if (!is_small(item))
            return 0;
        numbers &= !PyUnicode_CheckExact(item) && !PyBytes_CheckExact(item);
    }
    Py_INCREF(
        tuple); /* large bytes are copied without the GIL: its container may drop it meanwhile */
    int rc = save_few(p, tuple, seq, numbers);
    Py_DECREF(tuple);
    return rc;
}
