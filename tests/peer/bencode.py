"""Bencode: written as it must be, read as laxly and as strictly as PROTOCOL §3 says."""

NESTING_MAX = 16


class Malformed(ValueError):
    """Bytes that are not what they should be."""


def encode(value):
    """Dictionaries have keys of text, and values of None are left out."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, dict):
        pairs = sorted((key.encode(), item) for key, item in value.items() if item is not None)
        return b"d" + b"".join(encode(key) + encode(item) for key, item in pairs) + b"e"
    return b"l" + b"".join(map(encode, value)) + b"e"


def decode(data, rest_allowed=False):
    """One value. Of a repeated key the first counts; keys are text where they are ASCII."""
    value, end = _value(data, 0, 0)
    if end != len(data) and not rest_allowed:
        raise Malformed(f"{len(data) - end} bytes behind the value")
    return value


def _value(data, at, depth):
    kind = data[at : at + 1]
    if kind == b"i":
        return _number(data, at + 1, b"e")
    if kind.isdigit():
        return _string(data, at)
    if kind in (b"l", b"d"):
        if depth == NESTING_MAX:
            raise Malformed("nested too deeply")
        return (_list if kind == b"l" else _dictionary)(data, at + 1, depth + 1)
    raise Malformed(f"no value at {at}")


def _number(data, at, end):
    stop = data.find(end, at)
    digits = data[at:stop] if stop >= 0 else b""
    bare = digits.removeprefix(b"-")
    if not bare.isdigit() or (bare[:1] == b"0" and digits != b"0"):
        raise Malformed(f"no number at {at}")
    return int(digits), stop + 1


def _string(data, at):
    length, at = _number(data, at, b":")
    if at + length > len(data):
        raise Malformed("a string is cut short")
    return data[at : at + length], at + length


def _list(data, at, depth):
    items = []
    while data[at : at + 1] != b"e":
        item, at = _value(data, at, depth)
        items.append(item)
    return items, at + 1


def _dictionary(data, at, depth):
    found = {}
    while data[at : at + 1] != b"e":
        if not data[at : at + 1].isdigit():
            raise Malformed("a key is no string")
        key, at = _string(data, at)
        value, at = _value(data, at, depth)
        found.setdefault(key.decode("ascii", "backslashreplace"), value)
    return found, at + 1
