//! A machine behind a link that nothing in it knows: a network namespace of its own, whose way out
//! the kernel shapes (`tc tbf`), drop-tail, with a queue of so much time.
//!
//! Everybody is on one bridge. There is no delay but what queues make (`netem` is not everywhere):
//! the round-trip time of an empty network is next to nothing. Machines speak TCP as kernels come,
//! with cubic, whatever this machine was told.

use std::cell::Cell;
use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What the harness and everybody without a link of their own have on the bridge.
const HARNESS: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
/// A bridge that is not told its address takes that of a port, another one as ports are added, and
/// whoever has resolved the old one finds nobody there for half a minute.
const BRIDGE_MAC: &str = "02:00:00:00:00:01";
/// Least burst of a shaper, in bytes: two packets.
const BURST_MIN: u64 = 3_200;

/// The bridge, and how many machines there are on it.
#[derive(Debug, Default)]
pub struct Links {
    count: Cell<u8>,
}

/// How a machine is connected in one direction.
#[derive(Clone, Copy, Debug)]
pub struct LinkPlan {
    /// Bits per second.
    pub rate: u64,
    /// How long a byte waits at most before it is dropped.
    pub buffer: Duration,
}

/// A machine.
#[derive(Clone, Debug)]
pub struct Link {
    name: String,
    /// What its way out lets pass at once, in bytes: a packet in the queue that is longer than that
    /// never leaves, so it stays as it is when the rate falls.
    burst: u64,
    /// Its address.
    pub address: Ipv4Addr,
}

impl Links {
    /// Adds a machine.
    ///
    /// # Errors
    /// When `ip` or `tc` (package iproute2) fails.
    ///
    /// # Panics
    /// After 250 of them.
    pub fn add(&self, plan: LinkPlan) -> Result<Link> {
        let number = self.count.get() + 1;
        assert!(number < 250, "a bridge has at most 250 links");
        if number == 1 {
            bridge()?;
        }
        self.count.set(number);
        let link = Link {
            name: format!("link{number}"),
            burst: burst(plan),
            address: Ipv4Addr::new(10, 78, 1, number),
        };
        link.set_up(plan)?;
        Ok(link)
    }
}

impl Link {
    /// A command that runs on this machine.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name));
        command.arg("--").arg(program);
        command
    }

    /// Changes its way out.
    ///
    /// # Errors
    /// When `tc` fails.
    pub fn set_way_out(&self, plan: LinkPlan) -> Result<()> {
        self.shape("change", plan)
    }

    /// Shapes its way in, which is as wide as everybody else's way out otherwise.
    ///
    /// # Errors
    /// When `tc` fails.
    pub fn set_way_in(&self, plan: LinkPlan) -> Result<()> {
        shape(Command::new("tc"), "replace", &self.name, plan, burst(plan))
    }

    /// Runs `body` on this machine: the sockets that it opens stay there.
    ///
    /// # Errors
    /// When the namespace cannot be entered; what `body` fails with.
    ///
    /// # Panics
    /// When `body` does.
    pub fn within<T: Send>(&self, body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let namespace = File::open(format!("/run/netns/{}", self.name))?;
        thread::scope(|scope| {
            let entered = scope.spawn(|| {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(namespace.as_fd(), kind)?;
                body()
            });
            entered.join().expect("the body does not panic")
        })
    }

    fn set_up(&self, plan: LinkPlan) -> Result<()> {
        let Self { name, address, .. } = self;
        batch(
            Command::new("ip"),
            &format!(
                "netns add {name}\n\
                 link add {name} type veth peer name eth0 netns {name}\n\
                 link set {name} master bridge up\n"
            ),
        )?;
        batch(
            self.command("ip"),
            &format!(
                "link set lo up\n\
                 addr add {address}/16 dev eth0 noprefixroute\n\
                 link set eth0 up\n\
                 route add 10.78.0.0/16 dev eth0 src {address} congctl cubic\n\
                 route add default via {HARNESS}\n"
            ),
        )?;
        self.shape("add", plan)
    }

    fn shape(&self, verb: &str, plan: LinkPlan) -> Result<()> {
        shape(self.command("tc"), verb, "eth0", plan, self.burst)
    }
}

/// Two milliseconds' worth; the kernel cuts what is longer.
fn burst(plan: LinkPlan) -> u64 {
    (plan.rate / 8 / 500).max(BURST_MIN)
}

fn shape(mut tc: Command, verb: &str, device: &str, plan: LinkPlan, burst: u64) -> Result<()> {
    tc.args(["qdisc", verb, "dev", device, "root", "tbf"]);
    tc.args(["rate", &format!("{}bit", plan.rate)]);
    tc.args(["burst", &format!("{burst}b")]);
    tc.args(["latency", &format!("{}ms", plan.buffer.as_millis())]);
    let status = tc
        .status()
        .context("running tc (package iproute2) or nsenter (package util-linux)")?;
    ensure!(status.success(), "tc could not shape {device}");
    Ok(())
}

/// The bridge, and a place for the names of namespaces that is ours.
fn bridge() -> Result<()> {
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "tmpfs", "/run"])
        .status()
        .context("running mount (package mount)")?;
    ensure!(mount.success(), "the namespace's /run cannot be ours");
    batch(
        Command::new("ip"),
        &format!(
            "link add bridge address {BRIDGE_MAC} type bridge\n\
             addr add {HARNESS}/16 dev bridge\n\
             link set bridge up\n"
        ),
    )
}

/// Runs lines of `ip` in one go.
pub(crate) fn batch(mut ip: Command, commands: &str) -> Result<()> {
    let mut ip = ip
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .context("running ip (package iproute2)")?;
    ip.stdin
        .take()
        .expect("standard input was asked for")
        .write_all(commands.as_bytes())?;
    ensure!(ip.wait()?.success(), "ip could not do:\n{commands}");
    Ok(())
}
