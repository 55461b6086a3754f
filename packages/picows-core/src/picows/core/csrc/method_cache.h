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
    PyObject *function;   /* borrowed of `type`, and NULL if `type` has nothing that can be called with self first */
} picows_method;

PICOWS_INLINE int picows_has_version(const PyTypeObject *type)
{
#if PY_VERSION_HEX < 0x030C0000
    if (!(type->tp_flags & Py_TPFLAGS_VALID_VERSION_TAG)) /* before 3.11 the tag outlives its validity */
        return 0;
#endif
    return type->tp_version_tag != 0;
}

/* Classes that have their own ways of finding attributes, and descriptors other than functions, are left to the lookup
 * by name. */
static void picows_remember_method(picows_method *method, PyTypeObject *type, PyObject *name)
{
    PyObject *function = type->tp_getattro == PyObject_GenericGetAttr ? _PyType_Lookup(type, name) : NULL;
    const int is_method = function != NULL && PyType_HasFeature(Py_TYPE(function), Py_TPFLAGS_METHOD_DESCRIPTOR);
    method->type = type;
    /* The lookup has given the type a version, unless there are none left. */
    method->version = picows_has_version(type) ? type->tp_version_tag : 0;
    method->function = is_method ? function : NULL;
}

/* Returns: the function to call with `self` as its first argument, borrowed until anything else is called; NULL, without
 * an exception, if `name` has to be looked up. */
PICOWS_INLINE PyObject *picows_find_method(picows_method *method, PyObject *self, PyObject *name)
{
#ifdef Py_GIL_DISABLED /* another thread may change the class between the look at its version and the call */
    (void)method, (void)self, (void)name;
    return NULL;
#else
    PyTypeObject *type = Py_TYPE(self);
    PyObject **dict;
    if (method->type != type || method->version != type->tp_version_tag || !picows_has_version(type)) {
        picows_remember_method(method, type, name);
        if (method->version == 0)
            return NULL;
    }
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
#endif
}

#endif
