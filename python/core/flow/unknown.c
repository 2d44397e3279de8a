/* The value that is not known yet. Arithmetic and comparison with it give Unknown again; whatever would need
 * the value raises need_value, which the interpreter turns into "the outcome is Unknown". No object outside a
 * pass ever refers to one. */
#include "flow.h"

static void unknown_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *refuse(PyObject *self) {
    PyObject *module = core_module_of(Py_TYPE(self));
    struct flow_state *st = module ? fl_state_of(module) : NULL;
    if (st)
        PyErr_SetNone(st->need_value);
    return NULL;
}

static PyObject *unary(PyObject *self) {
    return Py_NewRef(self);
}

static PyObject *binary(PyObject *a, PyObject *b) {
    return Py_NewRef(Py_TYPE(a)->tp_dealloc == unknown_dealloc ? a : b);
}

static PyObject *power(PyObject *a, PyObject *b, PyObject *c) {
    return Py_TYPE(a)->tp_dealloc == unknown_dealloc || Py_TYPE(b)->tp_dealloc == unknown_dealloc
               ? binary(a, b)
               : Py_NewRef(c);
}

static PyObject *compare(PyObject *a, PyObject *b, int op) {
    (void)op;
    return binary(a, b);
}

static PyObject *get_item(PyObject *self, PyObject *key) {
    (void)key;
    return Py_NewRef(self);
}

static PyObject *get_attr(PyObject *self, PyObject *name) {
    (void)name;
    return refuse(self);
}

static int truth(PyObject *self) {
    refuse(self);
    return -1;
}

static Py_ssize_t length(PyObject *self) {
    refuse(self);
    return -1;
}

static Py_hash_t hash(PyObject *self) {
    refuse(self);
    return -1;
}

static PyObject *call(PyObject *self, PyObject *args, PyObject *kwds) {
    (void)args;
    (void)kwds;
    return refuse(self);
}

static int contains(PyObject *self, PyObject *item) {
    (void)item;
    refuse(self);
    return -1;
}

#define SLOT(name, function)                                                                       \
    { name, (void *)(function) }
static PyType_Slot slots[] = {
    SLOT(Py_tp_dealloc, unknown_dealloc),
    SLOT(Py_tp_richcompare, compare),
    SLOT(Py_tp_getattro, get_attr),
    SLOT(Py_tp_hash, hash),
    SLOT(Py_tp_call, call),
    SLOT(Py_tp_iter, refuse),
    SLOT(Py_tp_str, refuse),
    SLOT(Py_tp_repr, refuse),
    SLOT(Py_nb_bool, truth),
    SLOT(Py_nb_index, refuse),
    SLOT(Py_nb_int, refuse),
    SLOT(Py_nb_float, refuse),
    SLOT(Py_nb_negative, unary),
    SLOT(Py_nb_positive, unary),
    SLOT(Py_nb_absolute, unary),
    SLOT(Py_nb_invert, unary),
    SLOT(Py_nb_add, binary),
    SLOT(Py_nb_subtract, binary),
    SLOT(Py_nb_multiply, binary),
    SLOT(Py_nb_matrix_multiply, binary),
    SLOT(Py_nb_true_divide, binary),
    SLOT(Py_nb_floor_divide, binary),
    SLOT(Py_nb_remainder, binary),
    SLOT(Py_nb_divmod, binary),
    SLOT(Py_nb_lshift, binary),
    SLOT(Py_nb_rshift, binary),
    SLOT(Py_nb_and, binary),
    SLOT(Py_nb_or, binary),
    SLOT(Py_nb_xor, binary),
    SLOT(Py_nb_power, power),
    SLOT(Py_mp_subscript, get_item),
    SLOT(Py_mp_length, length),
    SLOT(Py_sq_contains, contains),
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "ergon._core.Unknown",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

int fl_unknown_register(struct flow_state *st) {
    st->unknown_type = (PyTypeObject *)PyType_FromModuleAndSpec(st->module, &spec, NULL);
    st->need_value = PyErr_NewException("ergon._core.NeedValue", PyExc_BaseException, NULL);
    st->stop = PyErr_NewException("ergon._core.PassEnds", PyExc_BaseException, NULL);
    return st->unknown_type && st->need_value && st->stop ? 0 : -1;
}

PyObject *fl_unknown(struct flow_state *st) {
    return st->unknown_type->tp_alloc(st->unknown_type, 0);
}
