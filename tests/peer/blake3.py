"""BLAKE3 in its two modes of PROTOCOL §2, plain and derive-key, for inputs of any length."""

import struct

IV = (
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
    0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
)  # fmt: skip
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
COLUMNS_AND_DIAGONALS = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
DERIVE_KEY_CONTEXT, DERIVE_KEY_MATERIAL = 32, 64
MASK = 0xFFFFFFFF
CHUNK_LEN, BLOCK_LEN = 1024, 64


def compress(chaining, block, counter, block_len, flags):
    """The first eight words of the compression function, which are all that is used here."""
    words = struct.unpack("<16I", block.ljust(BLOCK_LEN, b"\0"))
    v = [*chaining, *IV[:4], counter & MASK, counter >> 32, block_len, flags]
    for _ in range(7):
        for n, (a, b, c, d) in enumerate(COLUMNS_AND_DIAGONALS):
            va = (v[a] + v[b] + words[2 * n]) & MASK
            t = v[d] ^ va
            vd = (t >> 16) | (t << 16) & MASK
            vc = (v[c] + vd) & MASK
            t = v[b] ^ vc
            vb = (t >> 12) | (t << 20) & MASK
            v[a] = va = (va + vb + words[2 * n + 1]) & MASK
            t = vd ^ va
            v[d] = vd = (t >> 8) | (t << 24) & MASK
            v[c] = vc = (vc + vd) & MASK
            t = vb ^ vc
            v[b] = (t >> 7) | (t << 25) & MASK
        words = [words[index] for index in PERMUTATION]
    return [v[n] ^ v[n + 8] for n in range(8)]


def _chunk(key, data, counter, flags):
    """The last compression of a chunk, as arguments: whether it is the root is not known yet."""
    chaining = key
    blocks = [data[at : at + BLOCK_LEN] for at in range(0, len(data), BLOCK_LEN)] or [b""]
    for index, block in enumerate(blocks):
        marks = flags | (CHUNK_START if index == 0 else 0)
        if index == len(blocks) - 1:
            return chaining, block, counter, len(block), marks | CHUNK_END
        chaining = compress(chaining, block, counter, BLOCK_LEN, marks)


def _tree(key, data, counter, flags):
    if len(data) <= CHUNK_LEN:
        return _chunk(key, data, counter, flags)
    chunks = (len(data) - 1) // CHUNK_LEN
    left = CHUNK_LEN << (chunks.bit_length() - 1)
    halves = (
        _tree(key, data[:left], counter, flags),
        _tree(key, data[left:], counter + left // CHUNK_LEN, flags),
    )
    words = [word for half in halves for word in compress(*half)]
    return key, struct.pack("<16I", *words), 0, BLOCK_LEN, flags | PARENT


def _digest(key, data, flags):
    chaining, block, counter, block_len, flags = _tree(key, data, 0, flags)
    return struct.pack("<8I", *compress(chaining, block, counter, block_len, flags | ROOT))


def digest(data):
    """The plain hash."""
    return _digest(IV, data, 0)


def derive(context, data):
    """The hash in derive-key mode."""
    key = _digest(IV, context.encode(), DERIVE_KEY_CONTEXT)
    return _digest(struct.unpack("<8I", key), data, DERIVE_KEY_MATERIAL)
