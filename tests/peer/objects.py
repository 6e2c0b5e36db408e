"""The signed objects of PROTOCOL §2: fixed layouts behind a tag, and channel ids."""

import struct
from types import SimpleNamespace

import blake3
import ed25519
from bencode import Malformed

NO_NETWORK = bytes(32)
SIGNATURE_LEN = 64
SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
INTEGERS = {"u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q"}


class Layout:
    """An object's tag and its fields: an integer type, or a number of bytes."""

    def __init__(self, name, fields):
        self.name = name
        self.tag = f"sb1/{name}".encode().ljust(16, b"\0")
        self.fields = [field.rsplit(" ", 1) for field in fields.split(", ")]
        self.body_len = sum(SIZES.get(kind) or int(kind) for _, kind in self.fields)
        self.signed_len = self.body_len + SIGNATURE_LEN

    def body(self, **values):
        parts = []
        for field, kind in self.fields:
            value = values.pop(field)
            part = struct.pack(INTEGERS[kind], value) if kind in INTEGERS else value
            assert len(part) == (SIZES.get(kind) or int(kind)), (self.name, field)
            parts.append(part)
        assert not values, (self.name, values)
        return b"".join(parts)

    def parse(self, data):
        """The fields of a body, or of a body and its signature."""
        if len(data) not in (self.body_len, self.signed_len):
            raise Malformed(f"{self.name} of {len(data)} bytes")
        found, at = SimpleNamespace(), 0
        for field, kind in self.fields:
            size = SIZES.get(kind) or int(kind)
            part, at = data[at : at + size], at + size
            value = struct.unpack(INTEGERS[kind], part)[0] if kind in INTEGERS else part
            setattr(found, field, value)
        if self.name in UNUSED_ZERO:
            _unused_are_zero(self.name, found)
        return found

    def signing_bytes(self, body):
        return self.tag + body[: self.body_len]

    def sign(self, identity, **values):
        """Body and signature, as they travel."""
        body = self.body(**values)
        return body + identity.sign(self.signing_bytes(body))

    def holds(self, key, signed):
        """Whether the signature behind this body is the key's."""
        signature = signed[self.body_len :]
        return ed25519.verify(key, self.signing_bytes(signed), signature)


AUTH = Layout("auth", "network 32, own_nonce 16, peer_nonce 16, own_key 32, peer_key 32")
RECEIPT = Layout("receipt", "network 32, channel 32, bytes u64, amount u64")
LOCK = Layout(
    "lock",
    "network 32, lock_id u64, opening_order 32, payer 32, payee 32, amount u64, "
    "expires_at u64, grace u32",
)
ORDER = Layout(
    "order",
    "network 32, account 32, nonce u64, valid_until u64, kind u8, to 32, ref u64, amount u64, "
    "ttl u32, memo_hash 32",
)
CLAIM = Layout("claim", "network 32, lock_id u64, payee 32, receipt 144")
CERTIFICATE = Layout(
    "cert", "network 32, sequence u64, entry_hash 32, time u64, account 32, available_after u64"
)
HEAD = Layout("head", "network 32, size u64, entry_hash 32, time u64")
ANSWER = Layout("answer", "network 32, request_hash 32, index u64, answer_hash 32")
READ = Layout(
    "read", "network 32, account 32, kind u8, ref u64, count u32, random 16, valid_until u64"
)
ALL = (AUTH, RECEIPT, LOCK, ORDER, CLAIM, CERTIFICATE, HEAD, ANSWER, READ)

TRANSFER, OPEN_LOCK, TOP_UP, CLOSE_LOCK, ROTATE_KEY, GRANT, BURN = range(1, 8)
READ_ACCOUNT, READ_LOCK, READ_STATEMENT, READ_WATCH = range(1, 5)

# What columns a kind uses; the others are zero, or the object is none.
UNUSED_ZERO = {
    "order": {
        TRANSFER: {"to", "amount"},
        OPEN_LOCK: {"to", "amount", "ttl"},
        TOP_UP: {"ref", "amount", "ttl"},
        CLOSE_LOCK: {"ref"},
        ROTATE_KEY: {"to"},
        GRANT: {"to", "amount"},
        BURN: {"amount"},
    },
    "read": {
        READ_ACCOUNT: set(),
        READ_LOCK: {"ref"},
        READ_STATEMENT: {"ref", "count"},
        READ_WATCH: {"ref"},
    },
}


def _unused_are_zero(name, found):
    used = UNUSED_ZERO[name].get(found.kind)
    if used is None:
        raise Malformed(f"{name} of kind {found.kind}")
    columns = set().union(*UNUSED_ZERO[name].values())
    for column in columns - used:
        if getattr(found, column) not in (0, bytes(32)):
            raise Malformed(f"{name} of kind {found.kind} uses no {column}")


def order_body(**values):
    """An order with zeros in the columns that are not named."""
    unused = {"to": bytes(32), "ref": 0, "amount": 0, "ttl": 0, "memo_hash": bytes(32)}
    return unused | values


def opening_order(order):
    """The hash that names a lock's channel, from the order that opened it."""
    return blake3.digest(ORDER.signing_bytes(order))


def channel_id(network, kind, payer, payee, reference):
    parts = network + bytes([kind]) + payer + payee + reference
    return blake3.derive("seedbank v1 channel", parts)


def acknowledgement_channel(payer, payee):
    """Under zeros, whatever networks the two belong to."""
    return channel_id(NO_NETWORK, 0, payer, payee, bytes(32))


def lock_channel(lock):
    """Of a parsed lock."""
    return channel_id(lock.network, 1, lock.payer, lock.payee, lock.opening_order)
