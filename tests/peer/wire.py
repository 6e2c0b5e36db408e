"""A peer's connection: BitTorrent (BEP 3, 6, 10) and the opening of `Sb_receipt` (PROTOCOL §3)."""

import secrets
import socket
import struct
from collections import deque

import bencode
import check
import messages
import objects
from messages import AUTH, HELLO, NAMES, SYNC
from objects import AUTH as AUTH_OBJECT

CHOKE, UNCHOKE, INTERESTED = range(3)
REQUEST, PIECE = 6, 7
HAVE_ALL, HAVE_NONE, REJECT = 14, 15, 16
EXTENDED = 20
OUR_ID = 7
SILENCE_MAX = 30
MESSAGES_MAX = 20_000
PROTOCOL = b"\x13BitTorrent protocol"


class Closed(ConnectionError):
    """The other side has hung up."""


class Line:
    """A connection behind both handshakes; either side may have dialled."""

    def __init__(self, sock, info_hash, fast=True, extended=True):
        sock.settimeout(SILENCE_MAX)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        bits = bytes([0, 0, 0, 0, 0, 0x10 if extended else 0, 0, 0x04 if fast else 0])
        peer_id = b"-PY0001-" + secrets.token_bytes(12)
        sock.sendall(PROTOCOL + bits + info_hash + peer_id)
        theirs = self._exactly(68)
        check.equal((theirs[:20], theirs[28:48]), (PROTOCOL, info_hash), "a handshake")
        self.fast = fast and bool(theirs[27] & 4)
        self.extended = bool(theirs[25] & 0x10)

    @classmethod
    def dial(cls, addr, info_hash, **options):
        return cls(socket.create_connection(addr, timeout=SILENCE_MAX), info_hash, **options)

    def send(self, kind, payload=b""):
        try:
            self.sock.sendall(struct.pack(">IB", len(payload) + 1, kind) + payload)
        except OSError as error:
            raise Closed(str(error)) from error

    def receive(self):
        """The next message: (kind, payload)."""
        while True:
            size = struct.unpack(">I", self._exactly(4))[0]
            if size:
                data = self._exactly(size)
                return data[0], data[1:]

    def close(self):
        self.sock.close()

    def _exactly(self, size):
        data = bytearray()
        while len(data) < size:
            try:
                part = self.sock.recv(size - len(data))
            except ConnectionError as error:
                raise Closed(str(error)) from error
            if not part:
                raise Closed("hung up")
            data += part
        return bytes(data)


class Peer:
    """A `Line` that offers `Sb_receipt` and goes through HELLO, AUTH and SYNC."""

    def __init__(self, line, identity, network=objects.NO_NETWORK, **says):
        """`says`: keys of HELLO that differ from the usual, and `offer`."""
        self.line, self.identity, self.network = line, identity, network
        self.nonce = secrets.token_bytes(16)
        self.offer = says.pop("offer", {"v": 1})
        self.says = says
        self.their_id = self.hello = self.key = None
        self.their_sync = None
        self.waiting = deque()
        self.send_handshake()

    def send_handshake(self, our_id=OUR_ID):
        payload = bencode.encode({"m": {"Sb_receipt": our_id}, "Sb_receipt": self.offer})
        self.line.send(EXTENDED, b"\0" + payload)

    def say(self, kind, **keys):
        self.say_bytes(messages.encode(kind, **keys))

    def say_bytes(self, payload):
        self.line.send(EXTENDED, bytes([self.their_id]) + payload)

    def next(self):
        """The next message: (name, payload), or of `Sb_receipt` (its name, the dictionary)."""
        if self.waiting:
            return self.waiting.popleft()
        return self.read()

    def read(self):
        kind, payload = self.line.receive()
        if kind != EXTENDED:
            return kind, payload
        if payload[0] == 0:
            return "handshake", payload[1:]
        check.equal(payload[0], OUR_ID, "messages come under the id that we gave")
        message = messages.decode(payload[1:])
        return NAMES[message["t"]], message

    def until(self, name, where=lambda message: True):
        """The next message of a name of which something is true; others are passed over."""
        for _ in range(MESSAGES_MAX):
            found, message = self.next()
            if found == name and where(message):
                return message
        raise check.Failed(f"no {name}")

    # ---- the opening

    def say_hello(self):
        keys = {
            "v": 1, "no": self.nonce, "pk": self.identity.key, "net": self.network, "is": [],
            "wi": 0,
        }  # fmt: skip
        self.say(HELLO, **(keys | self.says))

    def auth_network(self):
        """§3: over the network that both name, else over zeros."""
        return self.network if self.hello["net"] == self.network else objects.NO_NETWORK

    def say_auth(self, network=None):
        signed = AUTH_OBJECT.sign(
            self.identity, network=network or self.auth_network(), own_nonce=self.nonce,
            peer_nonce=self.hello["no"], own_key=self.identity.key, peer_key=self.key,
        )  # fmt: skip
        self.say(AUTH, sg=signed[-64:])

    def check_auth(self, signature):
        body = AUTH_OBJECT.body(
            network=self.auth_network(), own_nonce=self.hello["no"], peer_nonce=self.nonce,
            own_key=self.key, peer_key=self.identity.key,
        )  # fmt: skip
        check.true(AUTH_OBJECT.holds(self.key, body + signature), "their AUTH")

    def meet(self):
        """Reads their offer and says HELLO, then reads theirs."""
        handshake = self._kept_until("handshake")
        self.their_id = messages.send_under(handshake)
        check.true(self.their_id, "an offer of receipts")
        self.say_hello()
        self.hello = self._kept_until("HELLO")
        self.key = self.hello["pk"]

    def greet(self, channels=()):
        """The whole opening; what else came in between is read afterwards."""
        self.meet()
        self.say_auth()
        self.check_auth(self._kept_until("AUTH")["sg"])
        self.say(SYNC, cs=list(channels))
        self.their_sync = self._kept_until("SYNC")["cs"]
        return self

    def _kept_until(self, name):
        kept = deque()
        while True:
            found, message = self.next()
            if found == name:
                kept.extend(self.waiting)
                self.waiting = kept
                return message
            kept.append((found, message))

    # ---- being closed, and being not

    def is_closed(self):
        """Waits for the other side to hang up: True; False where it says on, or nothing."""
        try:
            for _ in range(MESSAGES_MAX):
                self.next()
        except Closed:
            return True
        except TimeoutError:
            pass
        return False

    def is_alive(self):
        """Asks for a block: its PIECE or REJECT shows that all before it was read and let pass."""
        block = struct.pack(">III", 0, 0, 16 << 10)
        self.line.send(REQUEST, block)
        try:
            for _ in range(MESSAGES_MAX):
                name, payload = self.read()
                if name in (PIECE, REJECT) and payload[:8] == block[:8]:
                    return True
                self.waiting.append((name, payload))
        except Closed:
            return False
        return False

    def came(self, name):
        """What of this name has come, up to an answer to a request behind all that was said."""
        check.true(self.is_alive(), "the connection goes on")
        found = [message for kind, message in self.waiting if kind == name]
        self.waiting.clear()
        return found

    def stands_at(self):
        """Asks where they stand (ERR 3)."""
        self.say(messages.ERR, er=3)
        return self.until("SYNC")["cs"]

    def request(self, block):
        self.line.send(REQUEST, struct.pack(">III", *block))

    def close(self):
        self.line.close()


def dial(node_addr, torrent, identity, network=objects.NO_NETWORK, fast=True, has=False, **says):
    """A peer that has everything, or nothing, before the opening."""
    line = Line.dial(node_addr, torrent.info_hash, fast=fast)
    peer = Peer(line, identity, network, **says)
    if fast:
        line.send(HAVE_ALL if has else HAVE_NONE)
    return peer
