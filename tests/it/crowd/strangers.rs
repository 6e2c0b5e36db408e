//! The crowd itself: many processes of low rank, each with its share of the connections.
//!
//! A process is this very test program, started again for [`press`] alone with [`TASK`] in its
//! environment. Each of its connections comes again as soon as it is closed, until the scene ends.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use seedbank_tests::net::Net;
use seedbank_tests::poll::poll;
use seedbank_tests::process::{Process, each_line};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

/// Names what a process is to do, as JSON.
const TASK: &str = "SEEDBANK_TEST_CROWD";
/// Processes; connections of one are few enough for any limit of open files.
const PROCESSES: u16 = 10;
/// Addresses of each.
const ADDRESSES: u16 = 10;
/// Time between two connections in one place: ten thousand come a second at most, all over one
/// machine that attackers and victims share.
const PAUSE: Duration = Duration::from_secs(1);
/// Time between two tallies.
const TALLY_EVERY: Duration = Duration::from_millis(200);
/// How long one that is let alone stays.
const STAY: Duration = Duration::from_secs(60);
/// What one may have under way. On the loopback device the kernel would give each 4 MB, of the
/// memory that both sides share here: what strangers send waits on their own machines.
const UNDER_WAY: u32 = 64 << 10;
const STARTED_MAX: Duration = Duration::from_secs(60);
/// Stands for a number of one's own in what everybody says.
const NUMBER: &[u8; 12] = b"one-of-crowd";

/// One way to be a nuisance: bytes sent at first, and bytes sent over and over.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    first: Vec<u8>,
    over_and_over: Vec<u8>,
}

impl Manner {
    /// Says this, reads, and is silent.
    pub(super) fn says(first: &[u8]) -> Self {
        Self {
            first: first.to_vec(),
            over_and_over: Vec::new(),
        }
    }

    /// Says this, then `flood` for as long as it is let, and reads nothing.
    pub(super) fn floods(first: &[u8], flood: &[u8]) -> Self {
        Self {
            first: first.to_vec(),
            over_and_over: flood.to_vec(),
        }
    }

    /// The same as it is by the one of this number.
    fn of(mut self, number: u64) -> Self {
        let digits = format!("{number:012}");
        let places = 0..self.first.len().saturating_sub(NUMBER.len() - 1);
        for place in places {
            let there = &mut self.first[place..place + NUMBER.len()];
            if there == NUMBER {
                there.copy_from_slice(digits.as_bytes());
            }
        }
        self
    }

    fn to_json(&self) -> Value {
        json!([self.first, self.over_and_over])
    }

    fn from_json(value: &Value) -> Option<Self> {
        let bytes = |value: &Value| -> Option<Vec<u8>> {
            let numbers = value.as_array()?.iter();
            numbers.map(|n| u8::try_from(n.as_u64()?).ok()).collect()
        };
        Some(Self {
            first: bytes(&value[0])?,
            over_and_over: bytes(&value[1])?,
        })
    }
}

/// A crowd that presses on one address.
#[derive(Debug)]
pub(super) struct Crowd {
    processes: Vec<Process>,
}

impl Crowd {
    /// Starts `count` connections to `target`, the manners by turns, and waits until each has been
    /// tried once.
    pub(super) fn start(
        net: &Net,
        target: SocketAddrV4,
        count: u16,
        manners: &[Manner],
    ) -> Result<Self> {
        let manners: Vec<Value> = manners.iter().map(Manner::to_json).collect();
        let folder = net.folder("crowd")?;
        let mut processes = Vec::new();
        for number in 0..PROCESSES {
            let task = json!({
                "target": target.to_string(),
                "number": number,
                "count": count / PROCESSES,
                "manners": manners,
            });
            let file = folder.join(format!("{number}.json"));
            std::fs::write(&file, task.to_string())?;
            let mut command = Command::new("nice");
            command.args(["-n", "19"]).arg(std::env::current_exe()?);
            command.args([
                "crowd::strangers::press",
                "--exact",
                "--ignored",
                "--nocapture",
            ]);
            command.env(TASK, file);
            let log = folder.join(format!("{number}.out"));
            processes.push(Process::spawn("a crowd", &mut command, &log)?);
        }
        let crowd = Self { processes };
        poll(STARTED_MAX, "the crowd to be there", || {
            let tallies = crowd.tallies()?;
            Ok(tallies.iter().all(Option::is_some).then_some(()))
        })?;
        Ok(crowd)
    }

    /// What it came to so far: connections made, connections closed on it, and bytes sent.
    pub(super) fn tally(&self) -> Result<[u64; 3]> {
        let mut sum = [0; 3];
        for tally in self.tallies()?.into_iter().flatten() {
            for (sum, one) in sum.iter_mut().zip(tally) {
                *sum += one;
            }
        }
        Ok(sum)
    }

    fn tallies(&self) -> Result<Vec<Option<[u64; 3]>>> {
        let newest = |process: &Process| {
            let mut tally = None;
            each_line(process.log_path(), |line| {
                let Some(numbers) = line.strip_prefix("tally ") else {
                    return;
                };
                let numbers = numbers.split(' ').map(str::parse);
                let numbers: Vec<u64> = numbers.map_while(Result::ok).collect();
                tally = numbers.try_into().ok().or(tally);
            })?;
            Ok(tally)
        };
        self.processes.iter().map(newest).collect()
    }
}

/// What a process counts.
#[derive(Debug, Default)]
struct Counts {
    tried: AtomicU64,
    made: AtomicU64,
    closed: AtomicU64,
    sent: AtomicU64,
}

static COUNTS: Counts = Counts {
    tried: AtomicU64::new(0),
    made: AtomicU64::new(0),
    closed: AtomicU64::new(0),
    sent: AtomicU64::new(0),
};

/// One of the processes, until it is killed; nothing at all without a task.
#[test]
#[ignore = "the other side of the crowd tests, which start it"]
fn press() {
    let Some(file) = std::env::var_os(TASK) else {
        return;
    };
    let text = std::fs::read_to_string(file).unwrap();
    let task: Value = serde_json::from_str(&text).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(&task)).unwrap();
}

async fn run(task: &Value) -> Result<()> {
    let target: SocketAddr = task["target"].as_str().context("no target")?.parse()?;
    let number = task["number"].as_u64().context("no number")?;
    let count = task["count"].as_u64().context("no count")?;
    let manners = task["manners"].as_array().context("no manners")?;
    let manners = manners.iter().map(Manner::from_json);
    let manners: Vec<Manner> = manners.collect::<Option<_>>().context("no manner")?;
    for index in 0..count {
        let turn = usize::try_from(index)?;
        let manner = manners[turn % manners.len()].clone();
        let manner: &'static Manner = Box::leak(Box::new(manner.of(number * count + index)));
        let [from, net] = [index % u64::from(ADDRESSES) + 1, number];
        let from = Ipv4Addr::new(127, 0, u8::try_from(net)? + 1, u8::try_from(from)?);
        tokio::spawn(async move {
            loop {
                // However it ends, it comes again.
                let _ = be(manner, from.into(), target).await;
                sleep(PAUSE).await;
            }
        });
    }
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    loop {
        sleep(TALLY_EVERY).await;
        if load(&COUNTS.tried) >= count {
            let [made, closed] = [&COUNTS.made, &COUNTS.closed].map(load);
            println!("tally {made} {closed} {}", load(&COUNTS.sent));
            std::io::stdout().flush()?;
        }
    }
}

/// One connection, from its beginning to its end.
async fn be(manner: &Manner, from: IpAddr, target: SocketAddr) -> Result<()> {
    COUNTS.tried.fetch_add(1, Ordering::Relaxed);
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(UNDER_WAY)?;
    socket.bind(SocketAddr::new(from, 0))?;
    let mut stream = timeout(STAY, socket.connect(target)).await??;
    COUNTS.made.fetch_add(1, Ordering::Relaxed);
    let ended = timeout(STAY, act(manner, &mut stream)).await;
    COUNTS.closed.fetch_add(1, Ordering::Relaxed);
    ended?
}

async fn act(manner: &Manner, stream: &mut TcpStream) -> Result<()> {
    stream.write_all(&manner.first).await?;
    let mut room = vec![0; 4_096];
    while !manner.over_and_over.is_empty() {
        stream.write_all(&manner.over_and_over).await?;
        let len = u64::try_from(manner.over_and_over.len())?;
        COUNTS.sent.fetch_add(len, Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
    while stream.read(&mut room).await? > 0 {}
    bail!("the other side hung up")
}
