"""Whoever carries what goes between a member and its settlement node, and may change it.

Questions go on to the real node; what comes back goes through `forge`, if one is set.
"""

import threading

import http2
import lines
import objects
from bencode import Malformed


class Passed:
    """A question and what answers it, on the way: whoever forges changes `answer` and `seal`."""

    def __init__(self, question, kind, asked, index, answer, seal):
        self.question, self.kind, self.asked, self.index = question, kind, asked, index
        self.answer, self.seal = answer, seal


class Middle:
    """A server for one member in front of a settlement node."""

    def __init__(self, settles):
        self.settles, self.forge = settles, None
        self.seen, self.forged = [], 0
        self._changed = threading.Condition()
        self._clients = {}
        self.server = http2.Server(self._answer, self._cancelled)
        self.addr = self.server.addr

    def close(self):
        self.server.close()

    def set(self, forge):
        with self._changed:
            self.forge, self.forged = forge, 0

    def wait_forged(self, count=1, limit=120):
        """Until so many answers were changed."""
        with self._changed:
            return self._changed.wait_for(lambda: self.forged >= count, limit)

    def _answer(self, question):
        kind, asked = kind_of(question)
        client = self._clients[question] = http2.Client(self.settles)
        method = "Watch" if kind == "watch" else "Ask"
        try:
            for index, fields in enumerate(client.call(method, question)):
                passed = Passed(
                    question, kind, asked, index, fields.get(1, b""), fields.get(2, b"")
                )
                yield self._pass(passed)
        finally:
            self._cancelled(question)

    def _cancelled(self, question):
        client = self._clients.pop(question, None)
        if client:
            client.close()

    def _pass(self, passed):
        with self._changed:
            self.seen.append(passed)
            before = passed.answer, passed.seal
            if self.forge:
                self.forge(passed)
            now = passed.answer, passed.seal
            if now != before:
                self.forged += 1
                self._changed.notify_all()
            return None if passed.answer is None else now


def kind_of(question):
    """What is asked, in a word, and the object that asks it."""
    try:
        kind, asked, _ = lines.parse_question(question)
    except Malformed:
        return "nothing", None
    if kind != 3:
        return ("submit", "claim")[kind - 1], asked
    names = {
        objects.READ_ACCOUNT: "account", objects.READ_LOCK: "lock",
        objects.READ_STATEMENT: "statement", objects.READ_WATCH: "watch",
    }  # fmt: skip
    return names[asked.kind], asked
