"""Whole paid downloads: this package pays a node, and is paid by one."""

import socket

import check
import ed25519
import lines
import messages
import payee
import payer
import scene
import torrent
import wire
from objects import LOCK, RECEIPT

SLOTS = "slots = 2\n"
WAITING = 3
BID = 4_000_000
LOCKED = 500_000
UPLOADED = 8 << 20


def a_paid_download(programs):
    """From the order of a lock to the claim of its payee, over a torrent of 16 pieces."""
    with scene.Scene(programs, scene.SEEDER + SLOTS) as setting:
        others = [interested(setting) for _ in range(WAITING)]
        account = setting.account()
        lock = account.open_lock(setting.seeder.key, LOCKED)
        peer = setting.greet(account.identity)
        buyer = payer.Payer(peer, setting.torrent, lock, BID)
        buyer.begin()
        is_served_first(setting, buyer, others)
        buyer.fetch(range(setting.torrent.piece_count()))
        whole = b"".join(buyer.pieces[index] for index in sorted(buyer.pieces))
        check.equal(whole, setting.torrent.content, "the content")
        check.equal(buyer.due(), BID * len(whole) // 2**30, "every block at the bid")
        is_settled(setting, account, buyer)
        return f"{len(whole)} bytes for {buyer.channel.amount} µcr"


def interested(setting):
    """One that pays nothing and came earlier."""
    other = setting.greet(ed25519.Identity())
    other.line.send(wire.INTERESTED)
    return other


def is_served_first(setting, buyer, others):
    """QUOTE `st` 2 before UNCHOKE, though others wait and have no slot."""
    buyer.until_seated()
    check.true(buyer.order.index("QUOTE 2") < buyer.order.index("UNCHOKE"), buyer.order)
    view = setting.view_of(buyer.peer.identity.key)
    check.equal(view["unchoke_reason"], "UNCHOKE_REASON_PAID", "why it is served")
    keys = [other.identity.key for other in others]
    choked = [key for key in keys if not setting.view_of(key).get("unchoked")]
    check.true(choked, "somebody who came earlier waits")


def is_settled(setting, account, buyer):
    """The payee claims what was signed and closes; each side's books say the same."""
    fields = LOCK.parse(buyer.lock)
    buyer.end()
    spent = buyer.channel.amount
    entry = closed_entry(buyer.peer, fields.lock_id)
    check.equal(entry["hd"][64:80], buyer.channel.sign()[64:80], "the receipt that it holds")
    # It says so when it orders the close: what was earned is claimed before.
    status = check.poll("the close", lambda: closed(account.lock(fields.lock_id)))
    check.equal(status.claimed, spent, "what was claimed")
    told = account.account()
    check.equal((told.available, told.reserved), (scene.GRANTED - spent, 0), "the payer's credit")
    check.poll("the payee hears of it", lambda: setting.seeder.balance()["free"] == spent)
    check.equal(setting.seeder.explained()["earned"], spent, "what the payee earned")
    service = setting.seeder.services()[account.key.hex()]
    check.equal(int(service["given_bytes"]), buyer.paid_bytes, "bytes that the payee served")
    kinds = [line.kind for line in account.statement()]
    expected = [lines.GRANT, lines.LOCK_OPEN, lines.CLAIMED, lines.LOCK_CLOSE]
    check.equal(kinds, expected, "the payer's statement")


def closed(status):
    return status if status.closed else None


def closed_entry(peer, lock_id):
    """The entry of SYNC that says that the payee closed the lock."""

    def tells(message):
        return any(one.get("id") == lock_id and one.get("cl") for one in message["cs"])

    entries = peer.until("SYNC", tells)["cs"]
    return next(one for one in entries if one.get("id") == lock_id)


def a_paid_upload(programs):
    """A node pays this package: it is served within the window, and what it signed is claimed."""
    with scene.Scene(programs) as setting, socket.create_server(("127.0.0.1", 0)) as listener:
        account = setting.account()
        shared = torrent.Torrent(programs.work / "ours", "ours.bin", UPLOADED, scene.PIECE_LEN)
        config = setting.community.member_config(setting.settles)
        buyer = setting.start("buyer", config)
        setting.settlement.cli("wallet", "grant", buyer.key.hex(), scene.GRANT)
        check.poll("the buyer hears of its credit", lambda: buyer.balance()["free"])
        host, port = listener.getsockname()
        fetched = programs.work / "fetched"
        buyer.cli("add", str(shared.path), "--dir", str(fetched), "--peer", f"{host}:{port}")
        seller = accept(listener, setting, account, shared)
        seller.quote(messages.QUEUED)  # which a payer reads as open
        buyer.cli("boost", "start", shared.info_hash.hex(), "--max", "1", "--bid", "4")
        while not seller.close_asked:
            seller.step()
        is_claimed(setting, account, seller, buyer)
        check.equal((fetched / "ours.bin").read_bytes(), shared.content, "what was fetched")
        return f"{seller.cleared} bytes for {seller.paid} µcr, E ≤ {seller.exposure_most}"


def a_free_upload_is_acknowledged(programs):
    """A node signs for what came for nothing: under zeros, to the byte, and no money."""
    with scene.Scene(programs) as setting, socket.create_server(("127.0.0.1", 0)) as listener:
        account = setting.account()
        shared = torrent.Torrent(programs.work / "ours", "free.bin", scene.TOTAL, scene.PIECE_LEN)
        host, port = listener.getsockname()
        fetched = programs.work / "fetched"
        setting.seeder.cli(
            "add", str(shared.path), "--dir", str(fetched), "--peer", f"{host}:{port}"
        )
        seller = accept(listener, setting, account, shared)
        seller.serve_free()
        while seller.acknowledged < scene.TOTAL:
            seller.step()
        check.equal(seller.acknowledged, scene.TOTAL, "bytes")
        return f"{seller.acknowledged} bytes"


def accept(listener, setting, account, shared):
    """The connection that the buyer makes, in step; others that it gives up are let go."""
    listener.settimeout(wire.SILENCE_MAX)
    sock, _ = listener.accept()
    line = wire.Line(sock, shared.info_hash)
    line.send(wire.HAVE_ALL)
    says = {"ra": scene.ASK, "wi": scene.PIECE_LEN, "is": [setting.genesis.settlement]}
    peer = wire.Peer(line, account.identity, setting.network, **says).greet()
    return payee.Payee(peer, shared, setting.genesis.settlement, scene.ASK)


def is_claimed(setting, account, seller, buyer):
    """What was signed covers what was served to the micro-credit, and is all that moves."""
    raw = sum(rate * size for (_, _, size), rate in seller.served.items())
    signed = RECEIPT.parse(seller.receipt)
    check.equal(signed.amount, raw // 2**30, "all that is due is signed")
    check.equal((seller.exposure, seller.granted), (0, []), "nothing is owed")
    check.equal(signed.bytes, seller.cleared, "bytes that had a price")
    line = account.claim(seller.lock, seller.receipt)
    check.equal(line.amount, signed.amount, "the claim")
    account.close_lock(seller.lock.lock_id)
    entry = {"k": 1, "id": seller.lock.lock_id, "lk": seller.lock_signed, "cl": 1}
    seller.peer.say(messages.SYNC, cs=[{"k": 0}, entry | {"hd": seller.receipt}])
    expected = scene.GRANTED + signed.amount
    check.equal(account.account().available, expected, "what this package has")
    left = scene.GRANTED - signed.amount
    check.poll("the buyer's credit returns", lambda: buyer.balance()["free"] == left)
    check.equal(buyer.explained().get("spent", 0) + buyer.explained().get("returned", 0),
                -signed.amount, "what the buyer spent")  # fmt: skip


CHECKS = (a_paid_download, a_paid_upload, a_free_upload_is_acknowledged)
