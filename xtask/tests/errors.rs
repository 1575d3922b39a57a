//! Tests that every variant of every error has its code and its advice. The test reads the sources.
//!
//! A variant has its code and advice in `#[strum(props(code = "...", fix = "..."))]`, in an arm of the method that
//! names the variant, or by a default of the method (`unwrap_or`). Without this test a forgotten text would be empty at
//! run time.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests; clippy excuses only the test functions themselves"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::visit::{self, Visit};

use self::common::{literal, properties, rust_files};

/// The methods that are checked. Each method's name is also the name of its property.
const METHODS: [&str; 3] = ["code", "description", "fix"];

#[test]
fn every_variant_of_every_error_has_its_code_and_its_fix() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for package in ["certbound", "certbound-core", "certbound-verifier", "certbound-cli"] {
        for file in rust_files(&crates.join(package).join("src")) {
            let checked = check(&fs::read_to_string(&file).unwrap());
            found.extend(
                checked.violations.iter().map(|violation| format!("{}: {violation}", file.display())),
            );
            seen.extend(checked.enums);
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    for name in ["Error", "Misuse", "PlatformError", "TransportError", "EndpointError", "Refusal", "Usage"] {
        assert!(seen.contains(name), "{name} was not looked at");
    }
    assert!(seen.len() > 25, "only {} enums were looked at", seen.len());
}

#[test]
fn a_variant_without_a_code_or_a_fix_is_found() {
    let with = |variants: &str, code: &str| {
        check(&format!(
            "enum E {{ {variants} }} impl E {{ fn code(&self) -> &'static str {{ {code} }} \
             fn fix(&self) -> &'static str {{ self.get_str(\"fix\").unwrap_or_default() }} }}"
        ))
        .violations
    };
    const A: &str = r#"#[strum(props(code = "a", fix = "do"))] A,"#;
    let read = r#"self.get_str("code").unwrap_or_default()"#;
    let none: Vec<String> = Vec::new();

    assert_eq!(with(A, read), none);
    assert_eq!(with(r#"#[strum(props(code = "a"))] #[strum(props(fix = "do"))] A(u8),"#, read), none);
    assert_eq!(with(r#"#[strum(props(fix = "do"))] A,"#, read), ["E::A has no code"]);
    assert_eq!(with(r#"#[strum(props(code = "a"))] A,"#, read), ["E::A has no fix"]);
    assert_eq!(with(&format!("{A} B"), read), ["E::B has no code", "E::B has no fix"]);
    assert_eq!(with(r#"#[strum(props(code = "a", fix = ""))] A,"#, read), ["E::A: its fix is empty"]);
    assert_eq!(
        with(r#"#[strum(props(code = "a", fix = "do", fxi = "do"))] A,"#, read),
        ["E::A: no method reads its `fxi`"]
    );

    let b = format!("{A} #[strum(props(fix = \"do\"))] B(Inner)");
    let arm = |arm: &str| format!("match self {{ {arm}, _ => {read} }}");
    assert_eq!(with(&b, &arm("Self::B(inner) => inner.code()")), none);
    assert_eq!(with(&b, &arm("Self::B(Inner::Rare) => \"rare\"")), ["E::B has no code"]);
    assert_eq!(with(&b, &arm("Self::B(RARE) => \"rare\"")), ["E::B has no code"]);
    assert_eq!(with(&b, &arm("Self::B(inner) if inner.is_rare() => \"rare\"")), ["E::B has no code"]);
    assert_eq!(with(&b, "match self { Self::A => \"a\", _ => \"b\" }").last().unwrap(), "E::B has no code");
    assert_eq!(with(&b, r#"self.get_str("code").unwrap_or("b")"#), none);
    assert_eq!(with(&b, r#"self.get_str("cod").unwrap_or("b")"#), ["E::code reads `cod`"]);
    assert_eq!(
        with(A, &arm("Self::A => \"other\"")),
        ["E::A has a code that is never read: an arm names the variant"]
    );
}

/// The result of checking one file.
struct Checked {
    enums: Vec<String>,
    violations: Vec<String>,
}

fn check(source: &str) -> Checked {
    let file = syn::parse_file(source).unwrap_or_else(|error| panic!("{error}"));
    let mut items = Items::default();
    items.visit_file(&file);
    let mut checked = Checked { enums: Vec::new(), violations: Vec::new() };
    for (name, methods) in &items.methods {
        let Some(item) = items.enums.get(name) else { continue };
        checked.enums.push(name.clone());
        for (method, body) in methods {
            checked.violations.extend(
                body.read
                    .iter()
                    .filter(|read| *read != method)
                    .map(|read| format!("{name}::{method} reads `{read}`")),
            );
        }
        for variant in &item.variants {
            let properties = properties(&variant.attrs);
            let variant = variant.ident.to_string();
            for key in properties.keys().filter(|key| !methods.contains_key(*key)) {
                checked.violations.push(format!("{name}::{variant}: no method reads its `{key}`"));
            }
            for (method, body) in methods {
                let is_named = body.named.contains(&variant);
                let problem = match properties.get(method) {
                    Some(text) if text.trim().is_empty() => format!(": its {method} is empty"),
                    Some(_) if is_named => {
                        format!(" has a {method} that is never read: an arm names the variant")
                    }
                    None if !is_named && !body.gives_to_all() => format!(" has no {method}"),
                    _ => continue,
                };
                checked.violations.push(format!("{name}::{variant}{problem}"));
            }
        }
    }
    checked
}

/// The enums of a file, and the checked methods of each type.
#[derive(Default)]
struct Items {
    enums: BTreeMap<String, syn::ItemEnum>,
    methods: BTreeMap<String, BTreeMap<String, Body>>,
}

impl<'ast> Visit<'ast> for Items {
    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.enums.insert(item.ident.to_string(), item.clone());
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let syn::Type::Path(of) = &*item.self_ty else { return };
        let (Some(of), true) = (of.path.get_ident(), item.trait_.is_none()) else { return };
        for member in &item.items {
            if let syn::ImplItem::Fn(method) = member
                && METHODS.iter().any(|name| method.sig.ident == name)
            {
                let mut body = Body::default();
                body.visit_block(&method.block);
                self.methods.entry(of.to_string()).or_default().insert(method.sig.ident.to_string(), body);
            }
        }
    }
}

/// The facts about a method's body.
#[derive(Default)]
struct Body {
    /// The variants that an arm names without a condition. A guard, or a constant in the pattern, is a condition.
    named: BTreeSet<String>,
    /// The properties that the method reads.
    read: Vec<String>,
    has_default: bool,
    has_match: bool,
}

impl Body {
    /// Returns whether every variant gets a text from the method: a constant or a default.
    fn gives_to_all(&self) -> bool {
        self.has_default || (!self.has_match && self.read.is_empty())
    }
}

impl<'ast> Visit<'ast> for Body {
    fn visit_expr_match(&mut self, expression: &'ast syn::ExprMatch) {
        self.has_match = true;
        for arm in &expression.arms {
            let alternatives = match &arm.pat {
                syn::Pat::Or(or) => or.cases.iter().collect(),
                one => vec![one],
            };
            self.named.extend(alternatives.into_iter().filter_map(whole_variant));
        }
        visit::visit_expr_match(self, expression);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let text = call.args.first().and_then(literal);
        if call.method == "get_str" {
            self.read.extend(text);
        } else if call.method == "unwrap_or" {
            self.has_default |= text.is_some_and(|text| !text.is_empty());
        }
        visit::visit_expr_method_call(self, call);
    }
}

/// Returns the variant that a pattern matches with any value of its fields.
fn whole_variant(pattern: &syn::Pat) -> Option<String> {
    let takes_all = |pattern: &syn::Pat| {
        matches!(pattern, syn::Pat::Wild(_) | syn::Pat::Rest(_))
            || matches!(pattern, syn::Pat::Ident(name) if name.subpat.is_none() && is_lower(&name.ident))
    };
    let (path, whole) = match pattern {
        syn::Pat::Path(pattern) => (&pattern.path, true),
        syn::Pat::TupleStruct(pattern) => (&pattern.path, pattern.elems.iter().all(takes_all)),
        syn::Pat::Struct(pattern) => {
            (&pattern.path, pattern.fields.iter().all(|field| takes_all(&field.pat)))
        }
        _ => return None,
    };
    whole.then(|| path.segments.last().map(|segment| segment.ident.to_string())).flatten()
}

/// Returns whether an identifier in a pattern is a binding. A constant, which is written in capitals, is a condition.
fn is_lower(name: &syn::Ident) -> bool {
    !name.to_string().starts_with(char::is_uppercase)
}
