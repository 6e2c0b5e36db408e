//! `seedbankd demo`: runs the demo and says how it went by its exit code.

use std::io::{IsTerminal as _, Write};

use clap::Args;
use seedbank_sim::demo::Demo;

use super::CliFailure;
use super::signals::Signals;
use crate::demo::{self, DemoOptions, Running};
use crate::host::config::{LogFormat, StoreKind};
use crate::host::logs;

/// Logs would tear the bars apart; failures still show.
const LOG_FILTER: &str = "error";

/// How to run the demo.
#[derive(Clone, Debug, Args)]
pub(super) struct DemoArgs {
    /// Exit with 8 unless everything that is claimed holds
    #[arg(long)]
    check: bool,
    /// Keep the swarm alive at the end, for a client to look at
    #[arg(long)]
    hold: bool,
    /// Seed of every random choice
    #[arg(long, value_name = "N", default_value_t = 1)]
    rng_seed: u64,
}

pub(super) fn run(
    args: &DemoArgs,
    log: Option<&str>,
    out: &mut impl Write,
) -> Result<(), CliFailure> {
    logs::start(log.unwrap_or(LOG_FILTER), LogFormat::Auto)
        .map_err(|error| CliFailure::usage(format!("--log: {error}")))?;
    let options = DemoOptions {
        scenario: Demo {
            rng_seed: args.rng_seed,
            ..Demo::default()
        },
        store: if cfg!(feature = "rocksdb") {
            StoreKind::RocksDb
        } else {
            StoreKind::Memory
        },
        bars: std::io::stderr().is_terminal(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let running = tokio::select! {
            running = demo::run(&options, out) => running.map_err(CliFailure::failed)?,
            why = signals.next() => return Err(CliFailure::interrupted(why)),
        };
        let holds = running.report(out)?;
        if args.hold {
            hold(&running, out)?;
            signals.next().await;
        } else {
            next(out)?;
        }
        running.shutdown().await.map_err(CliFailure::failed)?;
        if args.check && !holds {
            return Err(CliFailure::verification("the demo does not hold"));
        }
        Ok(())
    })
}

fn hold(running: &Running, out: &mut impl Write) -> Result<(), CliFailure> {
    writeln!(
        out,
        "\nThe swarm stays up until Ctrl-C. Look at it from another terminal:"
    )?;
    running.addresses(out)?;
    out.flush()?;
    Ok(())
}

fn next(out: &mut impl Write) -> Result<(), CliFailure> {
    writeln!(
        out,
        "\nNext:  seedbankd demo --hold   keep it alive and look at it with seedbank\n       \
         seedbankd run           start your own node"
    )?;
    out.flush()?;
    Ok(())
}
