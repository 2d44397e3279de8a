/* The name of a value: BLAKE2b of its canonical pickle, which goes into the hash as it is written and is never
 * there as a whole. */
#include <sodium.h>

#include "types.h"

enum { PIECE = 16 * 1024 };

struct hash_sink {
    struct pk_sink base;
    crypto_generichash_state hash;
    char *room; /* NULL: base.buf is small */
    char small[2048];
};

static void flush(struct hash_sink *self) {
    crypto_generichash_update(&self->hash, (const unsigned char *)self->base.buf, self->base.len);
    self->base.len = 0;
}

/* Makes room by hashing what is there. */
static int grow(struct pk_sink *sink, size_t need) {
    struct hash_sink *self = (struct hash_sink *)sink;
    flush(self);
    if (need <= sink->cap)
        return 0;
    size_t cap = need < PIECE ? PIECE : need;
    char *room = PyMem_Realloc(self->room, cap);
    if (!room) {
        PyErr_NoMemory();
        return -1;
    }
    self->room = sink->buf = room;
    sink->cap = cap;
    return 0;
}

PyObject *pk_digest(PyObject *module, PyObject *obj, Py_ssize_t size) {
    unsigned char digest[crypto_generichash_BYTES_MAX];
    struct hash_sink sink = {.room = NULL};
    if (size < (Py_ssize_t)crypto_generichash_BYTES_MIN || size > (Py_ssize_t)sizeof digest)
        return PyErr_Format(PyExc_ValueError, "size must be %d to %d bytes",
                            (int)crypto_generichash_BYTES_MIN, (int)sizeof digest);
    sink.base = (struct pk_sink){sink.small, 0, sizeof sink.small, grow, NULL};
    crypto_generichash_init(&sink.hash, NULL, 0, (size_t)size);
    int rc = pk_dump(module, obj, &sink.base, NULL, PK_BARE | PK_CANONICAL, NULL);
    flush(&sink);
    PyMem_Free(sink.room);
    crypto_generichash_final(&sink.hash, digest, (size_t)size);
    return rc < 0 ? NULL : PyBytes_FromStringAndSize((const char *)digest, size);
}
