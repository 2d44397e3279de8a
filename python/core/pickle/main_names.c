/* What of the program's main module came to a worker by value: functions and classes, by their qualified names.
 *
 * A worker's own `__main__` has none of them, and the standard library's pickle finds what it writes and reads by name there.
 * So ergon/_main_names.py asks for them in that module's __getattr__. They are held weakly, and the newest of a name wins: each
 * load of a function makes another one. */
#include "pickler.h"

/* The dict that is filled from now on: qualified name → weak reference. */
PyObject *pk_note_main(PyObject *module, PyObject *names) {
    struct pk_state *st = pk_state_of(module);
    if (!PyDict_CheckExact(names))
        return PyErr_Format(PyExc_TypeError, "_note_main() wants a dict");
    Py_XSETREF(st->main_names, Py_NewRef(names));
    Py_RETURN_NONE;
}

static int note(struct pk_state *st, PyObject *obj, PyObject *module, PyObject *qualname) {
    if (!PyUnicode_Check(module) || !PyUnicode_Check(qualname) ||
        PyUnicode_Compare(module, PK_STR(__main__)) != 0 ||
        PyUnicode_FindChar(qualname, '<', 0, PyUnicode_GET_LENGTH(qualname), 1) >= 0)
        return PyErr_Occurred() ? -1 : 0;
    PyObject *ref = PyWeakref_NewRef(obj, NULL);
    int rc = ref ? PyDict_SetItem(st->main_names, qualname, ref) : -1;
    Py_XDECREF(ref);
    return rc;
}

/* Functions at the top of the module only: the others are found in their classes. */
int pk_main_function(struct pk_state *st, PyObject *function, PyObject *module,
                     PyObject *qualname) {
    if (!st->main_names ||
        (PyUnicode_Check(qualname) &&
         PyUnicode_FindChar(qualname, '.', 0, PyUnicode_GET_LENGTH(qualname), 1) >= 0))
        return 0;
    return note(st, function, module, qualname);
}

int pk_main_class(struct pk_state *st, PyObject *cls) {
    if (!st->main_names)
        return 0;
    PyObject *module = NULL, *qualname = NULL;
    int rc = PyObject_GetOptionalAttr(cls, PK_STR(__module__), &module);
    if (rc > 0)
        rc = PyObject_GetOptionalAttr(cls, PK_STR(__qualname__), &qualname);
    if (rc > 0)
        rc = note(st, cls, module, qualname);
    Py_XDECREF(module);
    Py_XDECREF(qualname);
    return rc < 0 ? -1 : 0;
}
