"""The payer's side of one connection (PROTOCOL §6): fetches a torrent and signs for it."""

import struct

import check
import messages
import objects
import pricing
import wire
from objects import LOCK, RECEIPT


class Channel:
    """What is signed on a lock, or acknowledged: totals that only rise."""

    def __init__(self, identity, network, channel_id):
        self.identity, self.network, self.id = identity, network, channel_id
        self.bytes = self.amount = 0

    @classmethod
    def of_lock(cls, identity, signed_lock):
        lock = LOCK.parse(signed_lock)
        return cls(identity, lock.network, objects.lock_channel(lock))

    @classmethod
    def acknowledging(cls, identity, payee):
        """Under zeros, whatever networks the two belong to (§2)."""
        channel = objects.acknowledgement_channel(identity.key, payee)
        return cls(identity, objects.NO_NETWORK, channel)

    def sign(self, bytes_more=0, amount=None):
        self.bytes += bytes_more
        if amount is not None:
            self.amount = amount
        return self.signed(self.bytes, self.amount)

    def signed(self, size, amount):
        """A receipt of any totals, true or not."""
        return RECEIPT.sign(
            self.identity, network=self.network, channel=self.id, bytes=size, amount=amount
        )


class Payer:
    """One connection on which pieces are fetched in order, and each is paid when it is verified."""

    def __init__(self, peer, torrent, lock=None, bid=0):
        self.peer, self.torrent, self.lock = peer, torrent, lock
        self.stream = pricing.Stream()
        self.bid_rate, self.window = bid, 0
        self.channel = Channel.of_lock(peer.identity, lock) if lock else None
        self.acknowledged = Channel.acknowledging(peer.identity, peer.key)
        self.unchoked, self.quoted = False, 0
        self.order = []  # names of what came that a check may want to know the order of
        self.pieces, self.costs = {}, {}
        self.raw = self.paid_bytes = self.free_bytes = 0  # of pieces that were verified
        self._data, self._asked = {}, set()

    # ---- what is said

    def begin(self):
        """LOCK, BID and INTERESTED, in the order of §6."""
        if self.lock:
            self.peer.say(messages.LOCK_SHOWN, lk=self.lock)
            self.bid(self.bid_rate)
        self.peer.line.send(wire.INTERESTED)

    def bid(self, rate):
        self.bid_rate = rate
        self.peer.say(messages.BID, ra=rate)
        self.stream.on_bid(rate)

    def request(self, block):
        self._asked.add(block)
        self.stream.on_request(block)
        self.peer.request(block)

    def request_piece(self, piece):
        self._data[piece] = {}
        for block in self.torrent.blocks(piece):
            self.request(block)

    def sign_due(self):
        """Signs what is due, if it is more than was signed."""
        due = self.due()
        if self.channel and due > self.channel.amount:
            receipt = self.channel.sign(self.paid_bytes - self.channel.bytes, due)
            self.peer.say(messages.RECEIPT_SENT, rc=receipt)

    def due(self):
        return self.raw // pricing.GIB

    def acknowledge(self):
        """Says what came for nothing (§6)."""
        more = self.free_bytes - self.acknowledged.bytes
        if more:
            self.peer.say(messages.RECEIPT_SENT, rc=self.acknowledged.sign(more, 0))

    # ---- what comes

    def step(self):
        """Reads one message and does what follows from it; gives it."""
        name, message = self.peer.next()
        if name == wire.UNCHOKE:
            self.unchoked = True
            self.order.append("UNCHOKE")
        elif name == wire.CHOKE:
            self.unchoked = False
        elif name == "QUOTE":
            self.stream.on_quote(message["st"], message.get("ra"))
            self.window, self.quoted = message["wi"], message["st"]
            self.order.append(f"QUOTE {message['st']}")
        elif name == wire.REJECT:
            self._rejected(struct.unpack(">III", message))
        elif name == wire.PIECE:
            piece, offset = struct.unpack(">II", message[:8])
            self._came((piece, offset, len(message) - 8), message[8:])
        return name, message

    def until(self, what, reached):
        """Reads until something is so."""
        for _ in range(wire.MESSAGES_MAX):
            if reached():
                return
            self.step()
        raise check.Failed(f"not within {wire.MESSAGES_MAX} messages: {what}")

    def until_seated(self):
        self.until("a paid seat", lambda: self.unchoked and self.quoted == messages.PAID)

    def _rejected(self, block):
        if block in self._asked:
            self._asked.discard(block)
            self.stream.on_reject(block)

    def _came(self, block, data):
        self._asked.remove(block)
        self.costs[block] = self.stream.on_piece(block, len(data))
        blocks = self._data[block[0]]
        blocks[block[1]] = data
        if len(blocks) == len(self.torrent.blocks(block[0])):
            whole = b"".join(blocks[at] for at in sorted(blocks))
            check.true(self.torrent.matches(block[0], whole), f"SHA-1 of piece {block[0]}")
            self.pieces[block[0]] = whole
            self._is_due(block[0])

    def _is_due(self, piece):
        """S1: the blocks of a verified piece are due, each at its rate."""
        for block in self.torrent.blocks(piece):
            rate, size = self.costs[block], block[2]
            self.raw += rate * size
            if rate:
                self.paid_bytes += size
            else:
                self.free_bytes += size

    # ---- a whole download

    def open_bytes(self):
        """Lengths of the pieces that are asked for and not verified (S2)."""
        return sum(
            sum(size for _, _, size in self.torrent.blocks(piece))
            for piece in self._data
            if piece not in self.pieces
        )

    def own_window(self):
        """P1, reckoned with what was signed for what is cleared."""
        signed, cleared = self.channel.amount, self.channel.bytes
        return pricing.window(self.torrent.piece_len, signed, self.bid_rate, cleared)

    def fetch(self, pieces, sign=True):
        """Fetches these pieces, as many at once as fit the window, and pays for each."""
        waiting = list(pieces)
        wanted = set(waiting)
        while wanted - self.pieces.keys():
            allowed = min(self.window, self.own_window()) if self.channel else 1 << 30
            while waiting and self.unchoked:
                if self.open_bytes() and self.open_bytes() + self.torrent.piece_len > allowed:
                    break
                self.request_piece(waiting.pop(0))
            self.step()
            self._ask_again(wanted)
            if sign:
                self.sign_due()

    def _ask_again(self, wanted):
        if not self.unchoked:
            return
        for piece in wanted & self._data.keys() - self.pieces.keys():
            for block in self.torrent.blocks(piece):
                if block not in self._asked and block[1] not in self._data[piece]:
                    self.request(block)

    def end(self):
        """BID 0, then CLOSE with the last receipt."""
        self.bid(0)
        lock_id = LOCK.parse(self.lock).lock_id
        receipt = self.channel.sign() if self.channel.amount else None
        self.peer.say(messages.CLOSE, id=lock_id, rc=receipt)
