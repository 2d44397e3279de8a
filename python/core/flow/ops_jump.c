/* Instructions that go elsewhere: branches, loops, returns, yields, exceptions. */
#include "flow.h"
#include "opcodes.h"

/* The condition on top of the stack: 1, 0, -1 exception, 2: the region was skipped. */
static int decide(struct fl_run *run, struct fl_frame *f) {
    int truth = fl_truth(run, *fl_at(f, 1));
    return truth == -2 ? (fl_skip_region(run, f, 1) < 0 ? -1 : 2) : truth;
}

static int pop_jump(struct fl_run *run, struct fl_frame *f, int arg, int when) {
    int truth = decide(run, f);
    if (truth < 0)
        return -1;
    if (truth == 2)
        return 0;
    Py_DECREF(fl_pop(f));
    if (truth == when)
        f->ip += arg;
    return 0;
}

static int op_forward_false(struct fl_run *run, struct fl_frame *f, int arg) {
    return pop_jump(run, f, arg, 0);
}
static int op_forward_true(struct fl_run *run, struct fl_frame *f, int arg) {
    return pop_jump(run, f, arg, 1);
}
static int op_backward_false(struct fl_run *run, struct fl_frame *f, int arg) {
    return pop_jump(run, f, -arg, 0);
}
static int op_backward_true(struct fl_run *run, struct fl_frame *f, int arg) {
    return pop_jump(run, f, -arg, 1);
}

static int none_jump(struct fl_run *run, struct fl_frame *f, int arg, int when) {
    PyObject *o = fl_see(run, *fl_at(f, 1));
    if (fl_is_unknown(run->st, o))
        return fl_skip_region(run, f, 1);
    int none = o == Py_None;
    Py_DECREF(fl_pop(f));
    if (none == when)
        f->ip += arg;
    return 0;
}

static int op_forward_none(struct fl_run *run, struct fl_frame *f, int arg) {
    return none_jump(run, f, arg, 1);
}
static int op_forward_not_none(struct fl_run *run, struct fl_frame *f, int arg) {
    return none_jump(run, f, arg, 0);
}
static int op_backward_none(struct fl_run *run, struct fl_frame *f, int arg) {
    return none_jump(run, f, -arg, 1);
}
static int op_backward_not_none(struct fl_run *run, struct fl_frame *f, int arg) {
    return none_jump(run, f, -arg, 0);
}

static int or_pop(struct fl_run *run, struct fl_frame *f, int arg, int when) {
    int truth = decide(run, f);
    if (truth < 0)
        return -1;
    if (truth == 2)
        return 0;
    if (truth == when)
        f->ip += arg;
    else
        Py_DECREF(fl_pop(f));
    return 0;
}

static int op_false_or_pop(struct fl_run *run, struct fl_frame *f, int arg) {
    return or_pop(run, f, arg, 0);
}
static int op_true_or_pop(struct fl_run *run, struct fl_frame *f, int arg) {
    return or_pop(run, f, arg, 1);
}

static int op_jump_forward(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run;
    f->ip += arg;
    return 0;
}
static int op_jump_backward(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run;
    f->ip -= arg;
    return 0;
}

static int op_get_iter(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    PyObject *o = fl_pop(f), *it = fl_iter(run, o);
    Py_DECREF(o);
    if (!it)
        return -1;
    fl_push(f, it);
    return 0;
}

static int op_for_iter(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *it = fl_see(run, *fl_at(f, 1)), *value;
    if (fl_is_unknown(run->st, it))
        return fl_skip_region(run, f, 1);
    int rc = fl_next(run, *fl_at(f, 1), &value);
    if (rc < 0)
        return -1;
    if (rc > 0 && Py_TYPE(it) == &PyRangeIter_Type && fl_map_has(&run->owned, it))
        run->range = it;
    if (rc == 0) {
        Py_DECREF(fl_pop(f));
        f->ip += arg + FL_FOR_SKIP;
        return 0;
    }
    if (fl_is_unknown(run->st, value) &&
        fl_is_unknown(run->st, fl_see(run, *fl_at(f, 1)))) { /* it cannot be copied */
        Py_DECREF(value);
        return fl_skip_region(run, f, 1);
    }
    fl_push(f, Py_NewRef(fl_see(run, value)));
    Py_DECREF(value);
    return 0;
}

static int op_return_value(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run, (void)f, (void)arg;
    return 1;
}

static int op_return_const(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run;
    fl_push(f, Py_NewRef(PyTuple_GET_ITEM(f->code->code->co_consts, arg)));
    return 1;
}

/* Behind a loop that was left out: the iterator and an item are Unknowns. */
static int op_end_for(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run, (void)arg;
    for (int i = 0; i < FL_END_FOR_POPS; i++)
        Py_XDECREF(fl_pop(f));
    return 0;
}

static int op_end_send(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run, (void)arg;
    PyObject *value = fl_pop(f);
    Py_XDECREF(fl_pop(f));
    fl_push(f, value);
    return 0;
}

/* An exception that would end a generator: it may not be StopIteration. */
static int op_stop_iteration_error(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run, (void)arg;
    PyObject **at = fl_at(f, 1);
    if (PyErr_GivenExceptionMatches(*at, PyExc_StopIteration)) {
        PyObject *error =
            PyObject_CallFunction(PyExc_RuntimeError, "s", "generator raised StopIteration");
        if (!error)
            return -1;
        Py_SETREF(*at, error);
    }
    return 0;
}

static int op_return_generator(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run, (void)arg;
    f->yielded = 2;
    fl_push(f, Py_NewRef(Py_None));
    return 1;
}

static int op_yield_value(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run, (void)arg;
    f->yielded = 1;
    return 1;
}

static int op_get_yield_from_iter(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *o = fl_see(run, *fl_at(f, 1));
    if (fl_is_unknown(run->st, o) || PyCoro_CheckExact(o))
        return fl_stop(run, FL_WHY_VALUE, "yield from something that is not there yet");
    return op_get_iter(run, f, arg);
}

/* The iterator on top is through, with this value: takes it. */
static void finish_send(struct fl_frame *f, PyObject *value) {
    if (!FL_SEND_KEEPS)
        Py_DECREF(fl_pop(f));
    fl_push(f, value);
}

/* An await that needs no turns: of a functional call, or of something that is not known. */
static int await_known(struct fl_run *run, struct fl_frame *f, PyObject *it, int arg) {
    PyObject *r = Py_TYPE(it) == run->st->ready_type     ? fl_ready_peek(it)
                  : Py_TYPE(it) == run->st->awaited_type ? fl_awaited_peek(run, it)
                                                         : fl_unknown(run->st);
    if (!r)
        return -1;
    if (fl_is_unknown(run->st, r))
        fl_session_blocked(run->session, 0);
    finish_send(f, r);
    f->ip += arg;
    return 0;
}

static int op_get_awaitable(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *o = fl_see(run, *fl_at(f, 1)), *it;
    int found;
    (void)arg;
    if (fl_is_unknown(run->st, o) || fl_gen_check(run->st, o) || PyCoro_CheckExact(o) ||
        Py_TYPE(o) == run->st->ready_type || Py_TYPE(o) == run->st->awaited_type)
        return 0;
    it = fl_call_method(run, o, "__await__", NULL, 0, &found);
    if (!it && !PyErr_Occurred())
        it = fl_unknown(run->st);
    if (!it)
        return -1;
    Py_XSETREF(*fl_at(f, 1), it);
    return 0;
}

static int op_send(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *value = fl_pop(f), *it = fl_see(run, *fl_at(f, 1)), *r = NULL;
    if (PyGen_CheckExact(it) || PyCoro_CheckExact(it))
        it = fl_own(run, it);
    int awaits = f->code->code->co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR);
    if (it && awaits && !fl_gen_check(run->st, it)) {
        Py_DECREF(value);
        return await_known(run, f, it, arg);
    }
    if (!it || fl_is_unknown(run->st, it)) {
        Py_DECREF(value);
        return it ? fl_stop(run, FL_WHY_VALUE, "yield from something that is not there yet") : -1;
    }
    if (fl_gen_check(run->st, it)) {
        Py_INCREF(it);
        r = fl_gen_send(run, it, value);
        Py_DECREF(it);
    } else if (value == Py_None) {
        int rc = fl_next(run, it, &r);
        if (rc == 0)
            PyErr_SetNone(PyExc_StopIteration);
    } else {
        fl_stop(run, FL_WHY_OTHER, "sends to an iterator");
    }
    Py_DECREF(value);
    if (r) {
        fl_push(f, r);
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_StopIteration))
        return -1;
    PyObject *stop = PyErr_GetRaisedException();
    r = PyObject_GetAttrString(stop, "value");
    Py_DECREF(stop);
    if (!r)
        return -1;
    finish_send(f, r);
    f->ip += arg;
    return 0;
}

/* --- exceptions ------------------------------------------------------------------------------------------ */

static int op_push_exc_info(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    PyObject *exception = fl_pop(f);
    fl_push(f, Py_NewRef(run->handled ? run->handled : Py_None));
    Py_XSETREF(run->handled, Py_NewRef(exception));
    fl_push(f, exception);
    return 0;
}

static int op_pop_except(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    PyObject *before = fl_pop(f);
    if (before == Py_None)
        Py_CLEAR(before);
    Py_XSETREF(run->handled, before);
    return 0;
}

static int op_check_exc_match(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    PyObject *type = fl_pop(f), *exception = *fl_at(f, 1);
    if (fl_is_unknown(run->st, type)) {
        Py_DECREF(type);
        return fl_stop(run, FL_WHY_VALUE, "an except clause that is not known");
    }
    int match = PyErr_GivenExceptionMatches(exception, type);
    Py_DECREF(type);
    fl_push(f, PyBool_FromLong(match));
    return 0;
}

static int raise_object(struct fl_run *run, PyObject *o) {
    if (fl_is_unknown(run->st, o))
        return fl_stop(run, FL_WHY_VALUE, "raises something that is not there yet");
    PyObject *exception = PyExceptionClass_Check(o) ? fl_call(run, o, NULL, 0, NULL) : Py_NewRef(o);
    if (!exception)
        return -1;
    if (PyExceptionInstance_Check(exception))
        core_raise_as_is(exception);
    else if (fl_is_unknown(run->st, exception))
        fl_stop(run, FL_WHY_VALUE, "raises something that is not there yet");
    else
        PyErr_SetString(PyExc_TypeError, "exceptions must derive from BaseException");
    Py_DECREF(exception);
    return -1;
}

static int op_raise(struct fl_run *run, struct fl_frame *f, int arg) {
    if (arg == 2)
        Py_DECREF(fl_pop(f)); /* the cause: nobody will look at it */
    if (arg == 0)
        return run->handled ? raise_object(run, run->handled)
                            : fl_stop(run, FL_WHY_OTHER, "raises what is being handled outside");
    PyObject *o = fl_pop(f);
    raise_object(run, fl_see(run, o));
    Py_DECREF(o);
    return -1;
}

static int op_reraise(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *exception = fl_pop(f);
    (void)arg;
    if (!PyExceptionInstance_Check(exception)) {
        Py_DECREF(exception);
        return fl_stop(run, FL_WHY_OTHER, "raises something unusual");
    }
    raise_object(run, exception);
    Py_DECREF(exception);
    return -1;
}

/* The special method of a context manager, not bound: borrowed. */
static PyObject *special_function(struct fl_run *run, PyObject *o, PyObject *name) {
    if (fl_is_unknown(run->st, o)) {
        fl_stop(run, FL_WHY_VALUE, "with something that is not there yet");
        return NULL;
    }
    PyObject *method = core_type_lookup(Py_TYPE(o), name);
    if (!method || !PyFunction_Check(method)) {
        fl_stop(run, FL_WHY_OTHER, "a context manager that is not Python's");
        return NULL;
    }
    return method;
}

static PyObject *special(struct fl_run *run, PyObject *o, PyObject *name) {
    PyObject *method = special_function(run, o, name);
    return method ? PyMethod_New(method, o) : NULL;
}

/* Leaves the method below its object, as a call finds them. */
static int op_load_special(struct fl_run *run, struct fl_frame *f, int which) {
    struct flow_state *st = run->st;
    PyObject *const names[] = {st->s_enter, st->s_exit, st->s_aenter, st->s_aexit};
    PyObject **at = fl_at(f, 1), *manager = *at;
    PyObject *method = special_function(run, fl_see(run, manager), names[which & 3]);
    if (!method)
        return -1;
    *at = Py_NewRef(method);
    fl_push(f, manager);
    return 0;
}

static int enter_with(struct fl_run *run, struct fl_frame *f, PyObject *enter_name,
                      PyObject *exit_name) {
    PyObject *manager = fl_pop(f), *seen = fl_see(run, manager);
    PyObject *exit = special(run, seen, exit_name),
             *enter = exit ? special(run, seen, enter_name) : NULL;
    PyObject *r = enter ? fl_call(run, enter, NULL, 0, NULL) : NULL;
    Py_DECREF(manager);
    Py_XDECREF(enter);
    if (!r) {
        Py_XDECREF(exit);
        return -1;
    }
    fl_push(f, exit);
    fl_push(f, r);
    return 0;
}

static int op_before_with(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    return enter_with(run, f, run->st->s_enter, run->st->s_exit);
}

static int op_with_except_start(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    PyObject *exception = *fl_at(f, 1), *self = FL_EXIT_UNBOUND ? *fl_at(f, 4) : NULL;
    PyObject *exit = *fl_at(f, FL_EXIT_UNBOUND ? 5 : 4);
    PyObject *args[4] = {fl_see(run, self), (PyObject *)Py_TYPE(exception), exception, Py_None};
    PyObject *r = fl_call(run, exit, self ? args : args + 1, self ? 4 : 3, NULL);
    if (!r)
        return -1;
    fl_push(f, r);
    return 0;
}

/* --- async for, async with ---------------------------------------------------------------------------------- */

static int op_get_aiter(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *o = fl_see(run, *fl_at(f, 1)), *it;
    int found;
    (void)arg;
    if (fl_gen_check(run->st, o) || PyAsyncGen_CheckExact(o))
        return 0;
    it = fl_is_unknown(run->st, o) ? NULL : fl_call_method(run, o, "__aiter__", NULL, 0, &found);
    if (!it)
        return fl_stop(run, FL_WHY_VALUE, "async for over something that is not there yet");
    Py_XSETREF(*fl_at(f, 1), it);
    return 0;
}

/* What awaiting the next item will give; an async generator is run right here, for its awaits take no turns. */
static PyObject *next_awaited(struct fl_run *run, PyObject *it) {
    if (PyAsyncGen_CheckExact(it) && !(it = fl_own(run, it)))
        return NULL;
    if (fl_gen_check(run->st, it)) {
        Py_INCREF(it);
        PyObject *item = fl_gen_send(run, it, Py_None);
        Py_DECREF(it);
        if (!item && PyErr_ExceptionMatches(PyExc_StopIteration))
            PyErr_SetNone(PyExc_StopAsyncIteration);
        return item ? fl_ready_new(run->st, item) : NULL;
    }
    int found;
    PyObject *r =
        fl_is_unknown(run->st, it) ? NULL : fl_call_method(run, it, "__anext__", NULL, 0, &found);
    if (!r)
        fl_stop(run, FL_WHY_VALUE, "async for over something that is not there yet");
    return r;
}

static int op_get_anext(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *r = next_awaited(run, fl_see(run, *fl_at(f, 1)));
    if (!r)
        return -1;
    fl_push(f, r);
    return op_get_awaitable(run, f, arg);
}

/* The iterator and what was raised lie on the stack: it is through, or something went wrong. */
static int op_end_async_for(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *exception = *fl_at(f, 1);
    if (!PyErr_GivenExceptionMatches(exception, PyExc_StopAsyncIteration))
        return op_reraise(run, f, arg);
    Py_DECREF(fl_pop(f));
    Py_XDECREF(fl_pop(f));
    return 0;
}

static int op_before_async_with(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    return enter_with(run, f, run->st->s_aenter, run->st->s_aexit);
}

/* --- pattern matching --------------------------------------------------------------------------------------- */

static int match_flag(struct fl_run *run, struct fl_frame *f, unsigned long flag) {
    PyObject *o = fl_see(run, *fl_at(f, 1));
    PyObject *r = fl_is_unknown(run->st, o) ? fl_unknown(run->st)
                                            : PyBool_FromLong(PyType_HasFeature(Py_TYPE(o), flag));
    fl_push(f, r);
    return r ? 0 : -1;
}

static int op_match_mapping(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    return match_flag(run, f, Py_TPFLAGS_MAPPING);
}
static int op_match_sequence(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    return match_flag(run, f, Py_TPFLAGS_SEQUENCE);
}

static int op_get_len(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    PyObject *o = fl_see(run, *fl_at(f, 1)), *r = NULL;
    if (fl_is_unknown(run->st, o))
        r = fl_unknown(run->st);
    else if (fl_kind(run->st, Py_TYPE(o)))
        r = PyLong_FromSsize_t(PyObject_Size(o));
    else
        return fl_stop(run, FL_WHY_OTHER, "matches an object of an unknown type");
    fl_push(f, r);
    return r ? 0 : -1;
}

static int op_match_keys(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    PyObject *keys = *fl_at(f, 1), *map = fl_see(run, *fl_at(f, 2)), *r = NULL;
    if (fl_is_unknown(run->st, map)) {
        r = fl_unknown(run->st);
    } else if (!PyDict_CheckExact(map)) {
        return fl_stop(run, FL_WHY_OTHER, "matches a mapping of an unknown type");
    } else {
        r = PyTuple_New(PyTuple_GET_SIZE(keys));
        for (Py_ssize_t i = 0; r && r != Py_None && i < PyTuple_GET_SIZE(keys); i++) {
            PyObject *value = PyDict_GetItemWithError(map, PyTuple_GET_ITEM(keys, i));
            if (value)
                PyTuple_SET_ITEM(r, i, Py_NewRef(fl_see(run, value)));
            else
                Py_SETREF(r, PyErr_Occurred() ? NULL : Py_NewRef(Py_None));
        }
    }
    if (!r)
        return -1;
    fl_push(f, r);
    return 0;
}

/* A tuple of the attributes: the first `count` of __match_args__, then those named; None: one is missing; NULL. */
static PyObject *match_attributes(struct fl_run *run, PyObject *o, PyTypeObject *type, int count,
                                  PyObject *names) {
    PyObject *first = count ? PyObject_GetAttrString((PyObject *)type, "__match_args__") : NULL;
    Py_ssize_t more = PyTuple_GET_SIZE(names);
    PyObject *r = NULL;
    if (count && (!first || !PyTuple_Check(first) || PyTuple_GET_SIZE(first) < count)) {
        PyErr_Clear();
        fl_stop(run, FL_WHY_OTHER, "a pattern that does not fit the class");
    } else {
        r = PyTuple_New(count + more);
    }
    for (Py_ssize_t i = 0; r && r != Py_None && i < count + more; i++) {
        PyObject *name =
            i < count ? PyTuple_GET_ITEM(first, i) : PyTuple_GET_ITEM(names, i - count);
        PyObject *value = fl_getattr(run, o, name);
        if (value) {
            PyTuple_SET_ITEM(r, i, value);
        } else if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear();
            Py_SETREF(r, Py_NewRef(Py_None));
        } else {
            Py_CLEAR(r);
        }
    }
    Py_XDECREF(first);
    return r;
}

static int op_match_class(struct fl_run *run, struct fl_frame *f, int count) {
    PyObject *names = fl_pop(f), *type = fl_pop(f), *o = fl_pop(f), *subject = fl_see(run, o),
             *r = NULL;
    if (fl_is_unknown(run->st, subject)) {
        r = fl_unknown(run->st);
    } else if (PyType_Check(type) && !PyObject_TypeCheck(subject, (PyTypeObject *)type)) {
        r = Py_NewRef(Py_None);
    } else if (PyType_Check(type) && PyTuple_GET_SIZE(names) == 0 &&
               (count == 0 || (count == 1 && fl_kind(run->st, (PyTypeObject *)type)))) {
        r = count ? PyTuple_Pack(1, subject) : PyTuple_New(0);
    } else if (PyType_Check(type) && fl_user_class(run->st, (PyTypeObject *)type)) {
        r = match_attributes(run, subject, (PyTypeObject *)type, count, names);
    } else {
        fl_stop(run, FL_WHY_OTHER, "matches the attributes of a class");
    }
    Py_DECREF(names);
    Py_DECREF(type);
    Py_DECREF(o);
    if (!r)
        return -1;
    fl_push(f, r);
    return 0;
}

void fl_ops_jump(fl_op *t) {
    t[POP_JUMP_FORWARD_IF_FALSE] = op_forward_false;
    t[POP_JUMP_FORWARD_IF_TRUE] = op_forward_true;
    t[POP_JUMP_BACKWARD_IF_FALSE] = op_backward_false;
    t[POP_JUMP_BACKWARD_IF_TRUE] = op_backward_true;
    t[POP_JUMP_FORWARD_IF_NONE] = op_forward_none;
    t[POP_JUMP_FORWARD_IF_NOT_NONE] = op_forward_not_none;
    t[POP_JUMP_BACKWARD_IF_NONE] = op_backward_none;
    t[POP_JUMP_BACKWARD_IF_NOT_NONE] = op_backward_not_none;
    t[JUMP_IF_FALSE_OR_POP] = op_false_or_pop;
    t[JUMP_IF_TRUE_OR_POP] = op_true_or_pop;
    t[JUMP_FORWARD] = op_jump_forward;
    t[JUMP_BACKWARD] = t[JUMP_BACKWARD_NO_INTERRUPT] = op_jump_backward;
    t[GET_ITER] = op_get_iter;
    t[FOR_ITER] = op_for_iter;
    t[RETURN_VALUE] = op_return_value;
    t[RETURN_CONST] = op_return_const;
    t[END_FOR] = op_end_for;
    t[END_SEND] = op_end_send;
    t[STOP_ITERATION_ERROR] = op_stop_iteration_error;
    t[RETURN_GENERATOR] = op_return_generator;
    t[YIELD_VALUE] = op_yield_value;
    t[GET_YIELD_FROM_ITER] = op_get_yield_from_iter;
    t[SEND] = op_send;
    t[GET_AITER] = op_get_aiter;
    t[GET_ANEXT] = op_get_anext;
    t[END_ASYNC_FOR] = op_end_async_for;
    t[BEFORE_ASYNC_WITH] = op_before_async_with;
    t[GET_AWAITABLE] = op_get_awaitable;
    t[PUSH_EXC_INFO] = op_push_exc_info;
    t[POP_EXCEPT] = op_pop_except;
    t[CHECK_EXC_MATCH] = op_check_exc_match;
    t[RAISE_VARARGS] = op_raise;
    t[RERAISE] = op_reraise;
    t[LOAD_SPECIAL] = op_load_special;
    t[BEFORE_WITH] = op_before_with;
    t[WITH_EXCEPT_START] = op_with_except_start;
    t[MATCH_MAPPING] = op_match_mapping;
    t[MATCH_SEQUENCE] = op_match_sequence;
    t[GET_LEN] = op_get_len;
    t[MATCH_KEYS] = op_match_keys;
    t[MATCH_CLASS] = op_match_class;
}
