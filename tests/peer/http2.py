"""As much of HTTP/2 (RFC 9113) and gRPC as carries `SettlementService`, with prior knowledge.

Headers are written as literals and never read: of an answer only its bytes count (PROTOCOL §7.1),
and a question says itself whether it is a watch.
"""

import socket
import struct
import threading

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
WINDOW = 1 << 30
WINDOW_FIRST = 65_535
SILENCE_MAX = 60
FRAME_MAX = 16 << 10


class Gone(ConnectionError):
    """The other side has closed the connection, or the stream."""


def fields(pairs):
    """A header block of literals without indexing (RFC 7541 §6.2.2), none of them long."""
    parts = []
    for name, value in pairs:
        assert max(len(name), len(value)) < 127
        parts.append(b"\0%c%s%c%s" % (len(name), name.encode(), len(value), value.encode()))
    return b"".join(parts)


def message(data):
    """A gRPC message with one field of bytes, or of several, numbered from 1."""
    parts = data if isinstance(data, tuple) else (data,)
    body = b"".join(
        bytes([number << 3 | 2]) + varint(len(part)) + part
        for number, part in enumerate(parts, 1)
    )
    return b"\0" + struct.pack(">I", len(body)) + body


def varint(value):
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def fields_of(body):
    """The fields of bytes of a protobuf message, by number."""
    found, at = {}, 0
    while at < len(body):
        tag, at = _varint(body, at)
        size, at = _varint(body, at)
        if tag & 7 != 2:
            raise ValueError("only fields of bytes are known")
        found[tag >> 3] = body[at : at + size]
        at += size
    return found


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


class Connection:
    """Frames on a socket. One thread reads; many may write."""

    def __init__(self, sock):
        self.sock = sock
        sock.settimeout(SILENCE_MAX)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._writing = threading.Lock()

    def send(self, kind, flags, stream, payload=b""):
        head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
        with self._writing:
            self.sock.sendall(head + struct.pack(">I", stream) + payload)

    def greet(self):
        """Our settings: no push, and windows that never close."""
        self.send(SETTINGS, 0, 0, struct.pack(">HIHI", 2, 0, 4, WINDOW))
        self.send(WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW - WINDOW_FIRST))

    def send_data(self, stream, data, flags=0):
        """Never so much that a window would have to be counted: answers are small."""
        parts = [data[at : at + FRAME_MAX] for at in range(0, len(data), FRAME_MAX)] or [b""]
        for index, part in enumerate(parts):
            self.send(DATA, flags if index == len(parts) - 1 else 0, stream, part)

    def receive(self):
        """The next frame that is somebody's: (kind, flags, stream, payload without padding)."""
        while True:
            head = self._exactly(9)
            size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            stream = int.from_bytes(head[5:], "big") & 0x7FFFFFFF
            payload = self._exactly(size)
            if kind == SETTINGS and not flags & ACK:
                self.send(SETTINGS, ACK, 0)
            elif kind == PING and not flags & ACK:
                self.send(PING, ACK, 0, payload)
            elif kind == GOAWAY:
                raise Gone("GOAWAY")
            elif kind in (DATA, HEADERS, RST_STREAM):
                if flags & PADDED and kind == DATA:
                    payload = payload[1 : len(payload) - payload[0]]
                return kind, flags, stream, payload

    def close(self):
        # Whoever waits for a frame is woken by it.
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def _exactly(self, size):
        parts = b""
        while len(parts) < size:
            part = self.sock.recv(size - len(parts))
            if not part:
                raise Gone("closed")
            parts += part
        return parts


class Client:
    """Calls of one service, one after the other."""

    def __init__(self, addr, service="seedbank.settlement.v1.SettlementService"):
        self.connection = Connection(socket.create_connection(addr, timeout=SILENCE_MAX))
        self.connection.sock.sendall(PREFACE)
        self.connection.greet()
        self._authority = f"{addr[0]}:{addr[1]}"
        self._service, self._stream = service, -1

    def call(self, method, request):
        """The messages of the answer as they come, each as fields; none where the call failed."""
        self._stream += 2
        stream = self._stream
        block = fields([
            (":method", "POST"), (":scheme", "http"), (":path", f"/{self._service}/{method}"),
            (":authority", self._authority), ("content-type", "application/grpc"),
            ("te", "trailers"),
        ])  # fmt: skip
        self.connection.send(HEADERS, END_HEADERS, stream, block)
        self.connection.send_data(stream, message(request), END_STREAM)
        waiting = b""
        while True:
            kind, flags, of, payload = self.connection.receive()
            if of != stream:
                continue
            if kind == RST_STREAM:
                return
            if kind == DATA:
                waiting += payload
                while (body := _whole(waiting)) is not None:
                    waiting = waiting[5 + len(body) :]
                    yield fields_of(body)
            if flags & END_STREAM:
                return

    def close(self):
        self.connection.close()


def _whole(waiting):
    """The first gRPC message in these bytes, if all of it is there."""
    if len(waiting) < 5:
        return None
    size = int.from_bytes(waiting[1:5], "big")
    return waiting[5 : 5 + size] if len(waiting) >= 5 + size else None


class Server:
    """Answers questions on a port of the system's choice; `answer(question)` gives messages.

    Each message is a tuple of fields; an answer of None ends the stream without a word of it.
    `cancelled(question)` is told of each that nobody waits for any more.
    """

    def __init__(self, answer, cancelled=lambda question: None, host="127.0.0.1"):
        self._answer, self._cancelled = answer, cancelled
        self._listener = socket.create_server((host, 0))
        self.addr = self._listener.getsockname()
        self._connections = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()
        for connection in list(self._connections):
            connection.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            connection = Connection(sock)
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        waiting, asked = {}, {}
        try:
            connection._exactly(len(PREFACE))
            connection.greet()
            while True:
                kind, flags, stream, payload = connection.receive()
                if kind == RST_STREAM:
                    waiting.pop(stream, None)
                    self._cancelled(asked.pop(stream, b""))
                elif kind == DATA:
                    waiting[stream] = waiting.get(stream, b"") + payload
                if flags & END_STREAM and kind != RST_STREAM:
                    body = _whole(waiting.pop(stream, b""))
                    question = asked[stream] = fields_of(body or b"").get(1, b"")
                    call = (connection, stream, question)
                    threading.Thread(target=self._reply, args=call, daemon=True).start()
        except (OSError, Gone):
            connection.close()
        finally:
            self._connections.discard(connection)
            for question in asked.values():
                self._cancelled(question)

    def _reply(self, connection, stream, question):
        block = fields([(":status", "200"), ("content-type", "application/grpc")])
        failed = fields([("grpc-status", "14")])
        fine = fields([("grpc-status", "0")])
        try:
            connection.send(HEADERS, END_HEADERS, stream, block)
            status = fine
            for answer in self._answer(question):
                if answer is None:
                    status = failed
                    break
                connection.send_data(stream, message(answer))
            connection.send(HEADERS, END_HEADERS | END_STREAM, stream, status)
        except (OSError, Gone):
            pass
