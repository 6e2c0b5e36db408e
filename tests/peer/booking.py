"""A payee's own ledger, as far as `booking.json` tells of it: which lines and receipts it takes.

A summary is this node's own form of "the newest receipt on a channel" and no protocol:
network 32, kind u8, lock id u64, opening order 32, payer 32, payee 32, signed receipt 144, then
what the lock holds u64, and 9 bytes that no outcome depends on. An acknowledgement is of no
network: it carries zeros (PROTOCOL §2).
"""

import struct

import lines
import objects
from ledger import CODE
from objects import RECEIPT

FRONT = struct.Struct("<32sBQ32s32s32s144sQ9s")
ENTERED, KNOWN = ("entered", None), ("known", None)


def refused(name):
    return "refused", CODE[name]


class Book:
    """Lines without a gap, and the newest receipt of each channel."""

    def __init__(self, network, settlement, owner):
        self.network, self.settlement, self.owner = network, settlement, owner
        self.newest, self.balance = None, 0
        self.seen = set()
        self.receipts, self.opened = {}, {}

    def line(self, data):
        """Steps 1 to 4 of PROTOCOL-SETTLEMENT §7, and that the balance follows."""
        line = lines.read_line(data)
        own = line.cert.account == self.owner
        if not own or not lines.is_certified(line, self.network, self.settlement):
            return refused("BadCertificate")
        if line.cert.entry_hash in self.seen:
            return KNOWN
        if line.previous != self.newest:
            return refused("OutOfOrder")
        change = change_of(line, self.owner)
        if self.balance + change != line.cert.available_after:
            return refused("OutOfOrder")
        self.seen.add(line.cert.entry_hash)
        self.newest, self.balance = line.cert.sequence, line.cert.available_after
        return ENTERED

    def summary(self, data):
        """The newest receipt on a channel whose payee is the owner."""
        network, kind, lock_id, opening, payer, payee, signed, _, _ = FRONT.unpack(data)
        receipt = RECEIPT.parse(signed)
        if network != (self.network if kind == 1 else bytes(32)):
            return refused("WrongNetwork")
        if self.owner not in (payer, payee):
            return refused("NotParty")
        if kind == 1 and payee != self.owner:
            return refused("LockUnknown")  # no lock that it opened
        channel = objects.channel_id(network, kind, payer, payee, opening)
        if kind == 1 and self.opened.setdefault(lock_id, opening) != opening:
            return refused("BadReceipt")
        if receipt.channel != channel or not RECEIPT.holds(payer, signed):
            return refused("BadReceipt")
        if kind == 0 and receipt.amount:
            return refused("BadReceipt")
        held = self.receipts.get(channel, (0, 0))
        now = receipt.bytes, receipt.amount
        if now[0] <= held[0] and now[1] <= held[1]:
            return KNOWN
        if now[0] < held[0] or now[1] < held[1]:
            return refused("ReceiptRegressed")
        self.receipts[channel] = now
        return ENTERED


def change_of(line, account):
    """What an entry adds to an account's available credit."""
    entry = lines.entry_of_line(line)
    at = 1 + 1 + 8 + 8 + 32 + 2 + 2 + len(line.operation)
    count, change = entry[at], 0
    for index in range(count):
        posting = entry[at + 1 + 42 * index : at + 1 + 42 * (index + 1)]
        if posting[:33] == lines.available(account):
            amount = int.from_bytes(posting[34:], "little")
            change += amount if posting[33] else -amount
    return change
