/* The order in which the items of a set are written: it depends on their values alone.
 *
 * Items are atoms, or tuples of these. Each gets a key of eight bytes that is made of its leading atom (itself, or
 * the first item of a tuple): the number, or the eight bytes of a text that follow what all of them begin with. Keys
 * are sorted by radix, and only items with equal keys are compared. When leading atoms are neither all
 * numbers nor all texts, everything is compared. No Python code runs here. */
#include "set_order.h"

#include <endian.h>

enum { FEW = 32, DEEP = 4 };

enum lead { NONE, NUMBERS, TEXTS, MIXED };

/* --- comparing --------------------------------------------------------------------------------------------- */

static int rank(PyObject *obj) {
    PyTypeObject *type = Py_TYPE(obj);
    return obj == Py_None            ? 0
           : type == &PyBool_Type    ? 1
           : type == &PyLong_Type    ? 2
           : type == &PyFloat_Type   ? 3
           : type == &PyUnicode_Type ? 4
           : type == &PyBytes_Type   ? 5
                                     : 6;
}

static int compare_bytes(PyObject *a, PyObject *b) {
    Py_ssize_t n = PyBytes_GET_SIZE(a), m = PyBytes_GET_SIZE(b);
    int rc = memcmp(PyBytes_AS_STRING(a), PyBytes_AS_STRING(b), (size_t)(n < m ? n : m));
    return rc ? rc : (n > m) - (n < m);
}

/* By their bits: there is more than one NaN. */
static int compare_floats(PyObject *a, PyObject *b) {
    uint64_t u, v;
    double d = PyFloat_AS_DOUBLE(a), e = PyFloat_AS_DOUBLE(b);
    memcpy(&u, &d, 8);
    memcpy(&v, &e, 8);
    return (u > v) - (u < v);
}

static int compare_ints(PyObject *a, PyObject *b) {
    long x, y;
    if (core_long_small(a, &x) && core_long_small(b, &y))
        return (x > y) - (x < y);
    return PyObject_RichCompareBool(a, b, Py_LT) ? -1 : PyObject_RichCompareBool(a, b, Py_GT);
}

static int compare(PyObject *a, PyObject *b);

static int compare_tuples(PyObject *a, PyObject *b) {
    Py_ssize_t n = PyTuple_GET_SIZE(a), m = PyTuple_GET_SIZE(b);
    for (Py_ssize_t i = 0; i < n && i < m; i++) {
        int rc = compare(PyTuple_GET_ITEM(a, i), PyTuple_GET_ITEM(b, i));
        if (rc)
            return rc;
    }
    return (n > m) - (n < m);
}

/* By type, then by value. */
static int compare(PyObject *a, PyObject *b) {
    int r = rank(a), difference = r - rank(b);
    if (difference)
        return difference;
    switch (r) {
    case 1:
    case 2:
        return compare_ints(a, b);
    case 3:
        return compare_floats(a, b);
    case 4:
        return PyUnicode_Compare(a, b);
    case 5:
        return compare_bytes(a, b);
    case 6:
        return compare_tuples(a, b);
    default:
        return 0;
    }
}

static int compare_items(const void *a, const void *b) {
    const struct pk_item *x = a, *y = b;
    return compare(x->obj, y->obj);
}

static void sort_compared(struct pk_item *items, Py_ssize_t n) {
    if (n > FEW) {
        qsort(items, (size_t)n, sizeof *items, compare_items);
        return;
    }
    for (Py_ssize_t i = 1; i < n; i++) {
        struct pk_item item = items[i];
        Py_ssize_t j = i;
        for (; j > 0 && compare(items[j - 1].obj, item.obj) > 0; j--)
            items[j] = items[j - 1];
        items[j] = item;
    }
}

/* --- keys -------------------------------------------------------------------------------------------------- */

/* The leading atom, borrowed; NULL: obj contains something else than atoms, or is nested too deep. */
static PyObject *leading(PyObject *obj, int depth) {
    if (pk_is_atom(obj))
        return obj;
    if (Py_TYPE(obj) != &PyTuple_Type || depth == 0)
        return NULL;
    PyObject *first = Py_None; /* of the empty tuple */
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(obj); i++) {
        PyObject *found = leading(PyTuple_GET_ITEM(obj, i), depth - 1);
        if (!found)
            return NULL;
        if (i == 0)
            first = found;
    }
    return first;
}

static inline PyObject *lead_of(PyObject *obj) {
    return pk_is_atom(obj) ? obj : leading(obj, DEEP);
}

/* A text's UTF-8, whose order is that of its code points; NULL: it has none. */
static inline const char *text_of(PyObject *str, Py_ssize_t *len) {
    if (PyUnicode_IS_COMPACT_ASCII(str)) {
        *len = PyUnicode_GET_LENGTH(str);
        return (const char *)PyUnicode_1BYTE_DATA(str);
    }
    const char *utf8 = PyUnicode_AsUTF8AndSize(str, len);
    if (!utf8)
        PyErr_Clear();
    return utf8;
}

static uint64_t eight_bytes(const char *text, Py_ssize_t len, Py_ssize_t from) {
    Py_ssize_t n = len - from;
    const unsigned char *at = (const unsigned char *)text + from;
    uint64_t key = 0;
    if (n >= 8) {
        memcpy(&key, at, 8);
        return be64toh(key);
    }
    for (Py_ssize_t i = 0; i < n; i++)
        key |= (uint64_t)at[i] << (56 - 8 * i);
    return key;
}

/* How many bytes all texts begin with; -1: one of them has no UTF-8. */
static Py_ssize_t common_prefix(const struct pk_item *items, Py_ssize_t n) {
    Py_ssize_t first_len, len;
    const char *first = text_of(lead_of(items[0].obj), &first_len);
    Py_ssize_t common = first ? first_len : -1;
    for (Py_ssize_t i = 1; common >= 0 && i < n; i++) {
        const char *text = text_of(lead_of(items[i].obj), &len);
        if (!text)
            return -1;
        if (len < common)
            common = len;
        if (memcmp(text, first, (size_t)common) == 0)
            continue;
        Py_ssize_t same = 0;
        while (text[same] == first[same])
            same++;
        common = same;
    }
    return common;
}

/* 1: all items have keys that order them but for equal ones; 0: they have not */
static int make_keys(struct pk_item *items, Py_ssize_t n, enum lead kind) {
    if (kind == NUMBERS)
        return 1; /* made already */
    Py_ssize_t common = kind == TEXTS ? common_prefix(items, n) : -1;
    for (Py_ssize_t i = 0; common >= 0 && i < n; i++) {
        Py_ssize_t len;
        const char *text = text_of(lead_of(items[i].obj), &len);
        items[i].key = eight_bytes(text, len, common);
    }
    return common >= 0;
}

/* --- sorting ----------------------------------------------------------------------------------------------- */

static void sort_few_keys(struct pk_item *items, Py_ssize_t n) {
    for (Py_ssize_t i = 1; i < n; i++) {
        struct pk_item item = items[i];
        Py_ssize_t j = i;
        for (; j > 0 && items[j - 1].key > item.key; j--)
            items[j] = items[j - 1];
        items[j] = item;
    }
}

/* One pass of the radix sort: from → to by the byte at `shift`. */
static void pass(const struct pk_item *from, struct pk_item *to, Py_ssize_t n, int shift) {
    Py_ssize_t place[256] = {0}, sum = 0;
    for (Py_ssize_t i = 0; i < n; i++)
        place[from[i].key >> shift & 255]++;
    for (int b = 0; b < 256; b++) {
        Py_ssize_t count = place[b];
        place[b] = sum;
        sum += count;
    }
    for (Py_ssize_t i = 0; i < n; i++)
        to[place[from[i].key >> shift & 255]++] = from[i];
}

/* spare: room for n items. The result is in items. */
static void sort_keys(struct pk_item *items, struct pk_item *spare, Py_ssize_t n) {
    uint64_t differ = 0;
    int sorted = 1;
    for (Py_ssize_t i = 1; i < n; i++) {
        differ |= items[i].key ^ items[0].key;
        sorted &= items[i - 1].key <= items[i].key;
    }
    if (sorted)
        return;
    struct pk_item *from = items, *to = spare;
    for (int shift = 0; shift < 64; shift += 8) {
        if (!(differ >> shift & 255))
            continue;
        pass(from, to, n, shift);
        struct pk_item *swap = from;
        from = to;
        to = swap;
    }
    if (from != items)
        memcpy(items, from, (size_t)n * sizeof *items);
}

static void sort_equal_keys(struct pk_item *items, Py_ssize_t n) {
    for (Py_ssize_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && items[end].key == items[i].key; end++)
            ;
        if (end - i > 1)
            sort_compared(items + i, end - i);
    }
}

/* Fills items; NONE: something in the set is neither an atom nor a tuple of them. */
static enum lead take(PyObject *set, struct pk_item *items, int *atoms) {
    Py_ssize_t pos = 0, n = 0;
    Py_hash_t hash;
    PyObject *item;
    enum lead kind = NONE;
    *atoms = 1;
    while (_PySet_NextEntry(set, &pos, &item, &hash)) {
        PyObject *lead = lead_of(item);
        long value = 0;
        if (!lead)
            return NONE;
        enum lead is = PyUnicode_CheckExact(lead)                                 ? TEXTS
                       : PyLong_CheckExact(lead) && core_long_small(lead, &value) ? NUMBERS
                                                                                  : MIXED;
        kind = kind == NONE || kind == is ? is : MIXED;
        *atoms &= lead == item && !PyBytes_CheckExact(item);
        items[n++] = (struct pk_item){item, (uint64_t)value ^ UINT64_C(1) << 63};
    }
    return kind;
}

int pk_set_order(PyObject *set, struct pk_item *items, struct pk_item *spare, int *atoms) {
    Py_ssize_t n = PySet_GET_SIZE(set);
    enum lead kind = take(set, items, atoms);
    if (kind == NONE)
        return n == 0;
    if (!make_keys(items, n, kind)) {
        sort_compared(items, n);
        return 1;
    }
    if (n <= FEW)
        sort_few_keys(items, n);
    else
        sort_keys(items, spare, n);
    sort_equal_keys(items, n);
    return 1;
}
