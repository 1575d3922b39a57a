//! The processes that are compared, and what they are told to do.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::{WORKER, azure, floor, ours};

pub(crate) const TENANT: &str = "bea21ebe-8b64-4d06-9f6d-6a889b120a7c";
/// It has a certificate, and trusts itself as Leg 1.
pub(crate) const APP: &str = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e";
pub(crate) const SECRET_APP: &str = "aa57c903-4e1d-4b62-8d08-73f9e5b1c264";
pub(crate) const SECRET: &str = "certbound-emulator-secret";
pub(crate) const SCOPE: &str = "https://graph.microsoft.com/.default";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Hit,
    Cold,
    Pair,
}

impl Task {
    pub(crate) const ALL: [Self; 3] = [Self::Hit, Self::Cold, Self::Pair];

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Hit => "cached token",
            Self::Cold => "token by secret, kept connection",
            Self::Pair => "two legs, kept connection (ours bound, theirs Bearer)",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Cold => "cold",
            Self::Pair => "pair",
        }
    }

    fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|task| task.name() == name).expect("a task")
    }
}

/// A process that does tasks on demand.
pub(crate) struct Worker {
    pub(crate) name: &'static str,
    command: Vec<PathBuf>,
    /// How often a task is done in a round; none: it cannot.
    counts: [u32; 3],
    starts: bool,
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What a process took from its start to its end.
pub(crate) struct Start {
    pub(crate) wall: Duration,
    pub(crate) cpu: f64,
    pub(crate) peak: f64,
}

impl Worker {
    pub(crate) fn all() -> Vec<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
        let this = std::env::current_exe().unwrap();
        let rust = |name: &str| vec![this.clone(), WORKER.into(), name.into()];
        let named = |name: &str| PathBuf::from(std::env::var_os(name).expect("set by `cargo xtask peers`"));
        let python = vec![named("CERTBOUND_PYTHON"), here.join("msal_worker.py")];
        let node =
            vec![named("CERTBOUND_NODE"), here.join("msal_worker.mjs"), named("CERTBOUND_NODE_PACKAGES")];
        vec![
            Self::new("certbound", rust("ours"), [200_000, 50, 30], true),
            Self::new("floor", rust("floor"), [200_000, 50, 30], false),
            // It has no assertion of one's own making for a second leg that it would fetch anew.
            Self::new("azure_identity (Rust)", rust("azure"), [100_000, 50, 0], true),
            Self::new("MSAL for Python", python, [5_000, 50, 30], true),
            Self::new("MSAL for Node", node, [3_000, 50, 30], true),
        ]
    }

    fn new(name: &'static str, command: Vec<PathBuf>, counts: [u32; 3], starts: bool) -> Self {
        let mut child = process(&command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { name, command, counts, starts, _child: child, input, output }
    }

    /// Nanoseconds of CPU for each, or none where it cannot.
    pub(crate) fn run(&mut self, task: Task, warm_up: bool) -> Option<f64> {
        let count = self.counts[task as usize];
        if count == 0 {
            return None;
        }
        let count = if warm_up { count / 10 + 1 } else { count };
        writeln!(self.input, "{} {count}", task.name()).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let total: f64 = line.trim().parse().unwrap_or_else(|_| panic!("{} said: {line}", self.name));
        Some(total / f64::from(count))
    }

    /// From the start of another process to its end, with one token in between.
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a process lives is told by a clock outside of it"
    )]
    pub(crate) fn start_anew(&self) -> Option<Start> {
        if !self.starts {
            return None;
        }
        let began = Instant::now();
        let output = process(&self.command).arg("once").output().unwrap();
        let wall = began.elapsed();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut numbers = text.split_whitespace().map(|number| number.parse::<f64>().unwrap());
        let (cpu, peak) = (numbers.next(), numbers.next());
        assert!(output.status.success() && peak.is_some(), "{}: {text}", self.name);
        Some(Start { wall, cpu: cpu?, peak: peak? })
    }
}

fn process(command: &[PathBuf]) -> Command {
    let mut process = Command::new(&command[0]);
    process.args(&command[1..]).stderr(Stdio::inherit());
    process
}

/// What one of Rust can do.
pub(crate) trait Does {
    async fn hit(&mut self);
    async fn cold(&mut self);
    async fn pair(&mut self);
}

/// The process of one of Rust: does what stdin says, or one token and out.
pub(crate) fn serve(name: &str, once: Option<&str>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match name {
            "ours" => run(ours::Ours::new(), once).await,
            "azure" => run(azure::Azure::new(), once).await,
            _ => run(floor::Floor::new().await, once).await,
        }
    });
}

async fn run(mut does: impl Does, once: Option<&str>) {
    if once.is_some() {
        does.cold().await;
        println!("{} {}", used(), peak());
        return;
    }
    does.hit().await;
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (task, count) = line.split_once(' ').unwrap();
        let (task, count): (_, u32) = (Task::of(task), count.parse().unwrap());
        let before = used();
        for _ in 0..count {
            match task {
                Task::Hit => does.hit().await,
                Task::Cold => does.cold().await,
                Task::Pair => does.pair().await,
            }
        }
        println!("{}", used() - before);
    }
}

/// Of this process, all threads, in nanoseconds.
fn used() -> u64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The most memory that this process ever had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
