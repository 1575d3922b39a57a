//! One part of the soak: clients, tasks, faults and rotation, from their start to their end.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use certbound_emulator::Emulator;
use certbound_emulator::serve::Server;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::chance::Chance;
use crate::clock::FastClock;
use crate::oracle::Oracle;
use crate::process::{Sample, Samples};
use crate::report::Report;
use crate::subjects::{self, Subject};
use crate::{PARTS, certificates, faults, load};

const TASKS: u64 = 200;
/// The time between two readings of the journal. `SAMPLE` and `PROGRESS` are the numbers of readings between two
/// samples and between two lines of progress.
const TICK: Duration = Duration::from_millis(100);
const SAMPLE: u64 = 10;
const PROGRESS: u64 = 100;
/// The time in which connections and background tasks must end after the drop of the last client.
const FAREWELL: Duration = Duration::from_secs(10);

/// The inputs of one part.
pub(crate) struct Part<'a> {
    pub(crate) number: u64,
    pub(crate) seed: u64,
    pub(crate) clock: FastClock,
    pub(crate) emulator: &'a Arc<Emulator>,
    pub(crate) server: &'a Server,
    pub(crate) clients: &'a Runtime,
    pub(crate) report: &'a Arc<Report>,
}

impl Part<'_> {
    /// Runs the part, and returns the samples of its resources. `before` is a sample without clients.
    pub(crate) async fn run(&self, seconds: u64, before: Sample) -> Samples {
        let subjects = Arc::new(subjects::build(self.emulator, self.server, self.clock));
        let (emulator, report) = (Arc::clone(self.emulator), Arc::clone(self.report));
        let oracle = Arc::new(Oracle::new(self.clock, emulator, Arc::clone(&subjects), report));
        let mut drivers = JoinSet::new();
        drivers.spawn(faults::inject(self.chance(1), Arc::clone(self.emulator), Arc::clone(&oracle)));
        let (of_rotation, judge) = (Arc::clone(&subjects), Arc::clone(&oracle));
        let emulator = Arc::clone(self.emulator);
        drivers.spawn(certificates::rotate(self.chance(2), emulator, of_rotation, judge));
        drivers.spawn_on(load::watch_delays(Arc::clone(&oracle)), self.clients.handle());

        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for number in 0..TASKS {
            let (chance, stop) = (self.chance(1_000 + number), Arc::clone(&stop));
            let task = load::run(chance, Arc::clone(&subjects), Arc::clone(&oracle), stop);
            tasks.spawn_on(task, self.clients.handle());
        }
        let mut samples = Samples::default();
        for tick in 1..=seconds * 10 {
            self.judge_requests(&oracle).await;
            if tick % SAMPLE == 0 {
                samples.add(Sample::now(self.clients.handle()));
            }
            if tick % PROGRESS == 0 {
                self.print_progress(tick / 10, seconds, &samples);
            }
        }
        stop.store(true, Ordering::Relaxed);
        drivers.shutdown().await;
        self.emulator.clear_faults();
        self.end_tasks(tasks, &subjects, &oracle).await;
        // The oracle and the subjects own the clients.
        drop((oracle, subjects));
        samples.idle = self.without_clients(before).await;
        samples
    }

    fn chance(&self, number: u64) -> Chance {
        Chance::new(self.seed, self.number * 1_000_000 + number)
    }

    async fn judge_requests(&self, oracle: &Oracle) {
        tokio::time::sleep(TICK).await;
        oracle.judge(&self.emulator.take_journal());
    }

    fn print_progress(&self, now: u64, seconds: u64, samples: &Samples) {
        if std::io::stderr().is_terminal() {
            let of = |group| self.report.sum(group);
            eprintln!(
                "part {} of {PARTS}, {now} of {seconds} s: {} acquisitions, {} requests, {} faults, {} rotations, {}",
                self.number + 1,
                of("acquisitions"),
                of("requests"),
                of("faults"),
                of("rotations"),
                samples.last()
            );
        }
    }

    /// Waits until the tasks have ended, and judges their last requests.
    async fn end_tasks(&self, mut tasks: JoinSet<()>, subjects: &[Subject], oracle: &Oracle) {
        let limit = subjects.iter().map(|subject| subject.limit).max().unwrap_or_default();
        let all = async {
            while let Some(ended) = tasks.join_next().await {
                if let Err(error) = ended {
                    self.report.violated(format!("a task ended early: {error}"));
                }
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            self.report.violated(format!("a task did not end within {limit:?} after the end of the part"));
        }
        // The oracle judges an error only after it has read the journal of the next two seconds of its clock.
        for _ in 0..30 {
            self.judge_requests(oracle).await;
        }
    }

    /// Waits at most ten seconds for the end of the clients' tasks and connections, and reports the remaining tasks and
    /// connections.
    async fn without_clients(&self, before: Sample) -> Sample {
        let mut after = Sample::now(self.clients.handle());
        for _ in 0..FAREWELL.as_millis() / TICK.as_millis() {
            if after.tasks == 0 && after.descriptors <= before.descriptors {
                break;
            }
            tokio::time::sleep(TICK).await;
            after = Sample::now(self.clients.handle());
        }
        if after.tasks > 0 {
            self.report.violated(format!("{} tasks are left after the last client was dropped", after.tasks));
        }
        if after.descriptors > before.descriptors {
            let left = after.descriptors - before.descriptors;
            self.report
                .violated(format!("{left} file descriptors are left after the last client was dropped"));
        }
        after
    }
}
