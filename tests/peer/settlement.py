"""A member's side of the settlement link (PROTOCOL §7): orders, claims and reads."""

import secrets
import time

import blake3
import check
import http2
import lines
import objects
from objects import CLAIM, HEAD, ORDER, READ

VALID_SECS = 600
READ_SECS = 300


class Unusable(Exception):
    """What came is not the settlement node's word on the question."""


class Line:
    """One connection to a settlement node, made when it is needed."""

    def __init__(self, addr):
        self.addr, self._client = addr, None

    def call(self, method, question):
        """The messages of the answer; none if it failed, which means: ask again."""
        if self._client is None:
            self._client = http2.Client(self.addr)
        try:
            return list(self._client.call(method, question))
        except (OSError, http2.Gone):
            self.close()
            return []

    def close(self):
        if self._client is not None:
            self._client.close()
            self._client = None


class Account:
    """A key of a network, and what it asks of its settlement node."""

    def __init__(self, identity, genesis, line):
        self.identity, self.genesis, self.line = identity, genesis, line
        self.nonce = 0

    @property
    def key(self):
        return self.identity.key

    # ---- questions

    def ask(self, question):
        """The answer, its seal verified first."""
        for fields in self.line.call("Ask", question):
            data, signature = fields.get(1, b""), fields.get(2, b"")
            return self.open(question, data, signature)
        raise Unusable("no answer")

    def open(self, question, data, signature, index=0):
        request_hash = blake3.digest(question)
        network, settlement = self.genesis.network, self.genesis.settlement
        if not lines.seal_holds(settlement, network, request_hash, data, signature, index):
            raise Unusable("not sealed for the question")
        return lines.read_answer(data)

    # ---- orders

    def sign_order(self, kind, **columns):
        """An order with the next nonce, which it uses."""
        self.nonce += 1
        values = {
            "network": self.genesis.network, "account": self.key, "nonce": self.nonce,
            "valid_until": int(time.time()) + VALID_SECS, "kind": kind,
        }  # fmt: skip
        return ORDER.sign(self.identity, **objects.order_body(**(values | columns)))

    def order(self, kind, **columns):
        """Carries an order out and gives the line that says so, certified and made again."""
        signed = self.sign_order(kind, **columns)
        answer = self.ask(lines.submit(signed))
        check.equal((answer.kind, answer.refusal), (lines.OPERATION, 0), "an order's answer")
        line = lines.read_line(answer.line)
        self.certified(line)
        check.equal(line.operation, signed, "the line's order")
        return line

    def certified(self, line):
        holds = lines.is_certified(line, self.genesis.network, self.genesis.settlement)
        check.true(holds and line.cert.account == self.key, "a certified line of ours")

    def open_lock(self, payee, amount, ttl=3600):
        """The signed lock."""
        line = self.order(objects.OPEN_LOCK, to=payee, amount=amount, ttl=ttl)
        check.equal(line.lock.lock.lock_id, line.cert.sequence, "a lock's id is its entry's")
        opening = objects.opening_order(line.operation)
        check.equal(line.lock.lock.opening_order, opening, "a lock's opening order")
        return line.lock.signed

    def top_up(self, lock_id, amount, ttl=0):
        return self.order(objects.TOP_UP, ref=lock_id, amount=amount, ttl=ttl).lock.signed

    def close_lock(self, lock_id):
        return self.order(objects.CLOSE_LOCK, ref=lock_id)

    def claim(self, lock, receipt):
        """Claims on a parsed lock and gives the certified line, or the refusal."""
        signed = CLAIM.sign(
            self.identity, network=self.genesis.network, lock_id=lock.lock_id,
            payee=self.key, receipt=receipt,
        )  # fmt: skip
        answer = self.ask(lines.claim(signed))
        if answer.refusal:
            return answer
        line = lines.read_line(answer.line)
        self.certified(line)
        return line

    # ---- reads

    def sign_read(self, kind, ref=0, count=0):
        return READ.sign(
            self.identity, network=self.genesis.network, account=self.key, kind=kind, ref=ref,
            count=count, random=secrets.token_bytes(16), valid_until=int(time.time()) + READ_SECS,
        )  # fmt: skip

    def read(self, kind, ref=0, count=0):
        answer = self.ask(lines.read(self.sign_read(kind, ref, count)))
        if answer.kind in (lines.ACCOUNT, lines.STATEMENT):
            check.equal(answer.account, self.key, "whose account it is")
            check.true(HEAD.holds(self.genesis.settlement, answer.head), "a signed head")
        return answer

    def account(self):
        return self.read(objects.READ_ACCOUNT)

    def lock(self, lock_id):
        return self.read(objects.READ_LOCK, ref=lock_id).lock

    def statement(self, newest=0, count=100):
        """All lines behind `newest`, each certified, without a gap."""
        found, previous = [], newest or None
        while True:
            page = self.read(objects.READ_STATEMENT, ref=newest, count=count)
            for data in page.lines:
                line = lines.read_line(data)
                self.certified(line)
                check.equal(line.previous, previous, "the line before")
                previous = newest = line.cert.sequence
                found.append(line)
            if not page.more:
                return found
