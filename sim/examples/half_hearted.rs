//! A strategy of one's own: it uploads until it has half of the file.
#![allow(clippy::print_stdout, reason = "an example shows what came of it")]

use seedbank_engine::interface::command::Command;
use seedbank_engine::interface::view::TorrentView;
use seedbank_ledger::Duration;
use seedbank_sim::agent::{Agent, Scene};
use seedbank_sim::{library, play::Play, scenario::Scenario, twin::Fate};

/// Uploads next to nothing once it has half of what it wants.
#[derive(Debug)]
pub struct HalfHearted;

impl Agent for HalfHearted {
    fn tick_every(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    fn tick(&mut self, scene: &mut Scene<'_>) {
        let torrents = scene.session.torrents();
        let has_half = |it: &TorrentView| 2 * it.have.get() >= it.total.get();
        if torrents.iter().all(has_half) {
            let mut policy = scene.session.policy().clone();
            policy.upload_limit = Some(1_000);
            scene.command(Command::SetPolicy(policy));
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = library::text("strategies-open").ok_or("no such scenario")?;
    let scenario = Scenario::parse("mine", &text.replace("bittyrant", "honest"))?;
    let mine = Play::new(&scenario).cast("strategic", |_| Box::new(HalfHearted));
    for (name, play) in [("honest", Play::new(&scenario)), ("half-hearted", mine)] {
        let fate = Fate::of(&scenario, &play.run(), "strategic");
        println!("{name}: {fate:?}");
    }
    Ok(())
}
