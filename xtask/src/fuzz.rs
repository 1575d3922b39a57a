//! `cargo xtask fuzz`: runs random variations of inputs from untrusted peers.
//!
//! The command uses libFuzzer with the stable toolchain. A pass of the compiler, not a sanitizer, adds the coverage
//! counters.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{capture, cargo, on_path, run, say};
use crate::strangers::apt_install;

const TARGETS: [&str; 8] =
    ["token", "cnf", "jwks", "platform", "proxy_rfc9440", "proxy_envoy", "proxy_nginx", "proxy_app_service"];

/// The time for each target in CI, in seconds. It is long enough to show that the target runs and that its seeds pass.
const SMOKE: u64 = 20;

/// The flags that `cargo fuzz` sets for the coverage counters, and its `--cfg fuzzing`.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Runs every target for 20 seconds, with the same seed and without earlier findings, so that a failure is caused by
/// the change under test and not by chance.
pub(crate) fn smoke(root: &Path) -> Result<()> {
    let corpus = root.join("target").join("fuzz").join("smoke");
    if corpus.exists() {
        std::fs::remove_dir_all(&corpus).with_context(|| format!("could not empty {}", corpus.display()))?;
    }
    run_all(root, SMOKE, "-seed=1", &corpus)
}

/// Runs every target for this time, with a new seed each time. Stores new inputs in `target/fuzz/corpus`.
pub(crate) fn search(root: &Path, seconds: u64) -> Result<()> {
    let corpus = root.join("target").join("fuzz").join("corpus");
    // With seed 0 libFuzzer chooses a seed.
    run_all(root, seconds, "-seed=0", &corpus)
}

fn run_all(root: &Path, seconds: u64, seed: &str, corpus: &Path) -> Result<()> {
    if on_path("c++").is_none() {
        apt_install(&["g++"]).context("fuzz: libFuzzer is C++ and needs a compiler")?;
    }
    let version = capture(cargo(root).arg("-vV"))?;
    let Some(host) = version.lines().find_map(|line| line.strip_prefix("host: ")) else {
        bail!("fuzz: `cargo -vV` names no host");
    };
    let output = root.join("target").join("fuzz");
    // With --target, build scripts and procedural macros are not instrumented.
    run(cargo(root)
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(root.join("fuzz").join("Cargo.toml"))
        .args(["--target", host, "--target-dir"])
        .arg(&output)
        .env("RUSTFLAGS", FLAGS))?;
    let programs = output.join(host).join("release");
    let fuzz = |target: &str| -> Result<()> {
        let corpus = corpus.join(target);
        std::fs::create_dir_all(&corpus).with_context(|| format!("could not create {}", corpus.display()))?;
        run(Command::new(programs.join(target))
            .current_dir(&output)
            .arg(format!("-max_total_time={seconds}"))
            .arg(seed)
            .args(["-timeout=5", "-rss_limit_mb=1024", "-max_len=20000", "-verbosity=0", "-print_funcs=0"])
            .arg(&corpus)
            .arg(root.join("fuzz").join("seeds").join(target)))
    };
    // A target uses one processor.
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    for targets in TARGETS.chunks(at_once) {
        say(&format!("fuzz: {} for {seconds} s", targets.join(", ")));
        std::thread::scope(|scope| {
            let threads: Vec<_> = targets.iter().map(|target| scope.spawn(|| fuzz(target))).collect();
            let results = threads.into_iter().map(|thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            // Each target ends before the first failure is returned.
            results.collect::<Vec<_>>().into_iter().collect::<Result<()>>()
        })?;
    }
    Ok(())
}
