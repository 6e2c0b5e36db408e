//! Every key of a scenario is where people look for it: what the parser knows is asked of itself.

use std::collections::BTreeSet;

use super::*;
use crate::library::TEMPLATE;

const PAGE: &str = include_str!("../../../../docs/SCENARIOS.md");

/// The words that are known where one is not.
fn known(text: &str) -> Vec<String> {
    let said = problem(text);
    assert!(said.contains("`wrong`"), "{said}\n{text}");
    let (_, list) = said.split_once("expected").unwrap();
    let list = list.split("; did you mean").next().unwrap();
    list.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Every word that means something in a scenario.
fn vocabulary() -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let mut ask = |text: String| {
        let known = known(&text);
        words.extend(known.iter().cloned());
        known
    };
    let of = |line: &str| format!("[[population]]\nname = \"p\"\ncount = 1\n{line}\n");
    let tables = ask("wrong = 1".to_owned());
    assert_eq!(tables.len(), 6, "{tables:?}");
    for table in ["[run]", "[network]", "[[torrent]]", "[[population]]"] {
        ask(format!("{table}\nwrong = 1\n"));
    }
    ask("[network]\npaid_rule = \"wrong\"\n".to_owned());
    for key in ["tier", "sharing"] {
        ask(format!("[run]\n{key} = \"wrong\"\n"));
    }
    ask(of("line = { wrong = 1 }"));
    ask(of("line = { profile = \"wrong\" }"));
    ask(of("demand = [{ wrong = 1 }]"));
    ask(of("churn = { wrong = 1 }"));
    ask(of("boost = { wrong = 1 }"));
    // Some kinds have no fields: for those nothing is expected.
    let fields = [
        ("overlay", "kind = \"degree\", wrong = 1"),
        ("seeding", "kind = \"for\", wrong = 1"),
        ("seeding", "kind = \"ratio\", wrong = 1"),
        ("arrivals", "kind = \"at-once\", wrong = 1"),
        ("arrivals", "kind = \"flash\", wrong = 1"),
        ("arrivals", "kind = \"poisson\", wrong = 1"),
        ("arrivals", "kind = \"trace\", wrong = 1"),
    ];
    for (key, inner) in fields {
        ask(match key {
            "overlay" => format!("overlay = {{ {inner} }}\n"),
            _ => of(&format!("{key} = {{ {inner} }}")),
        });
    }
    for key in ["seeding", "arrivals"] {
        ask(of(&format!("{key} = {{ kind = \"wrong\" }}")));
    }
    ask("overlay = { kind = \"wrong\" }\n".to_owned());
    for kind in ask("[[event]]\ndo = \"wrong\"\n".to_owned()) {
        ask(format!("[[event]]\ndo = \"{kind}\"\nwrong = 1\n"));
    }
    words.extend(["do", "kind"].map(str::to_owned));
    words
}

#[test]
fn every_key_is_documented_and_in_the_scenario_to_begin_with() {
    let words = vocabulary();
    assert!(words.len() > 80, "{words:?}");
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    for (name, text) in [("docs/SCENARIOS.md", PAGE), ("the template", TEMPLATE)] {
        let there: BTreeSet<&str> = text.split(|c| !is_word(c)).collect();
        let missing: Vec<&String> = words
            .iter()
            .filter(|word| !there.contains(word.as_str()))
            .collect();
        assert!(missing.is_empty(), "{name} does not say: {missing:?}");
    }
}

#[test]
fn every_key_is_set_in_the_scenario_that_sets_all() {
    let text = EVERYTHING.to_owned();
    let there: BTreeSet<&str> = text
        .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
        .collect();
    let others = [
        // Other ways to say what it says, and files.
        "csv",
        "tracker",
        "full",
        "honest",
        "bharambe2006",
        "legout2007",
        "bindal2006",
        "modern",
        "flow",
        "max-min",
    ];
    let missing: Vec<String> = vocabulary()
        .into_iter()
        .filter(|word| !there.contains(word.as_str()) && !others.contains(&word.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_scenario_to_begin_with_is_sound_as_are_the_examples_of_the_page() {
    Scenario::parse("template", TEMPLATE).unwrap();
    let mut examples = PAGE.split("```toml\n").skip(1);
    let example = examples.next().unwrap().split("```").next().unwrap();
    Scenario::parse("docs/SCENARIOS.md", example).unwrap();
}
