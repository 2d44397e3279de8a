/* What the files of this room share: the room's part of the module state, the names it interns, the functions
 * that streams refer to. Private to core/pickle. Everything needs the GIL. */
#ifndef ERG_CORE_PICKLE_ROOM_H
#define ERG_CORE_PICKLE_ROOM_H

#include "pickle.h"

#include "../compat.h"
#include "../raise.h"

/* Names looked up again and again, interned once: PK_STR(__reduce_ex__) is st->str[PK_STR___reduce_ex__]. */
#define PK_STRINGS(X)                                                                              \
    X(__abstractmethods__)                                                                         \
    X(__annotate__)                                                                                \
    X(__annotations__)                                                                             \
    X(__bases__)                                                                                   \
    X(__class__)                                                                                   \
    X(__closure__)                                                                                 \
    X(__code__)                                                                                    \
    X(__defaults__)                                                                                \
    X(__dict__)                                                                                    \
    X(__doc__)                                                                                     \
    X(__func__)                                                                                    \
    X(__getattr__)                                                                                 \
    X(__getattribute__)                                                                            \
    X(__getinitargs__)                                                                             \
    X(__getnewargs__)                                                                              \
    X(__getnewargs_ex__)                                                                           \
    X(__getstate__)                                                                                \
    X(__globals__)                                                                                 \
    X(__init_subclass__)                                                                           \
    X(__kwdefaults__)                                                                              \
    X(__loader__)                                                                                  \
    X(__main__)                                                                                    \
    X(__module__)                                                                                  \
    X(__mp_main__)                                                                                 \
    X(__name__)                                                                                    \
    X(__new__)                                                                                     \
    X(__newobj__)                                                                                  \
    X(__newobj_ex__)                                                                               \
    X(__notes__)                                                                                   \
    X(__orig_bases__)                                                                              \
    X(__package__)                                                                                 \
    X(__path__)                                                                                    \
    X(__qualname__)                                                                                \
    X(__reduce__)                                                                                  \
    X(__reduce_ex__)                                                                               \
    X(__self__)                                                                                    \
    X(__setstate__)                                                                                \
    X(__slotnames__)                                                                               \
    X(__slots__)                                                                                   \
    X(__spec__)                                                                                    \
    X(__type_params__)                                                                             \
    X(__weakref__)                                                                                 \
    X(__wrapped__)                                                                                 \
    X(_abc_impl)                                                                                   \
    X(_member_map_)                                                                                \
    X(append)                                                                                      \
    X(add)                                                                                         \
    X(buffer_callback)                                                                             \
    X(builtins)                                                                                    \
    X(cell_contents)                                                                               \
    X(clear)                                                                                       \
    X(dispatch_table)                                                                              \
    X(extend)                                                                                      \
    X(fget)                                                                                        \
    X(items)                                                                                       \
    X(modules)                                                                                     \
    X(partition)                                                                                   \
    X(peek)                                                                                        \
    X(persistent_id)                                                                               \
    X(persistent_load)                                                                             \
    X(read)                                                                                        \
    X(readinto)                                                                                    \
    X(readline)                                                                                    \
    X(reducer_override)                                                                            \
    X(find_class)                                                                                  \
    X(register_at_fork)                                                                            \
    X(reset)                                                                                       \
    X(update)                                                                                      \
    X(write)

enum pk_string {
#define X(name) PK_STR_##name,
    PK_STRINGS(X)
#undef X
        PK_STR_COUNT
};

/* Functions of ergon._core that streams call while they are loaded (rebuild*.c). */
enum pk_helper {
    PK_HELPER_CODE,       /* _pk_code(version, data) → code object */
    PK_HELPER_CELL,       /* _pk_cell([contents]) → cell */
    PK_HELPER_CELL_SET,   /* _pk_cell_set(cell, contents) */
    PK_HELPER_FUNCTION,   /* _pk_function(code, globals, closure, qualname, module) → function */
    PK_HELPER_CLASS,      /* _pk_class(meta, name, bases, namespace, id) → class */
    PK_HELPER_CLASS_SET,  /* _pk_class_set(class, id, attributes, registry) */
    PK_HELPER_ENUM,       /* _pk_enum(meta, name, bases, namespace, members, id) → class */
    PK_HELPER_MODULE,     /* _pk_module(name) → module */
    PK_HELPER_IMPORT,     /* _pk_import(name) → module of sys.modules */
    PK_HELPER_NEW,        /* _pk_new(class) → object.__new__(class) */
    PK_HELPER_BYTES,      /* _pk_bytes(buffer) → bytes */
    PK_HELPER_CLASS_BLOB, /* _pk_class_blob(id, bytes) → class */
    PK_HELPER_TYPEVAR, /* _pk_typevar(name, constraints, bound, co, contra, module, id) → TypeVar */
    PK_HELPER_COUNT
};

struct pickler;
struct pk_track;
struct pk_blob;

/* What the room remembers of a type: how its plain instances are written and read (save_object.c). */
struct pk_type_note {
    PyTypeObject *type; /* borrowed; only compared */
    unsigned int version;
    uint8_t how;
};
enum { PK_TYPE_NOTES = 256, PK_BLOBS = 64 };

struct pk_state {
    PyObject *module; /* borrowed: the module owns this */
    PyObject *str[PK_STR_COUNT];
    PyObject *helper[PK_HELPER_COUNT];
    PyObject *helper_index;   /* name → number of a helper */
    PyObject *dispatch_table; /* copyreg.dispatch_table */
    PyObject *ext_registry;   /* copyreg._extension_registry: (module, name) → code */
    PyObject *ext_inverted;   /* copyreg._inverted_registry: code → (module, name) */
    PyObject *empty_tuple;
    PyObject *core_name; /* "ergon._core" */
    PyObject *empty_str;
    PyObject *reducers;    /* ergon._reducers.REDUCERS; NULL until needed */
    PyObject *reducer_for; /* ergon._reducers.reducer_for; NULL until then */
    PyObject *by_value;    /* set of module names registered for pickling by value */
    PyObject *ref_types;   /* set of types pk_dump asks hooks->ref about */
    PyObject *compat[2];   /* _compat_pickle: NAME_MAPPING, IMPORT_MAPPING; NULL until needed */
    PyTypeObject *ndarray; /* numpy.ndarray once numpy is imported, or NULL */
    PyTypeObject *pickler_type, *unpickler_type;
    PyTypeObject *enum_meta; /* enum.EnumType, or NULL until enum is imported */
    PyTypeObject *abc_meta;
    PyObject *main_names;   /* in a worker: what came of the main module (main_names.c), or NULL */
    int kept_small;         /* of the load that is on its way: all is compared */
    PyObject *keeper;       /* asked about globals in a worker (rebuild.c), or NULL */
    PyObject *due_globals;  /* list of those of the stream that is being loaded, or NULL */
    struct pk_track *track; /* classes that travelled by value (track.c) */
    struct pk_blob *blobs;  /* PK_BLOBS classes as bytes (class_blob.c) */
    struct pickler *spare;  /* a pickler to use again; NULL while it is in use */
    int deep_sets; /* sets nested too deep were met: what RecursionError is about (save_set.c) */
    uint64_t seed; /* of the hashes of values.h: this process's own */
    Py_ssize_t code_slot; /* index of the room's co_extra entry */
    struct pk_type_note save_notes[PK_TYPE_NOTES];
    struct pk_type_note load_notes[PK_TYPE_NOTES];
};

#define PK_STR(name) (st->str[PK_STR_##name])

struct pk_state *pk_state_of(PyObject *module);
PyObject *pk_keep_globals(PyObject *module, PyObject *keeper); /* rebuild.c */

PyObject *pk_note_main(PyObject *module, PyObject *names); /* main_names.c */
int pk_main_function(struct pk_state *st, PyObject *function, PyObject *module, PyObject *qualname);
int pk_main_class(struct pk_state *st, PyObject *cls);

extern const char *const pk_helper_names[PK_HELPER_COUNT];
extern PyMethodDef pk_rebuild_methods[]; /* the helpers (rebuild.c) */

/* The number of type's current version, the same until the type or a base of it is changed; 0: none to be had. */
static inline unsigned int pk_type_version(PyTypeObject *type) {
    return core_type_version(type);
}

static inline struct pk_type_note *pk_type_slot(struct pk_type_note *notes, PyTypeObject *type) {
    return &notes[((uintptr_t)type >> 4 ^ (uintptr_t)type >> 12) % PK_TYPE_NOTES];
}

#endif
