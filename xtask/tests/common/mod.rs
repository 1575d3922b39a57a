//! Functions that read Rust sources, for the tests that compare them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns the text of a literal.
pub(crate) fn literal(expression: &syn::Expr) -> Option<String> {
    match expression {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

/// Returns the properties in `#[strum(props(..))]`. Other arguments of `strum` are ignored.
pub(crate) fn properties(attributes: &[syn::Attribute]) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("strum")) {
        let read = attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("props") {
                return meta.value()?.parse::<syn::Expr>().map(drop);
            }
            meta.parse_nested_meta(|property| {
                let name = property.path.require_ident()?.to_string();
                properties.insert(name, property.value()?.parse::<syn::LitStr>()?.value());
                Ok(())
            })
        });
        read.unwrap_or_else(|error| panic!("{error}"));
    }
    properties
}

/// Returns all files with Rust code in a folder.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
