//! The processes that are compared, and their tasks.

use std::cell::Cell;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::{WORKER, azure, floor, ours};

pub(crate) const OURS: &str = "certbound";
pub(crate) const FLOOR: &str = "floor";
pub(crate) const AZURE: &str = "azure_identity (Rust)";
pub(crate) const PYTHON: &str = "MSAL for Python";
pub(crate) const NODE: &str = "MSAL for Node";
pub(crate) const GO: &str = "MSAL for Go";

pub(crate) const TENANT: &str = "bea21ebe-8b64-4d06-9f6d-6a889b120a7c";
/// The application has a certificate and trusts itself as Leg 1.
pub(crate) const APP: &str = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e";
pub(crate) const SECRET_APP: &str = "aa57c903-4e1d-4b62-8d08-73f9e5b1c264";
pub(crate) const SECRET: &str = "certbound-emulator-secret";
pub(crate) const SCOPE: &str = "https://graph.microsoft.com/.default";

/// Returns a scope that was not requested before, as long as a real scope.
pub(crate) fn scope(number: usize) -> String {
    format!("api://00000000-0000-4000-8000-{number:012}/.default")
}

/// The number of tokens in a full cache.
pub(crate) const MANY: usize = 10_000;
/// The answer time of the slow service.
pub(crate) const SLOW: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Hit,
    Many,
    Cold,
    Pair,
    Stall,
}

impl Task {
    pub(crate) const ALL: [Self; 5] = [Self::Hit, Self::Many, Self::Cold, Self::Pair, Self::Stall];

    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Hit => "a cached token",
            Self::Many => "any of 10000 cached tokens",
            Self::Cold => "a token by secret, kept connection",
            Self::Pair => "two legs, kept connection (ours bound, theirs Bearer)",
            Self::Stall => "the slowest hit while another token takes 200 ms",
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Stall => "ns",
            _ => "ns of CPU",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Many => "many",
            Self::Cold => "cold",
            Self::Pair => "pair",
            Self::Stall => "stall",
        }
    }

    fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|task| task.name() == name).expect("a task")
    }
}

/// A process that does tasks on request.
pub(crate) struct Worker {
    pub(crate) name: &'static str,
    command: Vec<PathBuf>,
    /// How often each task is done in a round; 0 if the library does not support it.
    counts: [u32; 5],
    starts: bool,
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// The cost of a process from its start to its end.
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
        let named = |name: &str| PathBuf::from(std::env::var_os(name).expect("set by `cargo xtask bench`"));
        let python = vec![named("CERTBOUND_PYTHON"), here.join("msal_worker.py")];
        let node =
            vec![named("CERTBOUND_NODE"), here.join("msal_worker.mjs"), named("CERTBOUND_NODE_PACKAGES")];
        let mut all = vec![
            Self::new(OURS, rust("ours"), [200_000, 200_000, 200, 100, 1], true),
            Self::new(FLOOR, rust("floor"), [200_000, 200_000, 200, 100, 0], false),
            // This library cannot get a new token for the second leg with an assertion of the application.
            Self::new(AZURE, rust("azure"), [100_000, 100_000, 200, 0, 1], true),
            Self::new(PYTHON, python, [5_000, 5_000, 100, 50, 0], true),
            Self::new(NODE, node, [3_000, 30, 100, 50, 0], true),
        ];
        if let Some(worker) = std::env::var_os("CERTBOUND_GO_WORKER") {
            // An old version, such as Debian's, also requests scopes of users, which the emulator refuses.
            let once = Command::new(&worker).arg("once").output().unwrap();
            match once.status.success() {
                true => all.push(Self::new(GO, vec![worker.into()], [30_000, 200, 100, 50, 0], true)),
                false => println!("{GO} is left out: {}", String::from_utf8_lossy(&once.stderr)),
            }
        }
        all
    }

    fn new(name: &'static str, command: Vec<PathBuf>, counts: [u32; 5], starts: bool) -> Self {
        let mut child = process(&command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { name, command, counts, starts, _child: child, input, output }
    }

    /// Returns the CPU time of one task in nanoseconds, or the time of the slowest hit. Returns `None` if the library
    /// does not support the task.
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

    /// Starts another process that gets one token, and measures it from start to end.
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

/// Starts the command line, which gets one token without a store, and measures it from start to end.
#[expect(clippy::disallowed_methods, reason = "how long a process lives is told by a clock outside of it")]
pub(crate) fn start_command() -> Duration {
    let mut command = Command::new(env!("CARGO_BIN_EXE_certbound"));
    command.args(["token", "--bearer", "--no-cache", "--client-secret-env", "CERTBOUND_BENCH_SECRET"]);
    command.args(["--client-id", SECRET_APP, "--tenant", TENANT, "--scope", SCOPE]);
    command.env("CERTBOUND_BENCH_SECRET", SECRET);
    let began = Instant::now();
    let output = command.output().unwrap();
    let took = began.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    took
}

fn process(command: &[PathBuf]) -> Command {
    let mut process = Command::new(&command[0]);
    process.args(&command[1..]).stderr(Stdio::inherit());
    process
}

/// The tasks of a library in Rust.
pub(crate) trait Does {
    async fn hit(&mut self);
    /// Gets one of many tokens, by its number below [`MANY`].
    async fn hit_of_many(&mut self, number: usize);
    async fn cold(&mut self);
    async fn pair(&mut self);
    /// Returns the wall time of the slowest hit while the request for another token takes [`SLOW`].
    async fn slowest_hit(&mut self) -> Duration;
}

/// Repeats hits until `miss` ends, and returns the time of the slowest hit.
#[expect(clippy::disallowed_methods, reason = "who waits does so by the wall's clock")]
pub(crate) async fn slowest<F: Future<Output = ()>>(
    miss: impl Future<Output = ()>,
    hit: impl Fn() -> F,
) -> Duration {
    let over = Cell::new(false);
    let slow = async {
        miss.await;
        over.set(true);
    };
    let hits = async {
        let mut slowest = Duration::ZERO;
        while !over.get() {
            let began = Instant::now();
            hit().await;
            slowest = slowest.max(began.elapsed());
            tokio::task::yield_now().await;
        }
        slowest
    };
    tokio::join!(slow, hits).1
}

/// Runs the process of a library in Rust: the tasks from stdin, or one token.
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
    let mut seed = 1;
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (task, count) = line.split_once(' ').unwrap();
        let (task, count): (_, u32) = (Task::of(task), count.parse().unwrap());
        if task == Task::Stall {
            println!("{}", does.slowest_hit().await.as_nanos());
            continue;
        }
        if task == Task::Many {
            // The first call fills the cache.
            does.hit_of_many(0).await;
        }
        let before = used();
        for _ in 0..count {
            match task {
                Task::Hit => does.hit().await,
                Task::Many => does.hit_of_many(random(&mut seed)).await,
                Task::Cold => does.cold().await,
                Task::Pair | Task::Stall => does.pair().await,
            }
        }
        println!("{}", used() - before);
    }
}

/// Returns a number below [`MANY`], in a pseudo-random order that the processor cannot predict.
fn random(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap() % MANY
}

/// Returns the CPU time of all threads of this process, in nanoseconds.
fn used() -> u64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Returns the greatest memory use of this process so far, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
