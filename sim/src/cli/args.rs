//! The command tree.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Simulates seeding economies on the code of Seedbank's own nodes, under virtual time.
#[derive(Debug, Parser)]
#[command(name = "seedbank-sim", version, arg_required_else_help = true)]
pub(crate) struct SimArgs {
    #[command(subcommand)]
    pub(crate) command: SimCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SimCommand {
    /// Run a scenario and say what came of it.
    Run(RunArgs),
    /// Run variants of a scenario, each under several seeds.
    Sweep(SweepArgs),
    /// Compare two variants of a scenario under the same luck.
    Compare(CompareArgs),
    /// Make report.html of what a folder has results of: plots, tables, how to repeat it.
    Report(ReportArgs),
    /// Compare the simulator with theory and with what others measured.
    Verify(VerifyArgs),
    /// Make a scenario of what a node saw: the same demand, to be met under other rules.
    Calibrate(CalibrateArgs),
    /// Name the scenarios that come with the simulator.
    List,
    /// Write a scenario to begin with.
    New(NewArgs),
    /// Predict what `seedbankd demo` comes to, and judge it.
    Demo {
        /// Seed of every random choice.
        #[arg(long, value_name = "N", default_value_t = 1)]
        rng_seed: u64,
    },
    /// One seeder and equal leechers: the time until all are done, and the least possible.
    Spread(SpreadArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// A scenario file, or the name of one that comes with the simulator.
    pub(crate) scenario: String,
    /// Seed of every random choice, in place of the scenario's.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Set a field, as run.duration=2h; population.payer.boost= leaves it out.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// Write scenario.toml, peers.csv, fetches.csv, series.csv, unchokes.csv and manifest.json to
    /// this new folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Play it again with each strategic population honest, and say what its strategy gained.
    #[arg(long, conflicts_with = "json")]
    pub(crate) twins: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Say nothing of how far it is.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SweepArgs {
    /// A scenario file, or the name of one that comes with the simulator.
    pub(crate) scenario: String,
    /// Set a field in every run, as run.duration=2h; population.payer.boost= leaves it out.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// Vary a field: all values of all grids are crossed.
    #[arg(long, value_name = "PATH=VALUE,VALUE")]
    pub(crate) grid: Vec<String>,
    /// A CSV file whose header has paths, and whose every line is a variant.
    #[arg(long, value_name = "FILE", conflicts_with = "grid")]
    pub(crate) design: Option<PathBuf>,
    /// Seeds of each variant: a number of them from 1 on, or first..last.
    #[arg(long, value_name = "SEEDS", default_value = "10")]
    pub(crate) seeds: String,
    /// Stop once the mean of a population's median, p10 or p90 is known to within so many percent:
    /// others=5%, others.p90=10%. --seeds is the most then, and seeds are added by five.
    #[arg(long, value_name = "METRIC=PERCENT", conflicts_with = "shard")]
    pub(crate) until_half_width: Option<String>,
    /// Runs at a time; as many as there are processors, if it is left out.
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Only this part of all runs, as 1/4; each part has a folder of its own.
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<String>,
    /// The folder for results: design.json, a part for each run, runs.parquet, peers.parquet and
    /// manifest.json.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Take what is done of this design from another folder, as from each of its shards.
    #[arg(long, value_name = "DIR")]
    pub(crate) take: Vec<PathBuf>,
    /// Go on where a sweep of the same design was ended.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Say nothing of how far it is.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// A scenario file, or the name of one that comes with the simulator.
    pub(crate) scenario: String,
    /// Set a field in both variants.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// Set a field in variant A; a variant without any is the scenario as written.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) a: Vec<String>,
    /// Set a field in variant B.
    #[arg(long, value_name = "PATH=VALUE", required_unless_present_any = ["a", "twin"])]
    pub(crate) b: Vec<String>,
    /// Compare this population as written with itself honest: what its strategy gains it, and
    /// what it costs the others; `all` is each that follows a strategy, one after the other.
    #[arg(long, value_name = "POPULATION", conflicts_with_all = ["a", "b", "until_half_width"])]
    pub(crate) twin: Option<String>,
    /// Seeds of each, from 1 on; the most, with --until-half-width.
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(2..=100_000))]
    pub(crate) seeds: u64,
    /// Stop once every difference is known to within so many percent of what A took; seeds are
    /// added by five.
    #[arg(long, value_name = "PERCENT", value_parser = super::sweep::percent)]
    pub(crate) until_half_width: Option<f64>,
    /// Runs at a time; as many as there are processors, if it is left out.
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Keep results in this new folder: a part for each run, runs.parquet, peers.parquet and
    /// manifest.json.
    #[arg(long, value_name = "DIR", conflicts_with = "twin")]
    pub(crate) out: Option<PathBuf>,
    /// Say nothing of how far it is.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// The folder that `run --out`, `sweep` or `compare --out` wrote.
    #[arg(value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// Only these rows, as 1,4,11.
    #[arg(long, value_name = "ROWS", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Also those that take minutes.
    #[arg(long)]
    pub(crate) long: bool,
    /// Instead: what common random numbers are worth in each scenario, by so many seeds.
    #[arg(long, value_name = "SEEDS", conflicts_with_all = ["only", "long", "json"])]
    #[arg(value_parser = clap::value_parser!(u64).range(2..=10_000))]
    pub(crate) variance: Option<u64>,
    /// Instead: what peers cost as there are more, in both tiers; up to a million with --long.
    #[arg(long, conflicts_with_all = ["only", "variance", "json"])]
    pub(crate) cost: bool,
    /// Where to write a page of what peers cost.
    #[arg(long, value_name = "FILE", requires = "cost")]
    pub(crate) out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Say nothing of how far it is.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CalibrateArgs {
    /// JSON lines of `seedbank events --json`, and of `seedbank ls --json` and
    /// `seedbank peers --json` for sizes and rates; several files are read as one.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// What the scenario is called.
    #[arg(long, value_name = "NAME", default_value = "calibrated")]
    pub(crate) name: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct NewArgs {
    /// Where to write it; a file that is there stays as it is.
    pub(crate) file: PathBuf,
    /// Begin with one that comes with the simulator, not with one that shows every key.
    #[arg(long, value_name = "NAME")]
    pub(crate) from: Option<String>,
}

/// What carries the bytes of `spread` only so fast.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum BottleneckArg {
    /// The line.
    Line,
    /// A configured limit of the same rate.
    Limit,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SpreadArgs {
    /// Nodes that want the file.
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(crate) leechers: usize,
    /// Length of the file.
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) mib: u32,
    /// Length of a piece.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(crate) piece_kib: u16,
    /// Bytes per second.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub(crate) uplink: u64,
    /// Bytes per second of the seeder, if it is another.
    #[arg(long, value_name = "N")]
    pub(crate) seeder_uplink: Option<u64>,
    /// Bytes per second.
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    pub(crate) downlink: u64,
    /// From a node to the middle of the network.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) delay_ms: u64,
    /// Longest that a segment is late.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) jitter_ms: u64,
    /// Segments lost of a million.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) loss_ppm: u32,
    /// Length of a full buffer.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) buffer_ms: u64,
    /// Upload slots.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) slots: usize,
    /// What is only so fast.
    #[arg(long, value_name = "WHAT", default_value = "line")]
    pub(crate) bottleneck: BottleneckArg,
    /// Who knows whom: full, star, tracker, or the degree of a random graph.
    #[arg(long, value_name = "WHO", default_value = "full")]
    pub(crate) overlay: String,
    /// Speak no receipts.
    #[arg(long)]
    pub(crate) no_receipts: bool,
    /// Make real signatures; otherwise they are counted.
    #[arg(long)]
    pub(crate) real_signatures: bool,
    /// Seed of every random choice.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) rng_seed: u64,
}
