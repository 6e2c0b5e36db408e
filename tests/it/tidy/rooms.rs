//! The floor plan inside engine and node: which room may name which.
//!
//! A room is a module of a crate's root with all that lies in its folder. The arrows are data: what
//! is not listed is not allowed. Tests inside a crate may name what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{assert_none, lines_before_tests, read, with_extension};

/// A room, and those that it may name: only rooms listed before it, so that no circle can be drawn.
type Arrows = &'static [(&'static str, &'static [&'static str])];

/// What any room of the engine stands on; these name no room themselves.
const GROUND: [&str; 7] = ["units", "rng", "secret", "text", "rate", "spare", "mutants"];

/// Beside the ground.
const ENGINE: Arrows = &[
    ("content", &[]),
    ("wire", &["content"]),
    ("asked", &["wire"]),
    ("discovery", &["content", "wire"]),
    ("transfer", &["content", "asked"]),
    ("credit", &["wire", "asked"]),
    (
        "interface",
        &[
            "content",
            "wire",
            "asked",
            "discovery",
            "transfer",
            "credit",
        ],
    ),
    (
        "session",
        &[
            "content",
            "wire",
            "asked",
            "discovery",
            "transfer",
            "credit",
            "interface",
        ],
    ),
];

/// What any room of the node stands on: its machine, and numbers on their way in and out.
const NODE_GROUND: [&str; 3] = ["host", "number", "pool"];

/// Beside the ground. `node` stands also for what the crate's root gives out under its name.
const NODE: Arrows = &[
    ("events", &[]),
    ("link", &[]),
    ("inbox", &["link"]),
    ("books", &["inbox"]),
    ("disk", &["inbox", "link"]),
    ("net", &["disk", "inbox", "link"]),
    ("torrents", &["disk"]),
    ("settlement", &["inbox"]),
    ("rpc", &["events", "inbox", "settlement"]),
    (
        "driver",
        &[
            "books",
            "disk",
            "events",
            "inbox",
            "link",
            "net",
            "settlement",
            "torrents",
        ],
    ),
    (
        "node",
        &[
            "books",
            "disk",
            "driver",
            "events",
            "inbox",
            "net",
            "settlement",
            "torrents",
        ],
    ),
    (
        "daemon",
        &[
            "books",
            "driver",
            "events",
            "node",
            "rpc",
            "settlement",
            "torrents",
        ],
    ),
    (
        "demo",
        &["books", "daemon", "node", "rpc", "settlement", "torrents"],
    ),
    ("cli", &["books", "daemon", "demo", "driver", "node", "rpc"]),
];

/// The files outside the engine that may name its session: the two drivers, and tests.
const DRIVERS: [&str; 7] = [
    "node/src/demo.rs",
    "node/src/demo/",
    "node/src/driver.rs",
    "node/src/inbox.rs",
    "node/src/node.rs",
    "sim/",
    "tests/",
];

/// A file's text before its tests, without comments.
fn code(path: &Path) -> String {
    let text = read(path);
    let end = lines_before_tests(&text);
    let lines = text.lines().take(end);
    let code = lines.map(|line| line.split("//").next().unwrap_or(line));
    code.collect::<Vec<_>>().join("\n")
}

/// The first names after `prefix`, as in `prefix::name` and `prefix::{name, other::thing}`.
fn named(code: &str, prefix: &str) -> BTreeSet<String> {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut names = BTreeSet::new();
    for (at, found) in code.match_indices(prefix) {
        let goes_on = |c: char| part_of_name(c) || c == ':' || c == '$';
        if code[..at].ends_with(goes_on) {
            continue;
        }
        let Some(rest) = code[at + found.len()..].strip_prefix("::") else {
            continue;
        };
        for one in alternatives(rest) {
            let name: String = one
                .trim_start()
                .chars()
                .take_while(|c| part_of_name(*c))
                .collect();
            if !name.is_empty() {
                names.insert(name);
            }
        }
    }
    names
}

/// What stands between the commas of a group in braces; all of it when it is no group.
fn alternatives(path: &str) -> Vec<&str> {
    let Some(group) = path.strip_prefix('{') else {
        return vec![path];
    };
    let mut found = Vec::new();
    let mut depth = 0;
    let mut begin = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' if depth == 0 => {
                found.push(&group[begin..at]);
                begin = at + 1;
            }
            '}' if depth == 0 => {
                found.push(&group[begin..at]);
                break;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found
}

/// A crate's source files outside tests, each with its room.
fn rooms_of(folder: &str) -> Vec<(String, PathBuf)> {
    let src = Path::new(folder).join("src");
    let mut found = Vec::new();
    for path in with_extension(&["rs"]) {
        let Ok(inside) = path.strip_prefix(&src) else {
            continue;
        };
        let in_tests = inside.components().any(|part| part.as_os_str() == "tests");
        let room = inside.iter().next().unwrap().to_str().unwrap();
        let room = room.trim_end_matches(".rs").to_owned();
        let no_room = ["lib", "main", "testing"].contains(&room.as_str());
        if !in_tests && !path.ends_with("tests.rs") && !no_room {
            found.push((room, path));
        }
    }
    found
}

/// Every arrow between two rooms of a crate, with the files that draw it.
fn drawn(folder: &str) -> BTreeMap<(String, String), BTreeSet<PathBuf>> {
    let mut arrows: BTreeMap<_, BTreeSet<PathBuf>> = BTreeMap::new();
    for (room, path) in rooms_of(folder) {
        let code = code(&path);
        let depth = path.iter().count() - 2;
        let up = vec!["super"; depth].join("::");
        for mut name in named(&code, "crate").into_iter().chain(named(&code, &up)) {
            // The root gives out what its room `node` makes.
            if name.starts_with(char::is_uppercase) {
                "node".clone_into(&mut name);
            }
            if name != room && name != "super" {
                arrows
                    .entry((room.clone(), name))
                    .or_default()
                    .insert(path.clone());
            }
        }
    }
    arrows
}

/// Fails for every arrow that is not listed.
fn assert_arrows(folder: &str, ground: &[&str], listed: Arrows) {
    let mut offenders = Vec::new();
    for (at, (room, rooms)) in listed.iter().enumerate() {
        let is_before = |name: &&str| listed[..at].iter().any(|(before, _)| before == name);
        let late = rooms.iter().filter(|name| !is_before(name));
        offenders.extend(late.map(|name| format!("{room} -> {name}, which is listed later")));
    }
    for (room, path) in rooms_of(folder) {
        let known = ground.contains(&&*room) || listed.iter().any(|(name, _)| *name == room);
        if !known {
            offenders.push(format!("{}: {room} is no room of the plan", path.display()));
        }
    }
    for ((from, to), files) in &drawn(folder) {
        let allowed = listed.iter().find(|(room, _)| room == from);
        let allowed =
            allowed.is_some_and(|(_, rooms)| ground.contains(&&**to) || rooms.contains(&&**to));
        if !allowed {
            let files: Vec<String> = files
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            offenders.push(format!("{from} -> {to} in {}", files.join(", ")));
        }
    }
    assert_none(&offenders, &format!("arrows between rooms of {folder}"));
}

#[test]
fn rooms_of_the_engine_name_each_other_only_along_the_arrows() {
    assert_arrows("engine", &GROUND, ENGINE);
}

#[test]
fn rooms_of_the_node_name_each_other_only_along_the_arrows() {
    assert_arrows("node", &NODE_GROUND, NODE);
}

#[test]
fn only_the_session_room_adds_to_the_session() {
    let mut offenders = Vec::new();
    for (room, path) in rooms_of("engine") {
        let code = code(&path);
        let adds = code.contains("impl Session ") || code.contains(" for Session ");
        if room != "session" && adds {
            offenders.push(path.display().to_string());
        }
    }
    assert_none(&offenders, "methods of the session outside its room");
}

#[test]
fn only_the_drivers_name_the_session() {
    let mut offenders = Vec::new();
    for path in with_extension(&["rs"]) {
        let name = path.to_str().unwrap();
        let allowed =
            name.starts_with("engine/") || DRIVERS.iter().any(|one| name.starts_with(one));
        if !allowed && named(&code(&path), "seedbank_engine").contains("session") {
            offenders.push(name.to_owned());
        }
    }
    assert_none(
        &offenders,
        "files that may not name `seedbank_engine::session`",
    );
}

#[test]
fn names_after_a_prefix_are_found_in_groups_too() {
    let code = "use crate::{wire::{Message, message}, units};\nlet a = crate::rng::Rng::new();\n\
                mycrate::no(); pub(crate) fn crates() {} super::super::text::is";
    let names = |prefix| Vec::from_iter(named(code, prefix));
    assert_eq!(names("crate"), ["rng", "units", "wire"]);
    assert_eq!(names("super::super"), ["text"]);
    assert_eq!(names("super"), ["super"]);
}
