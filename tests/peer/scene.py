"""What most checks need: a network, its settlement node, a seeder that takes payment."""

import contextlib

import check
import ed25519
import node
import settlement
import torrent
import wire

ASK = 3_000_000
GRANT = "10"
GRANTED = 10_000_000
TOTAL, PIECE_LEN = 4 << 20, 256 << 10
SEEDER = '[earn]\nmin_price_per_gib = "3cr"\n'


class Scene:
    """A settlement node and a seeder of one torrent, until it is closed."""

    def __init__(self, programs, seeder=SEEDER, between=None):
        """`between(settles)`: who stands between the seeder and its settlement node."""
        self.programs = programs
        self._stack = contextlib.ExitStack()
        self.community = node.Community(programs)
        self.genesis = self.community.genesis
        self.network = self.genesis.network
        config = self.community.settlement_config()
        self.settlement = self.start("settlement", config)
        self.settles = self.settlement.settles()
        self.line = self._stack.enter_context(
            contextlib.closing(settlement.Line(self.settles))
        )
        self.middle = between(self.settles) if between else None
        addr = self.middle.addr if between else self.settles
        config = self.community.member_config(addr) + seeder
        self.seeder = self.start("seeder", config)
        self.torrent = self.add_torrent("shared.bin")

    def start(self, name, config):
        return self._stack.enter_context(node.Node(self.programs, name, config))

    def close(self):
        self._stack.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def add_torrent(self, name, size=TOTAL, piece_len=PIECE_LEN, private=False):
        """A torrent that the seeder has."""
        made = torrent.Torrent(self.programs.work / name, name, size, piece_len, private)
        self.seeder.cli("add", str(made.path), "--dir", str(made.folder))
        check.poll(f"{name} is seeded", lambda: self.is_seeded(made))
        return made

    def is_seeded(self, made):
        state = self.seeder.cli("show", made.info_hash.hex())["torrent"]["state"]
        return state == "TORRENT_STATE_SEEDING"

    def account(self, amount=GRANT):
        """A new key with credit."""
        identity = ed25519.Identity()
        self.settlement.cli("wallet", "grant", identity.key.hex(), amount)
        return settlement.Account(identity, self.genesis, self.line)

    def dial(self, identity, made=None, network=None, **says):
        """A connection to the seeder, before the opening."""
        network = self.network if network is None else network
        return wire.dial(self.seeder.addr, made or self.torrent, identity, network, **says)

    def greet(self, identity, channels=(), **says):
        """A connection on which both sides are in step."""
        return self.dial(identity, **says).greet(channels)

    def view_of(self, key, made=None):
        """How the seeder sees a key's connection."""
        found = self.seeder.peers(made or self.torrent)
        return next((peer for peer in found if peer.get("public_key") == key.hex()), None)
