//! `cargo xtask package`: makes the files of a release.
//!
//! ```text
//!  build ─► needs ─► release ─► contents ─► archive │ deb │ image ─► SHA256SUMS
//!                                licences, sbom
//! ```
//!
//! `package check` installs each of these files in a fresh root and runs the demo there.

mod archive;
mod build;
mod check;
mod contents;
mod deb;
mod dependencies;
mod image;
mod licences;
mod needs;
mod release;
mod sbom;
mod tar;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use self::release::Release;
use crate::process::say;

/// The files that the command makes or checks, parsed from its arguments.
struct Options {
    out: PathBuf,
    profile: String,
    /// A program that is built already. Without it `build` builds the program.
    program: Option<PathBuf>,
    kinds: Vec<Kind>,
    check: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Archive,
    Deb,
    Image,
}

const ALL: [Kind; 3] = [Kind::Archive, Kind::Deb, Kind::Image];

/// Makes the files in `--out` (by default `target/package`), or checks the files that an earlier run made there.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<()> {
    let options = Options::parse(root, arguments)?;
    if options.check {
        return check::run(root, &options.out, &options.kinds);
    }
    let built = match options.program {
        Some(program) => build::given(program)?,
        None => build::program(root, &options.profile)?,
    };
    fs::create_dir_all(&options.out)
        .with_context(|| format!("could not create {}", options.out.display()))?;
    let release = Release::new(root, &options.out, built)?;
    let mut made = Vec::new();
    for kind in options.kinds {
        made.push(match kind {
            Kind::Archive => archive::make(&release)?,
            Kind::Deb => deb::make(&release)?,
            Kind::Image => image::make(&release)?,
        });
    }
    release.write_checksums()?;
    for file in made {
        say(&format!("package: {} ({})", file.display(), release::size(&file)?));
    }
    say(&format!("package: {}", options.out.join(release::CHECKSUMS).display()));
    Ok(())
}

impl Options {
    fn parse(root: &Path, arguments: &[&str]) -> Result<Self> {
        let mut options = Self {
            out: root.join("target/package"),
            profile: "release".to_owned(),
            program: None,
            kinds: Vec::new(),
            check: false,
        };
        let mut words = arguments.iter().copied();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("package: {word} needs a value"));
            match word {
                "check" => options.check = true,
                "archive" => options.kinds.push(Kind::Archive),
                "deb" => options.kinds.push(Kind::Deb),
                "image" => options.kinds.push(Kind::Image),
                "--out" => options.out = std::path::absolute(value()?)?,
                "--profile" => value()?.clone_into(&mut options.profile),
                "--program" => options.program = Some(std::path::absolute(value()?)?),
                _ => bail!(
                    "package: not an argument: `{word}` (archive, deb, image, check, --out, --profile, --program)"
                ),
            }
        }
        if options.kinds.is_empty() {
            options.kinds = ALL.to_vec();
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_select_what_is_made() {
        let root = Path::new("/root-of-the-workspace");
        let options = Options::parse(root, &[]).unwrap();
        assert_eq!(options.kinds, ALL);
        assert_eq!(options.profile, "release");
        assert_eq!(options.out, root.join("target/package"));
        let options = Options::parse(root, &["check", "deb", "--out", "/elsewhere", "image"]).unwrap();
        assert!(options.check);
        assert_eq!(options.kinds, [Kind::Deb, Kind::Image]);
        assert_eq!(options.out, Path::new("/elsewhere"));
    }

    #[test]
    fn unknown_arguments_and_missing_values_are_errors() {
        for wrong in [&["rpm"][..], &["--out"], &["--program"], &["deb", "--profile"], &["--Out", "/tmp"]] {
            assert!(Options::parse(Path::new("/"), wrong).is_err(), "{wrong:?}");
        }
    }
}
