//! The scenarios that come with the simulator.

/// A scenario that is compiled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Included {
    /// What it is called: `seedbank-sim run NAME`.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// A scenario to begin with: every key, what it means, and what it is if it is left out.
pub const TEMPLATE: &str = include_str!("../scenarios/new/template.toml");

/// Every one of them, by name.
pub const LIBRARY: &[Included] = &[
    Included {
        name: "bidders",
        text: include_str!("../scenarios/bidders.toml"),
    },
    Included {
        name: "flow-scale",
        text: include_str!("../scenarios/flow-scale.toml"),
    },
    Included {
        name: "free-riders",
        text: include_str!("../scenarios/free-riders.toml"),
    },
    Included {
        name: "hoarders",
        text: include_str!("../scenarios/hoarders.toml"),
    },
    Included {
        name: "idle",
        text: include_str!("../scenarios/idle.toml"),
    },
    Included {
        name: "paying",
        text: include_str!("../scenarios/paying.toml"),
    },
    Included {
        name: "scale",
        text: include_str!("../scenarios/scale.toml"),
    },
    Included {
        name: "seeders-leave",
        text: include_str!("../scenarios/seeders-leave.toml"),
    },
    Included {
        name: "strategies",
        text: include_str!("../scenarios/strategies.toml"),
    },
    Included {
        name: "strategies-open",
        text: include_str!("../scenarios/strategies-open.toml"),
    },
    Included {
        name: "strategies-seeders",
        text: include_str!("../scenarios/strategies-seeders.toml"),
    },
];

/// The text of the scenario of this name.
pub fn text(name: &str) -> Option<&'static str> {
    let known = LIBRARY.iter().find(|included| included.name == name);
    known.map(|included| included.text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn every_included_scenario_is_sound_and_called_as_its_file() {
        for included in LIBRARY {
            let scenario = Scenario::parse(included.name, included.text).unwrap();
            assert_eq!(scenario.run.name, included.name);
            assert!(!scenario.run.about.is_empty());
        }
        assert!(LIBRARY.is_sorted_by_key(|included| included.name));
    }
}
