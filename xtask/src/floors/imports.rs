//! What a source file imports from its own crate.

use std::path::Path;

use anyhow::Result;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, UseTree};

/// One path into the crate.
#[derive(Debug, PartialEq)]
pub(super) struct Import {
    /// As from the crate's root, without `crate::`.
    pub(super) path: String,
    /// Its first part.
    pub(super) module: String,
}

/// Every path of the file that begins with `crate` or `super`, but for code that is built for tests alone.
pub(super) fn of_file(path: &Path, text: &str) -> Result<Vec<Import>> {
    let file = syn::parse_file(text)?;
    if file.attrs.iter().any(is_for_tests) || is_test_file(path) {
        return Ok(Vec::new());
    }
    let module = path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let mut found = Found { module, imports: Vec::new() };
    found.visit_file(&file);
    Ok(found.imports)
}

/// `tests.rs`, `arc_tests.rs` and what lies in a folder `tests` are modules that their parent builds for tests alone.
fn is_test_file(path: &Path) -> bool {
    let parts = path.with_extension("");
    parts.iter().any(|part| part.to_string_lossy().split('_').next_back() == Some("tests"))
}

fn is_for_tests(attribute: &Attribute) -> bool {
    let list = attribute.meta.require_list().ok().filter(|list| list.path.is_ident("cfg"));
    list.is_some_and(|list| list.tokens.to_string() == "test")
}

struct Found {
    /// Where the visitor is, from the crate's root.
    module: Vec<String>,
    imports: Vec<Import>,
}

impl Found {
    fn add(&mut self, parts: &[String]) {
        let absolute = match parts.first().map(String::as_str) {
            Some("crate") => parts[1..].to_vec(),
            Some("super") => {
                let up = parts.iter().take_while(|part| *part == "super").count();
                let base = self.module.len().saturating_sub(up);
                self.module[..base].iter().chain(&parts[up..]).cloned().collect()
            }
            _ => return,
        };
        if let Some(module) = absolute.first().cloned() {
            self.imports.push(Import { path: absolute.join("::"), module });
        }
    }

    fn add_tree(&mut self, tree: &UseTree, before: &[String]) {
        match tree {
            UseTree::Path(path) => {
                let parts = [before, &[path.ident.to_string()]].concat();
                self.add_tree(&path.tree, &parts);
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(tree, before)),
            UseTree::Name(name) => self.add(&[before, &[name.ident.to_string()]].concat()),
            UseTree::Rename(name) => self.add(&[before, &[name.ident.to_string()]].concat()),
            UseTree::Glob(_) => self.add(before),
        }
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !attributes.iter().any(is_for_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.add(&parts);
        visit::visit_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(file: &str, text: &str) -> Vec<String> {
        of_file(Path::new(file), text).unwrap().into_iter().map(|import| import.path).collect()
    }

    #[test]
    fn uses_and_paths_are_found_from_the_root() {
        let text =
            "use crate::a::{B, c::{self, D}};\nuse super::e;\nuse std::fmt;\nfn f() { crate::g::h() }\n";
        assert_eq!(paths("cache/key.rs", text), ["a::B", "a::c::self", "a::c::D", "cache::e", "g::h"]);
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
