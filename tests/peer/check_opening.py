"""Rows of the protocol's former gaps that concern the opening and the messages: P1, P2, P4, P5,
P7, P10, P11, P13, P14, each against a running node."""

import contextlib

import check
import check_vectors
import ed25519
import messages
import objects
import payer
import wire
from messages import ERR, LOCK_SHOWN, RECEIPT_SENT
from objects import LOCK, NO_NETWORK

LOCKED = 500_000
BID = 4_000_000
ANSWERS_MAX = 12


@contextlib.contextmanager
def in_step(setting, identity=None, **says):
    """A connection whose opening is done; closed afterwards."""
    peer = setting.greet(identity or ed25519.Identity(), **says)
    try:
        yield peer
    finally:
        peer.close()


def entry_of(entries, lock_id=None):
    """The entry of a lock, or that of the acknowledgements."""
    kind = 0 if lock_id is None else 1
    found = [one for one in entries if (one["k"], one.get("id")) == (kind, lock_id)]
    return found[0] if found else {}


def held(peer, lock_id=None):
    return entry_of(peer.stands_at(), lock_id).get("hd")


def error(peer, code, channel):
    """The ERR that comes next says this of this channel; gives its reason."""
    message = peer.until("ERR")
    check.equal((message["er"], message.get("ch")), (code, channel), "ERR")
    return message.get("rs")


# ---- the rows


def p1_acknowledgements_are_signed_under_zeros(setting):
    """§2: of whatever networks the two are. The network's own id is an unknown channel."""
    with in_step(setting) as peer:
        taker = payer.Payer(peer, setting.torrent)
        taker.begin()
        taker.until("an unchoke", lambda: taker.unchoked)
        taker.fetch([0])
        check.equal(set(taker.costs.values()), {0}, "what a piece costs")
        own = objects.channel_id(setting.network, 0, peer.identity.key, peer.key, bytes(32))
        wrong = payer.Channel(peer.identity, setting.network, own).sign(16 << 10, 0)
        peer.say(RECEIPT_SENT, rc=wrong)
        error(peer, 5, own)
        taker.acknowledge()
        expected = taker.acknowledged.sign(0, 0)
        check.poll("the payee holds it", lambda: held(peer) == expected, pause=1)
        check.equal(objects.RECEIPT.parse(expected).network, NO_NETWORK, "its network")
    return f"{taker.free_bytes} bytes acknowledged"


def p2_auth_is_over_the_network_of_both_or_zeros(setting):
    """§3: the one that both HELLOs name; over zeros if they differ or are zero."""
    foreign = bytes([9]) * 32
    for network, signed, holds in [
        (setting.network, setting.network, True),
        (setting.network, NO_NETWORK, False),
        (foreign, NO_NETWORK, True),
        (foreign, foreign, False),
        (foreign, setting.network, False),
        (NO_NETWORK, NO_NETWORK, True),
    ]:
        peer = setting.dial(ed25519.Identity(), network=network)
        peer.meet()
        peer.say_auth(signed)
        peer.check_auth(peer.until("AUTH")["sg"])
        if holds:
            peer.until("SYNC")
        else:
            check.true(peer.is_closed(), f"{network[:1]} signed over {signed[:1]} closes")
        peer.close()


def p4_a_lock_is_named_by_its_order_and_signed_by_the_settlement_key(setting):
    """§2: its id is the entry's sequence; an issuer signs none."""
    account = setting.account()
    line = account.order(objects.OPEN_LOCK, to=setting.seeder.key, amount=LOCKED, ttl=3600)
    lock = line.lock.lock
    check.equal(lock.lock_id, line.cert.sequence, "the lock's id")
    check.equal(lock.opening_order, objects.opening_order(line.operation), "its opening order")
    issuer = ed25519.Identity(setting.community.secret("issuer.key"))
    check.true(issuer.key in setting.genesis.issuers, "the issuer's key")
    with in_step(setting, account.identity) as peer:
        peer.say(LOCK_SHOWN, lk=LOCK.sign(issuer, **vars(lock)))
        check.true(peer.is_closed(), "a lock that an issuer signed closes")
    with in_step(setting, account.identity) as peer:
        peer.say(LOCK_SHOWN, lk=line.lock.signed)
        check.equal(peer.came("ERR"), [], "it is served on")
        other = vars(lock) | {"opening_order": bytes([7]) * 32}
        settlement = ed25519.Identity(setting.community.secret("settlement.key"))
        twice = LOCK.sign(settlement, **other)
        peer.say(LOCK_SHOWN, lk=twice)
        reason = error(peer, 8, objects.lock_channel(LOCK.parse(twice)))
        check.equal(reason, 1, "the reason for a second order of one number")
    check.poll("it is reported", lambda: kinds(setting.seeder)["EVENT_KIND_CONFLICT"])


def kinds(node):
    """How many events of each kind there were."""
    found = {"EVENT_KIND_CONFLICT": 0}
    for event in node.events():
        found[event["kind"]] = found.get(event["kind"], 0) + 1
    return found


def p5_what_is_answered_and_what_closes(setting):
    """§3: ERR 5 to 8, and all that closes without a word."""
    answered(setting)
    refused_locks(setting)
    return f"{len(closing(setting))} ways to close"


def answered(setting):
    """ERR 5, 6 and 7."""
    account = setting.account()
    lock = account.open_lock(setting.seeder.key, LOCKED)
    with in_step(setting, account.identity) as peer:
        channel = payer.Channel.of_lock(peer.identity, lock)
        peer.say(RECEIPT_SENT, rc=channel.signed(1 << 20, 10))
        error(peer, 5, channel.id)
        peer.say(LOCK_SHOWN, lk=lock)
        peer.say(RECEIPT_SENT, rc=channel.signed(1 << 20, 10))
        lock_id = LOCK.parse(lock).lock_id
        check.true(entry_of(peer.stands_at(), lock_id).get("lk") == lock, "SYNC has the lock")
        peer.say(RECEIPT_SENT, rc=channel.signed(2 << 20, 9))
        error(peer, 6, channel.id)
        peer.until("SYNC")
        peer.say(messages.CLOSE, id=lock_id, rc=channel.signed(1 << 20, 10))
        peer.until("SYNC", lambda message: entry_of(message["cs"], lock_id).get("cl"))
    with in_step(setting, account.identity) as peer:
        peer.say(RECEIPT_SENT, rc=channel.signed(2 << 20, 20))
        error(peer, 7, channel.id)


def refused_locks(setting):
    """ERR 8: too little (2), too short (3); both stand in SYNC as any other."""
    for amount, ttl, expected in [(1, 3600, 2), (LOCKED, 590, 3)]:
        account = setting.account()
        lock = account.open_lock(setting.seeder.key, amount, ttl)
        fields = LOCK.parse(lock)
        with in_step(setting, account.identity) as peer:
            peer.say(LOCK_SHOWN, lk=lock)
            reason = error(peer, 8, objects.lock_channel(fields))
            check.equal(reason, expected, f"the reason to refuse {amount} for {ttl} s")
            entry = entry_of(peer.stands_at(), fields.lock_id)
            check.equal(entry.get("lk"), lock, "a refused lock in SYNC")
            peer.say(LOCK_SHOWN, lk=lock)
            check.equal(peer.came("ERR"), [], "it is refused once")


def closing(setting):
    """Everything of the table that needs a lock, a key or a receipt; each closes."""
    account = setting.account()
    lock = account.open_lock(setting.seeder.key, LOCKED)
    fields = vars(LOCK.parse(lock))
    settlement = ed25519.Identity(setting.community.secret("settlement.key"))
    stranger = ed25519.Identity()
    channel = payer.Channel.of_lock(account.identity, lock)
    forged = payer.Channel(stranger, setting.network, channel.id)
    abroad = payer.Channel(account.identity, bytes([9]) * 32, channel.id)
    money = payer.Channel.acknowledging(account.identity, setting.seeder.key)
    lock_id = fields["lock_id"]
    entry = {"k": 1, "id": lock_id, "lk": lock}
    signed = channel.signed(1 << 20, 10)

    def of(**other):
        return LOCK.sign(settlement, **(fields | other))

    acknowledged = {"k": 0, "hd": money.signed(9, 0)}
    cases = {
        "another network's lock": (LOCK_SHOWN, {"lk": of(network=bytes([9]) * 32)}),
        "a lock between others": (LOCK_SHOWN, {"lk": of(payer=stranger.key)}),
        "the other way round": (
            LOCK_SHOWN, {"lk": of(payer=fields["payee"], payee=fields["payer"])},
        ),
        "a lock that a stranger signed": (LOCK_SHOWN, {"lk": LOCK.sign(stranger, **fields)}),
        "a forged receipt": (RECEIPT_SENT, {"rc": forged.signed(1 << 20, 10)}),
        "a receipt of another network": (RECEIPT_SENT, {"rc": abroad.signed(1 << 20, 10)}),
        "an acknowledgement of money": (RECEIPT_SENT, {"rc": money.signed(1, 1)}),
        "sn on another channel": (messages.SYNC, {"cs": [{"k": 0, "sn": signed}]}),
        "hd that the node never signed": (messages.SYNC, {"cs": [acknowledged]}),
        "a second HELLO": (messages.HELLO, {
            "v": 1, "no": bytes(16), "pk": account.key, "net": setting.network, "is": [], "wi": 0,
        }),
    }  # fmt: skip
    for name, (kind, keys) in cases.items():
        with in_step(setting, account.identity) as peer:
            if kind == RECEIPT_SENT:
                peer.say(messages.SYNC, cs=[{"k": 0}, entry])
            peer.say(kind, **keys)
            check.true(peer.is_closed(), f"{name} closes")
    return cases


def p7_limits(setting):
    """§9: what is within them is taken, what is beyond closes."""
    within = [
        messages.encode(messages.BID, ra=messages.RATE_MAX),
        messages.encode(messages.TIP, am=1, nt=b"x" * messages.NOTE_MAX),
        messages.encode(messages.SYNC, cs=[{"k": 1, "id": n} for n in range(24)]),
        b"d1:ti77e1:x" + b"l" * 15 + b"e" * 15 + b"e",
        fill(messages.MESSAGE_MAX),
    ]
    beyond = [
        messages.encode(messages.BID, ra=messages.RATE_MAX + 1),
        messages.encode(messages.TIP, am=1, nt=b"x" * (messages.NOTE_MAX + 1)),
        messages.encode(messages.SYNC, cs=[{"k": 1, "id": n} for n in range(25)]),
        b"d1:ti77e1:x" + b"l" * 16 + b"e" * 16 + b"e",
        fill(messages.MESSAGE_MAX + 1),
    ]
    with in_step(setting) as peer:
        for payload in within:
            peer.say_bytes(payload)
        for _ in range(60):
            peer.say(messages.BID, ra=1)
        check.true(peer.is_alive(), "what is within the limits is taken")
    for payload in beyond:
        with in_step(setting) as peer:
            peer.say_bytes(payload)
            check.true(peer.is_closed(), f"{payload[:20]!r} of {len(payload)} bytes closes")
    for kind, keys in [(messages.BID, {"ra": 1}), (messages.SYNC, {"cs": []})]:
        with in_step(setting) as peer, contextlib.suppress(wire.Closed):
            for _ in range(200):
                peer.say(kind, **keys)
            check.true(peer.is_closed(), f"200 messages of type {kind} at once close")
    keys = [bytes([n]) * 32 for n in range(17)]
    with in_step(setting, **{"is": keys[:16]}) as peer:
        check.true(peer.is_alive(), "16 settlement keys")
    peer = setting.dial(ed25519.Identity(), **{"is": keys})
    peer.their_id = messages.send_under(peer.until("handshake"))
    peer.say_hello()
    check.true(peer.is_closed(), "17 settlement keys close")
    peer.close()


def fill(size):
    """A message of a later version's type, of so many bytes."""
    rest = size - len(b"d1:ti77e1:x00000:e")
    return b"d1:ti77e1:x%05d:%se" % (rest, b"x" * rest)


def p10_what_hd_sn_and_cl_say(setting):
    """§3, SYNC: a payer shows `sn` and its wish to close, a payee `hd`; `hd` lags 1 s at most."""
    account = setting.account()
    lock = account.open_lock(setting.seeder.key, LOCKED)
    lock_id = LOCK.parse(lock).lock_id
    entry = {"k": 1, "id": lock_id, "lk": lock}
    channel = payer.Channel.of_lock(account.identity, lock)
    first, second = channel.signed(1 << 20, 10), channel.signed(2 << 20, 20)
    with in_step(setting, account.identity, channels=[{"k": 0}, entry | {"sn": first}]) as peer:
        check.equal(held(peer, lock_id), first, "what a payer's `sn` says is held")
        peer.say(messages.SYNC, cs=[entry | {"hd": second}])
        check.equal(held(peer, lock_id), first, "a payer's `hd` is ignored")
        theirs = entry_of(peer.stands_at(), lock_id)
        check.true("sn" not in theirs and "cl" not in theirs, "a payee's entry of an open lock")
    with in_step(setting, account.identity) as peer:
        check.equal(entry_of(peer.their_sync, lock_id).get("hd"), first, "`hd` in the first SYNC")
        peer.say(RECEIPT_SENT, rc=second)
        check.poll("`hd` follows", lambda: held(peer, lock_id) == second, pause=1)
        peer.say(messages.SYNC, cs=[entry | {"sn": second, "cl": 1}])
        closed = peer.until("SYNC", lambda one: entry_of(one["cs"], lock_id).get("cl"))
        check.equal(entry_of(closed["cs"], lock_id)["hd"], second, "what a closed lock was paid")
    with in_step(setting, account.identity) as peer:
        check.equal(entry_of(peer.their_sync, lock_id).get("cl"), 1, "closed ones are told again")


def p11_answers_are_throttled_in_silence(setting):
    """§3: four at once, of all kinds together; what is not answered closes nothing."""
    with in_step(setting) as peer:
        for number in range(12):
            unknown = payer.Channel(peer.identity, NO_NETWORK, bytes([number]) * 32)
            peer.say(RECEIPT_SENT, rc=unknown.sign(1, 0))
            peer.say(ERR, er=3)
        check.true(peer.is_alive(), "silence closes nothing")
        names = [name for name, _ in peer.waiting if name in ("ERR", "SYNC")]
        # A further one comes every 5 s, should all this take so long.
        check.equal(names[:4], ["ERR", "SYNC"] * 2, "answers")
        check.true(len(names) < ANSWERS_MAX, f"{len(names)} answers")
    return f"{len(names)} of 24 answered"


def p13_other_versions(setting):
    """§1 and §3: an offer of another version is none; HELLO of another ends the extension."""
    for offer in ({"v": 2}, {"v": b"1"}, {}):
        peer = setting.dial(ed25519.Identity(), offer=offer)
        check.equal(peer.came("HELLO"), [], f"nothing is said to an offer of {offer}")
        is_plain(peer, setting.torrent)
    identity = ed25519.Identity()
    own_key = {"pk": setting.seeder.key}
    for says in ({"v": 2}, own_key):
        peer = setting.dial(identity, **says)
        peer.meet()
        peer.say_bytes(b"no bencode at all")
        check.equal(peer.came("AUTH"), [], f"nothing follows HELLO with {says}")
        is_plain(peer, setting.torrent)
    with in_step(setting, offer={"v": 1, "next": 2}, later=b"x") as peer:
        check.true(peer.is_alive(), "keys of a later version are ignored")


def is_plain(peer, shared):
    """The connection goes on as plain BitTorrent: a piece comes, and has its SHA-1."""
    peer.line.send(wire.INTERESTED)
    peer.until(wire.UNCHOKE)
    found = b""
    for block in shared.blocks(0):
        peer.request(block)
        found += peer.until(wire.PIECE)[8:]
    check.true(shared.matches(0, found), "a piece without receipts")
    peer.close()


def p14_bencode_is_read_as_told(setting):
    """§3: every payload of `messages.json`, said on a connection that is ready."""
    counts = {}
    for vector in check_vectors.load("messages")["vectors"]:
        verdict = "lax" if "same_as" in vector else vector["verdict"]
        if verdict == "valid":
            continue  # these speak of keys and locks that are not ours
        with in_step(setting) as peer:
            peer.say_bytes(bytes.fromhex(vector["bytes"]))
            found = peer.is_closed() if verdict == "closes" else peer.is_alive()
            check.true(found, f"{vector['name']}: {verdict}")
        counts[verdict] = counts.get(verdict, 0) + 1
    return counts


OPENING_CHECKS = (
    p1_acknowledgements_are_signed_under_zeros,
    p2_auth_is_over_the_network_of_both_or_zeros,
    p4_a_lock_is_named_by_its_order_and_signed_by_the_settlement_key,
    p5_what_is_answered_and_what_closes,
    p7_limits,
    p10_what_hd_sn_and_cl_say,
    p11_answers_are_throttled_in_silence,
    p13_other_versions,
    p14_bencode_is_read_as_told,
)
