"""A libtorrent client that a test drives: one JSON object per line, commands in, events out.

The first line in is the settings; it is answered with {"event": "ready"}. Nothing here leaves the
address it is given, and nothing here judges: every disconnection is reported with its code.
"""

import json
import sys
import threading

import libtorrent as lt

CATEGORIES = (
    lt.alert.category_t.status_notification
    | lt.alert.category_t.error_notification
    | lt.alert.category_t.peer_notification
    | lt.alert.category_t.connect_notification
    | lt.alert.category_t.tracker_notification
)

output = threading.Lock()


def tell(event, **fields):
    with output:
        print(json.dumps({"event": event, **fields}), flush=True)


def start(settings):
    listen = f"{settings['ip']}:{settings['port']}"
    session = lt.session(
        {
            "listen_interfaces": listen,
            # Else the kernel chooses, and on one machine it chooses the address of the other end.
            "outgoing_interfaces": settings["ip"],
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_outgoing_utp": False,
            "enable_incoming_utp": False,
            "out_enc_policy": 2,  # plain text, as everything here
            "in_enc_policy": 2,
            "upload_rate_limit": settings["upload_rate"],
            "allow_multiple_connections_per_ip": False,
            "alert_queue_size": 100000,
            "alert_mask": CATEGORIES,
        }
    )
    limits = {"unchoke_slots_limit": "unchoke_slots", "connections_limit": "connections"}
    limits = {key: settings[name] for key, name in limits.items() if settings[name]}
    session.apply_settings(limits)
    # libtorrent exempts private addresses from slots and limits; here they stand for the internet.
    everybody = lt.ip_filter()
    everybody.add_rule("0.0.0.0", "255.255.255.255", 1 << lt.session.global_peer_class_id)
    session.set_peer_class_filter(everybody)
    return session


class Client:
    def __init__(self, session):
        self.session = session
        self.torrent = None

    def add(self, command):
        if "magnet" in command:
            params = lt.parse_magnet_uri(command["magnet"])
        else:
            params = lt.add_torrent_params()
            params.ti = lt.torrent_info(command["torrent"])
        params.save_path = command["folder"]
        params.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
        self.torrent = self.session.add_torrent(params)
        for ip, port in command["peers"]:
            self.torrent.connect_peer((ip, port))

    def connect(self, command):
        self.torrent.connect_peer((command["ip"], command["port"]))

    def disconnect(self, _command):
        # Pausing closes every connection at once; resuming dials the known peers again.
        self.torrent.pause()
        self.torrent.resume()

    def stat(self, _command):
        status = self.torrent.status()
        tell(
            "stat",
            have=status.total_wanted_done,
            total=status.total_wanted,
            sent=status.total_payload_upload,
            received=status.total_payload_download,
            complete=status.is_seeding,
            peers=[
                {
                    "ip": peer.ip[0],
                    "port": peer.ip[1],
                    "client": peer.client.decode("utf-8", "replace"),
                    "chokes_us": bool(peer.flags & lt.peer_info.remote_choked),
                    "we_choke": bool(peer.flags & lt.peer_info.choked),
                }
                for peer in self.torrent.get_peer_info()
            ],
        )


def commands(client):
    for line in sys.stdin:
        command = json.loads(line)
        try:
            getattr(client, command["do"])(command)
        except Exception as error:  # the test decides what a failure means
            tell("failed", command=command["do"], message=str(error))
    # The test has hung up: whatever is left to do, nobody waits for it.
    sys.stdout.flush()
    sys.stderr.flush()
    import os

    os._exit(0)


def report(alert):
    if isinstance(alert, lt.torrent_finished_alert):
        tell("finished")
    elif isinstance(alert, (lt.peer_disconnected_alert, lt.peer_error_alert)):
        error = alert.error
        tell(
            "disconnected",
            category=error.category().name(),
            code=error.value(),
            message=alert.message(),
        )
    elif isinstance(alert, (lt.hash_failed_alert, lt.peer_ban_alert)):
        tell("bad_data", message=alert.message())
    elif isinstance(alert, (lt.torrent_error_alert, lt.listen_failed_alert, lt.file_error_alert)):
        tell("broken", message=alert.message())
    print(alert.message(), file=sys.stderr, flush=True)


def main():
    session = start(json.loads(sys.stdin.readline()))
    tell("ready", version=lt.__version__)
    threading.Thread(target=commands, args=(Client(session),), daemon=True).start()
    while True:
        session.wait_for_alert(1000)
        for alert in session.pop_alerts():
            report(alert)


main()
