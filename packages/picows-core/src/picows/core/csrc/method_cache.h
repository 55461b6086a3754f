/* A method of an object, found without looking it up by name.
 *
 * `PyObject_VectorcallMethod` spends 247 instructions on finding a method that is nearly always the one of the call
 * before: a fifth of what receiving a small frame costs. What the class has under the name is remembered here for as
 * long as the class has the same version tag, which it loses with every change to it or to its bases; what the object
 * itself has under that name goes before, and is looked for each time.
 *
 * The interpreter does the same in its inline caches, but those belong to bytecode: a trampoline of bytecode costs more
 * than it saves.
 */
#ifndef PICOWS_METHOD_CACHE_H
#define PICOWS_METHOD_CACHE_H

#include <Python.h>

#include "platform.h"

typedef struct {
    PyTypeObject *type;
    unsigned int version; /* 0 is no version */
    PyObject *function;   /* borrowed of `type`; NULL if the lookup by name has to find what `type` has */
} picows_method;

#ifndef Py_GIL_DISABLED /* else another thread may change the class between the look at its version and the call */

PICOWS_INLINE unsigned int picows_version(const PyTypeObject *type)
{
#  if PY_VERSION_HEX < 0x030C0000
    if (!(type->tp_flags & Py_TPFLAGS_VALID_VERSION_TAG)) /* before 3.11 the tag outlives its validity */
        return 0;
#  endif
    return type->tp_version_tag;
}

/* Classes that have their own ways of finding attributes, and descriptors other than functions, are left to the lookup
 * by name, and so are classes without a version. */
static void picows_remember_method(picows_method *method, PyTypeObject *type, PyObject *name)
{
    PyObject *function = type->tp_getattro == PyObject_GenericGetAttr ? _PyType_Lookup(type, name) : NULL;
    const int is_method = function != NULL && PyType_HasFeature(Py_TYPE(function), Py_TPFLAGS_METHOD_DESCRIPTOR);
    method->type = type;
    method->version = picows_version(type); /* the lookup has given it one, unless there are none left */
    method->function = is_method && method->version != 0 ? function : NULL;
}

/* Returns: the function to call with `self` as its first argument, borrowed until anything else is called; NULL, without
 * an exception, if `name` has to be looked up. */
PICOWS_INLINE PyObject *picows_find_method(picows_method *method, PyObject *self, PyObject *name)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject **dict;
    if (method->type != type || method->version != picows_version(type))
        picows_remember_method(method, type, name);
    if (method->function == NULL)
        return NULL;
    dict = _PyObject_GetDictPtr(self);
    if (dict != NULL && *dict != NULL) {
        if (PyDict_GetItemWithError(*dict, name) != NULL)
            return NULL;
        if (PyErr_Occurred()) { /* of a key that is no string; the lookup by name raises it again */
            PyErr_Clear();
            return NULL;
        }
    }
    return method->function;
}

#endif

/* Call the method `name` of args[0] with the arguments behind it, and drop what it returns.
 *
 * `method` is a picows_method that was all zero at first, in memory that Cython has no type for.
 * Returns: 0, or -1 with an exception. */
PICOWS_INLINE int picows_call_method(void *method, PyObject *name, PyObject **args, size_t nargs)
{
    PyObject *function = NULL, *result;
#ifdef Py_GIL_DISABLED
    (void)method;
#else
    function = picows_find_method(method, args[0], name);
#endif
    if (function == NULL) {
        result = PyObject_VectorcallMethod(name, args, nargs, NULL);
    } else {
        Py_INCREF(function); /* the call may take it out of its class */
        result = PyObject_Vectorcall(function, args, nargs, NULL);
        Py_DECREF(function);
    }
    if (result == NULL)
        return -1;
    Py_DECREF(result);
    return 0;
}

#endif
