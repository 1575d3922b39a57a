//! The imports of a source file from its own crate.

use std::path::Path;

use anyhow::Result;

use crate::paths::{self, Found};

/// A path into the crate.
#[derive(Debug, PartialEq)]
pub(super) struct Import {
    /// The path from the crate's root, without `crate::`.
    pub(super) path: String,
    /// The first part of the path.
    pub(super) module: String,
}

/// Returns every path of the file that begins with `crate` or `super`, except in code for tests only.
pub(super) fn of_file(path: &Path, text: &str) -> Result<Vec<Import>> {
    if is_test_file(path) {
        return Ok(Vec::new());
    }
    let module: Vec<String> =
        path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let found = paths::of_source(text, false)?;
    Ok(found.into_iter().filter_map(|found| from_root(&module, &found)).collect())
}

/// Returns whether a file is built only for tests: `tests.rs`, `arc_tests.rs` and the files in a folder `tests`.
fn is_test_file(path: &Path) -> bool {
    let parts = path.with_extension("");
    parts.iter().any(|part| part.to_string_lossy().split('_').next_back() == Some("tests"))
}

fn from_root(module: &[String], found: &Found) -> Option<Import> {
    let parts = &found.parts;
    let absolute = match parts.first()?.as_str() {
        "crate" => parts[1..].to_vec(),
        "super" => {
            let up = parts.iter().take_while(|part| *part == "super").count();
            let here = [module, &found.inside].concat();
            [&here[..here.len().saturating_sub(up)], &parts[up..]].concat()
        }
        _ => return None,
    };
    let module = absolute.first()?.clone();
    Some(Import { path: absolute.join("::"), module })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(file: &str, text: &str) -> Vec<String> {
        of_file(Path::new(file), text).unwrap().into_iter().map(|import| import.path).collect()
    }

    #[test]
    fn uses_and_paths_are_found_from_the_root() {
        let text = "use crate::a::{B, c::{self, D}};\nuse super::e;\nuse std::fmt;\nfn f() { crate::g::h(); i!(x, crate::j::K) }\n";
        assert_eq!(
            paths("cache/key.rs", text),
            ["a::B", "a::c::self", "a::c::D", "cache::e", "g::h", "j::K"]
        );
    }

    #[test]
    fn a_module_inside_a_file_is_one_step_further_down() {
        assert_eq!(
            paths("cache.rs", "mod inner { use super::super::error::E; use super::K; }"),
            ["error::E", "cache::K"]
        );
    }

    #[test]
    fn code_for_tests_imports_what_it_likes() {
        assert!(paths("cache.rs", "#[cfg(test)]\nmod tests { use crate::client::Client; }").is_empty());
        assert!(paths("cache/tests.rs", "use crate::client::Client;").is_empty());
        assert!(paths("cache/arc_tests.rs", "use crate::client::Client;").is_empty());
    }
}
