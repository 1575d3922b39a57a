//! The notices of the third-party code in the program.
//!
//! Most licences require that their text and the copyright notice accompany the program. The texts are the licence
//! files in the sources of each crate. Crates with equal texts share one section.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::dependencies::Dependency;
use super::release::Part;

/// The beginnings of the names of files with licences and notices, in lower case.
const NAMES: [&str; 6] = ["license", "licence", "copying", "copyright", "notice", "unlicense"];

/// Returns the text of `THIRD-PARTY.txt`.
pub(super) fn notices(dependencies: &[Dependency], toolchain: &[Part]) -> Result<String> {
    let mut list = String::from("The program certbound contains the code of these projects.\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for dependency in dependencies.iter().filter(|dependency| dependency.checksum.is_some()) {
        let name = format!("{} {}", dependency.id.name, dependency.id.version);
        let repository = dependency.repository.as_deref().unwrap_or("no repository");
        writeln!(list, "{name}: {} ({repository})", dependency.licence)?;
        let files = files(&dependency.sources)?;
        if files.is_empty() {
            let authors = match dependency.authors.join(", ") {
                authors if authors.is_empty() => repository.to_owned(),
                authors => authors,
            };
            writeln!(list, "    The crate contains no licence file. Its authors: {authors}")?;
        }
        for file in files {
            texts.entry(read(&file)?).or_default().push(name.clone());
        }
    }
    for part in toolchain {
        let name = format!("{} {}", part.name, part.version);
        writeln!(list, "{name}: {}", part.licence)?;
        for file in &part.texts {
            texts.entry(read(file)?).or_default().push(name.clone());
        }
    }
    let mut sections: Vec<(Vec<String>, String)> =
        texts.into_iter().map(|(text, names)| (names, text)).collect();
    sections.sort();
    for (names, text) in sections {
        let line = "=".repeat(80);
        write!(list, "\n{line}\n{}\n{line}\n\n{}\n", names.join(", "), text.trim_end())?;
    }
    Ok(list)
}

/// Returns the files with licences and notices in the folder of a crate.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("could not read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let is_source = name.ends_with(".rs") || name.ends_with(".toml");
        if path.is_file() && !is_source && NAMES.iter().any(|beginning| name.starts_with(beginning)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a text and makes its line ends equal, so that equal texts of different systems share one section.
fn read(file: &Path) -> Result<String> {
    let text = fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    Ok(String::from_utf8_lossy(&text).replace("\r\n", "\n").trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::dependencies::Id;
    use super::*;

    fn dependency(name: &str, sources: &Path) -> Dependency {
        Dependency {
            id: Id { name: name.to_owned(), version: "1.0.0".to_owned() },
            licence: "MIT".to_owned(),
            repository: None,
            authors: vec!["A. Author".to_owned()],
            sources: sources.to_owned(),
            checksum: Some("aa".to_owned()),
            uses: Vec::new(),
        }
    }

    #[test]
    fn crates_with_equal_texts_share_a_section_and_a_crate_without_a_text_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let crates = ["one", "two", "three", "none"].map(|name| {
            let sources = folder.path().join(name);
            fs::create_dir(&sources).unwrap();
            dependency(name, &sources)
        });
        fs::write(crates[0].sources.join("LICENSE-MIT"), "Copyright A\n").unwrap();
        fs::write(crates[1].sources.join("license.txt"), "Copyright A\r\n").unwrap();
        fs::write(crates[2].sources.join("COPYING"), "Copyright B\n").unwrap();
        fs::write(crates[2].sources.join("license.rs"), "mod license;\n").unwrap();
        let notices = notices(&crates, &[]).unwrap();
        assert!(notices.contains("\none 1.0.0, two 1.0.0\n"), "{notices}");
        assert!(notices.contains("\nthree 1.0.0\n"), "{notices}");
        assert!(notices.contains("none 1.0.0: MIT (no repository)\n    The crate contains no licence file. Its authors: A. Author\n"));
        assert_eq!(notices.matches("Copyright A").count(), 1);
        assert!(!notices.contains("mod license"));
    }

    #[test]
    fn crates_of_this_workspace_are_not_third_party() {
        let folder = tempfile::tempdir().unwrap();
        let mut ours = dependency("ours", folder.path());
        ours.checksum = None;
        assert!(!notices(&[ours], &[]).unwrap().contains("ours"));
    }
}
