//! The check of a crate's floors. The crate's `lib.rs` contains the drawing. A module must not import from its own
//! floor or from floors above.
//!
//! A drawing is a `text` block in the crate's documentation. The line of a floor begins with the number of the floor,
//! the highest first, and then names the modules on this floor (`cache/`, `clock.rs`). Every file under `cache/`
//! belongs to the module `cache`. Code that is built only for tests may import from everywhere.

mod drawing;
mod imports;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use self::drawing::Drawing;

/// Checks the crates whose `lib.rs` has a drawing. Returns one sentence for each violation.
pub(crate) fn violations(root: &Path) -> Result<Vec<String>> {
    let crates = root.join("crates");
    let mut found = Vec::new();
    for entry in fs::read_dir(&crates).with_context(|| format!("could not list {}", crates.display()))? {
        let source = entry?.path().join("src");
        let library = source.join("lib.rs");
        let Ok(text) = fs::read_to_string(&library) else { continue };
        if let Some(drawing) = Drawing::read(&text)? {
            found.extend(of_crate(&source, &drawing)?);
        }
    }
    found.sort();
    Ok(found)
}

fn of_crate(source: &Path, drawing: &Drawing) -> Result<Vec<String>> {
    let name = source.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    let modules = modules(source)?;
    let mut found = Vec::new();
    for module in modules.keys().filter(|module| drawing.floor(module).is_none()) {
        found.push(format!("{name}: the drawing in lib.rs does not contain `{module}`"));
    }
    for module in drawing.modules().filter(|module| !modules.contains_key(*module)) {
        found.push(format!("{name}: the drawing in lib.rs contains `{module}`, which does not exist"));
    }
    for (module, files) in &modules {
        let Some(floor) = drawing.floor(module) else { continue };
        for file in files {
            let path = file.strip_prefix(source).unwrap_or(file);
            let text =
                fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))?;
            let imported = imports::of_file(path, &text)
                .with_context(|| format!("could not parse {}", file.display()))?;
            for import in imported {
                // A path that does not begin with a module of the crate begins with a name in `lib.rs`.
                let (of, to) = match drawing.floor(&import.module) {
                    Some(other) => (import.module.as_str(), other),
                    None => ("lib", usize::MAX),
                };
                if of != module && to >= floor {
                    found.push(format!(
                        "{name}: {} imports `{}`, which is not on a lower floor: {module} is on floor {floor}, {of} is {}",
                        path.display(),
                        import.path,
                        if to == usize::MAX { "above all floors".to_owned() } else { format!("on floor {to}") },
                    ));
                }
            }
        }
    }
    Ok(found)
}

/// Returns the files of each module at the crate's root, without `lib.rs`, `main.rs` and tests.
fn modules(source: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>> {
    let mut modules: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(source).with_context(|| format!("could not list {}", source.display()))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            modules.entry(name).or_default().extend(crate::layering::rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !["lib", "main", "tests"].contains(&name.as_str())
        {
            modules.entry(name).or_default().push(path);
        }
    }
    modules.remove("tests");
    Ok(modules)
}
