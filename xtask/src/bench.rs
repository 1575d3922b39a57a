//! `cargo xtask bench`: measures every ratio that has a gate, and compares it with other libraries.

mod facts;
mod table;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use self::facts::Facts;
use crate::process::{cargo, locked, run as run_command, say};
use crate::strangers::{self, go};

/// The packages and their benchmarks, in the order of the table.
const BENCHES: [(&str, &str); 3] =
    [("certbound", "ratios"), ("certbound-verifier", "verify"), ("certbound-cli", "peers")];

/// Sets up the strangers as the tests do, runs all benchmarks, and prints one table of their results.
pub(crate) fn run(root: &Path) -> Result<()> {
    let strangers = strangers::set_up(root)?;
    let go = go::worker(root);
    if let Err(why) = &go {
        say(&format!("set-up: MSAL for Go is left out: {why:#}"));
    }
    let folder = root.join("target").join("bench");
    fs::create_dir_all(&folder)?;
    let (rows, result) = (folder.join("rows.jsonl"), folder.join("result.json"));
    fs::write(&rows, "")?;
    // If one benchmark fails, the others run all the same.
    let mut failed = Vec::new();
    for (package, bench) in BENCHES {
        let mut command = cargo(root);
        command
            .args(["bench", "-p", package, "--bench", bench])
            .args(locked(root))
            .env("CERTBOUND_BENCH_ROWS", &rows)
            .env("CERTBOUND_PYTHON", &strangers.python)
            .env("CERTBOUND_NODE", &strangers.node.interpreter)
            .env("CERTBOUND_NODE_PACKAGES", &strangers.node.packages);
        if let Ok(go) = &go {
            command.env("CERTBOUND_GO_WORKER", &go.worker);
        }
        failed.extend(run_command(&mut command).err());
    }
    let said = fs::read_to_string(&rows)?;
    let lines: Vec<Value> = said.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let facts = Facts::gather(root, &strangers, &go)?;
    print!("{}", table::markdown(&facts, &lines));
    let all = json!({ "about": facts.json(), "measured": lines });
    fs::write(&result, format!("{all:#}\n"))
        .with_context(|| format!("could not write {}", result.display()))?;
    println!("\nas JSON: {}", result.display());
    failed.into_iter().next().map_or(Ok(()), Err)
}
