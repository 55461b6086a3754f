# cython: binding=False, embedsignature.format=clinic
"""One received frame: a view of the read buffer that may be kept.

The frame holds a reference to the memory that its payload lies in. While a batch is processed one frame object is
used again and again; when somebody keeps it, or a memoryview of it, the connection sees that from its reference count,
leaves object and memory alone, and goes on with others (see `protocol`).
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromObject
from cpython.unicode cimport PyUnicode_DecodeASCII, PyUnicode_DecodeUTF8

from ._kernels cimport LIVE_FRAME, PICOWS_IS_DEBUG, count_live
from .buffers cimport fill_view

from picows.enums import WSCloseCode as _WSCloseCode
from picows.enums import close_code as _close_code
from picows.enums import WSMsgType as _WSMsgType


cdef extern from *:
    """
    #include <structmember.h>
    #ifndef T_OBJECT_EX
    #  define T_OBJECT_EX Py_T_OBJECT_EX
    #  define READONLY Py_READONLY
    #endif

    static PyMemberDef picows_msg_type_def = {
        "msg_type", T_OBJECT_EX, 0, READONLY, "The opcode, a member of picows.WSMsgType."
    };

    /* A member descriptor, because the interpreter reads one without a call (LOAD_ATTR_SLOT since Python 3.11). */
    static int picows_add_msg_type(PyTypeObject *type, Py_ssize_t offset)
    {
        PyObject *descriptor;
        int failed;

        picows_msg_type_def.offset = offset;
        descriptor = PyDescr_NewMember(type, &picows_msg_type_def);
        if (descriptor == NULL) {
            return -1;
        }
        failed = PyDict_SetItemString(type->tp_dict, "msg_type", descriptor);
        Py_DECREF(descriptor);
        PyType_Modified(type);
        return failed;
    }
    """
    int picows_add_msg_type(type cls, Py_ssize_t offset) except -1


# The members of WSMsgType by opcode. They live as long as the interpreter.
cdef PyObject* _members[16]
cdef tuple _all_members = tuple([_WSMsgType(opcode) for opcode in range(16)])


cdef int _fill_members() except -1:
    cdef int opcode
    for opcode in range(16):
        _members[opcode] = <PyObject*>_all_members[opcode]
    return 0


_fill_members()


@cython.no_gc
@cython.freelist(64)
cdef class WSFrame:
    """A frame as it was received (RFC 6455 5.2), unmasked.

    Instances are made by the library. They may be kept after the callback, as may views of their payload.
    """

    def __cinit__(self):
        self.payload_ptr = b""
        self._msg_type_member = _members[0]
        if PICOWS_IS_DEBUG:
            count_live(LIVE_FRAME, 1)

    def __dealloc__(self):
        if PICOWS_IS_DEBUG:
            count_live(LIVE_FRAME, -1)

    def __getbuffer__(self, Py_buffer* view, int flags):
        fill_view(view, self, self.payload_ptr, self.payload_size, 1, flags)

    cpdef bytes get_payload_as_bytes(self):
        """The payload as bytes."""
        return PyBytes_FromStringAndSize(self.payload_ptr, self.payload_size)

    cpdef str get_payload_as_utf8_text(self):
        """The payload decoded as UTF-8; UnicodeDecodeError if it is not UTF-8."""
        return PyUnicode_DecodeUTF8(self.payload_ptr, self.payload_size, NULL)

    cpdef str get_payload_as_ascii_text(self):
        """The payload decoded as ASCII; UnicodeDecodeError if it is not ASCII."""
        return PyUnicode_DecodeASCII(self.payload_ptr, self.payload_size, NULL)

    cpdef object get_payload_as_memoryview(self):
        """The payload without a copy, read-only. The view stays valid and unchanged for as long as it is kept."""
        return PyMemoryView_FromObject(self)

    cpdef object get_close_code(self):
        """The code of a CLOSE frame (RFC 6455 5.5.1), NO_INFO if it has none; ValueError for other frames."""
        self._require_close("get_close_code")
        if self.payload_size < 2:
            return _WSCloseCode.NO_INFO
        return _close_code((<uint8_t>self.payload_ptr[0]) << 8 | <uint8_t>self.payload_ptr[1])

    cpdef bytes get_close_message(self):
        """The reason of a CLOSE frame as bytes, None if it has no code either; ValueError for other frames."""
        self._require_close("get_close_message")
        if self.payload_size < 2:
            return None
        return PyBytes_FromStringAndSize(self.payload_ptr + 2, self.payload_size - 2)

    cpdef str get_close_reason(self):
        """The reason of a CLOSE frame as text, None if it has no code either; ValueError for other frames."""
        cdef bytes message = self.get_close_message()
        return None if message is None else message.decode()

    cdef int _require_close(self, str method) except -1:
        if self.msg_type != WSMsgType.CLOSE:
            name = (<object>self._msg_type_member).name
            raise ValueError(f"WSFrame.{method} is for CLOSE frames, this one is {name}")
        return 0

    def __str__(self):
        name = (<object>self._msg_type_member).name
        return (
            f"WSFrame({name}, fin={bool(self.fin)}, rsv1={bool(self.rsv1)}, rsv2={bool(self.rsv2)},"
            f" rsv3={bool(self.rsv3)}, last_in_buffer={bool(self.last_in_buffer)}, payload_sz={self.payload_size},"
            f" tail_sz={self.tail_size})"
        )

    def __repr__(self):
        return self.__str__()


cdef int _add_msg_type() except -1:
    cdef WSFrame frame = WSFrame.__new__(WSFrame)
    return picows_add_msg_type(WSFrame, <char*>&frame._msg_type_member - <char*><PyObject*>frame)


_add_msg_type()


cdef WSFrame new_frame(object owner):
    """An empty frame in the memory of `owner`."""
    cdef WSFrame frame = WSFrame.__new__(WSFrame)
    frame._owner = owner
    return frame


cdef PyObject** type_members() noexcept:
    return _members


cpdef WSFrame _make_test_ws_frame(int msg_type, bytes payload, bint fin=True, bint rsv1=False):
    """A frame that nobody has sent, for tests of listeners."""
    if payload is None:
        raise TypeError("payload must be bytes, got None")
    cdef WSFrame frame = new_frame(payload)
    fill_frame(
        frame,
        _members,
        (0x80 if fin else 0) | (0x40 if rsv1 else 0) | (msg_type & 0x0F),
        PyBytes_AS_STRING(payload),
        PyBytes_GET_SIZE(payload),
        0,
    )
    frame.last_in_buffer = 1
    return frame
