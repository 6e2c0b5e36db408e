"""`seedbankd` and `seedbank` as a stranger sees them: processes, their words, and JSON."""

import json
import queue
import subprocess
import threading
from pathlib import Path

import check
import genesis

START_MAX = 60
STOP_MAX = 30
ANSWER_MAX = 120
SOCKET = "api.sock"
NETWORK = "pond"


class Programs:
    """The folder of the two programs, and the folder that nodes live in."""

    def __init__(self, bin_dir, work):
        self.bin, self.work = Path(bin_dir).resolve(), Path(work).resolve()

    def seedbank(self, folder, *args):
        """What a command prints to the node of this folder; a failure is what it said."""
        # From within, because paths of sockets are short and folders may be deep.
        command = [self.bin / "seedbank", "--api", f"unix:{SOCKET}", "--json", *args]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ANSWER_MAX, check=False, cwd=folder
        )
        if done.returncode:
            raise check.Failed(f"seedbank {' '.join(args)}: {done.stderr}")
        return done.stdout


class Community:
    """A network that `seedbankd network init` founded: its genesis and keys."""

    def __init__(self, programs, settlement_name="settlement"):
        folder = programs.work / "network"
        folder.mkdir(exist_ok=True)
        data = programs.work / settlement_name / "data"
        data.parent.mkdir(exist_ok=True)
        command = [programs.bin / "seedbankd", "network", "init", NETWORK, "--out", folder]
        subprocess.run([*command, "--data-dir", data], check=True, capture_output=True)
        self.folder = folder
        self.genesis = genesis.parse(self.file("genesis").read_text())

    def file(self, ending):
        return self.folder / f"{NETWORK}.{ending}"

    def secret(self, ending):
        """The 32 secret bytes in a key file."""
        return bytes.fromhex(self.file(ending).read_text().strip())

    def settlement_config(self):
        return (
            f'[network]\ngenesis = "{self.file("genesis")}"\n[settlement]\nenabled = true\n'
            f'listen = "127.0.0.1:0"\nkey = "{self.file("settlement.key")}"\n'
            f'issuer_key = "{self.file("issuer.key")}"\n'
        )

    def member_config(self, addr):
        uri = f"http://{addr[0]}:{addr[1]}"
        return f'[network]\ngenesis = "{self.file("genesis")}"\nsettlement = "{uri}"\n'


class Node:
    """A running daemon on loopback, with ports from the system."""

    def __init__(self, programs, name, config=""):
        self.programs, self.name = programs, name
        self.folder = programs.work / name
        self.folder.mkdir(exist_ok=True)
        self.config = self.folder / "config.toml"
        self.config.write_text(
            f'[node]\ndata_dir = "{self.folder / "data"}"\nlisten = ["127.0.0.1:0"]\n'
            f'[api]\nunix = "{SOCKET}"\nlisten = []\n{config}'
        )
        self.process = None
        self.start()

    def start(self):
        self.log = (self.folder / "log").open("a")
        command = [self.programs.bin / "seedbankd", "run", "-c", self.config]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=self.folder
        )
        self.told, self._lines = {}, queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.cli(f"--wait={START_MAX}s", "health")
        status = self.cli("status")["node"]
        self.key = bytes.fromhex(status["public_key"])
        self.addr = _addr(status["listen_addresses"][0])

    def _read(self):
        for line in self.process.stdout:
            name, _, rest = line.strip().partition(" ")
            self._lines.put((name, rest.strip()))

    def settles(self):
        """Where it settles, which it says in its first words."""
        while "settles" not in self.told:
            name, rest = self._lines.get(timeout=START_MAX)
            self.told[name] = rest
        return _addr(self.told["settles"].removeprefix("http://"))

    def cli(self, *args):
        return json.loads(self.programs.seedbank(self.folder, *args))

    def balance(self):
        found = self.cli("wallet", "balance")
        return {
            key.removesuffix("_microcredits"): int(value)
            for key, value in found.items()
            if key.endswith("_microcredits")
        }

    def explained(self):
        """What `wallet explain` adds up by kind: micro-credits."""
        found = self.cli("wallet", "explain", "--by", "kind")["lines"]
        return {line["key"]: int(line["delta_microcredits"]) for line in found}

    def services(self, by="peer"):
        found = self.cli("wallet", "explain", "--by", by)["lines"]
        return {line["key"]: line for line in found}

    def peers(self, torrent):
        return self.cli("peers", torrent.info_hash.hex())["peers"]

    def events(self):
        """Everything that happened in this life, oldest first."""
        told = self.programs.seedbank(self.folder, "events", "--from", "0", "--no-follow")
        return [json.loads(line) for line in told.splitlines()]

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def _addr(text):
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
