//! MSAL for other languages. Each library runs in a process that reads its tasks from its input.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::harness::scaled;
use crate::sheet::{Side, side};

pub(crate) const NODE: &str = "MSAL for Node";
pub(crate) const GO: &str = "MSAL for Go";

/// A library: its name, the command of its process, and the number of times that it does each task in a round.
pub(crate) type Library = (&'static str, Vec<OsString>, [(&'static str, usize); 4]);

/// Returns the libraries that `cargo xtask bench` found.
pub(crate) fn installed() -> Vec<Library> {
    let turns = |hit, many| [("hit", hit), ("many", many), ("cold", 100), ("pair", 50)];
    let program = |variable: &str| std::env::var_os(variable);
    let script = |name: &str| OsString::from(format!("{}/peers/{name}", env!("CARGO_MANIFEST_DIR")));
    let python = program("CERTBOUND_PYTHON").map(|python| vec![python, script("msal_worker.py")]);
    let node = program("CERTBOUND_NODE").zip(program("CERTBOUND_NODE_PACKAGES"));
    let node = node.map(|(node, packages)| vec![node, script("msal_worker.mjs"), packages]);
    let go = program("CERTBOUND_GO_WORKER").map(|worker| vec![worker]);
    let libraries = [
        ("MSAL for Python", python, turns(5_000, 5_000)),
        (NODE, node, turns(3_000, 30)),
        (GO, go, turns(30_000, 200)),
    ];
    libraries.into_iter().filter_map(|(name, command, turns)| Some((name, command?, turns))).collect()
}

/// The running processes. A drop of this value ends them, because it closes their inputs.
pub(crate) struct Peers(Vec<Peer>);

struct Peer {
    name: &'static str,
    turns: [(&'static str, usize); 4],
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peers {
    pub(crate) fn start() -> Self {
        Self(installed().into_iter().map(Peer::start).collect())
    }

    /// Returns the sides of a comparison. Each process first does the task without measurement, to warm up.
    pub(crate) fn sides(&mut self, task: &'static str) -> impl Iterator<Item = Side<'_>> {
        self.0.iter_mut().map(move |peer| {
            let turns = peer.turns.iter().find(|(name, _)| *name == task).map_or(1, |(_, turns)| *turns);
            peer.run(task, scaled(turns) / 10 + 1);
            side(peer.name, move || peer.run(task, scaled(turns)))
        })
    }
}

impl Peer {
    fn start((name, command, turns): Library) -> Self {
        let mut process = Command::new(&command[0]);
        process.args(&command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = process.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { name, turns, _child: child, input, output }
    }

    /// Returns the CPU time of one task, in nanoseconds.
    fn run(&mut self, task: &str, turns: usize) -> f64 {
        writeln!(self.input, "{task} {turns}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let total: f64 = line.trim().parse().unwrap_or_else(|_| panic!("{} printed: {line}", self.name));
        total / turns as f64
    }
}
