"""A network's ledger, made from PROTOCOL-SETTLEMENT alone: what each order and claim becomes.

It judges `settlement.json`, and is what the settlement node of these tests settles with.
"""

from types import SimpleNamespace

import ed25519
import lines
import objects
from objects import CERTIFICATE, CLAIM, HEAD, LOCK, ORDER, RECEIPT

REFUSALS = (
    "- WrongNetwork BadSignature WrongNonce Expired NotIssuer BadAmount InsufficientCredit "
    "SameParty LockUnknown LockClosed NotParty LockExists BadLifetime BadReceipt "
    "ReceiptRegressed AlreadyDone Overflow BadCertificate OutOfOrder KeyRotated LockExhausted "
    "BadKey NoStanding"
).split()
CODE = {name: code for code, name in enumerate(REFUSALS)}
CREDIT_MAX = 2**63 - 1
ENDS_BEFORE_EACH = 8  # §5: locks that are ended in a row before an order or claim


class Refused(Exception):
    """The name of the first check that failed."""


def refuse_if(*cases):
    for failed, name in cases:
        if failed:
            raise Refused(name)


class Ledger:
    """Accounts, locks and entries of one network, and the lines that tell of them."""

    def __init__(self, genesis, identity, founded_at):
        self.genesis, self.identity = genesis, identity
        self.available, self.granted, self.burned = {}, 0, 0
        self.nonces, self.used = {}, {}
        self.standing, self.heirs = set(genesis.issuers), {}
        self.locks, self.newest = {}, {}
        self.lines, self.entries, self.ends_in_a_row = {}, [], 0
        self.head_hash, self.time = bytes(32), founded_at
        self._append(lines.GENESIS_ENTRY, genesis.text.encode(), 0, None, 0)

    # ---- what is asked of it

    def order(self, signed, now, reason=b""):
        """Outcome as in `settlement.json`: (outcome, refusal, entry, order that used the nonce)."""
        order = ORDER.parse(signed)
        if order.network != self.genesis.network:
            return "refused", CODE["WrongNetwork"], None, None
        if not ORDER.holds(order.account, signed):
            return "refused", CODE["BadSignature"], None, None
        self._begin(now)
        last = self.nonces.get(order.account, 0)
        if 0 < order.nonce <= last:
            first, entry = self.used[order.account, order.nonce]
            if ORDER.signing_bytes(first) == ORDER.signing_bytes(signed):
                return "known", self.entries[entry].refusal, entry, None
            return "nonce used", CODE["WrongNonce"], entry, first
        if order.nonce != last + 1:
            return "refused", CODE["WrongNonce"], None, None
        late = self.time > order.valid_until
        if order.account not in self.standing:
            return "refused", CODE["Expired" if late else "NoStanding"], None, None
        refusal, amount = 0, 0
        try:
            refuse_if((late, "Expired"))
            amount = self._carry_out(order, signed)
        except Refused as name:
            refusal = CODE[str(name)]
        self.nonces[order.account] = order.nonce
        self.used[order.account, order.nonce] = signed, len(self.entries)
        kind = lines.ENTRY_OF_ORDER[order.kind]
        entry = self._append(kind, signed, refusal, order, amount, reason=reason)
        return ("entered as refused" if refusal else "entered"), refusal, entry, None

    def claim(self, signed, now):
        """As `order`; a refused claim leaves nothing."""
        claim = CLAIM.parse(signed)
        receipt = RECEIPT.parse(claim.receipt)
        lock = self.locks.get(claim.lock_id)
        try:
            refuse_if(
                (claim.network != self.genesis.network, "WrongNetwork"),
                (not CLAIM.holds(claim.payee, signed), "BadSignature"),
            )
            self._begin(now)
            refuse_if((receipt.amount == 0, "BadAmount"), (not lock, "LockUnknown"))
            fields = lock.fields
            end = fields["expires_at"] + fields["grace"]
            theirs = SimpleNamespace(**fields)
            refuse_if(
                (lock.closed or self.time > end, "LockClosed"),
                (fields["payee"] != claim.payee, "NotParty"),
                (receipt.network != self.genesis.network, "BadReceipt"),
                (receipt.channel != objects.lock_channel(theirs), "BadReceipt"),
                (not RECEIPT.holds(fields["payer"], claim.receipt), "BadReceipt"),
                (receipt.bytes < lock.bytes or receipt.amount < lock.signed, "ReceiptRegressed"),
            )
        except Refused as name:
            return "refused", CODE[str(name)], None, None
        paid = min(receipt.amount, fields["amount"]) - lock.claimed
        if paid == 0:
            if lock.paid_last is None:
                return "refused", CODE["AlreadyDone"], None, None
            return "known", 0, lock.paid_last, None
        lock.bytes, lock.signed = receipt.bytes, receipt.amount
        lock.claimed += paid
        self._credit(claim.payee, paid)
        lock.paid_last = len(self.entries)
        entry = self._append(lines.CLAIMED, signed, 0, None, paid, claim=claim)
        return "entered", 0, entry, None

    def reserved(self, account):
        """What is left in the open locks of a payer."""
        return sum(
            lock.fields["amount"] - lock.claimed
            for lock in self.locks.values()
            if lock.fields["payer"] == account and not lock.closed
        )

    def status(self, lock_id):
        lock = self.locks[lock_id]
        signed = LOCK.sign(self.identity, **lock.fields)
        return SimpleNamespace(
            signed=signed, claimed=lock.claimed, closed=lock.closed, lock=LOCK.parse(signed)
        )

    def head(self):
        return HEAD.sign(
            self.identity, network=self.genesis.network, size=len(self.entries),
            entry_hash=self.head_hash, time=self.entries[-1].time,
        )  # fmt: skip

    # ---- time

    def _begin(self, now):
        """Settlement time never goes back, and ends some of what has expired."""
        self.time = max(now, self.time)
        ends = sorted(
            (lock.fields["expires_at"] + lock.fields["grace"], lock_id)
            for lock_id, lock in self.locks.items()
            if self._waits(lock)
        )
        for _, lock_id in ends[: max(0, ENDS_BEFORE_EACH - self.ends_in_a_row)]:
            left, in_a_row = self._end(lock_id), self.ends_in_a_row
            cause = lines.integer(lock_id, 8)
            self._append(lines.LOCK_EXPIRY, cause, 0, None, left, lock_id=lock_id)
            self.ends_in_a_row = in_a_row + 1

    def _waits(self, lock):
        """Its time has passed, and its end is not entered."""
        return not lock.closed and lock.fields["expires_at"] + lock.fields["grace"] < self.time

    def _end(self, lock_id):
        lock = self.locks[lock_id]
        lock.closed = True
        left = lock.fields["amount"] - lock.claimed
        self._credit(lock.fields["payer"], left)
        return left

    # ---- orders, each with its refusals in the order of §2

    def _carry_out(self, order, signed):
        carry = {
            objects.TRANSFER: self._transfer,
            objects.OPEN_LOCK: self._open_lock,
            objects.TOP_UP: self._top_up,
            objects.CLOSE_LOCK: self._close_lock,
            objects.ROTATE_KEY: self._rotate_key,
            objects.GRANT: self._grant,
            objects.BURN: self._burn,
        }[order.kind]
        return carry(order, signed)

    def _transfer(self, order, _):
        refuse_if(
            (order.amount < self.genesis.limits.transfer_microcredits_min, "BadAmount"),
            (order.amount > self._has(order.account), "InsufficientCredit"),
            (order.to == order.account, "SameParty"),
            (self._rotated(order.account, order.to), "KeyRotated"),
            (not ed25519.is_usable(order.to), "BadKey"),
        )
        self.available[order.account] -= order.amount
        self._credit(order.to, order.amount)
        return order.amount

    def _open_lock(self, order, signed):
        limits, pair = self.genesis.limits, (order.account, order.to)
        refuse_if(
            (not 0 < order.amount <= limits.lock_microcredits_max, "BadAmount"),
            (order.amount > self._has(order.account), "InsufficientCredit"),
            (order.to == order.account, "SameParty"),
            (pair in self.newest and self._lives(self.newest[pair]), "LockExists"),
            (not 0 < order.ttl <= limits.lock_ttl_secs_max, "BadLifetime"),
            (self._rotated(order.account, order.to), "KeyRotated"),
            (not ed25519.is_usable(order.to), "BadKey"),
        )
        lock_id = len(self.entries)
        fields = {
            "network": self.genesis.network, "lock_id": lock_id,
            "opening_order": objects.opening_order(signed), "payer": order.account,
            "payee": order.to, "amount": order.amount,
            "expires_at": self.time + order.ttl, "grace": limits.lock_grace_secs,
        }  # fmt: skip
        self.locks[lock_id] = SimpleNamespace(
            fields=fields, claimed=0, closed=False, bytes=0, signed=0, paid_last=None
        )
        self.newest[pair] = lock_id
        self.available[order.account] -= order.amount
        self.standing |= {order.account, order.to}
        return order.amount

    def _top_up(self, order, _):
        lock = self.locks.get(order.ref)
        fields = lock.fields if lock else {"amount": 0, "expires_at": 0, "payer": b"", "payee": b""}
        total = fields["amount"] + order.amount
        most = self.genesis.limits.lock_microcredits_max
        pair = fields["payer"], fields["payee"]
        refuse_if(
            ((order.amount == 0 and order.ttl == 0) or total > most, "BadAmount"),
            (order.amount > self._has(order.account), "InsufficientCredit"),
            (not lock, "LockUnknown"),
            (lock and (lock.closed or self.time > fields["expires_at"]), "LockClosed"),
            (fields["payer"] != order.account, "NotParty"),
            (self.newest.get(pair) != order.ref, "LockExists"),
            (order.ttl > self.genesis.limits.lock_ttl_secs_max, "BadLifetime"),
            (self._rotated(order.account), "KeyRotated"),
        )
        fields["amount"] = total
        if order.ttl:
            fields["expires_at"] = max(fields["expires_at"], self.time + order.ttl)
        self.available[order.account] -= order.amount
        return order.amount

    def _close_lock(self, order, _):
        lock = self.locks.get(order.ref)
        refuse_if((not lock, "LockUnknown"))
        refuse_if(
            (lock.closed or self._waits(lock), "LockClosed"),
            (lock.fields["payee"] != order.account, "NotParty"),
        )
        return self._end(order.ref)

    def _rotate_key(self, order, _):
        moved, heir = self._has(order.account), self.heirs.get(order.account)
        barred = heir != order.to or moved == 0 if heir else order.to in self.heirs
        refuse_if(
            (order.to == order.account, "SameParty"),
            (barred, "KeyRotated"),
            (not ed25519.is_usable(order.to), "BadKey"),
        )
        self.heirs[order.account] = order.to
        self.standing.add(order.to)
        self.available[order.account] = 0
        self.available[order.to] = self._has(order.to) + moved
        return moved

    def _grant(self, order, _):
        in_being = self.granted - self.burned
        refuse_if(
            (order.account not in self.genesis.issuers, "NotIssuer"),
            (not 0 < order.amount <= self.genesis.limits.grant_microcredits_max, "BadAmount"),
            (in_being + order.amount > CREDIT_MAX, "Overflow"),
            (self._rotated(order.account, order.to), "KeyRotated"),
            (not ed25519.is_usable(order.to), "BadKey"),
        )
        self.granted += order.amount
        self._credit(order.to, order.amount)
        return order.amount

    def _burn(self, order, _):
        refuse_if(
            (order.account not in self.genesis.issuers, "NotIssuer"),
            (order.amount == 0, "BadAmount"),
            (order.amount > self._has(order.account), "InsufficientCredit"),
            (self._rotated(order.account), "KeyRotated"),
        )
        self.burned += order.amount
        self.available[order.account] -= order.amount
        return order.amount

    # ---- state

    def _has(self, account):
        return self.available.get(account, 0)

    def _credit(self, account, amount):
        self.available[account] = self._has(account) + amount
        if amount:
            self.standing.add(account)

    def _rotated(self, *accounts):
        return any(account in self.heirs for account in accounts)

    def _lives(self, lock_id):
        lock = self.locks[lock_id]
        expired = self.time > lock.fields["expires_at"]
        return not lock.closed and not expired and lock.claimed < lock.fields["amount"]

    # ---- entries

    def _append(self, kind, cause, refusal, order, amount, claim=None, lock_id=None, reason=b""):
        """Enters, and gives a line to everybody whose account it touched."""
        sequence, previous_hash = len(self.entries), self.head_hash
        lock_id = self._lock_of(kind, sequence, order, claim, lock_id, refusal)
        payer = self.locks[lock_id].fields["payer"] if lock_id is not None else None
        moves = amount and not refusal
        way = lines.way_of(kind, sequence, order, claim, lock_id, payer) if moves else None
        data = lines.write_entry(
            kind, sequence, self.time, previous_hash, refusal, cause, way, amount
        )
        self.head_hash = lines.entry_hash(data)
        self.entries.append(SimpleNamespace(refusal=refusal, hash=self.head_hash, time=self.time))
        self.ends_in_a_row = 0
        for account in self._touched(kind, order, lock_id, refusal):
            line = SimpleNamespace(
                kind=kind, operation=cause, refusal=refusal, amount=amount,
                lock=None if lock_id is None else self.status(lock_id),
                previous=self._previous(account), previous_hash=previous_hash,
                certificate=self._certify(sequence, account), reason=reason,
            )  # fmt: skip
            told = self.lines.setdefault(account, [])
            told.append((sequence, lines.write_line(line)))
        return sequence

    def _lock_of(self, kind, sequence, order, claim, lock_id, refusal):
        """The lock that an entry concerns; what is refused concerns none."""
        if refusal:
            return None
        if claim:
            return claim.lock_id
        if kind == lines.LOCK_OPEN:
            return sequence
        if kind in (lines.TOP_UP, lines.LOCK_CLOSE):
            return order.ref
        return lock_id

    def _touched(self, kind, order, lock_id, refusal):
        """Accounts that get a line, by the table of §6."""
        if kind == lines.GENESIS_ENTRY:
            return []
        if refusal:
            return [order.account]
        if kind in (lines.GRANT, lines.TRANSFER, lines.KEY_ROTATION):
            return list(dict.fromkeys([order.account, order.to]))
        if kind in (lines.CLAIMED, lines.LOCK_CLOSE, lines.LOCK_EXPIRY):
            fields = self.locks[lock_id].fields
            return [fields["payer"], fields["payee"]]
        return [order.account]

    def _previous(self, account):
        told = self.lines.get(account)
        return told[-1][0] if told else None

    def _certify(self, sequence, account):
        return CERTIFICATE.sign(
            self.identity, network=self.genesis.network, sequence=sequence,
            entry_hash=self.head_hash, time=self.time, account=account,
            available_after=self._has(account),
        )  # fmt: skip
