//! Pages as a whole: what every plot has, and that nothing of a scenario becomes markup.

use super::*;

const PAYING: &str = r#"
[run]
name = "a small swarm"
about = "Who pays is sooner."
duration = "30min"
series_every = "5s"
[network]
[[torrent]]
length = "8MiB"
piece = "256KiB"
[[population]]
name = "seeder"
count = 1
has = "100%"
line = { uplink = "2MB/s" }
[[population]]
name = "payer"
count = 1
line = { uplink = "100kB/s", downlink = "10MB/s" }
boost = { budget = "1cr" }
[[population]]
name = "others"
count = 4
line = { uplink = "100kB/s", downlink = "10MB/s" }
"#;

/// What would be run or fetched if it were taken for markup.
const HOSTILE: &str =
    "</pre></td><script>alert(1)</script><img src=//x onerror=alert(2)>\\\"'&amp;";

fn origin(scenario: &Scenario) -> ResultOrigin {
    ResultOrigin {
        scenario: scenario.canonical(),
        typed: Some("seedbank-sim run small.toml --out here".to_owned()),
        repeat: "seedbank-sim run scenario.toml".to_owned(),
        facts: vec![("state hash".to_owned(), "00ff".to_owned())],
    }
}

fn run_of(text: &str) -> RunResults {
    let scenario = Scenario::parse("test", text).unwrap();
    let played = crate::play::outcome(&scenario);
    RunResults {
        origin: origin(&scenario),
        lasted: crate::demo::seconds(played.lasted),
        // As a file has them.
        peers: Frame::of_csv(&played.peers_frame().to_csv()).unwrap(),
        series: Frame::of_csv(&played.series_frame().to_csv()).unwrap(),
        unchokes: Frame::of_csv(&played.unchokes_frame().to_csv()).unwrap(),
    }
}

/// Two variants under three seeds, the last of which failed.
fn sweep_of(text: &str, compares: bool) -> SweepResults {
    let variants = ["0.001cr", "1cr"].map(|budget| Variant {
        label: format!("population.payer.boost.budget={budget}"),
        settings: vec![(
            "population.payer.boost.budget".to_owned(),
            budget.to_owned(),
        )],
    });
    let scenario = Scenario::parse("test", text).unwrap();
    let mut sweep = SweepResults::new(origin(&scenario), variants.to_vec(), compares);
    for (variant, budget) in ["0.001cr", "1cr"].into_iter().enumerate() {
        for seed in 1..=3 {
            let text = text.replace("\"1cr\"", &format!("{budget:?}"));
            let mut scenario = Scenario::parse("test", &text).unwrap();
            scenario.run.seed = seed;
            let played = crate::play::outcome(&scenario);
            let has_failed = (variant, seed) == (1, 3);
            let line = RunLine {
                run_id: format!("{variant}-{seed}"),
                variant,
                seed,
                error: if has_failed { "it broke <b>" } else { "" }.to_owned(),
                lasted: crate::demo::seconds(played.lasted),
                events: 1.0,
            };
            sweep.add(line, &played.peers_frame()).unwrap();
        }
    }
    sweep
}

/// What stands between two texts, wherever that is.
fn between<'a>(page: &'a str, begin: &str, end: &str) -> Vec<&'a str> {
    let parts = page.split(begin).skip(1);
    parts.map(|part| part.split(end).next().unwrap()).collect()
}

/// Every plot is readable by itself, and nothing is fetched.
fn assert_sound(page: &str) {
    for address in [
        "http:", "https:", "//", "url(", "@import", "<script", "<iframe", "<img",
    ] {
        assert!(!page.contains(address), "{address}");
    }
    // What is asked for at all is the empty icon.
    assert_eq!(page.matches("href=").count(), 1);
    assert!(page.contains("href=\"data:,\"") && !page.contains("src="));
    assert!(page.contains("default-src 'none'"));
    assert!(page.contains("prefers-color-scheme: dark"));
    for bad in ["NaN", "inf", "None"] {
        let figures = between(page, "<figure>", "</figure>").concat();
        assert!(!figures.contains(bad), "{bad}");
    }
    let figures = between(page, "<figure>", "</figure>");
    for figure in &figures {
        let title = between(figure, "<figcaption>", "</figcaption>");
        assert!(!title[0].is_empty());
        let x = between(figure, "class=\"x title\"", "</text>");
        let y = between(figure, "class=\"y title\"", "</text>");
        assert!(
            x[0].ends_with(')') && x[0].contains(" ("),
            "unit of {title:?}: {x:?}"
        );
        let names = y[0].ends_with(">population") || y[0].ends_with(">variant");
        assert!(names || y[0].ends_with(')'), "unit of {title:?}: {y:?}");
        let about = between(figure, "<p>", "</p>");
        assert!(about[0].len() > 20, "{title:?}");
        let ticks = between(figure, "class=\"ticks\">", "</g>");
        assert!(ticks[0].matches("<text").count() >= 3, "{title:?}");
    }
    let open = ["<figure>", "<table>", "<td", "<svg", "<g ", "<pre>", "<li>"];
    let closed = [
        "</figure>",
        "</table>",
        "</td>",
        "</svg>",
        "</g>",
        "</pre>",
        "</li>",
    ];
    for (open, closed) in open.into_iter().zip(closed) {
        assert_eq!(
            page.matches(open).count(),
            page.matches(closed).count(),
            "{open}"
        );
    }
}

fn titles(page: &str) -> Vec<&str> {
    between(page, "<figcaption>", "</figcaption>")
}

#[test]
fn a_run_has_every_plot_that_its_rows_allow() {
    let page = run_of(PAYING).page().unwrap();
    assert_sound(&page);
    assert_eq!(
        titles(&page),
        [
            "Time until done",
            "Download against upload capacity",
            "Leechers and seeds",
            "Use of uplinks",
            "Copies of the rarest piece",
            "Paid and open payload",
            "Price of what was paid for",
            "Payload at price zero",
            "Credit spent",
            "Velocity of credit",
            "Inequality of credit",
            "Time until the first piece",
            "Paid share of what was received",
            "Who has credit, who earned it",
        ]
    );
    assert!(page.contains("least for the last"), "the bound");
    for told in ["a small swarm", "Who pays is sooner.", "state hash", "00ff"] {
        assert!(page.contains(told), "{told}");
    }
    assert!(
        page.contains("duration = &quot;30min&quot;"),
        "the scenario"
    );
    assert!(page.contains("seedbank-sim run scenario.toml"));
}

#[test]
fn where_nobody_pays_there_are_no_plots_of_credit() {
    let text = PAYING
        .replace("[network]", "")
        .replace("boost = { budget = \"1cr\" }", "");
    let page = run_of(&text).page().unwrap();
    assert_sound(&page);
    assert_eq!(titles(&page).len(), 6);
    assert!(!page.contains("earned"));
}

#[test]
fn who_is_not_done_at_the_end_is_told_and_not_dropped() {
    let text = PAYING.replace("30min", "10s");
    let page = run_of(&text).page().unwrap();
    assert_sound(&page);
    assert!(page.contains("not finished"));
    assert!(page.contains("others, not done"));
}

/// Peers that come one by one, some of whom lose patience, and seed for a while.
const OPEN: &str = r#"
[run]
name = "open"
tier = "flow"
duration = "6h"
series_every = "1min"
[[torrent]]
length = "64MiB"
piece = "1MiB"
[[population]]
name = "source"
count = 1
has = "100%"
line = { uplink = "200kB/s" }
[[population]]
name = "others"
count = 300
arrivals = { kind = "poisson", every = "20s" }
line = { profile = "legout2007", downlink = "10MB/s" }
seeding = { kind = "for", time = "1min..4min" }
"#;

#[test]
fn where_peers_come_one_by_one_there_is_what_theory_says_and_who_stays() {
    let run = run_of(OPEN);
    let page = run.page().unwrap();
    assert_sound(&page);
    let titles = titles(&page);
    for title in [
        "Who unchokes whom",
        "First piece by time of coming",
        "Seeds that stay",
    ] {
        assert!(titles.contains(&title), "{title}: {titles:?}");
    }
    assert!(!titles.contains(&"Copies of the rarest piece"), "no pieces");
    let members = between(&page, "Leechers and seeds", "</figure>").concat();
    for name in ["leechers, fluid", "seeds, fluid"] {
        assert!(members.contains(name), "{name}");
    }
    let map = between(&page, "Who unchokes whom", "</figure>").concat();
    assert!(
        map.matches("class=\"cell s").count() >= 4,
        "shades and their legend"
    );
    // Where they come together, or something happens, the model says nothing.
    let closed = OPEN.replace("kind = \"poisson\", every = \"20s\"", "kind = \"at-once\"");
    let page = run_of(&closed).page().unwrap();
    assert!(!page.contains("leechers, fluid") && !page.contains("First piece by time"));
}

/// One rule wherever times are told: `run`, `sweep` and both pages.
#[test]
fn a_page_leaves_out_the_warm_up_that_a_summary_does() {
    let scenario = Scenario::parse("test", OPEN).unwrap();
    let played = crate::play::outcome(&scenario);
    let others = &scenario.populations[1];
    let durations = crate::measure::Durations::of(&played, others);
    assert!(durations.warm_up > 0, "nothing to leave out");
    let end = crate::demo::seconds(played.lasted);
    let table = PeerTable::read(&played.peers_frame()).unwrap();
    let open = open_populations(&scenario);
    let facts = &table.populations(end, &open)[1];
    assert_eq!(facts.warm_up, durations.warm_up);
    assert_eq!(facts.finished_by(0.5), durations.median());
    assert_eq!(facts.finished_by(0.9), durations.quantile(0.9));
    assert_eq!([facts.wanting, facts.finished + facts.censored()], [300; 2]);
    let page = run_of(OPEN).page().unwrap();
    assert!(page.contains("Times until done of others are without those who came first"));
    let variant = |settings| Variant {
        label: String::new(),
        settings,
    };
    let as_written = vec![variant(Vec::new())];
    let mut sweep = SweepResults::new(origin(&scenario), as_written, false);
    let line = RunLine {
        lasted: end,
        ..RunLine::default()
    };
    sweep.add(line, &played.peers_frame()).unwrap();
    let facts = sweep.runs[0].populations[1].as_ref().unwrap();
    assert_eq!(facts.warm_up, durations.warm_up);
    assert!(
        sweep
            .page()
            .unwrap()
            .contains("Times until done of others are without")
    );
    // A variant may have them come together.
    let set = |key: &str, value: &str| {
        let path = format!("population.others.arrivals.{key}");
        (path, value.to_owned())
    };
    let together = variant(vec![set("kind", "at-once"), set("every", "")]);
    let open = open_by_variant(&sweep.origin.scenario, &[together]);
    assert_eq!(open, [OpenPopulations::new()]);
}

#[test]
fn no_name_of_a_scenario_becomes_markup() {
    let text = PAYING
        .replace("\"others\"", &format!("\"{HOSTILE}\""))
        .replace("a small swarm", HOSTILE)
        .replace("Who pays is sooner.", HOSTILE);
    for page in [
        run_of(&text).page().unwrap(),
        sweep_of(&text, false).page().unwrap(),
        sweep_of(&text, true).page().unwrap(),
    ] {
        for markup in ["<script", "<img", "<b>", "</pre></td>", "&amp;amp;amp;"] {
            assert!(!page.contains(markup), "{markup}");
        }
        assert!(page.contains("&lt;script&gt;alert(1)"));
        assert_eq!(
            page.matches("<pre>").count(),
            page.matches("</pre>").count()
        );
    }
}

#[test]
fn a_sweep_shows_intervals_along_what_it_varies_and_runs_that_failed() {
    let page = sweep_of(PAYING, false).page().unwrap();
    assert_sound(&page);
    assert_eq!(
        titles(&page),
        [
            "Median time of payer",
            "Time until done of payer",
            "Median time of others",
            "Time until done of others",
        ]
    );
    assert!(page.contains("population.payer.boost.budget (cr)"));
    assert!(page.contains("class=\"interval\""));
    assert!(page.contains("6 runs of 2 variants, 1 failed"));
    assert!(page.contains("it broke &lt;b&gt;"));
}

#[test]
fn a_comparison_pairs_seeds_and_peers() {
    let page = sweep_of(PAYING, true).page().unwrap();
    assert_sound(&page);
    let titles = titles(&page);
    assert_eq!(titles[0], "How much later B is");
    assert_eq!(titles[1], "Speed-up bought against credit spent");
    // Of three seeds one failed under B: two pairs, each a mark of the one payer.
    let bought = between(&page, "Speed-up bought", "</figure>").concat();
    assert_eq!(
        bought.matches("class=\"dot\"").count(),
        2 + 1,
        "and the legend's"
    );
    let later = between(&page, "How much later B is", "</figure>").concat();
    assert_eq!(
        later.matches("class=\"circle\"").count(),
        4 + 1,
        "and the legend's"
    );
}

#[test]
fn rows_of_another_version_are_refused() {
    let mut run = run_of(PAYING);
    run.unchokes = Frame::default();
    assert_eq!(run.page(), Err(ReportError::Column("giver")));
    run.series = Frame::default();
    assert_eq!(run.page(), Err(ReportError::Column("time_s")));
    let nothing = SweepResults::default().page();
    assert_eq!(nothing, Err(ReportError::Nothing));
}
