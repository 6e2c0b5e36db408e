//! What no compiler checks: arrows between crates, sizes, names, and facts that are stated twice.
//!
//! Each test reads the tree and lists every offender at once, so that one run shows all there is.
//! `tidy/rooms.rs` holds the arrows between the rooms of a crate.

mod rooms;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use seedbank_tests::repository::{files, root};
use toml::Table;

/// Who may depend on which of our crates (docs/ARCHITECTURE.md).
const ARROWS: [(&str, &[&str]); 8] = [
    ("proto", &[]),
    ("ledger", &[]),
    ("engine", &["ledger"]),
    ("node", &["engine", "ledger", "proto", "sim"]),
    ("client", &["ledger", "proto"]),
    ("sim", &["engine", "ledger"]),
    (
        "tests",
        &["client", "engine", "ledger", "node", "proto", "sim"],
    ),
    ("tests/bodies", &["engine", "ledger", "node"]),
];

/// What the pure crates may not name as a dependency, the ledger's optional RocksDB apart.
const IMPURE: [&str; 8] = [
    "tokio", "tonic", "prost", "rocksdb", "rustix", "socket2", "reqwest", "tracing",
];
const PURE: [&str; 3] = ["ledger", "engine", "sim"];

/// What may lie at the top of the tree; anything else wants a decision record.
const TOP: [&str; 21] = [
    ".ci",
    ".git",
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "Makefile",
    "README.md",
    "client",
    "clippy.toml",
    "deny.toml",
    "docs",
    "engine",
    "ledger",
    "node",
    "proto",
    "rustfmt.toml",
    "sim",
    "target",
    "tests",
];

const COLUMNS_MAX: usize = 100;
const FILE_LINES_MAX: usize = 600;
const README_LINES_MAX: usize = 120;

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn manifest(folder: &str) -> Table {
    read(Path::new(folder).join("Cargo.toml")).parse().unwrap()
}

fn with_extension(extensions: &[&str]) -> Vec<PathBuf> {
    let wanted = |path: &PathBuf| {
        path.extension()
            .is_some_and(|found| extensions.iter().any(|one| found == *one))
    };
    files(&root()).unwrap().into_iter().filter(wanted).collect()
}

fn assert_none(offenders: &[String], rule: &str) {
    assert!(
        offenders.is_empty(),
        "{rule}:\n  {}",
        offenders.join("\n  ")
    );
}

/// The names and values of every dependency of a crate, of all three kinds.
fn dependencies(manifest: &Table) -> Vec<(String, toml::Value)> {
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .iter()
        .filter_map(|kind| manifest.get(*kind)?.as_table())
        .flatten()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[test]
fn crates_depend_on_each_other_only_along_the_arrows() {
    let mut offenders = Vec::new();
    for (folder, allowed) in ARROWS {
        for (name, _) in dependencies(&manifest(folder)) {
            let Some(ours) = name.strip_prefix("seedbank-") else {
                continue;
            };
            if !allowed.contains(&ours) {
                offenders.push(format!("{folder} -> {ours}"));
            }
        }
    }
    assert_none(&offenders, "arrows that docs/ARCHITECTURE.md does not draw");
}

#[test]
fn pure_crates_name_no_runtime_and_no_store() {
    let mut offenders = Vec::new();
    for folder in PURE {
        for (name, value) in dependencies(&manifest(folder)) {
            let optional = value.get("optional").and_then(toml::Value::as_bool) == Some(true);
            let store_of_ledger = folder == "ledger" && name == "rocksdb" && optional;
            // What a run costs the machine is asked by the command line alone.
            let clock_of_lab = folder == "sim" && name == "rustix" && optional;
            if IMPURE.contains(&name.as_str()) && !store_of_ledger && !clock_of_lab {
                offenders.push(format!("{folder} -> {name}"));
            }
        }
    }
    assert_none(&offenders, "dependencies that a pure crate may not have");
    let default = manifest("ledger")["features"]["default"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(default, 0, "the ledger builds without RocksDB unless asked");
}

#[test]
fn the_node_names_the_simulator_for_the_demo_only() {
    let manifest = manifest("node");
    let sim = &manifest["dependencies"]["seedbank-sim"];
    let optional = sim.get("optional").and_then(toml::Value::as_bool);
    assert_eq!(optional, Some(true), "seedbank-sim is optional in the node");
    let mut asking = Vec::new();
    for (feature, needs) in manifest["features"].as_table().unwrap() {
        let needs = needs
            .as_array()
            .unwrap()
            .iter()
            .map(|need| need.as_str().unwrap());
        if needs.into_iter().any(|need| need.contains("seedbank-sim")) {
            asking.push(feature.as_str());
        }
    }
    assert_eq!(
        asking,
        ["demo"],
        "features of the node that need seedbank-sim"
    );
    let mut offenders = Vec::new();
    for path in with_extension(&["rs"]) {
        let of_demo = path.starts_with("node/src/demo")
            || path == Path::new("node/src/demo.rs")
            || path == Path::new("node/src/cli/demo.rs");
        if path.starts_with("node") && !of_demo && read(&path).contains("seedbank_sim") {
            offenders.push(path.display().to_string());
        }
    }
    assert_none(
        &offenders,
        "files of the node that may not name the simulator",
    );
}

#[test]
fn dependencies_are_listed_once_in_the_workspace() {
    let mut offenders = Vec::new();
    for (folder, _) in ARROWS {
        for (name, value) in dependencies(&manifest(folder)) {
            if value.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                offenders.push(format!("{folder}: {name}"));
            }
        }
    }
    assert_none(&offenders, "dependencies without `workspace = true`");
}

#[test]
fn members_are_the_drawn_crates_and_inherit_the_lints() {
    let workspace = manifest("");
    let members: BTreeSet<&str> = workspace["workspace"]["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| member.as_str().unwrap())
        .collect();
    assert_eq!(members, ARROWS.iter().map(|(folder, _)| *folder).collect());
    for (folder, _) in ARROWS {
        let inherits = manifest(folder)
            .get("lints")
            .and_then(|lints| lints.get("workspace").cloned());
        assert_eq!(
            inherits,
            Some(toml::Value::Boolean(true)),
            "{folder}: [lints] workspace = true"
        );
    }
}

#[test]
fn the_python_package_keeps_the_lints_and_the_arrows() {
    let package = manifest("sim/python");
    assert_eq!(
        package["lints"],
        manifest("")["workspace"]["lints"],
        "sim/python: [lints] as in the root"
    );
    let ours = dependencies(&package).into_iter().map(|(name, _)| name);
    let ours: Vec<String> = ours.filter(|name| name.starts_with("seedbank-")).collect();
    assert_eq!(ours, ["seedbank-sim"], "sim/python -> sim");
}

#[test]
fn only_crates_with_io_relax_the_strict_clippy_file() {
    // Clippy reads the nearest file only: one more file anywhere would lift the bans unnoticed.
    let mut relaxed: Vec<String> = Vec::new();
    for path in files(&root()).unwrap() {
        if path
            .file_name()
            .is_some_and(|name| name == "clippy.toml" || name == ".clippy.toml")
        {
            relaxed.push(path.parent().unwrap().display().to_string());
        }
    }
    assert_eq!(relaxed, ["client", "", "node", "tests"]);
    let strict: Table = read("clippy.toml").parse().unwrap();
    for folder in ["client", "node", "tests"] {
        for (key, value) in &manifest_like(folder, "clippy.toml") {
            let bans = value.as_array().zip(strict[key].as_array());
            // Of the bans it may keep some; a rule with a number is the same everywhere.
            let kept = bans.map(|(some, all)| some.iter().all(|ban| all.contains(ban)));
            let same = kept.unwrap_or_else(|| strict.get(key) == Some(value));
            assert!(same, "{folder}/clippy.toml: {key}");
        }
    }
}

fn manifest_like(folder: &str, file: &str) -> Table {
    read(Path::new(folder).join(file)).parse().unwrap()
}

#[test]
fn nothing_new_joins_the_top_of_the_tree() {
    let mut offenders = Vec::new();
    for entry in root().read_dir().unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !TOP.contains(&name.as_str()) {
            offenders.push(name);
        }
    }
    assert_none(&offenders, "top-level entries without a decision record");
}

#[test]
fn lines_are_at_most_100_columns() {
    let mut offenders = Vec::new();
    for path in with_extension(&["rs", "py", "proto"]) {
        for (index, line) in read(&path).lines().enumerate() {
            if line.chars().count() > COLUMNS_MAX {
                offenders.push(format!("{}:{}", path.display(), index + 1));
            }
        }
    }
    assert_none(&offenders, "lines over 100 columns");
}

/// Lines before the unit tests that close a file; all of them where there are none.
fn lines_before_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let starts_tests = |index: usize| {
        lines[index] == "#[cfg(test)]"
            && lines[index..]
                .iter()
                .skip(1)
                .find(|line| !line.starts_with('#'))
                .is_some_and(|line| {
                    line.trim_start_matches("pub ").starts_with("mod ") && line.ends_with('{')
                })
    };
    (0..lines.len())
        .find(|index| starts_tests(*index))
        .unwrap_or(lines.len())
}

#[test]
fn files_are_at_most_600_lines_before_their_tests() {
    let mut offenders = Vec::new();
    for path in with_extension(&["rs"]) {
        // A folder of tests inside a crate; the crate of that name keeps the rule.
        let in_tests = path
            .components()
            .skip(1)
            .any(|part| part.as_os_str() == "tests");
        let of_tests = path.ends_with("tests.rs") || in_tests;
        let count = lines_before_tests(&read(&path));
        if count > FILE_LINES_MAX && !of_tests {
            offenders.push(format!("{}: {count} lines", path.display()));
        }
    }
    assert_none(
        &offenders,
        "files over 600 lines: split where a concept has a name",
    );
}

#[test]
fn every_source_file_opens_with_what_it_is_for() {
    let mut offenders = Vec::new();
    for path in with_extension(&["rs"]) {
        if !read(&path).starts_with("//! ") {
            offenders.push(path.display().to_string());
        }
    }
    assert_none(&offenders, "files that do not open with `//!`");
}

#[test]
fn no_file_is_named_after_nothing() {
    let nothing = [
        "mod", "util", "utils", "common", "helper", "helpers", "misc",
    ];
    let mut offenders = Vec::new();
    for path in with_extension(&["rs"]) {
        if nothing
            .iter()
            .any(|name| path.file_stem().is_some_and(|stem| stem == *name))
        {
            offenders.push(path.display().to_string());
        }
    }
    assert_none(&offenders, "file names that say nothing");
}

/// Names of the types that a file defines outside its unit tests.
fn types_defined(text: &str) -> Vec<&str> {
    let count = lines_before_tests(text);
    let lines = text.lines().take(count);
    lines.filter_map(type_defined).collect()
}

fn type_defined(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = match line.strip_prefix("pub") {
        Some(rest) => rest.strip_prefix('(').map_or(rest, |rest| {
            rest.split_once(')').map_or(rest, |(_, rest)| rest)
        }),
        None => line,
    };
    let kinds = ["struct ", "enum ", "trait ", "union "];
    let name = kinds
        .iter()
        .find_map(|kind| line.trim_start().strip_prefix(kind))?;
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
    let name = &name[..end.unwrap_or(name.len())];
    // A macro that defines types names none.
    Some(name).filter(|name| !name.is_empty())
}

#[test]
fn a_type_name_stands_in_one_file_only() {
    let mut files_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in with_extension(&["rs"]) {
        let in_tests = path.components().any(|part| {
            ["tests", "examples"]
                .iter()
                .any(|one| part.as_os_str() == *one)
        });
        if in_tests || path.ends_with("tests.rs") {
            continue;
        }
        for name in types_defined(&read(&path)) {
            let files = files_of.entry(name.to_owned()).or_default();
            files.push(path.display().to_string());
        }
    }
    let twice = files_of.into_iter().filter(|(_, files)| files.len() > 1);
    let offenders: Vec<String> = twice
        .map(|(name, files)| format!("{name}: {}", files.join(", ")))
        .collect();
    assert_none(&offenders, "type names that stand in several files");
}

#[test]
fn nothing_is_promised_for_later_in_the_code() {
    // Written in halves, or this file would find itself.
    let words = [
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("X", "XX"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("not implemented", " yet"),
    ];
    assert_no_line(&["rs", "py", "proto", "toml", "md"], &words, "promises");
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let words = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
    ];
    assert_no_line(
        &["rs", "py", "proto", "toml", "md"],
        &words,
        "paths of one machine",
    );
}

/// No file with one of `extensions` has a line with one of `words`; the style guide may name them.
fn assert_no_line(extensions: &[&str], words: &[&str], rule: &str) {
    let mut offenders = Vec::new();
    for path in with_extension(extensions) {
        if path == Path::new("docs/STYLE.md") {
            continue;
        }
        for (index, line) in read(&path).lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                offenders.push(format!("{}:{}: {}", path.display(), index + 1, line.trim()));
            }
        }
    }
    assert_none(&offenders, rule);
}

/// Paths that a page names: targets of links, and code spans that begin with one of our folders.
fn paths_named(text: &str) -> Vec<String> {
    let spans = text.split('`').skip(1).step_by(2).filter(|span| {
        let first = span.split('/').next().unwrap_or_default();
        span.contains('/') && (TOP.contains(&first)) && !span.contains(char::is_whitespace)
    });
    let links = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    spans
        .chain(links.filter(|link| !link.contains("://") && !link.starts_with('#')))
        .map(|path| path.split('#').next().unwrap_or(path).to_owned())
        .filter(|path| !path.contains(['*', '{', '<', '…']))
        .collect()
}

#[test]
fn every_path_named_in_readme_and_docs_exists() {
    let mut offenders = Vec::new();
    for page in with_extension(&["md"]) {
        let beside = root().join(&page).parent().unwrap().to_owned();
        for path in paths_named(&read(&page)) {
            if !root().join(&path).exists() && !beside.join(&path).exists() {
                offenders.push(format!("{}: {path}", page.display()));
            }
        }
    }
    assert_none(&offenders, "paths that do not exist");
}

#[test]
fn readme_leads_with_the_two_commands_and_stays_short() {
    let readme = read("README.md");
    assert!(
        readme.lines().count() <= README_LINES_MAX,
        "README.md is over 120 lines"
    );
    let first = |text: &str| {
        readme
            .find(text)
            .unwrap_or_else(|| panic!("README lacks {text}"))
    };
    assert!(
        first("make demo") < first("## "),
        "the demo comes before the first section"
    );
    assert!(
        first("make test") < first("## "),
        "the tests come before the first section"
    );
}

#[test]
fn facts_stated_twice_agree() {
    let workspace = manifest("");
    let package = &workspace["workspace"]["package"];
    let readme = read("README.md");

    let rust = package["rust-version"].as_str().unwrap();
    assert!(
        readme.contains(&format!("Rust {rust}")),
        "README names another Rust than {rust}"
    );

    let licence = package["license"].as_str().unwrap();
    assert!(
        readme.contains(licence),
        "README names another licence than {licence}"
    );
    for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(
            root().join(file).is_file() && readme.contains(file),
            "{file}"
        );
    }

    let makefile = read("Makefile");
    for folder in PURE {
        assert!(
            makefile.contains(&format!("-p seedbank-{folder}")),
            "Makefile: PURE lacks {folder}"
        );
    }
}

#[test]
fn the_glossary_names_every_account() {
    let code = read("ledger/src/account.rs");
    let chart = code
        .split("pub enum AccountId {")
        .nth(1)
        .unwrap()
        .split("\n}")
        .next()
        .unwrap();
    let glossary = read("docs/GLOSSARY.md");
    let mut offenders = Vec::new();
    for line in chart
        .lines()
        .map(str::trim)
        .filter(|line| line.ends_with(','))
    {
        let name = line.split(['(', ',']).next().unwrap().to_lowercase();
        let named =
            glossary.contains(&format!("`{name}`")) || glossary.contains(&format!("`{name}("));
        if !named {
            offenders.push(name);
        }
    }
    assert_none(&offenders, "accounts that docs/GLOSSARY.md does not name");
}

#[test]
fn the_protocol_states_tag_and_length_of_every_signed_object() {
    let protocol = read("docs/PROTOCOL.md");
    let mut offenders = Vec::new();
    let mut tags = 0;
    for path in with_extension(&["rs"]) {
        if !path.starts_with("ledger/src/signed") {
            continue;
        }
        let code = read(&path);
        let constant = |start: &str| {
            let line = code
                .lines()
                .find_map(|line| line.trim().strip_prefix(start));
            line.map(|value| value.trim_end_matches(';').trim_matches('"').to_owned())
        };
        let Some(tag) = constant("const TAG: &'static str = ") else {
            continue;
        };
        let len = constant("const LEN: usize = ").unwrap();
        tags += 1;
        if !protocol.contains(&format!(", {len} | `{tag}` |")) {
            offenders.push(format!("{tag}: {len} bytes"));
        }
    }
    assert_none(
        &offenders,
        "signed objects of which docs/PROTOCOL.md says something else",
    );
    assert_eq!(tags, 9, "objects that are signed");
}
