"""Objects over a socket between two processes of this program, arrays without copies on the way.

Nothing here is for data from outside: objects are pickled.
"""

import pickle
import socket
import struct
import time
from typing import Any

import numpy as np

_HEADER = struct.Struct("=QI")  # bytes of the pickle, number of buffers
_SIZE = struct.Struct("=Q")


class Channel:
    """One end of a connection. Sending raises ConnectionError when the other end is gone."""

    def __init__(self, connection: socket.socket):
        self._socket = connection

    @classmethod
    def from_descriptor(cls, descriptor: int) -> "Channel":
        """The end that a parent process handed down."""
        return cls(socket.socket(fileno=descriptor))

    def send(self, value: Any) -> None:
        """Sends one object; arrays inside go as they lie in memory."""
        buffers: list[pickle.PickleBuffer] = []
        data = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        views = [buffer.raw() for buffer in buffers]
        sizes = b"".join(_SIZE.pack(view.nbytes) for view in views)
        self._socket.settimeout(None)
        self._socket.sendall(_HEADER.pack(len(data), len(views)) + sizes + data)
        for view in views:
            self._socket.sendall(view)

    def receive(self, seconds: float | None = None) -> Any:
        """The next object, whole within `seconds`.

        Raises TimeoutError, after which the channel cannot be used, and EOFError when the other end
        was closed.
        """
        end = None if seconds is None else time.monotonic() + seconds
        size, count = _HEADER.unpack(self._read(_HEADER.size, end))
        sizes = [_SIZE.unpack(self._read(_SIZE.size, end))[0] for _ in range(count)]
        data = self._read(size, end)
        return pickle.loads(data, buffers=[self._read(size, end) for size in sizes])

    def close(self) -> None:
        self._socket.close()

    def _read(self, size: int, end: float | None) -> memoryview:
        """The next `size` bytes."""
        view = data = np.empty(size, np.uint8).data  # which, unlike a bytearray, is not filled
        while view:
            if end is not None:
                self._socket.settimeout(max(end - time.monotonic(), 1e-3))
            count = self._socket.recv_into(view)
            if count == 0:
                raise EOFError("the other end was closed")
            view = view[count:]
        return data
