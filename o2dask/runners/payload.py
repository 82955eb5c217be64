"""Messages between a worker and its child process: words over a Unix socket, arrays in shared memory.

Knows pickle 5 and file descriptors, nothing of what is sent. The memory is anonymous (memfd): whoever of the two dies,
nothing is left behind. Both ends are processes of one run and trust each other.
"""

import mmap
import os
import pickle
import socket
import struct
import tempfile
from typing import Any

__all__ = ["anonymous_file", "receive", "send"]

_HEAD = struct.Struct("<QQ")
"""Bytes of the pickle, and number of arrays that lie in shared memory."""
_ALIGN = 64
"""Arrays begin at multiples of this [bytes], a cache line, as numpy's own do at least half as strictly."""


def send(sock: socket.socket, value: Any) -> None:
    """Send a value; the bytes of its arrays are copied once, into memory that the receiver maps."""
    buffers: list[pickle.PickleBuffer] = []
    words = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    raws = [buffer.raw() for buffer in buffers]
    sizes = struct.pack(f"<{len(raws)}Q", *(raw.nbytes for raw in raws))
    head = _HEAD.pack(len(words), len(raws))
    if not any(raw.nbytes for raw in raws):
        sock.sendall(head + sizes + words)
        return
    fd = anonymous_file()
    try:
        with open(fd, "wb", closefd=False) as file:
            for raw in raws:
                file.write(raw)
                file.write(bytes(-raw.nbytes % _ALIGN))
        socket.send_fds(sock, [head], [fd])
    finally:
        os.close(fd)
    sock.sendall(sizes + words)


def receive(sock: socket.socket) -> Any:
    """Return the next value, its arrays read-only and mapped, not copied; EOFError if the other side is gone."""
    head, fds, _, _ = socket.recv_fds(sock, _HEAD.size, 1)
    try:
        head += _exactly(sock, _HEAD.size - len(head))
        n_words, n_buffers = _HEAD.unpack(head)
        sizes = struct.unpack(f"<{n_buffers}Q", _exactly(sock, 8 * n_buffers))
        words = _exactly(sock, n_words)
        mapped = memoryview(mmap.mmap(fds[0], 0, access=mmap.ACCESS_READ) if fds else b"")
    finally:
        for fd in fds:
            os.close(fd)
    buffers, start = [], 0
    for size in sizes:
        buffers.append(mapped[start : start + size])
        start += size + -size % _ALIGN
    return pickle.loads(words, buffers=buffers)


def anonymous_file() -> int:
    """Return the descriptor of a file without a name, in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("o2dask")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _exactly(sock: socket.socket, n: int) -> bytes:
    parts = bytearray(n)
    view, got = memoryview(parts), 0
    while got < n:
        step = sock.recv_into(view[got:])
        if not step:
            raise EOFError("the other process has closed the connection")
        got += step
    return bytes(parts)
