//! Finds every path in a source file: in `use` trees, in code and in macros.
//!
//! The module parses the file but does not compile it, so it does not find names that other crates or macros define.

use anyhow::Result;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemExternCrate, ItemMod, ItemUse, Macro, UseTree};

/// A path with at least two parts, or the path of a `use` or an `extern crate`.
pub(crate) struct Found {
    /// The modules inside the file that contain the path.
    pub(crate) inside: Vec<String>,
    /// The parts as they are written. The path of a glob has the parts before the `*`.
    pub(crate) parts: Vec<String>,
}

/// Returns all paths of a file. Without `with_tests`, the function omits the paths in functions, impls, modules and
/// imports with `#[cfg(test)]`.
pub(crate) fn of_source(text: &str, with_tests: bool) -> Result<Vec<Found>> {
    let file = syn::parse_file(text)?;
    let mut paths = Paths { with_tests, inside: Vec::new(), found: Vec::new() };
    if !paths.leaves_out(&file.attrs) {
        paths.visit_file(&file);
    }
    Ok(paths.found)
}

struct Paths {
    with_tests: bool,
    inside: Vec<String>,
    found: Vec<Found>,
}

impl Paths {
    fn leaves_out(&self, attributes: &[Attribute]) -> bool {
        let is_for_tests = |attribute: &Attribute| {
            let list = attribute.meta.require_list().ok().filter(|list| list.path.is_ident("cfg"));
            list.is_some_and(|list| list.tokens.to_string() == "test")
        };
        !self.with_tests && attributes.iter().any(is_for_tests)
    }

    fn add(&mut self, parts: Vec<String>) {
        self.found.push(Found { inside: self.inside.clone(), parts });
    }

    fn add_tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_tree(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(tree, before)),
            UseTree::Name(name) => self.add(with(&name.ident)),
            UseTree::Rename(name) => self.add(with(&name.ident)),
            UseTree::Glob(_) => self.add(before.to_vec()),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &[],
        };
        if !self.leaves_out(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.inside.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.inside.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_tree(&item.tree, &[]);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast ItemExternCrate) {
        self.add(vec![item.ident.to_string()]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.add(path.segments.iter().map(|part| part.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    /// The input of a macro need not be Rust, so this function reads it word by word.
    fn visit_macro(&mut self, call: &'ast Macro) {
        let text = call.tokens.to_string().replace(" :: ", "::");
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        for word in text.split(|c| !is_part(c)).filter(|word| word.contains("::")) {
            let parts = word.split("::").filter(|part| !part.is_empty()).map(str::to_owned);
            let parts: Vec<String> = parts.collect();
            // A word may consist of two colons only, as in an IPv6 address.
            if !parts.is_empty() {
                self.add(parts);
            }
        }
        visit::visit_macro(self, call);
    }
}
