"""The payee's side of one connection (PROTOCOL §5): serves a torrent, as paid where it may."""

import struct

import check
import messages
import objects
import pricing
import wire
from objects import LOCK, RECEIPT


class Payee:
    """Serves a payer that has one lock for us; never more than the window ahead of payment."""

    def __init__(self, peer, torrent, settlement, ask):
        self.peer, self.torrent, self.settlement, self.ask = peer, torrent, settlement, ask
        self.stream = pricing.Stream()
        self.lock = self.lock_signed = self.receipt = None
        self.paid = self.cleared = self.exposure = self.exposure_most = 0
        self.bid, self.highest_bid = 0, 0
        self.seated = self.serves_free = self.interested = self.close_asked = False
        self.quoted = None
        self.queue, self.granted = [], []
        self.cleared_raw = 0
        self.served = {}
        self.acknowledged = 0

    # ---- what is said

    def quote(self, state):
        self.quoted = state, self.window()
        self.peer.say(messages.QUOTE, st=state, wi=self.window(), wo=0)
        self.stream.on_quote(state)

    def serve_free(self):
        """The open class: whatever is asked for, for nothing."""
        self.serves_free = True
        self.quote(messages.OPEN)
        self.peer.line.send(wire.UNCHOKE)

    def window(self):
        """P1, at the bid in force."""
        return pricing.window(self.torrent.piece_len, self.paid, self.bid, self.cleared)

    def seat(self):
        """The paid class, as soon as all that §4 asks for is there."""
        ready = self.interested and self.lock and self.bid >= self.ask and not self.seated
        if ready and self.serves_on(self.lock):
            self.seated = True
            self.quote(messages.PAID)
            self.peer.line.send(wire.UNCHOKE)

    def serves_on(self, lock):
        """P5: the amount covers a window at the highest bid, the ask, or 1."""
        rate = max(self.highest_bid, self.ask, 1)
        return lock.amount >= pricing.lock_least(rate, self.window())

    # ---- what comes

    def step(self):
        """Reads one message and does what follows; gives it."""
        name, message = self.peer.next()
        if name == wire.INTERESTED:
            self.interested = True
        elif name == "BID":
            self.bid = message["ra"]
            self.highest_bid = max(self.highest_bid, self.bid)
            self.stream.on_bid(self.bid)
        elif name == "LOCK":
            self._take_lock(message["lk"])
        elif name == "RECEIPT":
            self._take_receipt(message["rc"])
        elif name == "CLOSE":
            if "rc" in message:
                self._take_receipt(message["rc"])
            self.close_asked = True
        elif name == wire.REQUEST:
            block = struct.unpack(">III", message)
            self.stream.on_request(block)
            self.queue.append(block)
        self.seat()
        self.serve()
        return name, message

    def serve(self):
        """Answers what fits the window and the lock, in the order in which it was asked."""
        while (self.seated or self.serves_free) and self.queue:
            block = self.queue[0]
            if self.exposure + block[2] > self.window():
                return
            self.queue.pop(0)
            data = self.torrent.block(*block)
            rate = self.stream.on_piece(block, block[2])
            self.peer.line.send(wire.PIECE, struct.pack(">II", *block[:2]) + data)
            self.served[block] = rate
            if rate:
                self.granted.append((rate, block[2]))
                self.exposure += block[2]
                self.exposure_most = max(self.exposure_most, self.exposure)

    def _take_lock(self, signed):
        lock = LOCK.parse(signed)
        check.true(LOCK.holds(self.settlement, signed), "a lock that the settlement key signed")
        pair = lock.payer, lock.payee, lock.network
        expected = self.peer.key, self.peer.identity.key, self.peer.network
        check.equal(pair, expected, "a lock of this pair and network")
        if self.lock:
            same = lock.lock_id, lock.opening_order
            check.equal(same, (self.lock.lock_id, self.lock.opening_order), "a top-up")
            check.true(lock.amount >= self.lock.amount, "never smaller")
        self.lock, self.lock_signed = lock, signed

    def _take_receipt(self, signed):
        """P3: on a channel that is known, of the payer, both totals at least what is held."""
        receipt = RECEIPT.parse(signed)
        check.true(RECEIPT.holds(self.peer.key, signed), "a receipt of the payer's")
        if receipt.channel == self._acknowledging():
            found = receipt.network, receipt.amount
            check.equal(found, (objects.NO_NETWORK, 0), "an acknowledgement")
            self.acknowledged = max(self.acknowledged, receipt.bytes)
            return
        expected = objects.lock_channel(self.lock), self.lock.network
        check.equal((receipt.channel, receipt.network), expected, "a receipt on the lock")
        held = RECEIPT.parse(self.receipt) if self.receipt else None
        if held:
            rises = receipt.bytes >= held.bytes and receipt.amount >= held.amount
            check.true(rises, "totals that do not fall")
        self.receipt = signed
        self._clear(min(receipt.amount, self.lock.amount))

    def _acknowledging(self):
        return objects.acknowledgement_channel(self.peer.key, self.peer.identity.key)

    def _clear(self, paid):
        """P2: a rise clears the lowest rate first; less than 1 µcr may be missing."""
        self.paid = paid
        budget = (paid + 1) * pricing.GIB
        self.granted.sort(key=lambda block: block[0])
        while self.granted:
            rate, size = self.granted[0]
            if self.cleared_raw + rate * size >= budget:
                break
            self.granted.pop(0)
            self.cleared_raw += rate * size
            self.exposure -= size
            self.cleared += size
        if self.quoted and self.quoted[1] != self.window():
            self.quote(self.quoted[0])
