//! The commands of this project for its developers, which run as `cargo xtask COMMAND`.

mod bench;
mod ci;
mod core_std;
mod deny;
mod fips;
mod floors;
mod fuzz;
mod layering;
mod oracle;
#[cfg(target_os = "linux")]
mod package;
mod paths;
mod process;
mod soak;
mod strangers;
mod test;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
Usage: cargo xtask COMMAND

  test                   install the programs that the tests need, then run all tests
  ci                     check formatting, layering, clippy, docs and dependencies; warnings are errors
  layering [--root DIR]  check the imports between packages and modules, and the parts of std that certbound-core uses
  fuzz [SECONDS]         run each fuzz target for SECONDS (600 before a release); default: 20, with a fixed seed
  oracle [SECONDS [SEED]]
                         compare the cache with a model in random operations, for SECONDS (default: 600)
  soak [SECONDS [SEED]]  run 200 tasks with rotations and random faults over TLS, and judge each result (default: 600 s;
                         60 s in CI)
  bench [--quick] [GROUP ...]
                         compare certbound with a baseline and with other libraries; fails if a gate is missed.
                         Groups of rows: hits, traces, memory, requests, retries, machine, decisions, starts (by default
                         all of them). --quick shows only that the benchmark works
  deny                   check the dependencies: licences, bans, sources, pre-releases and yanked versions
  fips                   build the command line with the FIPS module of AWS-LC, and run the demo and tests with it
  package [--out DIR] [--profile NAME | --program FILE] [archive] [deb] [image]
                         make the files of a release for x86-64 Linux in DIR (default: target/package): the archive, the
                         Debian package, the OCI image, and their checksums. --program packs a program that is built
  package check [--out DIR] [archive] [deb] [image]
                         install each of these files in a fresh root and run the demo there. Needs root and Debian
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["help"] | [.., "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        ["test"] => test::run_all(&workspace_root()?),
        ["ci"] => ci::run_all(&workspace_root()?),
        ["layering"] => layering::run(&workspace_root()?),
        ["layering", "--root", root] => layering::run(&PathBuf::from(root)),
        ["fips"] => fips::run_all(&workspace_root()?),
        ["fuzz"] => fuzz::smoke(&workspace_root()?),
        ["fuzz", seconds] => fuzz::search(&workspace_root()?, number(seconds)?),
        ["oracle"] => oracle::run_for(&workspace_root()?, oracle::LONG, None),
        ["oracle", seconds] => oracle::run_for(&workspace_root()?, number(seconds)?, None),
        ["oracle", seconds, seed] => {
            oracle::run_for(&workspace_root()?, number(seconds)?, Some(number(seed)?))
        }
        ["soak"] => soak::run_for(&workspace_root()?, soak::LONG, None),
        ["soak", seconds] => soak::run_for(&workspace_root()?, number(seconds)?, None),
        ["soak", seconds, seed] => soak::run_for(&workspace_root()?, number(seconds)?, Some(number(seed)?)),
        ["bench", arguments @ ..] => bench::run(&workspace_root()?, arguments),
        #[cfg(target_os = "linux")]
        ["package", arguments @ ..] => package::run(&workspace_root()?, arguments),
        ["deny"] => deny::run_all(&workspace_root()?),
        _ => bail!("not a command: `{}`\n\n{USAGE}", arguments.join(" ")),
    }
}

fn number(text: &str) -> Result<u64> {
    text.parse().with_context(|| format!("not a number: `{text}`"))
}

/// Returns the workspace's folder. The environment variable has priority, because a built xtask contains the old path
/// after a move of the checkout.
fn workspace_root() -> Result<PathBuf> {
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = package.parent().context("the folder of xtask has no parent")?;
    Ok(root.to_path_buf())
}
