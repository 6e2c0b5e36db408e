"""Makes names.txt: what libtorrent, installed from PyPI, calls the files of a torrent on Linux.

Rows where its answer is of no use are left out: a component over 255 bytes, which no file system
takes (a run of `_`), and two files of one path (a third file that is listed under the name which
the second was given). Run it as `python3 names.py > names.txt`.
"""

import random
import warnings

import libtorrent

warnings.simplefilter("ignore", DeprecationWarning)

HEADER = f"""\
# Names as libtorrent {libtorrent.__version__} makes them on Linux. Written by names.py.
#
#   component NAME PATH           a component of a path
#   single NAME PATH              the name of a torrent of one file, ! if it is refused
#   folder NAME PATH              the name of a torrent with a list, # if it is the info hash
#   files FILE ... = PATH ...     the list of a torrent called dir; paths without that folder
#
# FILE is the length, p for a pad file, l for a symlink, and behind a colon the path, if it has one.
# Symlinks have no PATH. \\xNN is a byte, \\e no byte at all; a slash stands between components.
"""

FORMAT = [0x61C, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF]
SEEN = [0x20, 0xA0, 0xAD, 0x180E, 0x200A, 0x2010, 0x2028, 0x2029, 0x202F, 0x3000, 0xFFFD, 0xE0001]
BROKEN = [
    b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc3", b"\xc3(", b"\xe2\x82", b"\xe2ab",
    b"\xe2a", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x9f\x98", b"\xf0abc",
    b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf7\xbf\xbf\xbf", b"\xf8abcd", b"\xf8abc",
    b"\xfbabcde", b"\xfcabcdef", b"\xfe", b"\xff\xfe",
]  # fmt: skip
COMPONENTS = [
    b"", b".", b"..", b"...", b"....", b".a", b"a.", b"a ", b" ", b"a/b", b"/a", b"a/", b"/", b"//",
    b"/etc/passwd", b"a/../../b", b"..\\..\\x", b"C:\\x", b"./.", b"../", b".\\.", b"/./", b"~",
    b"CON", b"nul.txt", b'a?*:"<>|b', b"a\tb", b"a\nb", b"\0", b"a\0b", b"\x1b[2J", b"\x7f",
    b"\x01", b".\x01", b".\xff", "\u200e.".encode(), "\u200e.\u200e.".encode(),
    "\u200e..\u200e.".encode(),
]  # fmt: skip


def bencode(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"


def paths(name, files):
    """The torrent's name and its files' paths, `None` if it is refused; one file without a list."""
    info = {b"name": name, b"piece length": 16384, b"pieces": b"\7" * 20}
    info |= {b"files": files} if files else {b"length": 5}
    try:
        torrent = libtorrent.load_torrent_buffer(bencode({b"info": info})).ti
    except RuntimeError:
        return None
    storage = torrent.files()
    found = [storage.file_path(index).encode() for index in range(storage.num_files())]
    return torrent.name().encode(), found, str(torrent.info_hash()).encode()


def text(path):
    def shown(byte):
        plain = 0x21 <= byte <= 0x7E and byte not in b"\\!#"
        return chr(byte) if plain else f"\\x{byte:02x}"

    return "/".join("".join(map(shown, name)) or "\\e" for name in path)


def file(path, length=5, attr=b""):
    optional = {b"path": path, b"attr": attr}
    return {b"length": length} | {key: value for key, value in optional.items() if value}


def listed(entry):
    attr = entry.get(b"attr", b"").decode()
    path = ":" + text(entry[b"path"]) if b"path" in entry else ""
    return f"{entry[b'length']}{attr}{path}"


def component(name):
    _, [path], _ = paths(b"dir", [file([name])])
    made = path.removeprefix(b"dir/")
    if len(made) <= 255:
        print("component", text([name]), text([made]))


def single(name):
    found = paths(name, None)
    print("single", text([name]), text([found[1][0]]) if found else "!")


def folder(name):
    found, _, info_hash = paths(name, [file([b"a"])])
    print("folder", text([name]), "#" if found == info_hash else text([found]))


def files(*entries):
    found = paths(b"dir", list(entries))
    if not found:
        print("files", *map(listed, entries), "= !")
        return
    # A pad file may lie on another of its length, and nothing else on anything.
    pads = [entry[b"length"] if b"p" in entry.get(b"attr", b"") else None for entry in entries]
    places = {}
    for path, pad in zip(found[1], pads):
        if path.lower() in places and (pad is None or places[path.lower()] != pad):
            return
        places[path.lower()] = pad
    made = [path for path, entry in zip(found[1], entries) if entry.get(b"attr") != b"l"]
    made = [text(path.removeprefix(b"dir/").split(b"/")) for path in made]
    print("files", *map(listed, entries), "=", *made)


def components():
    yield from COMPONENTS
    for char in [*range(1, 0x20), 0x7F, *range(0x80, 0xA1)]:
        yield b"a%sb" % chr(char).encode()
    for char in FORMAT + SEEN:
        yield b"a%sb" % chr(char).encode()
    for bytes_ in BROKEN:
        yield b"a%s" % bytes_
        yield b"%sbcdef" % bytes_
    for count in [238, 239, 240, 241, 255, 256, 300]:
        yield b"a" * count
        yield b"a" * count + b".txt"
    ends = [b".12345678", b".123456789", b".tar.gz", b".", b"..", b".\xff.\x01", b"./.a", b".\xe2a"]
    for end in ends:
        yield b"a" * 250 + end
    for count in [79, 80, 81, 86]:
        yield "漢".encode() * count + b".mkv"
    for count in [59, 60, 64]:
        yield b"a" + "😀".encode() * count + b".mkv"
    yield b"a" * 239 + b"\1" + b"bcd.txt"
    yield b"\1" * 239 + b"abc.txt"
    yield b"\1" * 250
    yield b"a" * 231 + b".txtxtxtx"
    yield b"a" * 236 + b".txt"
    yield b"a" * 237 + b".txt"
    yield b"." * 250
    pick = random.Random(1)
    pool = [b"a", b"b", b".", b".", b" ", b"/", b"\\", b"\0", b"\n", "é".encode(), "漢".encode()]
    pool += ["\u200d".encode(), "\u202e".encode(), "😀".encode(), *BROKEN]
    for _ in range(120):
        yield b"".join(pick.choices(pool, k=pick.randint(1, 8)))
    for _ in range(25):
        name = b"a" * pick.randint(225, 240) + b"".join(pick.choices(pool, k=pick.randint(1, 8)))
        yield name + b"b" * pick.randint(0, 20) + b".e" * pick.randint(0, 2)


def lists():
    for names in [
        "a a", "a A", "a.txt a.txt A.TXT", "a a/b", "a/b a", "a/b/c a", "a a/b/c a", ".x .x",
        "a.b/x a.b/x", "dir dir", "A/x a/x", "A/x a/y", "é É é", "a/b.1 a/b a/b", "a a.1 a a",
        "a.1/x a a", "a a b b a b", "x.tar.gz x.tar.gz", "a. a.", "a.b.c a.b.c a.b.1.c",
        "a/a a/a a", "a b/a a/c c/a/a c/a b",
    ]:  # fmt: skip
        yield [file([part.encode() for part in name.split("/")]) for name in names.split()]
    yield [file([b"a\x01b"]), file([b"a_b"]), file([b"a\x02b"])]
    yield [file([b".."]), file([b""]), file([b"_"]), file([b".", b"x"])]
    yield [file([b"a" * 300 + b".txt"]), file([b"a" * 299 + b".txt"])]
    pad = file(None, 10, b"p")
    yield [file([b"a"]), pad, file([b"b"]), pad]
    yield [file([b"a"]), pad, file([b".pad", b"10"]), file([b".pad"])]
    named = [b".pad", b"x"]
    pads = [file(named, length, b"p") for length in [10, 11, 10]]
    yield [file([b"a"]), *pads[:2], file(named), pads[2]]
    yield [file([b"a"], 9, b"p"), file([b"a"]), file([b"a"], 9, b"p")]
    link = file([b"x"], 0, b"l") | {b"symlink path": [b"a"]}
    yield [link, file([b"x"]), file([b"a"])]
    yield [file([b"x"]), file([b"a"]), link, file([b"x"])]
    yield [file([b"a"]), file([])]
    yield [file([b"d"] * 100)]
    yield [file([b"d"] * 101)]
    yield [file([b"a"], 1) for _ in range(33)]
    yield [file([b"a"], 1) for _ in range(34)]
    pick = random.Random(2)
    for _ in range(60):
        pool = [b"a", b"A", b"b", b"a.1", b"b.c", b".."]
        names = [pick.choices(pool, k=pick.randint(1, 3)) for _ in range(pick.randint(2, 6))]
        attrs = [b"", b"", b"", b"p"]
        yield [file(name, pick.choice([5, 6]), pick.choice(attrs)) for name in names]


print(HEADER)
for name in components():
    component(name)
for name in COMPONENTS + ["漢".encode() * 86, b"\xff", b"a" * 300 + b".txt"]:
    single(name)
    folder(name)
for entries in lists():
    files(*entries)
