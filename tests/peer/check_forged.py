"""Each forged answer of a settlement node is refused: nothing moves, the owner is told, and what
was asked is done as soon as the answers are true again (PROTOCOL §7.1, SECURITY)."""

import check
import ed25519
import forgeries
import http2
import lines
import middle
import objects
import payer
import scene
from objects import HEAD, LOCK

SENT = 2_000
GRANTED = 1_000_000
STATEMENTS_ENOUGH = 1
LOCKED = 500_000
BID = 4_000_000
UNUSABLE, CONFLICT = "EVENT_KIND_ANSWER_UNUSABLE", "EVENT_KIND_CONFLICT"

# Refused, and nobody is told: an answer may be lost, and "done" of which no statement shows a
# line is asked about again.
SILENT = {"no_answer", "no_line_at_all"}

# Those that only a statement can carry: an order's own answer shows its line before.
OF_STATEMENTS = {"another_account", "a_head_by_another_key", "a_head_of_another_network"}


# A line proves them done, and is not booked: one is missing before it, or its balance is wrong.
ORDER_DONE = {"a_line_that_leaves_one_out", "a_balance_that_does_not_follow"}


class ForgedScene(scene.Scene):
    """A scene whose seeder hears of its settlement node through somebody who forges."""

    def __init__(self, programs):
        super().__init__(programs, between=middle.Middle)
        seed = self.community.secret("settlement.key")
        self.forger = forgeries.Forger(self.genesis, seed)


class Member:
    """A node of its own behind somebody who forges, and what it holds."""

    def __init__(self, setting, name):
        self.setting = setting
        self.middle = middle.Middle(setting.settles)
        config = setting.community.member_config(self.middle.addr)
        self.node = setting.start(name, config)
        self.forger = forgeries.Forger(
            setting.genesis, setting.community.secret("settlement.key")
        )
        self.other = ed25519.Identity().key.hex()
        self.grant(scene.GRANTED)
        self._remember()

    def grant(self, amount):
        self.setting.settlement.cli(
            "wallet", "grant", self.node.key.hex(), f"{amount / 1_000_000:.6f}"
        )

    def send(self):
        self.node.cli("--yes", "wallet", "transfer", self.other, f"{SENT / 1_000_000:.6f}")

    def credit(self):
        """All that is its own, and the entries that say so."""
        found = self.node.balance()
        entries = self.node.cli("wallet", "history", "--limit", "1000")["entries"]
        return sum(found.values()) - found["signed"], len(entries)

    def until(self, expected, limit=120):
        check.poll(f"{expected} µcr and entries", lambda: self.credit() == expected, limit)

    def _remember(self):
        """What a forger can know: an earlier answer, somebody else's, an earlier line."""
        check.poll("the credit", lambda: self.node.balance()["free"])
        told = [one for one in self.middle.seen if one.kind == "statement"]
        self.forger.earlier = told[0].answer, told[0].seal
        account = self.setting.account()
        question = lines.read(account.sign_read(objects.READ_STATEMENT, count=9))
        fields = next(http2.Client(self.setting.settles).call("Ask", question))
        self.forger.others = fields[1], fields[2]
        statement = self.read_statement()
        self.forger.line = statement.lines[0]

    def read_statement(self):
        """The newest answer with a line that the member was told."""
        for passed in reversed(self.middle.seen):
            if passed.kind in ("statement", "watch"):
                answer = lines.read_answer(passed.answer)
                if answer.lines:
                    return answer
        raise check.Failed("no line was told")

    def statements(self, asked):
        """How many came since so many answers."""
        return [one.kind for one in self.middle.seen[asked:]].count("statement")

    def after_true_statements(self, asked, expected):
        """What it holds once enough of them came, however long it waits between them."""
        check.poll(
            "true statements",
            lambda: self.statements(asked) > STATEMENTS_ENOUGH or self.credit() == expected,
            limit=300,
        )
        check.equal(self.credit(), expected, "what it holds after true statements")

    def told(self, before):
        return told(self.node, before)


def each_is_refused(member, made, expected):
    """Under each forgery nothing moves and the owner is told; afterwards all is done."""
    for forge in made:
        before = len(member.node.events())
        entries = member.credit()[1]
        expect = refused(member, forge)
        if forge.__name__ not in SILENT:
            check.poll(f"{forge.__name__}: the owner is told", lambda: member.told(before))
            kinds = set(member.told(before))
            check.true(kinds <= expected, f"{forge.__name__}: told as {kinds}")
        # True again: a further grant makes it ask at once, where it would in a minute.
        member.middle.set(None)
        member.grant(SENT)
        member.until((expect + SENT, entries + 2))
    return ", ".join(forge.__name__ for forge in made)


def refused(member, forge):
    """Something is to be done, and every answer about it is forged; gives its credit in the end."""
    name = forge.__name__
    before = member.credit()
    member.middle.set(lambda passed: forge(member.forger, passed))
    if name in OF_STATEMENTS:
        member.grant(GRANTED)
    else:
        member.send()
    check.true(member.middle.wait_forged(2), f"{name}: answers were forged")
    check.equal(member.credit(), before, f"{name}: nothing moves")
    if name not in OF_STATEMENTS | ORDER_DONE:
        check.equal(member.node.balance()["pending"], SENT, f"{name}: the order is not done")
    return before[0] + (GRANTED if name in OF_STATEMENTS else -SENT)


def answers_that_nobody_sealed(setting):
    """Whoever is on the way, without a key."""
    return each_is_refused(Member(setting, "on-the-way"), forgeries.ON_THE_WAY, {UNUSABLE})


def sealed_answers_that_lie(setting):
    """The settlement node itself, in what its member can tell."""
    member = Member(setting, "lied-to")
    return each_is_refused(member, forgeries.BY_THE_NODE, {UNUSABLE, CONFLICT})


def lines_that_do_not_follow_are_asked_for_again(setting):
    """Two orders whose lines are told with a false balance: both are booked once it is true."""
    member = Member(setting, "asked-again")
    credit, entries = member.credit()
    forge = forgeries.a_balance_that_does_not_follow
    member.middle.set(lambda passed: forge(member.forger, passed))

    for number in (1, 2):
        asked = len(member.middle.seen)
        member.send()
        # Told of the line by its watch first, it refuses that, and asks in a minute.
        what = f"order {number}: a statement"
        check.poll(what, lambda asked=asked: member.statements(asked), limit=150)
    check.poll("both are told", lambda: len(told(member.node, 0)) > 1)
    member.middle.set(None)
    asked = len(member.middle.seen)
    member.grant(SENT)
    expected = credit - 2 * SENT + SENT, entries + 3
    member.after_true_statements(asked, expected)


def a_nonce_that_goes_back(setting):
    """No order is signed on an account whose last nonce is told lower than it was."""
    member = Member(setting, "nonce-back")
    credit, entries = member.credit()
    member.send()
    member.until((credit - SENT, entries + 1))
    before = len(member.node.events())
    forge = forgeries.another_nonce(lambda nonce: nonce - 1)
    member.middle.set(lambda passed: forge(member.forger, passed))
    member.grant(SENT)
    check.poll("the owner is told", lambda: told(member.node, before))
    asked = len(member.middle.seen)
    member.send()
    check.poll("it asks again", lambda: member.statements(asked))
    kinds = [one.kind for one in member.middle.seen[asked:]]
    check.true("submit" not in kinds, f"no order leaves: {kinds}")
    member.middle.set(None)
    member.grant(SENT)
    member.until((credit, entries + 4))


def a_nonce_that_is_ahead_is_forgotten(setting):
    """No order is signed under a nonce that the account's own orders have not led up to."""
    member = Member(setting, "nonce-ahead")
    credit, entries = member.credit()
    forge = forgeries.another_nonce(lambda nonce: nonce + 7)
    member.middle.set(lambda passed: forge(member.forger, passed))
    asked = len(member.middle.seen)
    member.grant(SENT)
    check.poll("a statement", lambda: member.statements(asked))
    member.middle.set(None)
    member.send()
    asked = len(member.middle.seen)
    member.grant(SENT)
    member.after_true_statements(asked, (credit + SENT, entries + 3))


# ---- a ledger that went back


def heads_that_go_back(setting):
    """Fewer entries than were known, or another hash for as many: no order is signed or repeated
    until the next start."""
    for name, head in [("fewer", fewer_entries), ("other", another_hash)]:
        member = Member(setting, f"head-{name}")
        known = HEAD.parse(member.read_statement().head)
        before, credit = len(member.node.events()), member.credit()
        changes = head(known)
        member.middle.set(lambda passed, changes=changes: member.forger.head(passed, **changes))
        member.grant(SENT)
        check.true(member.middle.wait_forged(1), f"{name}: an answer was forged")
        check.poll(f"{name}: the owner is told", lambda: told(member.node, before))
        check.equal(member.credit(), credit, f"{name}: nothing moves")
        member.middle.set(None)
        orders_wait_for_a_start(member)
    return "fewer entries, another hash"


def fewer_entries(_):
    return {"size": lambda _: 1}


def another_hash(known):
    return {"size": lambda _: known.size, "entry_hash": lambda _: bytes([5]) * 32}


def orders_wait_for_a_start(member):
    asked = len(member.middle.seen)
    try:
        member.send()
    except check.Failed as refused:
        check.true("went back" in str(refused), f"a transfer is refused: {refused}")
    else:
        raise check.Failed("a transfer is taken that is not signed")
    check.poll("it asks again", lambda: len(member.middle.seen) > asked + 1)
    kinds = [one.kind for one in member.middle.seen[asked:]]
    check.true("submit" not in kinds, f"no order leaves: {kinds}")
    member.node.stop()
    member.node.start()
    member.send()
    check.poll("an order is carried out", lambda: newest(member.node) == "ENTRY_KIND_TRANSFER")


def newest(node):
    return node.cli("wallet", "history")["entries"][0]["kind"]


# ---- locks and claims, asked for by a payee


def locks_that_are_not_as_they_were_signed(setting):
    """A payee asks about a lock that it is shown: the owner is told, and nothing is earned."""
    for name, forge in forgeries.LOCKS.items():
        account = setting.account()
        before = len(setting.seeder.events())
        setting.middle.set(lambda passed, forge=forge: forge(setting.forger, passed))
        lock = account.open_lock(setting.seeder.key, LOCKED)
        buyer = payer.Payer(setting.greet(account.identity), setting.torrent, lock, BID)
        buyer.begin()
        check.true(setting.middle.wait_forged(1), f"{name}: an answer was forged")
        check.poll(f"a lock {name}: told", lambda: told(setting.seeder, before))
        earned = setting.seeder.services().get(account.key.hex(), {})
        check.equal(earned.get("earned_microcredits", "0"), "0", f"a lock {name}: nothing earned")
        setting.middle.set(None)
        buyer.peer.close()
    return ", ".join(forgeries.LOCKS)


def told(node, before):
    kinds = [event["kind"] for event in node.events()[before:]]
    return [kind for kind in kinds if kind in (UNUSABLE, CONFLICT)]


def claims_whose_answers_lie(setting):
    """What was signed is earned once, and not by a forged line that says so."""
    account = setting.account()
    lock = account.open_lock(setting.seeder.key, LOCKED)
    buyer = payer.Payer(setting.greet(account.identity), setting.torrent, lock, BID)
    buyer.begin()
    buyer.until_seated()
    buyer.fetch(range(4))
    spent, lock_id = buyer.channel.amount, LOCK.parse(lock).lock_id
    before, free = len(setting.seeder.events()), setting.seeder.balance()["free"]
    setting.middle.set(
        lambda passed: forgeries.a_line_of_a_larger_amount(setting.forger, passed)
    )
    buyer.end()
    check.true(setting.middle.wait_forged(1), "an answer was forged")
    check.poll("the owner is told", lambda: told(setting.seeder, before))
    check.equal(setting.seeder.balance()["free"], free, "nothing moves")
    setting.middle.set(None)
    check.poll("the claim", lambda: setting.seeder.balance()["free"] == free + spent)
    status = account.lock(lock_id)
    check.equal(status.claimed, spent, "claimed")
    service = setting.seeder.services()[account.key.hex()]
    check.equal(int(service["earned_microcredits"]), spent, "earned")
    buyer.peer.close()
    return f"{spent} µcr"


CHECKS = (
    answers_that_nobody_sealed, sealed_answers_that_lie, heads_that_go_back,
    a_nonce_that_goes_back, a_nonce_that_is_ahead_is_forgotten,
    lines_that_do_not_follow_are_asked_for_again,
    locks_that_are_not_as_they_were_signed, claims_whose_answers_lie,
)  # fmt: skip
