//! The facts of a release, which all its files share.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::build::Built;
use super::dependencies::{self, Dependency};
use super::needs::Needs;
use super::tree::{PROGRAM, Tree};
use crate::process::{capture, cargo, say};

/// The name of the file with the checksums.
pub(super) const CHECKSUMS: &str = "SHA256SUMS";

/// A part of the toolchain whose code the program contains.
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) version: String,
    pub(super) licence: &'static str,
    /// The files with its licence.
    pub(super) texts: Vec<PathBuf>,
}

pub(super) struct Release {
    pub(super) root: PathBuf,
    pub(super) out: PathBuf,
    pub(super) version: String,
    /// The hash of the commit. It ends with `-dirty` if the sources differ from the commit.
    pub(super) commit: String,
    /// The time of all files, in seconds since 1970: `SOURCE_DATE_EPOCH`, or the time of the commit.
    pub(super) epoch: u64,
    /// The same time in the format of RFC 3339.
    pub(super) date: String,
    /// The program without symbols.
    pub(super) program: PathBuf,
    pub(super) needs: Needs,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) toolchain: Vec<Part>,
    /// The notices of Rust's standard library.
    pub(super) rust_notices: PathBuf,
}

impl Release {
    pub(super) fn new(root: &Path, out: &Path, built: Built) -> Result<Self> {
        let git = |arguments: &[&str]| -> Result<String> {
            let printed = capture(Command::new("git").current_dir(root).args(arguments))?;
            Ok(printed.trim().to_owned())
        };
        let commit = git(&["describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"])?;
        let epoch = match env::var("SOURCE_DATE_EPOCH") {
            Ok(epoch) => epoch,
            Err(_) => git(&["log", "-1", "--format=%ct"])?,
        };
        let epoch: u64 = epoch.parse().with_context(|| format!("package: SOURCE_DATE_EPOCH `{epoch}`"))?;
        let program = strip(&built.program, &out.join("work/program"))?;
        let needs = Needs::of(&program)?;
        say(&format!("package: the program: {}, {needs}", size(&program)?));
        Ok(Self {
            root: root.to_owned(),
            out: out.to_owned(),
            version: version(root)?,
            commit,
            date: rfc3339(epoch)?,
            epoch,
            program,
            needs,
            dependencies: dependencies::of_program(root)?,
            toolchain: toolchain(root, built.zig.as_deref())?,
            rust_notices: rust_notices(root)?,
        })
    }

    /// The name of the files: `certbound-VERSION-x86_64-linux-gnu`.
    pub(super) fn name(&self) -> String {
        format!("certbound-{}-x86_64-linux-gnu", self.version)
    }

    /// Writes the checksums of all files in the folder, including the files of earlier runs, in the format of
    /// sha256sum.
    pub(super) fn write_checksums(&self) -> Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.out)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_file() && name != CHECKSUMS {
                names.push(name);
            }
        }
        names.sort();
        let sums = capture(Command::new("sha256sum").current_dir(&self.out).arg("--").args(&names))?;
        fs::write(self.out.join(CHECKSUMS), sums).context("package: SHA256SUMS")
    }
}

/// Returns the SHA-256 of a file in hexadecimal.
pub(super) fn sha256(file: &Path) -> Result<String> {
    let printed = capture(Command::new("sha256sum").arg("--").arg(file))?;
    printed.split_whitespace().next().map(str::to_owned).context("package: sha256sum printed nothing")
}

/// Returns the size of a file in MiB, as text for people.
pub(super) fn size(file: &Path) -> Result<String> {
    let bytes = fs::metadata(file).with_context(|| format!("could not read {}", file.display()))?.len();
    // The first digit after the point is enough, and integers need no rounding.
    let tenths = bytes * 10 / (1 << 20);
    Ok(format!("{}.{} MiB", tenths / 10, tenths % 10))
}

/// Copies the program without its symbols.
fn strip(program: &Path, folder: &Path) -> Result<PathBuf> {
    let folder = Tree::new(folder.to_owned())?;
    let copy = folder.copy(program, "certbound", PROGRAM)?;
    capture(Command::new("strip").args(["--strip-all", "--remove-section=.comment", "--"]).arg(&copy))
        .context("package: strip (Debian: binutils)")?;
    Ok(copy)
}

fn version(root: &Path) -> Result<String> {
    let printed = capture(cargo(root).args(["pkgid", "--locked", "--package", "certbound-cli"]))?;
    let (_, version) =
        printed.trim().rsplit_once(['#', '@']).context("package: the output of `cargo pkgid`")?;
    Ok(version.to_owned())
}

fn toolchain(root: &Path, zig: Option<&Path>) -> Result<Vec<Part>> {
    let printed = capture(Command::new("rustc").current_dir(root).arg("--version"))?;
    let rust = printed.split_whitespace().nth(1).context("package: the version of rustc")?.to_owned();
    let licence = "MIT OR Apache-2.0";
    let mut parts = vec![Part { name: "rust-std", version: rust, licence, texts: Vec::new() }];
    if let Some(zig) = zig {
        let printed = capture(Command::new(zig.join("zig")).arg("version"))?;
        parts.push(Part {
            name: "zig-libunwind-and-compiler-rt",
            version: printed.trim().to_owned(),
            licence: "MIT AND (Apache-2.0 WITH LLVM-exception)",
            texts: vec![zig.join("LICENSE"), zig.join("lib/libunwind/LICENSE.TXT")],
        });
    }
    Ok(parts)
}

fn rust_notices(root: &Path) -> Result<PathBuf> {
    let sysroot = capture(Command::new("rustc").current_dir(root).args(["--print", "sysroot"]))?;
    let notices = Path::new(sysroot.trim()).join("share/doc/rust/COPYRIGHT-library.html");
    fs::metadata(&notices).with_context(|| {
        format!("package: {} is missing; rustup's toolchains contain it", notices.display())
    })?;
    Ok(notices)
}

/// Returns a time as `2026-11-30T00:00:00Z`.
fn rfc3339(epoch: u64) -> Result<String> {
    let mut date = Command::new("date");
    date.args(["--utc", "--date", &format!("@{epoch}"), "+%Y-%m-%dT%H:%M:%SZ"]);
    Ok(capture(&mut date)?.trim().to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::dependencies::Id;
    use super::*;

    /// A release without files.
    pub(in super::super) fn release() -> Release {
        let id = |name: &str, version: &str| Id { name: name.to_owned(), version: version.to_owned() };
        let parser = id("toml_parser", "1.0.6+spec-1.1.0");
        let dependency = |id: Id, checksum: Option<String>, uses: Vec<Id>| Dependency {
            id,
            licence: "MIT".to_owned(),
            repository: None,
            authors: Vec::new(),
            sources: PathBuf::from("/sources"),
            checksum,
            uses,
        };
        let client = id("certbound", "0.1.0");
        Release {
            root: PathBuf::from("/root"),
            out: PathBuf::from("/out"),
            version: "0.1.0".to_owned(),
            commit: "0123456789".to_owned(),
            epoch: 1_796_000_000,
            date: "2026-11-30T00:53:20Z".to_owned(),
            program: PathBuf::from("/out/certbound"),
            needs: Needs {
                libraries: vec!["libc.so.6".to_owned()],
                glibc: Some((2, 17)),
                linker: Some("/lib64/ld-linux-x86-64.so.2".to_owned()),
            },
            dependencies: vec![
                dependency(client.clone(), None, vec![parser.clone()]),
                dependency(id("certbound-cli", "0.1.0"), None, vec![client]),
                dependency(parser, Some("ab".repeat(32)), Vec::new()),
            ],
            toolchain: vec![Part {
                name: "rust-std",
                version: "1.95.0".to_owned(),
                licence: "MIT OR Apache-2.0",
                texts: Vec::new(),
            }],
            rust_notices: PathBuf::from("/notices.html"),
        }
    }

    #[test]
    fn the_date_is_in_utc() {
        assert_eq!(rfc3339(1_796_000_000).unwrap(), "2026-11-30T00:53:20Z");
    }
}
