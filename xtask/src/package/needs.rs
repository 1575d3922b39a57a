//! Reads the shared libraries and the version of glibc that a program needs.

use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::capture;

/// A version of glibc, such as 2.17.
pub(super) type Glibc = (u32, u32);

/// The needs of a program at run time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Needs {
    /// The names of the shared libraries, such as `libc.so.6`.
    pub(super) libraries: Vec<String>,
    /// The newest version among the needed symbols of glibc, or `None` for a static program.
    pub(super) glibc: Option<Glibc>,
    /// The path of the dynamic linker, or `None` for a static program.
    pub(super) linker: Option<String>,
}

impl Needs {
    /// Reads the needs of `program` by `readelf`.
    pub(super) fn of(program: &Path) -> Result<Self> {
        let mut readelf = Command::new("readelf");
        readelf.args(["--wide", "--dynamic", "--version-info", "--program-headers"]).arg(program);
        let printed = capture(readelf.env("LC_ALL", "C")).context("package: readelf (Debian: binutils)")?;
        Ok(Self::parse(&printed))
    }

    fn parse(printed: &str) -> Self {
        let in_brackets = |line: &str| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned());
        let libraries =
            printed.lines().filter(|line| line.contains("(NEEDED)")).filter_map(in_brackets).collect();
        let linker = printed.lines().filter_map(|line| line.split_once("Requesting program interpreter: "));
        let linker = linker.map(|(_, path)| path.trim_end_matches(']').to_owned()).next();
        let symbols = printed.split_whitespace().filter_map(|word| word.strip_prefix("GLIBC_"));
        Self { libraries, glibc: symbols.filter_map(version).max(), linker }
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.glibc {
            Some((major, minor)) => {
                write!(f, "needs glibc {major}.{minor} and {}", self.libraries.join(", "))
            }
            None => f.write_str("static"),
        }
    }
}

/// Reads `2.17` or `2.2.5`. The third number is ignored, because no two releases of a distribution differ only in this
/// number.
fn version(text: &str) -> Option<Glibc> {
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These lines have the format of readelf 2.40 for a program that zig linked.
    const PRINTED: &str = "\
      [Requesting program interpreter: /lib64/ld-linux-x86-64.so.2]
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]
 0x0000000000000001 (NEEDED)             Shared library: [libpthread.so.0]
 0x000000000000000e (SONAME)             Library soname: [not-needed.so]
Version needs section '.gnu.version_r' contains 2 entries:
  0x0010:   Name: GLIBC_2.2.5  Flags: none  Version: 4
  0x0020:   Name: GLIBC_2.17  Flags: none  Version: 3
  0x0030:   Name: GLIBC_2.4  Flags: none  Version: 2
  0x0040:   Name: GLIBC_PRIVATE  Flags: none  Version: 5
";

    #[test]
    fn the_newest_symbol_determines_the_glibc() {
        let needs = Needs::parse(PRINTED);
        assert_eq!(needs.glibc, Some((2, 17)), "17 is more than 4, though \"4\" is more than \"17\"");
        assert_eq!(needs.libraries, ["libc.so.6", "libpthread.so.0"]);
        assert_eq!(needs.linker.as_deref(), Some("/lib64/ld-linux-x86-64.so.2"));
    }

    #[test]
    fn a_static_program_needs_nothing() {
        let needs = Needs::parse("There is no dynamic section in this file.\n");
        assert_eq!(needs, Needs { libraries: Vec::new(), glibc: None, linker: None });
    }
}
