//! Inputs to begin with: the vectors, and a few made by hand. Of a bug that was found, its input.

use seedbank_engine::content::bencode::{Dict, Value};
use seedbank_engine::discovery::tracker::udp;

use crate::vectors;

type Seeds = Vec<Vec<u8>>;

fn texts(texts: &[&str]) -> Seeds {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// `bytes` behind one byte.
fn behind(first: u8, bytes: &[u8]) -> Vec<u8> {
    [&[first], bytes].concat()
}

/// A field of every vector of a file's list.
fn field(file: &str, list: &str, name: &str) -> Seeds {
    let file = vectors::parsed(file);
    let list = file[list].as_array().expect("a list of vectors");
    list.iter()
        .map(|vector| vectors::bytes(vector, name))
        .collect()
}

pub(crate) fn bencode() -> Seeds {
    let deep = format!("{}{}", "l".repeat(101), "e".repeat(101));
    let mut seeds = texts(&[
        "i-42e",
        "d1:ai1e1:bl2:cd3:efgee",
        "d1:b0:1:a0:1:a1:xe",
        "i340282366920938463463374607431768211456e",
        "llleelee4:rest",
        "d4:infod6:lengthi5e4:name1:aee",
        &deep,
    ]);
    seeds.extend(metainfo());
    seeds
}

/// An `info` dictionary of one piece, with `more` in it.
fn info(more: Dict) -> Dict {
    more.with("piece length", 16_384_u32)
        .with("pieces", &[9; 20][..])
}

pub(crate) fn metainfo() -> Seeds {
    let of = |info: Dict| Dict::new().with("info", info);
    let file = |path: &[&str], len: u64| {
        let path: Vec<_> = path.iter().map(|name| (*name).into()).collect();
        Dict::new().with("length", len).with("path", path)
    };
    let single = || info(Dict::new().with("name", "a/b.txt").with("length", 5_u64));
    let listed = vec![
        file(&["a", "b"], 3).into(),
        file(&["A"], 4).into(),
        file(&["..", "x\\"], 0).into(),
        file(&[".pad", "9"], 9).with("attr", "p").into(),
        file(&["to"], 0).with("attr", "l").into(),
        file(&["a"], 1).with("path.utf-8", vec!["ä".into()]).into(),
    ];
    let folder = info(Dict::new().with("name", "dir").with("files", listed)).with("private", 1_u8);
    let tiers = vec![
        vec!["http://t/announce".into(), "udp://t:80".into()].into(),
        vec!["udp://[::1]:6969/x?y".into()].into(),
    ];
    let leaf = Dict::new()
        .with("length", 5_u64)
        .with("pieces root", &[7; 32][..]);
    let tree = Dict::new().with("a", Dict::new().with("", leaf));
    let hybrid = info(Dict::new().with("name", "a").with("length", 5_u64));
    let hybrid = hybrid.with("meta version", 2_u8).with("file tree", tree);
    let told = of(folder)
        .with("announce", "http://t/x")
        .with("announce-list", tiers);
    let told = told
        .with("comment", "text \u{202e}")
        .with("creation date", 1_700_000_000_u64);
    // A dictionary that peers sent: its file is one level deeper, and could not be read.
    let deep = ["l".repeat(99), "e".repeat(99)].concat();
    let sent = single().with("x", Value::Raw(deep.into_bytes()));
    let torrents = [of(single()), told.with("created by", "x"), of(hybrid), sent];
    torrents.iter().map(Dict::encode).collect()
}

pub(crate) fn names() -> Seeds {
    texts(&[
        "name.txt",
        "dir\na\tb\na\tc\nA\nb",
        "dir\na\na\na.1\nA\n|pad\n>link\na\tb",
        "..\n..\t..\tetc\tpasswd\n\n.\n/\t\\",
        "x\u{202e}y\nä.é\nx\u{200b}.txt\nx.txt",
        &format!("n\n{0}.tar.gz\n{0}.tar.gz\n{0}\n", "é".repeat(130)),
    ])
}

pub(crate) fn magnet() -> Seeds {
    const HEX: &str = "magnet:?xt=urn:btih:0123456789abcdef0123456789ABCDEF01234567";
    texts(&[
        HEX,
        "magnet:?xt=urn:btih:abcdefghijklmnopqrstuvwxyz234567",
        "MAGNET:?dn=a+b%2Fc%00&xt.1=urn:btih:0123456789abcdef0123456789abcdef01234567",
        &format!("{HEX}&tr=http%3A%2F%2Ft%2Fannounce&tr.2=udp://t:80&x.pe=1.2.3.4:5"),
        // Was written as a link that could not be read.
        &format!("{HEX}&x.pe=[fe80::1%255]:80"),
        &format!("{HEX}&x.pe=[::1]:6881&xt=urn:btmh:1220ab&dn=%FF%E2%80%AE&tr=x&tr=x"),
    ])
}

pub(crate) fn handshake() -> Seeds {
    let whole = |reserved: [u8; 8]| {
        [
            &b"\x13BitTorrent protocol"[..],
            &reserved,
            &[1; 20],
            &[2; 20],
        ]
        .concat()
    };
    vec![
        whole([0, 0, 0, 0, 0, 0x10, 0, 0x04]),
        whole([0xff; 8]),
        whole([0; 8]),
    ]
}

pub(crate) fn message() -> Seeds {
    let mut stream = vec![0, 0];
    stream.extend([0; 4]);
    for id in [0, 1, 2, 3, 14, 15] {
        stream.extend([0, 0, 0, 1, id]);
    }
    for id in [4, 13, 17] {
        stream.extend([0, 0, 0, 5, id, 0, 0, 0, 7]);
    }
    for id in [6, 8, 16] {
        stream.extend([0, 0, 0, 13, id, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 0, 0x40, 0]);
    }
    stream.extend([0, 0, 0, 3, 9, 0x1a, 0xe1, 0, 0, 0, 3, 99, 1, 2]);
    let piece = [
        0, 9, 0, 0, 0, 3, 5, 0xff, 0x80, 0, 0, 0, 12, 7, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3,
    ];
    let mut seeds = vec![stream, piece.to_vec()];
    let inside = extended()
        .into_iter()
        .map(|seed| (seed[0], seed[1..].to_vec()));
    let receipts = receipt().into_iter().take(12).map(|seed| (2, seed));
    for (id, payload) in inside.chain(receipts) {
        let len = u32::try_from(payload.len() + 2).expect("a short one");
        seeds.push([&[0, 0][..], &len.to_be_bytes(), &[20, id], &payload].concat());
    }
    seeds
}

pub(crate) fn extended() -> Seeds {
    let mut seeds: Seeds = field(vectors::OFFERS, "vectors", "bytes")
        .iter()
        .map(|bytes| behind(0, bytes))
        .collect();
    let full = "d1:md11:ut_metadatai1e10:Sb_receipti2ee1:pi6881e4:reqqi500e1:v8:Seedbank\
                6:yourip4:\x01\x02\x03\x0413:metadata_sizei9e11:upload_onlyi1e\
                10:Sb_receiptd1:vi1eee";
    seeds.push(behind(0, full.as_bytes()));
    for text in [
        "d8:msg_typei0e5:piecei3ee",
        "d8:msg_typei1e5:piecei0e10:total_sizei34256eedd",
        "d8:msg_typei2e5:piecei1eetail",
        "d8:msg_typei9e5:piecei1ee",
    ] {
        seeds.push(behind(1, text.as_bytes()));
    }
    seeds
}

pub(crate) fn receipt() -> Seeds {
    field(vectors::MESSAGES, "vectors", "bytes")
}

pub(crate) fn http() -> Seeds {
    let mut seeds = texts(&[
        "d8:intervali1800e5:peersld2:ip7:1.2.3.44:porti6881eed2:ip3:::14:porti1eeee\r\n",
        "d14:failure reason4:no \x1be",
        "d8:completei1e10:incompletei-1e12:min intervali9e15:warning message2:hie",
    ]);
    let compact = Dict::new()
        .with(
            "peers",
            &[8, 8, 8, 8, 0x1a, 0xe1, 10, 0, 0, 1, 0x1a, 0xe1, 0][..],
        )
        .with(
            "peers6",
            &[
                0x26, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x1a, 0xe1,
            ][..],
        );
    seeds.push(compact.encode());
    seeds
}

pub(crate) fn udp() -> Seeds {
    // Behind its length and what is said of it: 4 is under the number that is awaited.
    let connect = [&[16, 4][..], &[0; 8], &[1; 8]].concat();
    let reply = |family: udp::Family, peers: &[u8]| {
        let len = u8::try_from(20 + peers.len()).expect("a short one");
        let first = u8::from(family == udp::Family::V6);
        let counts = [0, 0, 7, 8, 0, 0, 0, 2, 0, 0, 0, 3];
        let reply = [&[len, 4, 0, 0, 0, 1, 0, 0, 0, 0][..], &counts, peers].concat();
        [&[first][..], &connect, &reply].concat()
    };
    let error = [
        &[0][..],
        &connect,
        &[10, 4, 0, 0, 0, 3, 0, 0, 0, 0, b'n', b'o'],
    ]
    .concat();
    let foreign = [&[0][..], &[16, 7, 0, 0, 0, 0], &[0; 12], &connect].concat();
    let late = [&[0][..], &[16, 0xf4], &[0; 8], &[1; 8]].concat();
    let v6 = [
        0x26, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0x1a, 0xe1,
    ];
    let v4 = [8, 8, 8, 8, 0x1a, 0xe1, 127, 0, 0, 1, 0x1a, 0xe1];
    vec![
        reply(udp::Family::V4, &v4),
        reply(udp::Family::V6, &v6),
        error,
        foreign,
        late,
    ]
}

pub(crate) fn url() -> Seeds {
    texts(&[
        "http://tracker.example/announce",
        "HTTPS://u:p@t:8443/x?passkey=1&#part",
        "http://t?",
        "udp://tracker.example:6969/announce?k=v",
        "udp://u@[2600::1]:80",
        "udp://a]b:1",
        "http://t/\r\nHost: x",
    ])
}

pub(crate) fn signed() -> Seeds {
    let mut seeds = Vec::new();
    for (kind, file) in (0..).zip(vectors::SIGNED) {
        let file = vectors::parsed(file);
        for vector in file["vectors"].as_array().expect("a list of vectors") {
            let (body, signature) = (vectors::bytes(vector, "body"), "signature");
            let whole = [body, vectors::bytes(vector, signature)].concat();
            seeds.push(behind(kind, &whole));
        }
        seeds.push(vec![kind | 0x80]);
        seeds.push(vec![kind | 0x80, 0, 40, 1]);
    }
    seeds
}

pub(crate) fn link() -> Seeds {
    let mut seeds = Vec::new();
    let file = vectors::parsed(vectors::LINK);
    for question in file["requests"].as_array().expect("questions") {
        seeds.push(behind(0, &vectors::bytes(question, "request")));
    }
    for (place, vector) in (0_u8..).zip(file["answers"].as_array().expect("answers")) {
        let (answer, signature) = ("answer", vectors::bytes(vector, "signature"));
        seeds.push(behind(1, &vectors::bytes(vector, answer)));
        seeds.push([&[2, place][..], &signature, &vectors::bytes(vector, answer)].concat());
    }
    seeds.extend((0..6).map(|which| vec![3, which, 0, 9, 1]));
    seeds.extend((0..13).flat_map(|which| [vec![4, which], vec![4, which, 0, 70, 1]]));
    seeds
}

pub(crate) fn statement() -> Seeds {
    let mut seeds = Vec::new();
    let file = vectors::parsed(vectors::LINE);
    for vector in file["vectors"].as_array().expect("lines") {
        let line = vectors::bytes(vector, "bytes");
        seeds.push(behind(0, &line));
    }
    for vector in vectors::with_verdict(&file, "vectors", "certified") {
        let kind = u8::try_from(vector["fields"]["kind"].as_u64().unwrap_or(0)).unwrap_or(0);
        seeds.push(behind(
            kind,
            &vectors::bytes(&vector["fields"], "operation"),
        ));
    }
    for account in 0x80..0x85 {
        seeds.extend((0..9).map(|line| vec![account, line]));
        seeds.extend((0..9).map(|line| vec![account, line, 0, 200, 1]));
    }
    seeds
}

pub(crate) fn books() -> Seeds {
    let lines = vectors::parsed(vectors::LINE);
    let lines = vectors::with_verdict(&lines, "vectors", "certified");
    let mut seeds: Seeds = lines
        .iter()
        .map(|line| behind(0, &vectors::bytes(line, "entry")))
        .collect();
    for line in &lines {
        let lock = vectors::bytes(&line["fields"]["lock"], "lock");
        let kind = u8::try_from(line["fields"]["kind"].as_u64().unwrap_or(0)).unwrap_or(0);
        seeds.push(behind(3, &[&lock[..], &[0; 9]].concat()));
        seeds.push(behind(0x10 | kind, &vectors::bytes(line, "bytes")));
        seeds.push(behind(
            0x10 | kind,
            &vectors::bytes(&line["fields"], "operation"),
        ));
    }
    let steps = vectors::parsed(vectors::BOOKING);
    for step in steps["steps"].as_array().expect("steps") {
        seeds.push(behind(4, &vectors::bytes(step, "bytes")));
        seeds.push(behind(0x1a, &vectors::bytes(step, "bytes")));
    }
    seeds.push(behind(1, &[0; 33]));
    seeds.push(behind(2, &[0; 32]));
    seeds.sort();
    seeds.dedup();
    seeds
}

pub(crate) fn genesis() -> Seeds {
    let file = vectors::parsed(vectors::GENESIS);
    let vectors = file["vectors"]
        .as_array()
        .expect("a list of vectors")
        .iter();
    vectors
        .filter_map(|one| one["text"].as_str())
        .map(|text| text.as_bytes().to_vec())
        .collect()
}

#[cfg(feature = "node")]
pub(crate) fn config() -> Seeds {
    texts(&[
        "",
        "[node]\nlisten = [\"[::]:6881\", \"127.0.0.1:1\"]\nmax_peers = 10\ndata_dir = \"~/x\"\n",
        "[limits]\nupload = \"4MiB/s\"\ndownload = 'unlimited'\n[spend]\nmax_per_day = \"0.5cr\"\n",
        "[earn]\nslots = 4\nopen_share = \"20%\"\nrule = \"uniform_price\"\nfriends = []\n\
         min_price_per_gib = \"2cr\"\n",
        "[settlement]\nenabled = true\nkey = \"k\"\nlisten = \"[::1]:9\"\ntls_cert = \"c\"\n\
         tls_key = \"d\"\n[network]\nsettlement = \"https://x:1\"\n",
        "[network]\nsettlement = \"http://x:1\"\nplaintext = true\n[ledger]\nstore = \"memory\"\n",
        "[api]\nunix = \"off\"\nlisten = []\n[log]\nfilter = \"info,x=debug\"\nformat = \"json\"\n",
        "api.unix = \"\\u0041\\n\"\n",
        "api.unix = \"03\"\n",
    ])
}
