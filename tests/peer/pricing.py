"""What a block costs (PROTOCOL §4), and the window of a payer (§5, P1 and P5)."""

GIB = 1 << 30
MIB = 1 << 20
WINDOW_PIECE_MAX = 64 * MIB
NO_CAP = 2**64 - 1


class Stream:
    """One connection as its payer prices it: each block at its REQUEST's bid and PIECE's quote."""

    def __init__(self):
        self.bid = 0
        self.quote = 0
        self.raw = 0
        self._asked = {}

    def on_bid(self, rate):
        self.bid = rate

    def on_quote(self, state, cap=None):
        self.quote = (NO_CAP if cap is None else cap) if state == 2 else 0

    def on_request(self, block):
        self._asked.setdefault(block, []).append(self.bid)

    def on_reject(self, block):
        self._pop(block)

    def on_piece(self, block, size):
        """The rate at which the block came."""
        rate = min(self._pop(block), self.quote)
        self.raw += size * rate
        return rate

    def due(self):
        return self.raw // GIB

    def _pop(self, block):
        waiting = self._asked[block]
        bid = waiting.pop(0)
        if not waiting:
            del self._asked[block]
        return bid


def history(paid, rate, cleared):
    return min(cleared, paid * GIB // rate) if rate else 0


def window(piece_len, paid=0, rate=0, cleared=0):
    """W: what a payee grants ahead of payment."""
    h = history(paid, rate, cleared)
    bound = min(max(2 * piece_len, MIB), WINDOW_PIECE_MAX) + min(h // 16, 16 * MIB)
    return min(min(piece_len, WINDOW_PIECE_MAX) + h, bound)


def lock_least(rate, window_len):
    """The least amount of a lock that is served on at this rate."""
    return -(-rate * window_len // GIB)
