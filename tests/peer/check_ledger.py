"""A settlement node against the ledger that this package makes from PROTOCOL-SETTLEMENT alone."""

import contextlib
import hashlib

import check
import ed25519
import ledger
import lines
import node
import objects
import payer
import settlement
from objects import HEAD, LOCK

GRANTED = 1_000_000
LOOSE = {"order", "claim", "cert", "lock"}  # parsed, and compared as bytes


@contextlib.contextmanager
def settled(programs):
    """A network with its settlement node, and a line to it."""
    community = node.Community(programs)
    with node.Node(programs, "settlement", community.settlement_config()) as settles:
        with contextlib.closing(settlement.Line(settles.settles())) as line:
            yield community, line


class Mirror:
    """A settlement node, and a ledger of our own that is told the same."""

    def __init__(self, community, line):
        self.genesis, self.line = community.genesis, line
        issuer = ed25519.Identity(community.secret("issuer.key"))
        self.issuer = settlement.Account(issuer, self.genesis, line)
        head = HEAD.parse(self.issuer.account().head)
        check.equal(head.size, 1, "a ledger of its genesis alone")
        own = ed25519.Identity(community.secret("settlement.key"))
        self.books = ledger.Ledger(self.genesis, own, head.time)
        check.equal(self.books.head_hash, head.entry_hash, "the entry of the genesis")
        self.outcomes = {}

    def account(self):
        """A new key with credit."""
        made = settlement.Account(ed25519.Identity(), self.genesis, self.line)
        self.order(self.issuer, objects.GRANT, to=made.key, amount=GRANTED)
        return made

    def order(self, account, kind, **columns):
        signed = account.sign_order(kind, **columns)
        self.submit(account, signed)
        return signed

    def submit(self, account, signed):
        """Both are asked, and say the same; gives the answer."""
        answer = account.ask(lines.submit(signed))
        self.same(account, answer, self.books.order(signed, time_of(answer)))
        return answer

    def claim(self, account, lock, receipt):
        signed = objects.CLAIM.sign(
            account.identity, network=self.genesis.network, lock_id=lock.lock_id,
            payee=account.key, receipt=receipt,
        )  # fmt: skip
        answer = account.ask(lines.claim(signed))
        self.same(account, answer, self.books.claim(signed, time_of(answer)))
        return answer

    def same(self, account, answer, outcome):
        name, refusal, entry, used = outcome
        self.outcomes[name] = self.outcomes.get(name, 0) + 1
        check.equal(answer.refusal, refusal, f"{name}: refusal")
        # Neither its network's nor its account's word: that is no order, and no claim.
        if ledger.REFUSALS[refusal] in ("WrongNetwork", "BadSignature"):
            check.equal(answer.kind, lines.REFUSED, f"{name}: kind of the answer")
            return
        check.equal(answer.kind, lines.OPERATION, f"{name}: kind of the answer")
        check.equal((answer.sequence, answer.used), (entry, used), f"{name}: entry")
        check.equal(answer.line is not None, name.startswith("entered"), f"{name}: a line")
        if answer.line:
            own = self.books.lines[account.key][-1][1]
            found, expected = (vars(lines.read_line(line)) for line in (answer.line, own))
            for field in found:
                if field not in LOOSE:
                    check.equal(found[field], expected[field], f"{name}: {field} of its line")
            check.equal(answer.line, own, f"{name}: its line")

    def agree(self, accounts):
        """Every account, statement and head is ours, byte for byte."""
        for account in accounts:
            told = account.account()
            sums = told.available, told.reserved, told.nonce
            books = self.books
            own = (
                books.available.get(account.key, 0), books.reserved(account.key),
                books.nonces.get(account.key, 0),
            )  # fmt: skip
            check.equal(sums, own, "an account")
            check.equal(told.head, books.head(), "the signed head")
            answer = account.read(objects.READ_STATEMENT, count=255)
            check.equal(answer.lines, [line for _, line in books.lines[account.key]], "lines")


def time_of(answer):
    """When it was entered: what its line says; the answer may be a second later."""
    line = getattr(answer, "line", None)
    return lines.read_line(line).cert.time if line else answer.time


def a_whole_ledger_is_made_again(programs):
    """Orders and claims of every kind and most refusals: the same answers, lines and heads."""
    with settled(programs) as (community, line):
        mirror = Mirror(community, line)
        a, b, heir = mirror.account(), mirror.account(), mirror.account()
        locks(mirror, a, b)
        refusals(mirror, a, b)
        mirror.order(a, objects.TRANSFER, to=b.key, amount=5_000)
        mirror.order(mirror.issuer, objects.GRANT, to=mirror.issuer.key, amount=9)
        mirror.order(mirror.issuer, objects.BURN, amount=9)
        mirror.order(b, objects.ROTATE_KEY, to=heir.key)
        mirror.order(b, objects.TRANSFER, to=heir.key, amount=5_000)
        mirror.agree([mirror.issuer, a, b, heir])
        return f"{len(mirror.books.entries)} entries, {mirror.outcomes}"


def locks(mirror, a, b):
    """A lock's life, and its claims."""
    opened = mirror.order(a, objects.OPEN_LOCK, to=b.key, amount=9_000, ttl=3600)
    lock_id = mirror.books.newest[a.key, b.key]
    lock = LOCK.parse(a.lock(lock_id).signed)
    check.equal(lock.opening_order, objects.opening_order(opened), "its opening order")
    mirror.order(a, objects.OPEN_LOCK, to=b.key, amount=9_000, ttl=3600)
    mirror.order(a, objects.TOP_UP, ref=lock_id, amount=1_000, ttl=7200)
    mirror.order(b, objects.TOP_UP, ref=lock_id, amount=1_000)
    channel = payer.Channel.of_lock(a.identity, a.lock(lock_id).signed)
    for size, amount in [(1 << 20, 4_000), (1 << 20, 4_000), (1 << 20, 3_000), (0, 5_000)]:
        mirror.claim(b, lock, channel.signed(size, amount))
    mirror.claim(a, lock, channel.signed(2 << 20, 5_000))
    mirror.claim(b, lock, channel.signed(2 << 20, 50_000))
    second = mirror.order(a, objects.OPEN_LOCK, to=b.key, amount=7_000, ttl=60)
    check.true(objects.opening_order(second) != lock.opening_order, "a successor")
    mirror.order(a, objects.TOP_UP, ref=lock_id, amount=1)
    mirror.order(a, objects.CLOSE_LOCK, ref=mirror.books.newest[a.key, b.key])
    mirror.order(b, objects.CLOSE_LOCK, ref=mirror.books.newest[a.key, b.key])
    mirror.order(b, objects.CLOSE_LOCK, ref=lock_id)


def refusals(mirror, a, b):
    """What is refused, repeated, or used twice."""
    signed = mirror.order(a, objects.TRANSFER, to=b.key, amount=2_000)
    mirror.submit(a, signed)
    a.nonce -= 1
    mirror.order(a, objects.TRANSFER, to=b.key, amount=2_001)
    for kind, columns in [
        (objects.TRANSFER, {"to": b.key, "amount": 1}),
        (objects.TRANSFER, {"to": b.key, "amount": 2 * GRANTED}),
        (objects.TRANSFER, {"to": a.key, "amount": 2_000}),
        (objects.TRANSFER, {"to": bytes(32), "amount": 2_000}),
        (objects.TRANSFER, {"to": b.key, "amount": 2_000, "valid_until": 1}),
        (objects.GRANT, {"to": a.key, "amount": 1}),
        (objects.BURN, {"amount": 1}),
        (objects.TOP_UP, {"ref": 999_999, "amount": 1}),
        (objects.CLOSE_LOCK, {"ref": 999_999}),
        (objects.OPEN_LOCK, {"to": b.key, "amount": 0, "ttl": 60}),
        (objects.OPEN_LOCK, {"to": bytes(32), "amount": 1, "ttl": 60}),
        (objects.ROTATE_KEY, {"to": a.key}),
        (objects.TRANSFER, {"to": b.key, "amount": 2_000, "network": bytes([9]) * 32}),
    ]:
        mirror.order(a, kind, **columns)
    a.nonce -= 1  # the last was of another network, and used none
    mirror.order(a, objects.TRANSFER, to=b.key, amount=2_000, nonce=a.nonce + 9)
    a.nonce -= 1
    stranger = settlement.Account(ed25519.Identity(), mirror.genesis, mirror.line)
    mirror.order(stranger, objects.TRANSFER, to=a.key, amount=2_000)


def signatures_are_verified_without_the_cofactor(programs):
    """§2: [S]B = R + [k]A as it stands, which a key with a part of small order meets by chance."""
    with settled(programs) as (community, line):
        identity = Mixed()
        check.true(ed25519.is_usable(identity.key), "such a key is of large order")
        account = settlement.Account(identity, community.genesis, line)
        found, amount = set(), 0
        while found != {"BadSignature", "NoStanding"}:
            account.nonce, amount = 0, amount + 1
            signed = account.sign_order(objects.TRANSFER, to=bytes(32), amount=amount)
            holds = objects.ORDER.holds(account.key, signed)
            refusal = ledger.REFUSALS[account.ask(lines.submit(signed)).refusal]
            expected = "NoStanding" if holds else "BadSignature"
            check.equal(refusal, expected, "a signature of a key with a small part")
            found.add(refusal)


class Mixed(ed25519.Identity):
    """A key to which a point of order 8 was added; its signatures hold if k is a multiple of 8."""

    def __init__(self):
        super().__init__()
        own = ed25519.decompress(self.key)
        self.key = ed25519.compress(ed25519.add(own, of_order_8()))


def of_order_8():
    for number in range(256):
        point = ed25519.decompress(hashlib.sha256(bytes([number])).digest())
        if point:
            small = ed25519.multiply(ed25519.L, point)
            if not ed25519.is_neutral(ed25519.double(ed25519.double(small))):
                return small
    raise AssertionError("one in two points has such a part")


CHECKS = (a_whole_ledger_is_made_again, signatures_are_verified_without_the_cofactor)
