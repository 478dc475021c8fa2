"""The frames that README.md of the parent folder describes: a record as the harness writes and reads it."""

import struct

LENGTH = struct.Struct(">i")
HEAD = struct.Struct(">qiq")


def _bytes(body, at):
    (n,) = LENGTH.unpack_from(body, at)
    at += 4
    if n < 0:
        return None, at
    return body[at : at + n], at + n


def read(stream):
    """Yields (partition, timestamp, key, value, headers) until the stream ends."""
    while True:
        length = stream.read(4)
        if not length:
            return
        body = stream.read(LENGTH.unpack(length)[0])
        _offset, partition, timestamp = HEAD.unpack_from(body)
        key, at = _bytes(body, HEAD.size)
        value, at = _bytes(body, at)
        (count,) = LENGTH.unpack_from(body, at)
        at += 4
        headers = []
        for _ in range(count):
            name, at = _bytes(body, at)
            header, at = _bytes(body, at)
            headers.append((name.decode(), header))
        yield partition, timestamp, key, value, headers


def _framed(value):
    return LENGTH.pack(-1) if value is None else LENGTH.pack(len(value)) + value


def encode(offset, partition, timestamp, key, value, headers):
    """One frame: a record as it was consumed."""
    parts = [HEAD.pack(offset, partition, timestamp), _framed(key), _framed(value), LENGTH.pack(len(headers))]
    for name, header in headers:
        parts.append(_framed(name.encode()))
        parts.append(_framed(header))
    body = b"".join(parts)
    return LENGTH.pack(len(body)) + body


class Acks:
    """Per partition: how many records were acknowledged, and between which offsets."""

    def __init__(self):
        self.ranges = {}

    def add(self, partition, offset):
        r = self.ranges.get(partition)
        if r is None:
            self.ranges[partition] = [1, offset, offset]
            return
        r[0] += 1
        r[1] = min(r[1], offset)
        r[2] = max(r[2], offset)

    def print(self):
        for partition, (count, first, last) in self.ranges.items():
            print("acked", partition, count, first, last)
