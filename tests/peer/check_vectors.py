"""Every vector of `tests/vectors`, judged by this package: what is valid is made again byte for
byte, what is not is refused for being so."""

import json
from pathlib import Path

import bencode
import booking
import check
import ed25519
import genesis
import ledger
import lines
import messages
import objects
import pricing
from bencode import Malformed

FOLDER = Path(__file__).resolve().parent.parent / "vectors"


def load(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def hex_of(text):
    return bytes.fromhex(text)


def signed_objects():
    """PROTOCOL §2: parse, verify strictly, sign again."""
    count = 0
    for layout in objects.ALL:
        file = load(layout.name)
        identity = ed25519.Identity(hex_of(file["seed"]))
        tag = layout.tag.rstrip(b"\0").decode()
        check.equal((file["body_len"], file["tag"]), (layout.body_len, tag), layout.name)
        for vector in file["vectors"]:
            found = verdict_of(layout, vector, identity)
            check.equal(found, vector["verdict"], f"{layout.name}: {vector['name']}")
            count += 1
    return f"{count} of {len(objects.ALL)} objects"


def verdict_of(layout, vector, identity):
    body, key, signature = (hex_of(vector[name]) for name in ("body", "key", "signature"))
    try:
        if len(body) != layout.body_len:
            raise Malformed("length")
        layout.parse(body)
    except Malformed:
        return "malformed"
    if not layout.holds(key, body + signature):
        return "refused"
    check.equal(identity.sign(layout.signing_bytes(body)), signature, "signed again")
    return "valid"


def channels():
    vectors = load("channel")["vectors"]
    for vector in vectors:
        parts = [hex_of(vector[name]) for name in ("network_id", "payer", "payee", "reference")]
        found = objects.channel_id(parts[0], vector["kind"], *parts[1:])
        check.equal(found.hex(), vector["channel_id"], "channel id")
    return len(vectors)


def offers():
    vectors = load("offers")["vectors"]
    for vector in vectors:
        found = messages.send_under(hex_of(vector["bytes"]))
        check.equal(found, vector["send_under"], vector["name"])
    return len(vectors)


def messages_both_ways():
    """§3: bytes to fields and back; what is ignored, and what closes a connection in step."""
    file = load("messages")
    pair = tuple(hex_of(file["keys"][name]) for name in ("payer", "payee"))
    for vector in file["vectors"]:
        found, message = said_in_step(hex_of(vector["bytes"]), pair)
        if vector["verdict"] == "valid" and message["t"] in (messages.HELLO, messages.AUTH):
            found = "valid"  # where it is the first, or the second
        check.equal(found, vector["verdict"], vector["name"])
        if found == "valid":
            written = bencode.encode(message).hex()
            check.equal(written, vector.get("same_as", vector["bytes"]), vector["name"])
            compare_fields(as_json(message), vector)
    return len(file["vectors"])


def said_in_step(payload, pair):
    """What a payer's payload does on a connection that is ready, and what it says."""
    try:
        message = messages.decode(payload)
    except Malformed:
        return "closes", None
    if message is None:
        return "ignored", None
    if message["t"] in (messages.HELLO, messages.AUTH):
        return "closes", message
    if message["t"] == messages.LOCK_SHOWN:
        lock = objects.LOCK.parse(message["lk"])
        if (lock.payer, lock.payee) != pair:
            return "closes", message
    return "valid", message


def compare_fields(message, vector):
    """All that was read is in `fields`; `cl` of an entry may be left out, as `same_as` does."""
    for key, value in message.items():
        if "same_as" not in vector or key != "cs":
            check.equal(value, vector["fields"][key], f"{vector['name']}: {key}")


def as_json(value):
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return value


def messages_signed():
    """AUTHs, lock and receipts from three seeds."""
    file = load("messages")
    layouts = {layout.tag: layout for layout in objects.ALL}
    for vector in file["signed"]:
        signing, signature = hex_of(vector["signing_bytes"]), hex_of(vector["signature"])
        identity = ed25519.Identity(hex_of(file["seeds"][vector["signer"]]))
        layout = layouts[signing[:16]]
        body = signing[16:]
        check.equal(hex_of(vector["object"]), body + signature, vector["name"])
        check.equal(identity.sign(layout.signing_bytes(body)), signature, vector["name"])
        check.true(layout.holds(identity.key, body + signature), vector["name"])
    return len(file["signed"])


def prices():
    """§4: what each block of a stream costs."""
    file = load("pricing")
    for vector in file["vectors"]:
        stream, costs = pricing.Stream(), []
        for step in vector["steps"]:
            ((what, value),) = step.items()
            if what == "bid":
                stream.on_bid(value)
            elif what == "quote":
                stream.on_quote(value["st"], value.get("ra"))
            elif what == "request":
                stream.on_request(value)
            elif what == "reject":
                stream.on_reject(value)
            else:
                rate = stream.on_piece(value, file["block_len"])
                costs.append({"block": value, "rate": rate})
        expected = vector["costs"], vector["raw"], vector["due"]
        check.equal((costs, str(stream.raw), stream.due()), expected, vector["name"])
    return len(file["vectors"])


def windows():
    """P1 and P5."""
    vectors = load("windows")["vectors"]
    for vector in vectors:
        paid, rate, cleared = vector["paid"], vector["rate"], vector["cleared"]
        window = pricing.window(vector["piece_len"], paid, rate, cleared)
        found = pricing.history(paid, rate, cleared), window, pricing.lock_least(rate, window)
        expected = vector["history"], vector["window"], vector["lock_least"]
        check.equal(found, expected, vector["name"])
    return len(vectors)


def genesis_files():
    vectors = load("genesis")["vectors"]
    for vector in vectors:
        try:
            found = genesis.parse(vector["text"]).network.hex()
        except Malformed:
            found = None
        check.equal(found, vector["network_id"], vector["name"])
    return len(vectors)


def lines_of_statements():
    """PROTOCOL-SETTLEMENT §7: the entry is made again from the line."""
    file = load("line")
    network, settlement = hex_of(file["network_id"]), hex_of(file["settlement"])
    for vector in file["vectors"]:
        data = hex_of(vector["bytes"])
        try:
            line = lines.read_line(data)
        except Malformed:
            check.equal("malformed", vector["verdict"], vector["name"])
            continue
        check.equal(lines.write_line(line), data, vector["name"])
        certified = lines.is_certified(line, network, settlement)
        found = "certified" if certified else "not certified"
        check.equal(found, vector["verdict"], vector["name"])
        if certified:
            compare_line(line, vector)
    return len(file["vectors"])


def compare_line(line, vector):
    entry, fields = lines.entry_of_line(line), vector["fields"]
    found = entry.hex(), lines.entry_hash(entry).hex()
    check.equal(found, (vector["entry"], vector["entry_hash"]), vector["name"])
    for name in ("kind", "amount", "refusal", "previous"):
        check.equal(getattr(line, name), fields[name], f"{vector['name']}: {name}")
    for name in ("sequence", "time", "available_after"):
        check.equal(getattr(line.cert, name), fields[name], f"{vector['name']}: {name}")
    check.equal(line.operation.hex(), fields["operation"], vector["name"])
    check.equal(line.certificate.hex(), fields["certificate"], vector["name"])


def questions():
    """PROTOCOL §7.1, from member to settlement node."""
    vectors = load("link")["requests"]
    for vector in vectors:
        try:
            lines.parse_question(hex_of(vector["request"]))
            found = "valid"
        except Malformed:
            found = "malformed"
        check.equal(found, vector["verdict"], vector["name"])
        if found == "valid":
            found = objects.blake3.digest(hex_of(vector["request"])).hex()
            check.equal(found, vector["request_hash"], vector["name"])
    return len(vectors)


def answers():
    """§7.1, back: the seal first, then what is under it."""
    file = load("link")
    network, settlement = hex_of(file["network_id"]), hex_of(file["settlement"])
    for vector in file["answers"]:
        request_hash, data = hex_of(vector["request_hash"]), hex_of(vector["answer"])
        signature, found = hex_of(vector["signature"]), "valid"
        if not lines.seal_holds(
            settlement, network, request_hash, data, signature, vector["index"]
        ):
            found = "refused"
        else:
            try:
                check.equal(lines.write_answer(lines.read_answer(data)), data, vector["name"])
            except Malformed:
                found = "malformed"
        check.equal(found, vector["verdict"], vector["name"])
    return len(file["answers"])


def a_ledger_from_its_genesis():
    """PROTOCOL-SETTLEMENT §2 to §6: every outcome, and the hash of the last entry after each."""
    file = load("settlement")
    settlement = ed25519.Identity(bytes([200]) + bytes([0x5E]) * 31)
    network = genesis.parse(file["genesis"])
    check.equal(network.network.hex(), file["network_id"], "network id")
    check.equal(network.settlement, settlement.key, "settlement key")
    books = ledger.Ledger(network, settlement, file["founded_at"])
    for step in file["steps"]:
        take = books.order if step["kind"] == "order" else books.claim
        outcome, refusal, entry, _ = take(hex_of(step["bytes"]), step["now"])
        found = outcome, entry, books.head_hash.hex()
        check.equal(found, (step["outcome"], step.get("entry"), step["head"]), step["name"])
        if "refused" in outcome:
            check.equal(refusal, step["refusal"], step["name"])
    return f"{len(file['steps'])} steps, {len(books.entries)} entries"


def a_payees_book():
    file = load("booking")
    names = ("network_id", "settlement", "owner")
    book = booking.Book(*(hex_of(file[name]) for name in names))
    for step in file["steps"]:
        take = book.line if step["kind"] == "line" else book.summary
        found = take(hex_of(step["bytes"]))
        check.equal(found, (step["outcome"], step.get("refusal")), step["name"])
    return len(file["steps"])


CHECKS = (
    signed_objects, channels, offers, messages_both_ways, messages_signed, prices, windows,
    genesis_files, lines_of_statements, questions, answers, a_ledger_from_its_genesis,
    a_payees_book,
)  # fmt: skip
