//! Pages as a whole: what every plot has, and that nothing of a scenario becomes markup.

use super::*;
use crate::play::Play;

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
    let played = Play::new(&scenario).run();
    RunResults {
        origin: origin(&scenario),
        lasted: crate::demo::seconds(played.lasted),
        // As a file has them.
        peers: Frame::of_csv(&played.peers_frame().to_csv()).unwrap(),
        series: Frame::of_csv(&played.series_frame().to_csv()).unwrap(),
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
            let played = Play::new(&scenario).run();
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
            "Paid and open payload",
            "Price of what was paid for",
            "Credit spent",
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
    assert_eq!(titles(&page).len(), 5);
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
    run.series = Frame::default();
    assert_eq!(run.page(), Err(ReportError::Column("time_s")));
    let nothing = SweepResults::default().page();
    assert_eq!(nothing, Err(ReportError::Nothing));
}
