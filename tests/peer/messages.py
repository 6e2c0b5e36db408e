"""The messages of `Sb_receipt` (PROTOCOL §3): bytes to checked dictionaries and back."""

import bencode
from bencode import Malformed
from objects import LOCK, RECEIPT

HELLO, AUTH, BID, QUOTE, LOCK_SHOWN, RECEIPT_SENT, SYNC, CLOSE, TIP, ERR = range(10)
NAMES = "HELLO AUTH BID QUOTE LOCK RECEIPT SYNC CLOSE TIP ERR".split()
MESSAGE_MAX = 16 << 10
U32, U64 = 2**32 - 1, 2**64 - 1
RATE_MAX = 2**50
SETTLEMENT_KEYS_MAX, CHANNELS_MAX, NOTE_MAX = 16, 24, 140
OPEN, QUEUED, PAID = range(3)


def integer(most):
    def check(value):
        return isinstance(value, int) and 0 <= value <= most

    return check


def string(size):
    def check(value):
        return isinstance(value, bytes) and len(value) == size

    return check


def _keys(value):
    return isinstance(value, list) and len(value) <= SETTLEMENT_KEYS_MAX and all(
        map(string(32), value)
    )


def _note(value):
    if not isinstance(value, bytes) or len(value) > NOTE_MAX:
        return False
    try:
        return value.decode() is not None
    except UnicodeDecodeError:
        return False


def _channels(value):
    if not isinstance(value, list) or len(value) > CHANNELS_MAX:
        return False
    entries = [_channel(entry) for entry in value]
    names = [(entry["k"], entry.get("id")) for entry in entries]
    return len(set(names)) == len(names)


def _channel(entry):
    """An entry of SYNC, checked; `id` means something in a lock's only."""
    if not isinstance(entry, dict) or not integer(1)(entry.get("k")):
        raise Malformed("an entry of SYNC without its kind")
    receipt, lock = string(RECEIPT.signed_len), string(LOCK.signed_len)
    checks = {"k": integer(1), "hd?": receipt, "sn?": receipt, "lk?": lock, "cl?": integer(U64)}
    if entry["k"] == 1:
        checks["id"] = integer(U64)
    found = _checked(entry, checks)
    if found["k"] == 0 and ("lk" in found or found.get("cl") == 1):
        raise Malformed("an acknowledgement with a lock, or closed")
    if "lk" in found and LOCK.parse(found["lk"]).lock_id != found["id"]:
        raise Malformed("a lock under another number")
    return found


# `?`: may be absent.
KEYS = {
    HELLO: {
        "v": integer(U32), "no": string(16), "pk": string(32), "net": string(32), "is": _keys,
        "ra?": integer(U64), "wi": integer(U64),
    },
    AUTH: {"sg": string(64)},
    BID: {"ra": integer(RATE_MAX)},
    QUOTE: {"st": integer(2), "ra?": integer(U64), "wi": integer(U64), "wo": integer(U64)},
    LOCK_SHOWN: {"lk": string(LOCK.signed_len)},
    RECEIPT_SENT: {"rc": string(RECEIPT.signed_len)},
    SYNC: {"cs": _channels},
    CLOSE: {"id": integer(U64), "rc?": string(RECEIPT.signed_len)},
    TIP: {"am": integer(U64), "nt": _note},
    ERR: {"er": integer(U32), "ch?": string(32), "rs?": integer(U32)},
}  # fmt: skip


def _checked(given, checks):
    """The keys that are known; a key missing or of another form is no message."""
    found = {}
    for name, check in checks.items():
        key = name.removesuffix("?")
        if key not in given:
            if name == key:
                raise Malformed(f"no {key}")
        elif not check(given[key]):
            raise Malformed(f"{key} is {given[key]!r:.40}")
        else:
            found[key] = given[key]
    return found


def decode(payload):
    """A message with its known keys; None where its type is a later version's."""
    if len(payload) > MESSAGE_MAX:
        raise Malformed("longer than 16 KiB")
    given = bencode.decode(payload)
    if not isinstance(given, dict) or not integer(U64)(given.get("t")):
        raise Malformed("no dictionary with a type")
    kind = given["t"]
    if kind not in KEYS:
        return None
    message = {"t": kind} | _checked(given, KEYS[kind])
    if kind == SYNC:
        message["cs"] = [_channel(entry) for entry in message["cs"]]
    return _normal(message)


def _normal(message):
    """Without what says nothing: a cap that is none, a reason that is none."""
    if message["t"] == QUOTE and (message["st"] == OPEN or message.get("ra") == U64):
        message.pop("ra", None)
    if message["t"] == ERR and message["er"] != 8:
        message.pop("rs", None)
    for entry in message.get("cs", []):
        if entry.get("cl") != 1:
            entry.pop("cl", None)
    return message


def encode(kind, **keys):
    return bencode.encode({"t": kind} | keys)


def send_under(payload):
    """The id for `Sb_receipt` from an extended handshake's payload; None if it offers nothing."""
    try:
        offer = bencode.decode(payload, rest_allowed=True)
    except Malformed:
        return None
    if not isinstance(offer, dict):
        return None
    ids, ours = offer.get("m"), offer.get("Sb_receipt")
    if not isinstance(ids, dict) or not isinstance(ours, dict) or ours.get("v") != 1:
        return None
    number = ids.get("Sb_receipt")
    return number if isinstance(number, int) and 1 <= number <= 255 else None
