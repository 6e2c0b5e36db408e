"""A torrent of one file (BEP 3), made of bytes that say where they belong."""

import hashlib

import bencode

BLOCK_LEN = 16 << 10


class Torrent:
    """Content, its pieces, and the .torrent file in `folder`."""

    def __init__(self, folder, name, size, piece_len, private=False):
        self.folder, self.name, self.piece_len = folder, name, piece_len
        folder.mkdir(exist_ok=True)
        stream = b"".join(
            hashlib.sha256(f"{name} {index}".encode()).digest() for index in range(-(-size // 32))
        )
        self.content = stream[:size]
        (folder / name).write_bytes(self.content)
        info = {
            "length": size, "name": name, "piece length": piece_len,
            "pieces": b"".join(hashlib.sha1(piece).digest() for piece in self.pieces()),
            "private": 1 if private else None,
        }  # fmt: skip
        self.info_hash = hashlib.sha1(bencode.encode(info)).digest()
        self.path = folder / f"{name}.torrent"
        self.path.write_bytes(bencode.encode({"info": info}))

    def pieces(self):
        size = self.piece_len
        return [self.content[at : at + size] for at in range(0, len(self.content), size)]

    def piece_count(self):
        return -(-len(self.content) // self.piece_len)

    def blocks(self, piece):
        """(piece, offset, length) of every block of a piece."""
        size = min(self.piece_len, len(self.content) - piece * self.piece_len)
        return [(piece, at, min(BLOCK_LEN, size - at)) for at in range(0, size, BLOCK_LEN)]

    def block(self, piece, offset, size):
        at = piece * self.piece_len + offset
        return self.content[at : at + size]

    def matches(self, piece, data):
        """Whether these bytes have the piece's SHA-1."""
        size = self.piece_len
        own = self.content[piece * size : (piece + 1) * size]
        return hashlib.sha1(data).digest() == hashlib.sha1(own).digest()
