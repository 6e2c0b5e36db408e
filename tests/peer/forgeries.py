"""What may be done to an answer on its way (PROTOCOL §7.1): each name says what is false in it.

`ON_THE_WAY` needs no key. `BY_THE_NODE` is what a settlement node that lies can sign, and its
member can still tell.
"""

import ed25519
import lines
from bencode import Malformed
from objects import CERTIFICATE, HEAD, LOCK, ORDER

STRANGER = ed25519.Identity(bytes([0x66]) * 32)


class Forger:
    """Knows the keys that a forgery is signed with, and what was answered before."""

    def __init__(self, genesis, settlement_seed):
        self.genesis = genesis
        self.settlement = ed25519.Identity(settlement_seed)
        self.earlier = None  # an answer and its seal
        self.others = None  # the same, to somebody else's question
        self.line = None  # an earlier certified line of the member's

    def seal(self, passed, signer=None, network=None, index=None):
        passed.seal = lines.seal(
            signer or self.settlement, network or self.genesis.network, passed.question,
            passed.answer, passed.index if index is None else index,
        )  # fmt: skip

    def change(self, passed, change):
        """Changes the fields of an answer and seals it as the settlement node would."""
        try:
            answer = lines.read_answer(passed.answer)
        except Malformed:
            return
        before = passed.answer
        change(answer)
        passed.answer = lines.write_answer(answer)
        if passed.answer != before:
            self.seal(passed)

    def change_lines(self, passed, change):
        """As `change`, for each line in an answer; `change` gives None to leave it out."""

        def all_lines(answer):
            if answer.kind == lines.OPERATION and answer.line:
                line = change(lines.read_line(answer.line))
                answer.line = line and lines.write_line(line)
            elif answer.kind == lines.STATEMENT:
                found = [change(lines.read_line(line)) for line in answer.lines]
                answer.lines = [lines.write_line(line) for line in found if line]

        self.change(passed, all_lines)

    def certify(self, line, signer=None, **other):
        """Signs the line's certificate again, with some fields changed."""
        fields = vars(line.cert) | other
        line.certificate = CERTIFICATE.sign(signer or self.settlement, **fields)
        line.cert = CERTIFICATE.parse(line.certificate)
        return line

    def head(self, passed, signer=None, **other):
        """Signs the head in an answer again, with some fields changed."""

        def changed(answer):
            if answer.kind in (lines.ACCOUNT, lines.STATEMENT):
                fields = vars(HEAD.parse(answer.head))
                values = {name: change(fields[name]) for name, change in other.items()}
                answer.head = HEAD.sign(signer or self.settlement, **(fields | values))

        self.change(passed, changed)


def flipped(data, at=0):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


# ---- without the settlement key


def a_flipped_bit_in_the_seal(_, passed):
    passed.seal = flipped(passed.seal)


def a_seal_by_another_key(forger, passed):
    forger.seal(passed, signer=STRANGER)


def a_seal_of_another_network(forger, passed):
    forger.seal(passed, network=bytes([9]) * 32)


def a_seal_for_another_place(forger, passed):
    forger.seal(passed, index=passed.index + 1)


def another_time(_, passed):
    passed.answer = flipped(passed.answer, at=1)


def another_amount(_, passed):
    """The last byte of every answer is of a line, a flag or a signature."""
    passed.answer = flipped(passed.answer, at=len(passed.answer) - 1)


def an_answer_to_an_earlier_question(forger, passed):
    passed.answer, passed.seal = forger.earlier


def an_answer_to_somebody_else(forger, passed):
    passed.answer, passed.seal = forger.others


def a_refusal_that_nobody_sealed(_, passed):
    passed.answer = b"\0" + passed.answer[1:9] + b"\4\0"


def nothing_at_all(_, passed):
    passed.answer = b""


def a_seal_that_is_cut(_, passed):
    passed.seal = passed.seal[:63]


def no_answer(_, passed):
    """It is lost, which may happen to any."""
    passed.answer = None


ON_THE_WAY = (
    a_flipped_bit_in_the_seal, a_seal_by_another_key, a_seal_of_another_network,
    a_seal_for_another_place, another_time, another_amount, an_answer_to_an_earlier_question,
    an_answer_to_somebody_else, a_refusal_that_nobody_sealed, nothing_at_all, a_seal_that_is_cut,
    no_answer,
)  # fmt: skip


# ---- with it: the form of an answer


def a_byte_behind_the_answer(forger, passed):
    passed.answer += b"\0"
    forger.seal(passed)


def an_answer_cut_short(forger, passed):
    passed.answer = passed.answer[:-1]
    forger.seal(passed)


def an_answer_of_no_kind(forger, passed):
    passed.answer = b"\5" + passed.answer[1:]
    forger.seal(passed)


def an_answer_of_another_kind(forger, passed):
    """To everything: there is no such lock."""
    passed.answer = b"\3" + passed.answer[1:9] + b"\0"
    forger.seal(passed)


def another_account(forger, passed):
    def changed(answer):
        if answer.kind == lines.STATEMENT:
            answer.account = STRANGER.key

    forger.change(passed, changed)


def a_head_by_another_key(forger, passed):
    forger.head(passed, signer=STRANGER)


def a_head_of_another_network(forger, passed):
    forger.head(passed, network=lambda _: bytes([9]) * 32)


# ---- lines


def a_line_of_a_larger_amount(forger, passed):
    def changed(line):
        line.amount += 1
        return line

    forger.change_lines(passed, changed)


def a_line_by_another_key(forger, passed):
    forger.change_lines(passed, lambda line: forger.certify(line, signer=STRANGER))


def a_line_of_another_account(forger, passed):
    forger.change_lines(passed, lambda line: forger.certify(line, account=STRANGER.key))


def a_line_of_another_network(forger, passed):
    forger.change_lines(passed, lambda line: forger.certify(line, network=bytes([9]) * 32))


def a_line_of_another_time(forger, passed):
    forger.change_lines(passed, lambda line: forger.certify(line, time=line.cert.time + 1))


def a_line_behind_another_entry(forger, passed):
    def changed(line):
        line.previous_hash = flipped(line.previous_hash)
        return line

    forger.change_lines(passed, changed)


def a_line_that_leaves_one_out(forger, passed):
    def changed(line):
        line.previous = (line.previous or 0) + 1
        return line

    forger.change_lines(passed, changed)


def a_balance_that_does_not_follow(forger, passed):
    def changed(line):
        return forger.certify(line, available_after=line.cert.available_after + 1)

    forger.change_lines(passed, changed)


def an_earlier_line_for_this_order(forger, passed):
    """A certified line of the member's own, of another order."""
    forger.change_lines(passed, lambda line: lines.read_line(forger.line))


def a_nonce_that_a_forged_order_used(forger, passed):
    """"Another order used this nonce": one that the account never signed."""

    def changed(answer):
        if answer.kind == lines.OPERATION and passed.kind == "submit":
            fields = vars(passed.asked) | {"to": STRANGER.key}
            answer.used = ORDER.sign(STRANGER, **fields)
            answer.sequence, answer.line = 1, None
        elif answer.kind == lines.STATEMENT:
            answer.lines = []

    forger.change(passed, changed)


def no_line_at_all(forger, passed):
    """An answer that says "done", and statements that never show it."""
    forger.change_lines(passed, lambda line: None)


BY_THE_NODE = (
    a_byte_behind_the_answer, an_answer_cut_short, an_answer_of_no_kind,
    an_answer_of_another_kind, another_account, a_head_by_another_key, a_head_of_another_network,
    a_line_of_a_larger_amount, a_line_by_another_key, a_line_of_another_account,
    a_line_of_another_network, a_line_of_another_time, a_line_behind_another_entry,
    a_line_that_leaves_one_out, a_balance_that_does_not_follow, an_earlier_line_for_this_order,
    a_nonce_that_a_forged_order_used, no_line_at_all,
)  # fmt: skip


def another_nonce(change):
    """A forgery of an account's last nonce."""

    def forge(forger, passed):
        def changed(answer):
            if answer.kind in (lines.ACCOUNT, lines.STATEMENT):
                answer.nonce = change(answer.nonce)

        forger.change(passed, changed)

    return forge


# ---- what a lock's status says of it


def of_lock(signer=None, **other):
    """A forgery that signs the lock in a status again, with some fields changed."""

    def forge(forger, passed):
        def changed(answer):
            if answer.kind == lines.LOCK_STATUS and answer.lock:
                fields = vars(answer.lock.lock) | other
                answer.lock.signed = LOCK.sign(signer or forger.settlement, **fields)

        forger.change(passed, changed)

    return forge


def no_lock(forger, passed):
    """"There is no such lock", of one that the settlement key signed."""

    def changed(answer):
        if answer.kind == lines.LOCK_STATUS:
            answer.lock = None

    forger.change(passed, changed)


LOCKS = {
    "by another key": of_lock(STRANGER, amount=1 << 40),
    "of another number": of_lock(lock_id=1 << 40),
    "of another network": of_lock(network=bytes([9]) * 32),
    "of another order": of_lock(opening_order=bytes([7]) * 32),
    "of another payer": of_lock(payer=STRANGER.key),
    "for another payee": of_lock(payee=STRANGER.key),
    "that is none": no_lock,
}
