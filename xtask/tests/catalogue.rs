//! Tests that the catalogue has exactly the codes that the sources raise, each with the parts that raise it.
//!
//! The test reads the sources. A code is a property `code` of a variant, a result of a function `code` or `code_of_..`
//! that returns a text, or the second argument of `Failure::new`. In these functions and arguments the test understands
//! literals, `match`, `if`, and calls of other such functions. It fails on every other form: a code that it could not
//! read would be missing in the catalogue.
//!
//! The test does not check whether a variant with a code is constructed. A code whose variant nothing constructs counts as
//! raised.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests; clippy excuses only the test functions themselves"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use certbound_core::catalogue::{GROUPS, aadsts, aadsts_numbers};
use syn::visit::{self, Visit};

use self::common::{literal, properties, rust_files};

/// The files whose functions return a field `code`. The field has a code of the token service, or a result of `code_of`.
const FIELDS: [&str; 2] = ["certbound/src/error.rs", "certbound-verifier/src/answer.rs"];

/// Files with a function `code` that copies a code for the log, and raises none.
const COPYING: [&str; 1] = ["certbound-emulator/src/journal.rs"];

/// The functions of `Failure` that copy a code.
const COPIES: [&str; 2] = ["new", "shown"];

/// Integers of the size of AADSTS numbers that have another meaning: the capacity of the list of used assertions.
const OTHER_INTEGERS: [(u32, &str); 1] = [(100_000, "certbound-emulator/src/token_service/replay.rs")];

#[test]
fn the_catalogue_has_exactly_the_codes_that_are_raised() {
    let raised = raised_by_the_workspace();
    assert_eq!(raised.unreadable, Vec::<String>::new());
    assert!(raised.codes.len() > 200, "{}", raised.codes.len());
    let entries = GROUPS.iter().flat_map(|group| group.entries);
    let entries = entries.map(|it| (it.code, it.raised_by.iter().map(ToString::to_string).collect()));
    let wrong = compared(&raised.codes, &entries.collect());
    assert!(wrong.is_empty(), "correct crates/certbound-core/src/catalogue:\n{}", wrong.join("\n"));
}

/// Every integer of the size of an AADSTS number is taken for such a number, in files that mention them. The table may
/// have more numbers: those that only the real service sends.
#[test]
fn every_number_that_a_crate_uses_has_an_entry() {
    let mut found = BTreeSet::new();
    for package in
        ["certbound", "certbound-core", "certbound-verifier", "certbound-emulator", "certbound-cli"]
    {
        for (name, source) in sources(package) {
            if name.ends_with("catalogue/aadsts.rs") {
                continue;
            }
            if source.to_lowercase().contains("aadsts") || source.contains("refusal(") {
                found.extend(numbers(&source).into_iter().map(|number| (number, name.clone())));
            }
        }
    }
    assert!(found.len() > 60, "{}", found.len());
    let is_other = |number: u32, file: &str| OTHER_INTEGERS.contains(&(number, file));
    let is_unknown = |(number, file): &&(u32, String)| aadsts(*number).is_none() && !is_other(*number, file);
    let unknown: Vec<_> = found.iter().filter(is_unknown).collect();
    assert!(unknown.is_empty(), "the table of AADSTS numbers has no {unknown:?}");
}

#[test]
fn a_planted_code_and_a_planted_entry_are_found() {
    let entries = |codes: &[&'static str]| -> Entries {
        codes.iter().map(|code| (*code, BTreeSet::from(["client".to_owned()]))).collect()
    };
    let with = |source: &str, codes: &[&'static str]| {
        let mut raised = Raised::default();
        raised.read("certbound/src/a.rs", source);
        [raised.unreadable.clone(), compared(&raised.codes, &entries(codes))].concat()
    };
    let none: Vec<String> = Vec::new();
    const PROPERTY: &str = r#"enum E { #[strum(props(code = "a"))] A, #[strum(serialize = "c")] B }"#;
    assert_eq!(with(PROPERTY, &["a"]), none);
    assert_eq!(with(PROPERTY, &[]), ["`a` is raised by client and has no entry"]);
    assert_eq!(with(PROPERTY, &["a", "b"]), ["`b` has an entry, but nothing raises it"]);
    let of_test = format!("#[cfg(test)] mod tests {{ {PROPERTY} }}");
    assert_eq!(with(&of_test, &[]), none);

    let code = |body: &str| format!("impl E {{ fn code(&self) -> &'static str {{ {body} }} }}");
    for body in [
        r#""a""#,
        r#"self.get_str("code").unwrap_or("a")"#,
        r#"match self { Self::A(cause) => cause.code(), Self::B { x: "b" } => "a", _ => code_of(self) }"#,
        r#"if self.x { "a" } else { self.get_str("code").unwrap_or_default() }"#,
    ] {
        assert_eq!(with(&code(body), &["a"]), none, "{body}");
        assert_eq!(with(&code(body), &[]).len(), 1, "{body}");
    }
    // A function that returns an owned text is read too.
    for owned in ["String", "std::string::String", "Option<String>", "Cow<'static, str>"] {
        let code = |body: &str| format!("impl E {{ fn code(&self) -> {owned} {{ {body} }} }}");
        assert_eq!(with(&code(r#""a""#), &["a"]), none, "{owned}");
        assert_eq!(with(&code(r#""a".into()"#), &[]).len(), 1, "{owned}");
    }
    for body in [
        "CODE",
        "self.code",
        r#"concat!("a", "b")"#,
        r#"{ if self.x { return "a"; } "b" }"#,
        r#"self.get_str("cod").unwrap_or_default()"#,
        r#"names().first().unwrap_or(&"a")"#,
    ] {
        let found = with(&code(body), &["a", "b"]).join(" ");
        assert!(found.contains("certbound/src/a.rs: the test cannot read the code"), "{body}: {found}");
    }
}

#[test]
fn a_planted_failure_of_the_command_is_found() {
    let with = |source: &str| {
        let mut raised = Raised::default();
        raised.read("certbound-cli/src/a.rs", source);
        (raised.codes.into_keys().collect::<Vec<_>>().join(" "), raised.unreadable.len())
    };
    let read = |text: &str| (text.to_owned(), 0);
    let unread = (String::new(), 1);
    assert_eq!(with(r#"fn f() { g(|| Failure::new(1, "a", "b", "c")) }"#), read("a"));
    assert_eq!(with(r#"impl From<X> for Failure { fn f() { Self::new(1, "a", "b") } }"#), read("a"));
    assert_eq!(with(r#"impl Other { fn f() { Self::new(1, "a", "b") } }"#), read(""));
    assert_eq!(with(r#"fn f() { Failure::new(1, error.code(), "b") }"#), read(""));
    assert_eq!(with(r#"fn f() { Failure { code: "a", ..failure } }"#), read("a"));
    assert_eq!(with(r#"fn f() { let code = "a"; Failure::new(1, code, "b") }"#), unread);
    assert_eq!(with(r#"macro_rules! m { () => { Failure::new(1, "a", "b") } }"#), unread);
    assert_eq!(with(r#"macro_rules! m { () => { Self::new(1, error.code(), "b") } }"#), read(""));
}

#[test]
fn a_planted_number_is_found() {
    let source = "const A: [u32; 2] = [700_027, 5]; fn f() { refusal(700_028u32, x) }
        #[cfg(test)] mod tests { const B: u32 = 700_029; }";
    assert_eq!(numbers(source), [700_027, 700_028]);
}

/// The entries of the catalogue: each code with the names of the parts that raise it.
type Entries = BTreeMap<&'static str, BTreeSet<String>>;

/// Returns what differs between the raised codes and the entries.
fn compared(raised: &BTreeMap<String, BTreeSet<String>>, entries: &Entries) -> Vec<String> {
    let mut wrong = Vec::new();
    for (code, parts) in raised {
        let by = parts.iter().cloned().collect::<Vec<_>>().join(", ");
        match entries.get(code.as_str()) {
            None => wrong.push(format!("`{code}` is raised by {by} and has no entry")),
            Some(known) if known != parts => {
                wrong.push(format!("`{code}` is raised by {by}, but its entry says {known:?}"));
            }
            Some(_) => {}
        }
    }
    let unused = entries.keys().filter(|code| !raised.contains_key(**code));
    wrong.extend(unused.map(|code| format!("`{code}` has an entry, but nothing raises it")));
    wrong
}

fn raised_by_the_workspace() -> Raised {
    let mut raised = Raised::default();
    for package in fs::read_dir(crates()).unwrap() {
        let package = package.unwrap().file_name().into_string().unwrap();
        sources(&package).iter().for_each(|(name, source)| raised.read(name, source));
    }
    for known in aadsts_numbers() {
        raised.add("token service", known.oauth_error);
    }
    raised
}

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates")
}

/// Returns the files of a crate without its tests, each with its name and its text.
fn sources(package: &str) -> Vec<(String, String)> {
    let crates = crates();
    let files = rust_files(&crates.join(package).join("src")).into_iter();
    let named = files.map(|file| {
        let name = file.strip_prefix(&crates).unwrap().to_str().unwrap().replace('\\', "/");
        (name, fs::read_to_string(&file).unwrap())
    });
    named.filter(|(name, _)| !name.contains("/tests/") && !name.ends_with("tests.rs")).collect()
}

/// The codes that the sources raise, each with the names of the parts that raise it.
#[derive(Default)]
struct Raised {
    codes: BTreeMap<String, BTreeSet<String>>,
    unreadable: Vec<String>,
}

impl Raised {
    fn add(&mut self, part: &str, code: &str) {
        self.codes.entry(code.to_owned()).or_default().insert(part.to_owned());
    }

    fn read(&mut self, name: &str, source: &str) {
        let file = syn::parse_file(source).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut reader = Reader { name, raised: self, of_failure: false, function: String::new() };
        reader.visit_file(&file);
    }
}

/// Returns the part that raises the codes of a file.
fn part(name: &str) -> &str {
    let package = name.split('/').next().unwrap();
    match package {
        "certbound-core" if name.ends_with("src/refusal.rs") => "token service",
        "certbound-verifier" if name.contains("src/answer") || name.ends_with("http_error.rs") => "resource",
        "certbound-verifier" => "verifier",
        "certbound-cli" => "command",
        "certbound" | "certbound-core" | "certbound-pkcs11" | "certbound-tpm" => "client",
        // A part without entries: each code that such a crate raises fails the test.
        other => other.trim_start_matches("certbound-"),
    }
}

/// Reads the codes of one file.
struct Reader<'a> {
    name: &'a str,
    raised: &'a mut Raised,
    /// Whether the current `impl` is one of the type `Failure`.
    of_failure: bool,
    /// The name of the current function.
    function: String,
}

impl Reader<'_> {
    fn add(&mut self, code: &str) {
        self.raised.add(part(self.name), code);
    }

    fn unreadable(&mut self) {
        let (name, function) = (self.name, &self.function);
        self.raised
            .unreadable
            .push(format!("{name}: the test cannot read the code in the function `{function}`"));
    }

    /// Whether the function returns a code.
    fn returns_code(&self, signature: &syn::Signature) -> bool {
        let name = signature.ident.to_string();
        let is_named = name == "code"
            || name.starts_with("code_")
            || self.name.ends_with("http_error.rs") && name == "error";
        let mut text = MentionsText(false);
        text.visit_return_type(&signature.output);
        is_named && text.0 && !COPYING.contains(&self.name)
    }

    /// Reads the codes that an expression can have as its value.
    fn values(&mut self, expression: &syn::Expr) {
        match expression {
            syn::Expr::Lit(_) => match literal(expression) {
                Some(code) => self.add(&code),
                None => self.unreadable(),
            },
            syn::Expr::Match(it) => it.arms.iter().for_each(|arm| self.values(&arm.body)),
            syn::Expr::If(it) => {
                self.block(&it.then_branch);
                match &it.else_branch {
                    Some((_, other)) => self.values(other),
                    None => self.unreadable(),
                }
            }
            syn::Expr::Block(it) => self.block(&it.block),
            syn::Expr::Reference(it) => self.values(&it.expr),
            syn::Expr::Field(it)
                if matches!(&it.member, syn::Member::Named(name) if name == "code")
                    && FIELDS.contains(&self.name) => {}
            syn::Expr::Path(it) if it.path.is_ident("None") => {}
            syn::Expr::Call(it) => {
                let name = last(&it.func);
                match (name.as_deref(), it.args.first()) {
                    (Some("Some"), Some(value)) => self.values(value),
                    (Some(name), _) if name.starts_with("code_") => {}
                    _ => self.unreadable(),
                }
            }
            syn::Expr::MethodCall(it) => {
                let text = it.args.first().and_then(literal);
                match (it.method.to_string().as_str(), it.args.first()) {
                    ("code" | "error", None) => {}
                    (name, None) if name.starts_with("code_") => {}
                    ("get_str", Some(_)) if text.as_deref() == Some("code") => {}
                    ("unwrap_or_default", None) => self.values(&it.receiver),
                    ("unwrap_or", Some(default)) => {
                        self.values(&it.receiver);
                        self.values(default);
                    }
                    _ => self.unreadable(),
                }
            }
            _ => self.unreadable(),
        }
    }

    fn block(&mut self, block: &syn::Block) {
        match block.stmts.as_slice() {
            [syn::Stmt::Expr(value, None)] => self.values(value),
            _ => self.unreadable(),
        }
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let outer = std::mem::replace(&mut self.function, signature.ident.to_string());
        match self.returns_code(signature) {
            true => self.block(block),
            false => visit::visit_block(self, block),
        }
        self.function = outer;
    }

    fn is_failure(&self, path: &syn::Path) -> bool {
        path.segments.iter().any(|it| it.ident == "Failure" || (it.ident == "Self" && self.of_failure))
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_of_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let of_failure = matches!(&*item.self_ty, syn::Type::Path(it) if it.path.is_ident("Failure"));
        let outer = std::mem::replace(&mut self.of_failure, of_failure);
        visit::visit_item_impl(self, item);
        self.of_failure = outer;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        if let Some(code) = properties(&variant.attrs).get("code") {
            self.add(code);
        }
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let (syn::Expr::Path(function), Some(code)) = (&*call.func, call.args.iter().nth(1))
            && last(&call.func).as_deref() == Some("new")
            && self.is_failure(&function.path)
        {
            self.values(code);
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_struct(&mut self, value: &'ast syn::ExprStruct) {
        let is_copy = self.of_failure && COPIES.contains(&self.function.as_str());
        if self.is_failure(&value.path) && !is_copy {
            let is_code =
                |it: &&syn::FieldValue| matches!(&it.member, syn::Member::Named(name) if name == "code");
            if let Some(field) = value.fields.iter().find(is_code) {
                self.values(&field.expr);
            }
        }
        visit::visit_expr_struct(self, value);
    }

    /// The bodies of macros are no expressions, so a literal code in a macro cannot be read.
    fn visit_macro(&mut self, it: &'ast syn::Macro) {
        let text = it.tokens.to_string();
        let mut arguments = text.split("::").filter_map(|call| call.trim().strip_prefix("new"));
        let is_literal = |arguments: &str| {
            let second = arguments.split_once(',').map(|(_, second)| second.trim());
            second.is_some_and(|second| second.starts_with('"'))
        };
        if part(self.name) == "command" && arguments.any(is_literal) {
            self.unreadable();
        }
    }
}

/// Looks for the types `str` and `String`.
struct MentionsText(bool);

impl<'ast> Visit<'ast> for MentionsText {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0 |= path.segments.last().is_some_and(|it| it.ident == "str" || it.ident == "String");
        visit::visit_path(self, path);
    }
}

/// Returns the last name of a path.
fn last(expression: &syn::Expr) -> Option<String> {
    match expression {
        syn::Expr::Path(it) => it.path.segments.last().map(|segment| segment.ident.to_string()),
        _ => None,
    }
}

fn is_of_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

/// Returns the integers of a file that have the size of AADSTS numbers, without those of its tests.
fn numbers(source: &str) -> Vec<u32> {
    struct Numbers(Vec<u32>);
    impl<'ast> Visit<'ast> for Numbers {
        fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
            if !is_of_tests(&item.attrs) {
                visit::visit_item_mod(self, item);
            }
        }

        fn visit_lit_int(&mut self, number: &'ast syn::LitInt) {
            let number = number.base10_parse::<u32>().unwrap_or_default();
            self.0.extend((50_000..10_000_000).contains(&number).then_some(number));
        }
    }
    let mut numbers = Numbers(Vec::new());
    numbers.visit_file(&syn::parse_file(source).unwrap());
    numbers.0
}
