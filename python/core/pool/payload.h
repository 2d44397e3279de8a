/* core/pool/payload: arguments and results as bytes and buffers in shared memory. A writer or reader is one caller's, on its
 * stack; all under the GIL. */
#ifndef ERG_CORE_POOL_PAYLOAD_H
#define ERG_CORE_POOL_PAYLOAD_H

#include "core.h"

/* --- payload.c ------------------------------------------------------------------------------------------
 * A payload in shared memory, see table/payload.h: here the stream is a bare pickle, and these are flags of ours. */
enum {
    PL_HAS_KWARGS = 2,
    PL_IS_SINGLE = 4,
    PL_IS_STAR = 8,
    PL_IS_READONLY = 16,
    PL_IS_FUNCTIONAL =
        32 /* what it gives back keeps identity and exceptions whole: ergon/_functional.py */
};

/* Measured: through map, arrays of 16 and 32 KB take half the time or less out of band, and at 10 KB it makes no difference;
 * nor does copying or mapping from 256 KB to 1 MB. bench/arrays.py has rows on either side of both, through pipe. */
#define PL_OUT_OF_BAND_MIN (12 * 1024)
#define PL_COPY_MAX                                                                                \
    (1024 * 1024) /* shared buffers up to here are copied, larger ones mapped copy-on-write */

#define PL_COMPARED_MAX                                                                            \
    (256 * 1024) /* globals of functions up to here are compared with the worker's */

/* Private memory for what is copied elsewhere afterwards; reused. */
struct pl_scratch {
    char *buf;
    size_t cap;
};
struct pl_writer {
    struct pk_sink sink;
    struct pk_hooks hooks;
    struct pl_core *core;
    struct erg_member *member;
    struct erg_record *record; /* its inline bytes are used while they do; NULL: arena only */
    uint32_t inline_start;
    uint64_t block; /* arena block written to, 0 while inline */
    struct erg_ref *entries;
    uint32_t nentries, entry_cap;
    struct erg_ref few[2];
    uint32_t entry_flags; /* added to every entry */
    PyObject *futures;    /* list of futures met among the arguments, or NULL; strong, and held */
    PyObject *failed;     /* the exception of one that had failed already, or NULL; strong */
    PyObject *blobs;      /* list of Handles met, or NULL; strong: they live as long as the task */
    int settle;           /* results: futures are waited for */
    int keeps_readonly;   /* what is read-only arrives so */
    struct pl_scratch *scratch;
};
/* 0 or -1. `head` is the flag byte. */
int pl_writer_init(struct pl_writer *writer, struct pl_core *core, struct erg_member *member,
                   struct erg_record *record, uint32_t inline_start, int head);
/* Writes to scratch memory instead; only the entries' buffers go to the arena. */
int pl_writer_init_scratch(struct pl_writer *writer, struct pl_core *core,
                           struct erg_member *member, struct pl_scratch *scratch);
/* Another task the payload's task has to come after: a future. 0 or -1. */
int pl_writer_after(struct pl_writer *writer, PyObject *future);
int pl_writer_dump(struct pl_writer *writer, PyObject *obj, const char *root);
/* Writes the entries and gives the payload to *out. After 0 the writer owns nothing in the arena any more. */
int pl_writer_finish(struct pl_writer *writer, struct erg_payload *out);
/* Forgets entries from number `from` on and frees their blocks. */
void pl_writer_drop_entries(struct pl_writer *writer, uint32_t from);
void pl_writer_fini(struct pl_writer *writer); /* always; frees blocks unless finished */
int pl_sink_grow(struct pk_sink *sink, size_t need);

enum pl_read_mode {
    PL_READ_TASK,     /* arguments of the task that runs here: private and writable */
    PL_READ_READONLY, /* the same, as read-only views */
    PL_READ_RESULT,   /* the caller's own from now on */
    PL_READ_PEEK,     /* somebody else's result: copies */
    PL_READ_BLOB,     /* a put object: read-only views that keep the blob */
};
struct pl_reader {
    struct pk_source source;
    struct pl_core *core;
    struct erg_member *member;
    struct erg_ref *entries;
    uint32_t nentries, next;
    enum pl_read_mode mode;
    PyObject *keep;  /* list of buffers handed out in TASK modes, or NULL */
    PyObject *owner; /* PL_READ_BLOB: what keeps the memory; borrowed */
};
void pl_reader_init(struct pl_reader *reader, struct pl_core *core, struct erg_member *member,
                    const char *bytes, size_t len, enum pl_read_mode mode);
PyObject *pl_reader_load(struct pl_reader *reader);
/* After the task dropped its arguments: what it still holds becomes its own. */
void pl_reader_fini(struct pl_reader *reader);
/* Buffers of an object loaded inside the arguments (a predecessor's result) end with the task as well. 0 or -1. */
int pl_reader_adopt(struct pl_reader *reader, struct pl_reader *inner);
/* The first predecessor that did not succeed, or NULL. */
struct erg_record *pl_reader_failed(struct pl_reader *reader);
int pl_payload_flags(const char *bytes);
const char *pl_payload_bytes(struct pl_core *core, const struct erg_record *record,
                             const struct erg_payload *payload);
/* Frees block and entries of a payload of a record. */
void pl_payload_free(struct pl_core *core, struct erg_record *record, struct erg_payload *payload);

#define PL_ATOM_MAX 80 /* bytes a stream of one atom takes at most; atom.h */

/* --- buffer_type.c ------------------------------------------------------------------------------------- */
enum pl_buffer_kind { PL_BUFFER_LENT, PL_BUFFER_OWNED, PL_BUFFER_MAPPED };
/* A bytes-like object over arena memory. LENT: the task's while it runs; OWNED: freed with the object;
 * MAPPED: private copy-on-write mapping, unmapped with the object. `keep` is held (may be NULL). */
PyObject *pl_buffer_new(struct pl_core *core, struct erg_member *member, uint64_t offset,
                        uint64_t len, int readonly, enum pl_buffer_kind kind, PyObject *keep);
void pl_buffer_take(PyObject *buffer); /* LENT -> OWNED */
uint64_t pl_buffer_offset(PyObject *buffer);
/* MAPPED: every page becomes its own, so that the block may be used for something else. 1, or 0: not mapped. */
int pl_buffer_detach(PyObject *buffer);
int pl_buffer_register(struct pool_state *state);

#endif
