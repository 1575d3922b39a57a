//! The parts of `std` that `certbound-core` may not use. This list includes modules. The lists in the core's
//! `clippy.toml` contain types and functions, which clippy finds even under a different name. These lists cannot
//! contain modules.

use anyhow::Result;

use crate::paths;

/// The paths that the core must not use, each with the alternative.
const FORBIDDEN: [(&[&str], &str); 8] = [
    (&["std", "time", "SystemTime"], "time is an argument (`UnixTime`)"),
    (&["std", "time", "Instant"], "time is an argument (`UnixTime`)"),
    (&["std", "time", "UNIX_EPOCH"], "time is an argument (`UnixTime`)"),
    (&["std", "fs"], "the caller reads files and passes bytes"),
    (&["std", "net"], "the core has no socket; address types are in `core::net`"),
    (&["std", "env"], "settings are arguments"),
    (&["std", "thread"], "the core has no threads"),
    (&["std", "process"], "the core starts no programs"),
];

/// Returns every use of a forbidden path, or of a module or glob that contains a forbidden path, each with the
/// alternative.
pub(crate) fn forbidden_uses(source: &str) -> Result<Vec<(String, &'static str)>> {
    let found = paths::of_source(source, true)?;
    Ok(found.into_iter().filter_map(|found| judge(&found.parts)).collect())
}

fn judge(path: &[String]) -> Option<(String, &'static str)> {
    let named = path.strip_suffix(&["self".to_owned()]).unwrap_or(path);
    // A path that is shorter than a forbidden path is an import. It makes the forbidden path reachable under a
    // different name.
    let (_, instead) =
        FORBIDDEN.iter().find(|(forbidden, _)| forbidden.iter().zip(named).all(|(a, b)| a == b))?;
    Some((path.join("::"), instead))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Vec<String> {
        forbidden_uses(source).unwrap().into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn each_forbidden_path_is_found_however_it_is_written() {
        for (path, _) in FORBIDDEN {
            let (module, name) = (path[..path.len() - 1].join("::"), path[path.len() - 1]);
            let whole = format!("{module}::{name}");
            for source in [
                format!("use {whole};"),
                format!("use {whole} as a;"),
                format!("use {module}::{{b, {name} as a}};"),
                format!("use {module}::{{b, c::{{d}}, {name}}};"),
                format!("fn f() {{ g(::{whole}) }}"),
                format!("type A = Vec<{module} :: {name}>;"),
                format!("fn f() {{ g!(\"{{}}\", {whole}) }}"),
                format!("macro_rules! a {{ () => {{ use {module}::{{{name}}}; }} }}"),
                format!("#[cfg(test)] mod tests {{ use {whole}; }}"),
            ] {
                let found = found(&source);
                assert!(found.len() == 1 && whole.starts_with(&found[0]), "{source}: {found:?}");
            }
            assert_eq!(found(&format!("fn f() {{ {whole}::a() }}")), [format!("{whole}::a")]);
        }
    }

    #[test]
    fn imports_that_would_hide_one_are_found() {
        assert_eq!(found("use std::time;"), ["std::time"]);
        assert_eq!(found("use std::time::*;"), ["std::time"]);
        assert_eq!(found("use std::time::{self, Duration};"), ["std::time::self"]);
        assert_eq!(found("use std as s;"), ["std"]);
        assert_eq!(found("use std::*;"), ["std"]);
        assert_eq!(found("extern crate std as s;"), ["std"]);
    }

    #[test]
    fn comments_literals_and_harmless_paths_are_not() {
        for harmless in [
            "// std::fs::read",
            "/* std::fs /* nested */ std::env */ fn f() {}",
            "/// use std::thread;\nfn f() {}",
            "const A: &str = \"std::net\";",
            "const A: &str = r#\"a \" std::net\"#;",
            "const A: char = '\"'; const B: char = '\\''; fn f<'a>(a: &'a str) {} // std::fs",
            "use std::time::Duration; use std::{fmt, collections::HashMap};",
            "use core::net::IpAddr; use crate::std::fs;",
            "fn f() { std::mem::take(&mut std::sync::Arc::new(1)); let std = 1; g!(std, \"[::1] ::\"); }",
        ] {
            assert_eq!(found(harmless), Vec::<String>::new(), "{harmless}");
        }
        assert_eq!(found("const A: char = '\"'; use std::fs; // \""), ["std::fs"]);
    }
}
