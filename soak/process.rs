//! The resources that this process uses: memory, file descriptors and tasks.

use std::fs;

use tokio::runtime::Handle;

use crate::report::Report;

/// Samples of the resources in one part, one each second.
#[derive(Default)]
pub(crate) struct Samples {
    samples: Vec<Sample>,
    /// The resources after the part, without clients.
    pub(crate) idle: Sample,
}

/// The resources at one moment. A value is zero if the system does not show it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// The memory in RAM (RSS), in KiB.
    pub(crate) memory: usize,
    pub(crate) descriptors: usize,
    /// The tasks of the clients' runtime.
    pub(crate) tasks: usize,
}

impl Sample {
    /// Measures the resources now.
    pub(crate) fn now(clients: &Handle) -> Self {
        let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = pages.split(' ').nth(1).and_then(|text| text.parse::<usize>().ok());
        Self {
            memory: pages.unwrap_or(0) * rustix::param::page_size() / 1024,
            descriptors: fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            tasks: clients.metrics().num_alive_tasks(),
        }
    }
}

impl Samples {
    pub(crate) fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// Returns the last sample in words.
    pub(crate) fn last(&self) -> String {
        let Sample { memory, descriptors, tasks } = self.samples.last().copied().unwrap_or_default();
        format!("{} MiB, {descriptors} file descriptors, {tasks} tasks", memory / 1024)
    }

    /// Returns the median of the second half. It ignores peaks, and the time in which connections are opened.
    fn median(&self, value: Value) -> usize {
        let mut values: Vec<usize> = self.samples[self.samples.len() / 2..].iter().map(value).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    }
}

type Value = fn(&Sample) -> usize;

/// Compares the first part with the last part, and reports each resource that grew by more than its tolerance.
///
/// Both parts have the same load, so their resources differ only by chance: by the requests that an outage delays, by
/// the connections that are idle, and by the memory that the allocator has not returned. The tolerances are about twice
/// the largest difference that was seen without a leak. `part.rs` checks that no connection and no task is left after
/// the last client is dropped.
pub(crate) fn compare(parts: &[Samples], report: &Report) {
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return };
    let memory: Value = |sample| sample.memory;
    let rows = [
        ("memory under load, KiB", first.median(memory), last.median(memory), 20 * 1024),
        ("memory without clients, KiB", first.idle.memory, last.idle.memory, 20 * 1024),
        (
            "file descriptors under load",
            first.median(|it| it.descriptors),
            last.median(|it| it.descriptors),
            120,
        ),
        ("tasks under load", first.median(|it| it.tasks), last.median(|it| it.tasks), 200),
        ("file descriptors without clients", first.idle.descriptors, last.idle.descriptors, 0),
        ("tasks without clients", first.idle.tasks, last.idle.tasks, 0),
    ];
    println!("resources (in the first part, in the last part)");
    for (what, early, late, more) in rows {
        println!("  {what:<45} {early:>10} {late:>10}");
        if late > early + more {
            report.violated(format!(
                "{what}: {early} in the first part, {late} in the last part, allowed {}",
                early + more
            ));
        }
    }
}
