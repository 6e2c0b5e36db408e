"""Entries and lines (PROTOCOL-SETTLEMENT §6, §7), questions and answers (PROTOCOL §7.1)."""

import secrets
import struct
from types import SimpleNamespace

import blake3
import objects
from bencode import Malformed
from objects import ANSWER, CERTIFICATE, CLAIM, HEAD, LOCK, ORDER, READ

(
    GENESIS_ENTRY, GRANT, BURN, TRANSFER, LOCK_OPEN, TOP_UP, LOCK_CLOSE, LOCK_EXPIRY, CLAIMED,
) = range(1, 10)  # fmt: skip
KEY_ROTATION = 12
ENTRY_OF_ORDER = {
    objects.TRANSFER: TRANSFER,
    objects.OPEN_LOCK: LOCK_OPEN,
    objects.TOP_UP: TOP_UP,
    objects.CLOSE_LOCK: LOCK_CLOSE,
    objects.ROTATE_KEY: KEY_ROTATION,
    objects.GRANT: GRANT,
    objects.BURN: BURN,
}
ORDERED = set(ENTRY_OF_ORDER.values())
REFUSAL_MAX = 23
REASON_MAX = 256
LINES_MAX = 255
REFUSED, OPERATION, ACCOUNT, LOCK_STATUS, STATEMENT = range(5)


class Reader:
    """Fields of fixed and said lengths; whoever ends it has read every byte."""

    def __init__(self, data):
        self._data, self._at = data, 0

    def take(self, size):
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise Malformed(f"needs {size - len(part)} more bytes")
        self._at += size
        return part

    def integer(self, size):
        return int.from_bytes(self.take(size), "little")

    def flag(self):
        value = self.integer(1)
        if value > 1:
            raise Malformed(f"a flag of {value}")
        return bool(value)

    def optional(self, read):
        return read() if self.flag() else None

    def refusal(self):
        value = self.integer(2)
        if value > REFUSAL_MAX:
            raise Malformed(f"refusal {value}")
        return value

    def end(self):
        if self._at != len(self._data):
            raise Malformed(f"{len(self._data) - self._at} bytes after the last field")


def integer(value, size):
    return value.to_bytes(size, "little")


def optional(part):
    return b"\0" if part is None else b"\1" + part


# ---- lines


def read_line(data):
    """The fields of a line, and what its operation says."""
    reader = Reader(data)
    line = SimpleNamespace(kind=reader.integer(1))
    if line.kind not in ORDERED | {CLAIMED, LOCK_EXPIRY}:
        raise Malformed(f"kind {line.kind}")
    line.operation = reader.take(operation_len(line.kind))
    line.order = line.claim = None
    if line.kind in ORDERED:
        line.order = ORDER.parse(line.operation)
        if ENTRY_OF_ORDER[line.order.kind] != line.kind:
            raise Malformed(f"kind {line.kind} of an order of kind {line.order.kind}")
    elif line.kind == CLAIMED:
        line.claim = CLAIM.parse(line.operation)
    line.refusal = reader.refusal()
    line.amount = reader.integer(8)
    line.lock = reader.optional(lambda: read_status(reader))
    line.previous = reader.optional(lambda: reader.integer(8))
    line.previous_hash = reader.take(32)
    line.certificate = reader.take(CERTIFICATE.signed_len)
    line.cert = CERTIFICATE.parse(line.certificate)
    length = reader.integer(2)
    if length > REASON_MAX:
        raise Malformed(f"a reason of {length} bytes")
    line.reason = reader.take(length)
    reader.end()
    return line


def operation_len(kind):
    if kind == LOCK_EXPIRY:
        return 8
    return CLAIM.signed_len if kind == CLAIMED else ORDER.signed_len


def read_status(reader):
    status = SimpleNamespace(signed=reader.take(LOCK.signed_len), claimed=reader.integer(8))
    status.closed = reader.flag()
    status.lock = LOCK.parse(status.signed)
    return status


def write_status(status):
    return status.signed + integer(status.claimed, 8) + bytes([status.closed])


def write_line(line):
    parts = [
        bytes([line.kind]),
        line.operation,
        integer(line.refusal, 2),
        integer(line.amount, 8),
        optional(line.lock and write_status(line.lock)),
        optional(None if line.previous is None else integer(line.previous, 8)),
        line.previous_hash,
        line.certificate,
        integer(len(line.reason), 2),
        line.reason,
    ]
    return b"".join(parts)


# ---- entries

ISSUER, BURNED = b"\1" + bytes(32), b"\4" + bytes(32)


def available(key):
    return b"\2" + key


def escrow(lock_id):
    return b"\3" + lock_id.to_bytes(8, "big") + bytes(24)


def way_of(kind, sequence, order=None, claim=None, lock_id=None, payer=None):
    """From which account to which an entry moves its amount."""
    if kind == GRANT:
        return ISSUER, available(order.to)
    if kind == BURN:
        return available(order.account), BURNED
    if kind in (TRANSFER, KEY_ROTATION):
        return available(order.account), available(order.to)
    if kind == LOCK_OPEN:
        return available(order.account), escrow(sequence)
    if kind == TOP_UP:
        return available(order.account), escrow(order.ref)
    if kind == CLAIMED:
        return escrow(claim.lock_id), available(claim.payee)
    return escrow(order.ref if order else lock_id), available(payer)


def write_entry(kind, sequence, time, previous_hash, refusal, cause, way, amount):
    postings = b"\0"
    if amount and not refusal:
        postings = b"\2"
        for account, side in zip(way, (0, 1)):
            postings += account + bytes([side]) + integer(amount, 8)
    head = bytes([1, kind]) + integer(sequence, 8) + integer(time, 8) + previous_hash
    return head + integer(refusal, 2) + integer(len(cause), 2) + cause + postings


def entry_hash(entry):
    return blake3.derive("seedbank v1 ledger entry", entry)


def entry_of_line(line):
    """Step 2 of §7: the entry made again; None where the line does not name the payer."""
    payer = line.lock and line.lock.lock.payer
    if line.kind in (LOCK_CLOSE, LOCK_EXPIRY) and not payer and line.amount:
        return None
    lock_id = None if line.order or line.claim else int.from_bytes(line.operation, "little")
    way = None
    if line.amount and not line.refusal:
        sequence = line.cert.sequence
        way = way_of(line.kind, sequence, line.order, line.claim, lock_id, payer)
    return write_entry(
        line.kind, line.cert.sequence, line.cert.time, line.previous_hash, line.refusal,
        line.operation, way, line.amount,
    )  # fmt: skip


def is_certified(line, network, settlement):
    """Steps 1 and 3 of §7."""
    if line.cert.network != network or not CERTIFICATE.holds(settlement, line.certificate):
        return False
    entry = entry_of_line(line)
    return entry is not None and entry_hash(entry) == line.cert.entry_hash


# ---- questions


def submit(order, random=None):
    return b"\1" + (random or secrets.token_bytes(16)) + order


def claim(signed, random=None):
    return b"\2" + (random or secrets.token_bytes(16)) + signed


def read(signed):
    return b"\3" + signed


def parse_question(data):
    """Kind, and the signed object that is asked about."""
    reader = Reader(data)
    kind = reader.integer(1)
    if kind in (1, 2):
        reader.take(16)
    layout = {1: ORDER, 2: CLAIM, 3: READ}.get(kind)
    if layout is None:
        raise Malformed(f"a question of kind {kind}")
    signed = reader.take(layout.signed_len)
    reader.end()
    return kind, layout.parse(signed), signed


# ---- answers


def read_answer(data):
    """The fields of an answer; lines stay bytes in `lines`, or in `line`."""
    reader = Reader(data)
    answer = SimpleNamespace(kind=reader.integer(1))
    if answer.kind > STATEMENT:
        raise Malformed(f"an answer of kind {answer.kind}")
    answer.time = reader.integer(8)
    if answer.kind == REFUSED:
        answer.refusal = reader.refusal()
        if not answer.refusal:
            raise Malformed("refused for nothing")
    elif answer.kind == OPERATION:
        answer.refusal = reader.refusal()
        answer.used = reader.optional(lambda: reader.take(ORDER.signed_len))
        answer.sequence = reader.optional(lambda: reader.integer(8))
        answer.line = reader.optional(lambda: _sized_line(reader))
    elif answer.kind == LOCK_STATUS:
        answer.lock = reader.optional(lambda: read_status(reader))
    else:
        _read_account(reader, answer)
        if answer.kind == STATEMENT:
            answer.more = reader.flag()
            count = reader.integer(2)
            if count > LINES_MAX:
                raise Malformed(f"{count} lines")
            answer.lines = [_sized_line(reader) for _ in range(count)]
    reader.end()
    return answer


def _sized_line(reader):
    data = reader.take(reader.integer(2))
    read_line(data)
    return data


def _read_account(reader, answer):
    answer.account = reader.take(32)
    answer.available, answer.reserved = reader.integer(8), reader.integer(8)
    answer.nonce = reader.integer(8)
    answer.head = reader.take(HEAD.signed_len)


def write_answer(answer):
    front = bytes([answer.kind]) + integer(answer.time, 8)
    if answer.kind == REFUSED:
        return front + integer(answer.refusal, 2)
    if answer.kind == OPERATION:
        sequence = None if answer.sequence is None else integer(answer.sequence, 8)
        line = answer.line and integer(len(answer.line), 2) + answer.line
        rest = optional(answer.used) + optional(sequence) + optional(line)
        return front + integer(answer.refusal, 2) + rest
    if answer.kind == LOCK_STATUS:
        return front + optional(answer.lock and write_status(answer.lock))
    sums = struct.pack("<QQQ", answer.available, answer.reserved, answer.nonce)
    front += answer.account + sums + answer.head
    if answer.kind == ACCOUNT:
        return front
    lines = b"".join(integer(len(line), 2) + line for line in answer.lines)
    return front + bytes([answer.more]) + integer(len(answer.lines), 2) + lines


def seal(identity, network, question, answer, index=0):
    """The settlement node's signature over an answer to a question."""
    body = ANSWER.body(
        network=network, request_hash=blake3.digest(question), index=index,
        answer_hash=blake3.digest(answer),
    )  # fmt: skip
    return identity.sign(ANSWER.signing_bytes(body))


def seal_holds(key, network, request_hash, answer, signature, index=0):
    body = ANSWER.body(
        network=network, request_hash=request_hash, index=index,
        answer_hash=blake3.digest(answer),
    )  # fmt: skip
    return ANSWER.holds(key, body + signature)
