cdef class Waiter:
    cdef:
        object __weakref__
        object _loop
        # What to call, in which context; and others, as a list of such pairs, if anybody adds a second.
        object _callback
        object _context
        list _others
        object _message
        bint is_done
        bint _is_cancelled
        bint _is_blocking

    cdef int wake(self) except -1
    cdef int wake_soon(self) except -1
    cdef bint _may_run_now(self) except -1
    cdef object _cancelled_error(self)


cdef Waiter new_waiter(loop)
