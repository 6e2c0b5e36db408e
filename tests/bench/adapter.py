"""Seedbank in the swarm benchmark: drives `seedbankd` and `seedbank --json`.

The benchmark lies outside this repository; it reads this file by its path in
SEEDBANK_BENCH_ADAPTER. SEEDBANK_BENCH_BIN is the folder of the two programs, built with --release.
`seedbank` signs and takes receipts; `seedbank-plain` is the same node with receipts off.
"""

import json
import os
import subprocess
import threading
import time

from swarm import Client

BIN = os.environ["SEEDBANK_BENCH_BIN"]
ASK_PAUSE = 0.25  # a question costs a process; completion comes by event, without one


class Seedbank(Client):
    name = "seedbank"
    config = ""

    def spawn(self):
        self.socket = f"{self.home}/api.sock"
        self.hash = None
        self.done = None
        self.asked = 0.0
        self.last = {}
        with open(f"{self.home}/config.toml", "w") as file:
            file.write(
                f'[node]\ndata_dir = "{self.home}/data"\n'
                f'listen = ["127.0.0.1:{self.port}"]\nmax_peers = {self.conns}\n'
                f'[api]\nunix = "{self.socket}"\nlisten = []\n' + self.config
            )
        self.popen(
            [f"{BIN}/seedbankd", "run", "-c", f"{self.home}/config.toml"],
            stdout=subprocess.DEVNULL,
        )
        self.cli("--wait=15s", "health")
        version = subprocess.run([f"{BIN}/seedbankd", "--version"], capture_output=True, text=True)
        self.version = version.stdout.strip()
        self.events = subprocess.Popen(
            self.command("events", "--kind", "torrent-completed"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for _line in self.events.stdout:
            if self.done is None:
                self.done = time.monotonic()

    def command(self, *args):
        return [f"{BIN}/seedbank", "--api", f"unix:{self.socket}", "--json", *args]

    def cli(self, *args):
        out = subprocess.run(self.command(*args), capture_output=True, text=True, check=False)
        if out.returncode:
            raise RuntimeError(f"seedbank {' '.join(args)}: {out.stderr.strip()}")
        return json.loads(out.stdout)

    def add(self, t, d):
        self.hash = t["info_hash"].hex()
        self.cli("add", t["torrent"], "--dir", d)

    def show(self):
        if time.monotonic() - self.asked > ASK_PAUSE:
            self.last = self.cli("show", self.hash)["torrent"]
            self.asked = time.monotonic()
        return self.last

    def progress(self):
        if self.done is not None:
            return True
        if self.role == "L" and self.events.poll() is None:
            return False
        return self.show()["state"] == "TORRENT_STATE_SEEDING"

    def done_at(self):
        return self.done

    def uploaded(self):
        if self.hash is None:
            return 0
        self.asked = 0.0
        return int(self.show()["uploaded_bytes"])

    def stop(self):
        super().stop()
        events = getattr(self, "events", None)
        if events is not None and events.poll() is None:
            events.kill()
            events.wait()


class SeedbankPlain(Seedbank):
    name = "seedbank-plain"
    config = "[earn]\nreceipts = false\n"


CLIENTS = {client.name: client for client in (Seedbank, SeedbankPlain)}
