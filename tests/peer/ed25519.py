"""Ed25519 (RFC 8032) in extended coordinates, with the strict checks of PROTOCOL §2.

Nothing here is constant in time: the keys are those of tests.
"""

import hashlib
import secrets

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def add(p, q):
    """Sum of two points (X, Y, Z, T), as in RFC 8032 §5.1.4."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def double(p):
    a = p[0] * p[0] % P
    b = p[1] * p[1] % P
    c = 2 * p[2] * p[2] % P
    h = a + b
    e = h - (p[0] + p[1]) ** 2 % P
    g = a - b
    f = c + g
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(scalar, p):
    q = NEUTRAL
    for bit in bin(scalar)[2:]:
        q = double(q)
        if bit == "1":
            q = add(q, p)
    return q


def negate(p):
    return (-p[0] % P, p[1], p[2], -p[3] % P)


def compress(p):
    inverse = pow(p[2], P - 2, P)
    x, y = p[0] * inverse % P, p[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decompress(data):
    """The point that these 32 bytes write, None if there is none; y at or above P is none."""
    y = int.from_bytes(data, "little")
    sign = y >> 255
    y &= (1 << 255) - 1
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if square == 0:
        return None if sign else (0, y, 1, 0)
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * SQRT_M1 % P
    if (x * x - square) % P:
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def is_small(p):
    """Whether the order of the point divides 8."""
    for _ in range(3):
        p = double(p)
    return is_neutral(p)


def is_neutral(p):
    return p[0] == 0 and p[1] == p[2]


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def scalar_of(digest):
    return int.from_bytes(digest, "little") % L


def is_usable(key):
    """Whether somebody can hold this key: canonical, a point, and of large order (§7)."""
    point = decompress(key)
    return point is not None and not is_small(point)


class Identity:
    """A key pair, from the 32 secret bytes of RFC 8032 §5.1.5 or drawn anew."""

    def __init__(self, seed=None):
        self.seed = seed or secrets.token_bytes(32)
        digest = hashlib.sha512(self.seed).digest()
        low = int.from_bytes(digest[:32], "little")
        self._scalar = low & ((1 << 254) - 8) | (1 << 254)
        self._prefix = digest[32:]
        self.key = compress(multiply(self._scalar, BASE))

    def sign(self, message):
        nonce = scalar_of(hashlib.sha512(self._prefix + message).digest())
        r = compress(multiply(nonce, BASE))
        k = scalar_of(hashlib.sha512(r + self.key + message).digest())
        return r + ((nonce + k * self._scalar) % L).to_bytes(32, "little")


def verify(key, message, signature):
    """Strictly: canonical scalar, key and R of large order, the equation without the cofactor."""
    point, r = decompress(key), decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= L or point is None or r is None:
        return False
    if is_small(point) or is_small(r):
        return False
    k = scalar_of(hashlib.sha512(signature[:32] + key + message).digest())
    found = add(multiply(s, BASE), multiply(k, negate(point)))
    return compress(found) == signature[:32]
