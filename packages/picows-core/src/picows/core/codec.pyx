# cython: embedsignature=False
"""The messages of permessage-deflate (RFC 7692 7.2): the codec of `picows.core`.

The twin of `picows.codec`, which has the contract; what is not simple is left to `picows.inflate`, as there. zlib is
called as a module of Python, because which one it is may be chosen, and its headers are not everywhere. The message
layer calls `_deflate` and `_inflate`, which save it a copy each.
"""

import zlib

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

from picows.deflate_options import CLIENT_DEFLATE
from picows.inflate import damaged as _damaged
from picows.inflate import inflate as _inflate_rest
from picows.inflate import new_compressor as _new_compressor
from picows.inflate import new_inflater as _new_inflater
from picows.inflate import release as _release
from picows.inflate import JOIN_LIMIT as _JOIN_LIMIT
from picows.inflate import MAX_CHUNKS as _MAX_CHUNKS
from picows.inflate import OUTPUT_CHUNK as _OUTPUT_CHUNK
from picows.inflate import TAIL as _TAIL

cdef Py_ssize_t JOIN_LIMIT = _JOIN_LIMIT
cdef Py_ssize_t MAX_CHUNKS = _MAX_CHUNKS
cdef Py_ssize_t OUTPUT_CHUNK = _OUTPUT_CHUNK
cdef bytes TAIL = _TAIL
cdef object SYNC_FLUSH = zlib.Z_SYNC_FLUSH


cdef class Window:
    """The end of a stream of bytes, as references to the messages that they came in.

    Args:
        size: how many bytes of it matter.
    """

    def __init__(self, Py_ssize_t size):
        self._size = size
        self._chunks = []

    def __len__(self):
        """How many bytes are kept."""
        return self._kept

    cpdef add(self, bytes chunk):
        """Append some bytes; of many only the end is kept."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(chunk)
        if size > self._size:
            self._chunks = [PyBytes_FromStringAndSize(PyBytes_AS_STRING(chunk) + size - self._size, self._size)]
            self._kept = self._size
        else:
            self._chunks.append(chunk)
            self._kept += size
            if self._kept > 2 * self._size:  # twice, so that this is rare
                self._forget()
            if len(self._chunks) > MAX_CHUNKS:
                self.trim()

    cpdef bytes trim(self):
        """The window itself; nothing else is kept."""
        cdef bytes window = b"".join(self._chunks)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(window)
        if size > self._size:
            window = PyBytes_FromStringAndSize(PyBytes_AS_STRING(window) + size - self._size, self._size)
        self._chunks = [window]
        self._kept = PyBytes_GET_SIZE(window)
        return window

    cdef int _forget(self) except -1:
        """Drop the chunks of which nothing is in the window."""
        cdef Py_ssize_t count = 0, size = PyBytes_GET_SIZE(self._chunks[0])
        while self._kept - size >= self._size:
            self._kept -= size
            count += 1
            size = PyBytes_GET_SIZE(self._chunks[count])
        del self._chunks[:count]
        return 0


cdef class DeflateCodec:
    """Compresses and decompresses the messages of one connection (RFC 7692 7.2). Unusable after an error.

    Args:
        parameters: what was agreed.
        is_client_side: which side we are.
        options: level, mem_level and threshold of our compressor.
        zlib_module: zlib, or a module with the same interface.
    """

    def __init__(self, parameters, bint is_client_side, options=CLIENT_DEFLATE, zlib_module=zlib):
        client = parameters.client_no_context_takeover, -parameters.client_max_window_bits
        server = parameters.server_no_context_takeover, -parameters.server_max_window_bits
        self._sends_no_context, self._sends_wbits = client if is_client_side else server
        self._receives_no_context, self._receives_wbits = server if is_client_side else client
        self._level = options.level
        self._mem_level = options.mem_level
        self._threshold = options.threshold
        self._zlib = zlib_module
        self._sent = Window(1 << -self._sends_wbits)
        self._received = Window(1 << -self._receives_wbits)

    def _on_use(self):
        """It is used, and `_is_used` was False. Layers above override this."""
        self._is_used = True

    def should_compress(self, Py_ssize_t size):
        """True if a message of `size` bytes is worth compressing; the others are sent without RSV1."""
        return self._is_worth_it(size)

    def compress(self, payload):
        """Compress one message.

        Args:
            payload: a bytes-like object. What is bytes may be kept as long as the peer may refer to it.

        Returns:
            The payload of the frame that has RSV1 set. A message of 0 bytes is one byte 00 (RFC 7692 7.2.3.6).
        """
        cdef bytes deflated = self._deflate(payload if type(payload) is bytes else bytes(memoryview(payload)))
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(deflated), PyBytes_GET_SIZE(deflated) - TAIL_SIZE)

    def decompress(self, data, bint fin, budget=None):
        """Decompress one fragment, or a message that is not fragmented.

        Args:
            data: payload of the frame, a bytes-like object; it is not kept.
            fin: True for the last fragment of the message.
            budget: how many bytes the rest of the message may inflate to, this fragment included. None: no limit. At
                most budget + 1 bytes are inflated.

        Raises:
            WSMessageTooBigError: the message inflates to more than it may (1009).
            WSProtocolError: the data is not DEFLATE, or refers to bytes outside the agreed window (1002).
            ValueError: budget is negative.
        """
        cdef Py_buffer view
        if budget is not None and budget < 0:
            raise ValueError(f"budget must be at least 0, got {budget}")
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            return self._inflate(<const char*>view.buf, view.len, fin, budget)
        finally:
            PyBuffer_Release(&view)

    def release(self):
        """Give the memory of the zlib contexts back, while the connection idles. They are made again when needed.

        What remains is the window of each direction (2**bits bytes) where context takeover was agreed. The inflater of
        a message of which only a part was received is kept.
        """
        _release(self)

    cdef bint _is_worth_it(self, Py_ssize_t size) noexcept:
        return size >= self._threshold

    cdef bytes _deflate(self, bytes payload):
        """`compress`, but with the TAIL_SIZE bytes that are not transmitted."""
        cdef bytes head, body
        if not PyBytes_GET_SIZE(payload):
            return b"\x00" + TAIL  # zlib itself returns nothing for the second of two empty messages
        if not self._is_used:
            self._on_use()
        compressor = self._compressor
        if compressor is None:
            compressor = _new_compressor(self)
        try:
            head = compressor.compress(payload)
            body = compressor.flush(SYNC_FLUSH)
        except BaseException:
            self._compressor = None  # it has taken a part of what the peer will never get
            raise
        if not self._sends_no_context:
            self._compressor = compressor
            self._sent.add(payload)
        return head + body if PyBytes_GET_SIZE(head) else body

    cdef bytes _inflate(self, const char* data, Py_ssize_t size, bint fin, object budget):
        """`decompress`; whoever calls it has checked the budget."""
        cdef bytes source, chunk
        cdef Py_ssize_t limit = OUTPUT_CHUNK
        if not self._is_used:
            self._on_use()
        if not fin or not 0 < size < JOIN_LIMIT:
            return _inflate_rest(self, PyBytes_FromStringAndSize(data, size), 0, fin, budget)
        source = PyBytes_FromStringAndSize(NULL, size + TAIL_SIZE)
        memcpy(PyBytes_AS_STRING(source), data, size)
        memcpy(PyBytes_AS_STRING(source) + size, PyBytes_AS_STRING(TAIL), TAIL_SIZE)
        if self._needs_tail or self._streams:
            return _inflate_rest(self, source, TAIL_SIZE, fin, budget)
        inflater = self._inflater
        if inflater is None:
            inflater = self._inflater = _new_inflater(self)
        # Nearly all messages are this: one call of zlib, which has room for what comes.
        if budget is not None and budget < OUTPUT_CHUNK:
            limit = <Py_ssize_t>budget + 1
        try:
            chunk = inflater.decompress(source, _OUTPUT_CHUNK if limit == OUTPUT_CHUNK else limit)
        except self._zlib.error as exc:
            raise _damaged(exc) from exc
        if PyBytes_GET_SIZE(chunk) == limit or inflater.eof:
            return _inflate_rest(self, source, TAIL_SIZE, fin, budget, chunk)
        if self._receives_no_context:
            self._inflater = None
        else:
            self._received.add(chunk)
        return chunk
