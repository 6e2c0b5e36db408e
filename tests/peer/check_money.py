"""Rows of the protocol's former gaps that concern price, locks and the ledger: P3, P6, P8, P9,
P12, P15, P16, each against a running node."""

import subprocess

import check
import check_vectors
import ed25519
import ledger
import lines
import messages
import objects
import payer
import pricing
import scene
import settlement
from check_opening import entry_of, error, held, in_step
from messages import BID, LOCK_SHOWN, RECEIPT_SENT
from objects import LOCK

LOCKED = 500_000
BID_PAID = 4_000_000
CLOCK_MAX = 120
REFUSE_MAX = 60


def buyer_in_step(setting, account, lock, bid=BID_PAID):
    """A payer on a connection that is in step, before it says anything."""
    return payer.Payer(setting.greet(account.identity), setting.torrent, lock, bid)


# ---- the ledger


def p3_lines_and_entries_are_made_again(setting):
    """PROTOCOL-SETTLEMENT §6 and §7: every kind of entry of a live ledger, to the same hash."""
    account, other = setting.account(), setting.account()
    issuer = issuer_of(setting)
    issuer.order(objects.GRANT, to=issuer.key, amount=5_000)
    issuer.order(objects.BURN, amount=5_000)
    account.order(objects.TRANSFER, to=other.key, amount=2_000)
    lock = LOCK.parse(account.open_lock(other.key, 10_000))
    topped = account.top_up(lock.lock_id, 5_000, ttl=7_200)
    kept = LOCK.parse(topped).opening_order
    check.equal(kept, lock.opening_order, "top-ups keep the opening order")
    receipt = payer.Channel.of_lock(account.identity, topped)
    other.claim(lock, receipt.signed(1 << 20, 7_000))
    refused = account.ask(lines.submit(account.sign_order(
        objects.TRANSFER, to=account.key, amount=2_000
    )))  # fmt: skip
    check.equal(ledger.REFUSALS[refused.refusal], "SameParty", "a transfer to oneself")
    other.close_lock(lock.lock_id)
    heir = ed25519.Identity()
    account.order(objects.ROTATE_KEY, to=heir.key)
    found = [line for one in (issuer, account, other) for line in one.statement()]
    for line in found:
        check.equal(lines.read_line(lines.write_line(line)).kind, line.kind, "a line again")
    kinds = {line.kind for line in found}
    every = lines.ORDERED | {lines.CLAIMED}
    check.equal(every - kinds, set(), "kinds that are missing")
    return f"{len(found)} lines"


def issuer_of(setting):
    """The account of the network's issuer, with the nonce that it has reached."""
    identity = ed25519.Identity(setting.community.secret("issuer.key"))
    account = settlement.Account(identity, setting.genesis, setting.line)
    account.nonce = account.account().nonce
    return account


def p15_genesis_lifetimes_and_rotation(setting):
    """PROTOCOL-SETTLEMENT §1 and §2."""
    status = setting.settlement.cli("status")["node"]
    check.equal(status["network_id"], setting.network.hex(), "the genesis' hash")
    most = setting.genesis.limits.lock_ttl_secs_max
    account = setting.account()
    for ttl, refusal in [(0, "BadLifetime"), (most + 1, "BadLifetime"), (most, "-")]:
        order = account.sign_order(objects.OPEN_LOCK, to=setting.seeder.key, amount=9, ttl=ttl)
        answer = account.ask(lines.submit(order))
        check.equal(ledger.REFUSALS[answer.refusal], refusal, f"a ttl of {ttl}")
    lock = lines.read_line(answer.line).lock.lock
    check.equal(lock.expires_at - answer.time, most, "it expires so much later")
    check.equal(lock.grace, setting.genesis.limits.lock_grace_secs, "its grace")
    rotation(setting, account)
    return f"{refused_genesis_files(setting)} genesis files refused"


def rotation(setting, account):
    """All that is available moves; the old key is left with its locks, and one heir."""
    heir = settlement.Account(ed25519.Identity(), setting.genesis, setting.line)
    line = account.order(objects.ROTATE_KEY, to=heir.key)
    check.equal(line.amount, scene.GRANTED - 9, "what moved")
    told = heir.account()
    check.equal((told.available, told.reserved, told.nonce), (line.amount, 0, 0), "the heir")
    told = account.account()
    check.equal((told.available, told.reserved), (0, 9), "who was left keeps its lock")
    someone = ed25519.Identity().key
    issuer = issuer_of(setting)
    for by, kind, columns in [
        (issuer, objects.GRANT, {"to": account.key, "amount": 2_000}),
        (heir, objects.TRANSFER, {"to": account.key, "amount": 2_000}),
        (heir, objects.OPEN_LOCK, {"to": account.key, "amount": 2_000, "ttl": 60}),
        (account, objects.ROTATE_KEY, {"to": someone}),
        (account, objects.ROTATE_KEY, {"to": heir.key}),
        (heir, objects.ROTATE_KEY, {"to": account.key}),
    ]:
        answer = by.ask(lines.submit(by.sign_order(kind, **columns)))
        check.equal(ledger.REFUSALS[answer.refusal], "KeyRotated", f"an order of kind {kind}")


def refused_genesis_files(setting):
    """Every file of `genesis.json` that is none is refused by the node too."""
    bad = [one for one in check_vectors.load("genesis")["vectors"] if not one["network_id"]]
    for number, vector in enumerate(bad):
        folder = setting.programs.work / f"genesis-{number}"
        folder.mkdir()
        file = folder / "bad.genesis"
        file.write_text(vector["text"])
        command = [setting.programs.bin / "seedbankd", "run", "--data-dir", folder / "data"]
        command += ["--listen", "127.0.0.1:0", "--api", "unix:bad.sock"]
        command += ["--set", f"network.genesis={file}"]
        done = subprocess.run(
            command, capture_output=True, timeout=REFUSE_MAX, check=False, cwd=folder
        )
        check.true(done.returncode not in (0, None), f"{vector['name']} is refused")
    return len(bad)


# ---- price and locks


def p6_what_a_lock_must_cover(setting):
    """P5: a window at the highest BID, or at the ask before the first; what was enough stays so."""
    window = pricing.window(scene.PIECE_LEN)
    at_ask = pricing.lock_least(scene.ASK, window)
    for amount, bid, refused in [
        (at_ask, None, False),
        (at_ask - 1, None, True),
        (at_ask, 2 * scene.ASK, True),
        (pricing.lock_least(2 * scene.ASK, window), 2 * scene.ASK, False),
        (at_ask - 1, 1, True),
    ]:
        account = setting.account()
        lock = account.open_lock(setting.seeder.key, amount)
        with in_step(setting, account.identity) as peer:
            if bid:
                peer.say(BID, ra=bid)
            peer.say(LOCK_SHOWN, lk=lock)
            if refused:
                reason = error(peer, 8, objects.lock_channel(LOCK.parse(lock)))
                check.equal(reason, 2, f"{amount} µcr behind a bid of {bid}")
            else:
                check.equal(peer.came("ERR"), [], f"{amount} µcr behind a bid of {bid}")
                peer.say(BID, ra=8 * scene.ASK)
                peer.say(LOCK_SHOWN, lk=lock)
                check.equal(peer.came("ERR"), [], "what was enough stays so")
    return f"{at_ask} µcr at the ask"


def p8_bids_of_nothing_and_below_the_ask(setting):
    """§4: below the ask is served for nothing; BID 0 ends the paid seat; in between it costs."""
    account = setting.account()
    lock = account.open_lock(setting.seeder.key, LOCKED)
    buyer = buyer_in_step(setting, account, lock, bid=scene.ASK - 1)
    buyer.begin()
    buyer.until("an unchoke", lambda: buyer.unchoked)
    buyer.fetch([0])
    found = set(buyer.costs.values()), buyer.quoted
    check.equal(found, ({0}, messages.OPEN), "below the ask")
    buyer.bid(scene.ASK)
    buyer.until_seated()
    buyer.fetch([1])
    at_ask = {buyer.costs[block] for block in setting.torrent.blocks(1)}
    check.equal(at_ask, {scene.ASK}, "at the ask")
    check.equal(buyer.channel.amount, scene.ASK * scene.PIECE_LEN // pricing.GIB, "what is signed")
    buyer.bid(0)
    buyer.until("a QUOTE of the open class", lambda: buyer.quoted == messages.OPEN)
    buyer.until("an unchoke", lambda: buyer.unchoked)
    buyer.fetch([2])
    check.equal({buyer.costs[one] for one in setting.torrent.blocks(2)}, {0}, "after BID 0")
    lock_id = LOCK.parse(lock).lock_id
    expected = buyer.channel.sign()
    check.poll("all of it is held", lambda: held(buyer.peer, lock_id) == expected, pause=1)
    buyer.peer.close()


def p9_bytes_of_a_lock_are_those_that_had_a_price(setting):
    """§2: and they go to the lock that takes the last micro-credit; the other rises in amount."""
    account = setting.account()
    small = pricing.lock_least(BID_PAID, scene.PIECE_LEN) // 2
    first = account.open_lock(setting.seeder.key, small, ttl=1)
    second = later_lock(setting, account, LOCK.parse(first))
    buyer = buyer_in_step(setting, account, second)
    peer, old = buyer.peer, payer.Channel.of_lock(account.identity, first)
    buyer.peer.say(LOCK_SHOWN, lk=first)
    buyer.begin()
    buyer.until_seated()
    buyer.fetch([0], sign=False)
    due = buyer.due()
    check.true(due > small, "more than the first lock holds")
    peer.say(RECEIPT_SENT, rc=old.sign(0, small))
    peer.say(RECEIPT_SENT, rc=buyer.channel.sign(buyer.paid_bytes, due - small))
    ids = [LOCK.parse(one).lock_id for one in (first, second)]
    expected = [one.sign() for one in (old, buyer.channel)]

    def both():
        entries = peer.stands_at()
        return [entry_of(entries, lock_id).get("hd") for lock_id in ids] == expected

    check.poll("both are held", both, pause=1)
    service = setting.seeder.services()[account.key.hex()]
    found = int(service["given_bytes"]), int(service["earned_microcredits"])
    check.equal(found, (scene.PIECE_LEN, due), "bytes once, and all credit")
    peer.close()
    return f"{small} + {due - small} µcr for {scene.PIECE_LEN} bytes"


def later_lock(setting, account, first):
    """A second lock of the pair, as soon as the first has expired in settlement time."""

    def opened():
        order = account.sign_order(
            objects.OPEN_LOCK, to=setting.seeder.key, amount=LOCKED, ttl=3600
        )
        answer = account.ask(lines.submit(order))
        if answer.refusal:
            check.equal(ledger.REFUSALS[answer.refusal], "LockExists", "while the first lives")
            check.true(answer.time <= first.expires_at, "it lives until it expires, inclusive")
            return None
        return lines.read_line(answer.line).lock.signed

    return check.poll("the first lock expires", opened, CLOCK_MAX, pause=0.2)


def p12_tips_queued_quotes_and_interest(setting):
    """§3 and §4: TIP moves nothing; QUOTE 1 never comes; a paid seat needs INTERESTED."""
    account, other = setting.account(), setting.account()
    lock = account.open_lock(setting.seeder.key, LOCKED)
    silent = buyer_in_step(setting, account, lock)
    silent.peer.say(LOCK_SHOWN, lk=lock)
    silent.bid(BID_PAID)
    # Somebody else comes later, is interested, and is seated: the first has had its turn.
    eager = buyer_in_step(setting, other, other.open_lock(setting.seeder.key, LOCKED))
    eager.begin()
    eager.until_seated()
    quotes = [message["st"] for message in silent.peer.came("QUOTE")]
    check.equal(set(quotes), {messages.OPEN}, "quotes of who is not interested")
    silent.begin()
    silent.until_seated()
    receipts = [silent.channel.signed(0, 0)]
    silent.peer.say(messages.TIP, am=1_000, nt="thanks")
    lock_id = LOCK.parse(lock).lock_id
    found = entry_of(silent.peer.stands_at(), lock_id).get("hd")
    check.true(found in (None, *receipts), "a tip is no receipt")
    check.true(str(account.key.hex()) not in setting.seeder.services(), "and nothing is booked")
    eager.fetch([0])
    check.true("QUOTE 1" not in silent.order + eager.order, "QUOTE 1")
    for one in (silent, eager):
        one.peer.close()


def p16_messages_prices_and_windows_have_vectors(setting):
    """§10, and live: each QUOTE's window is what P1 gives, and each block costs its bid."""
    judged = [
        check_vectors.messages_both_ways(), check_vectors.messages_signed(),
        check_vectors.prices(), check_vectors.windows(),
    ]  # fmt: skip
    account = setting.account()
    lock = account.open_lock(setting.seeder.key, LOCKED)
    buyer = buyer_in_step(setting, account, lock)
    buyer.begin()
    buyer.until_seated()
    windows = []
    for piece in range(6):
        buyer.fetch([piece])
        own = buyer.own_window()
        buyer.until(f"a QUOTE of {own}", lambda own=own: buyer.window == own)
        windows.append(own)
    check.true(windows == sorted(windows) and windows[-1] > windows[0], "it grows")
    check.equal(set(buyer.costs.values()), {BID_PAID}, "what blocks cost")
    buyer.peer.close()
    return f"{judged} vectors, windows up to {windows[-1]} bytes"


MONEY_CHECKS = (
    p3_lines_and_entries_are_made_again,
    p6_what_a_lock_must_cover,
    p8_bids_of_nothing_and_below_the_ask,
    p9_bytes_of_a_lock_are_those_that_had_a_price,
    p12_tips_queued_quotes_and_interest,
    p15_genesis_lifetimes_and_rotation,
    p16_messages_prices_and_windows_have_vectors,
)
