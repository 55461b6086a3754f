# cython: language_level=3, freethreading_compatible=True
"""The flood listener of `picows_like.py` in Cython. `cimports.pxi` is written by build.py: one line for each library."""

include "cimports.pxi"


cdef class Flood(WSListener):
    """Reads the first byte of each payload; an empty payload is a mark."""

    cdef object marks
    cdef readonly unsigned long long touched

    def __init__(self, marks):
        self.marks = marks

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        if frame.payload_size:
            self.touched += 1 + <unsigned char>frame.payload_ptr[0]
        else:
            self.marks.mark()
