"""A network's genesis file (PROTOCOL-SETTLEMENT §1)."""

import tomllib
from types import SimpleNamespace

import blake3
import ed25519
from bencode import Malformed

GENESIS_MAX = 8192
SECONDS_MAX = 31_536_000
U63 = 2**63 - 1
TOP = {"name", "unit", "settlement", "issuers", "limits", "policy"}
LIMITS = (
    "lock_ttl_secs lock_ttl_secs_max lock_grace_secs lock_microcredits_max "
    "grant_microcredits_max transfer_microcredits_min order_budget orders_per_hour"
).split()


def parse(text):
    """The network, or Malformed with the reason."""
    data = text.encode()
    if len(data) > GENESIS_MAX:
        raise Malformed("longer than 8,192 bytes")
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Malformed(str(error)) from error
    par = found.pop("par_microcredits_per_gib", 1_000_000)
    _exactly(found, TOP)
    _exactly(found["limits"], LIMITS)
    _exactly(found["policy"], {"retention"})
    limits = SimpleNamespace(**found["limits"])
    for name in ("name", "unit"):
        _text(name, found[name])
    issuers = found["issuers"]
    _within("issuers", len(issuers), 1, 16)
    if len(set(issuers)) != len(issuers):
        raise Malformed("an issuer twice")
    keys = [_key(key) for key in [found["settlement"], *issuers]]
    _within("par", par, 1, 2**49)
    _limits(limits)
    if found["policy"]["retention"] != "forever":
        raise Malformed("retention")
    return SimpleNamespace(
        network=blake3.digest(data), settlement=keys[0], issuers=keys[1:], par=par,
        limits=limits, text=text,
    )  # fmt: skip


def _limits(limits):
    _within("lock_ttl_secs_max", limits.lock_ttl_secs_max, 1, SECONDS_MAX)
    _within("lock_ttl_secs", limits.lock_ttl_secs, 1, limits.lock_ttl_secs_max)
    _within("lock_grace_secs", limits.lock_grace_secs, 3600, SECONDS_MAX)
    _within("lock_microcredits_max", limits.lock_microcredits_max, 1, U63)
    _within("grant_microcredits_max", limits.grant_microcredits_max, 1, U63)
    least, most = limits.transfer_microcredits_min, limits.grant_microcredits_max
    _within("transfer_microcredits_min", least, 1, most)
    _within("order_budget", limits.order_budget, 1, 1_000_000)
    _within("orders_per_hour", limits.orders_per_hour, 1, 1_000_000)


def _exactly(table, names):
    if not isinstance(table, dict) or set(table) != set(names):
        raise Malformed(f"other fields than {sorted(names)}")


def _within(name, value, least, most):
    if type(value) is not int or not least <= value <= most:
        raise Malformed(f"{name} is {least} to {most}, not {value}")


def _text(name, value):
    if not isinstance(value, str) or not 1 <= len(value.encode()) <= 64:
        raise Malformed(f"{name} has 1 to 64 bytes")
    if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in value):
        raise Malformed(f"{name} has control characters")


def _key(text):
    try:
        key = bytes.fromhex(text)
    except ValueError as error:
        raise Malformed("no key") from error
    if len(key) != 32 or not ed25519.is_usable(key):
        raise Malformed("not a usable key")
    return key
