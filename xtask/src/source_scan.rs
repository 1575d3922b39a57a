//! Finds paths into forbidden parts of `std` in a source file, `use` trees included.
//!
//! It reads text, not meaning: a macro or another crate can still hide a clock. `clippy.toml` of `certbound-core` and the
//! dependency rules stand beside it.

/// What the core does not use, and what it does instead.
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

/// One forbidden path, as far as it was written.
#[derive(Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) line: usize,
    pub(crate) path: String,
    pub(crate) instead: &'static str,
}

/// Every use of a forbidden path, and of a module or glob that would bring one in.
pub(crate) fn forbidden_uses(source: &str) -> Vec<Found> {
    let code = blank_comments_and_literals(source);
    let tokens = tokens(&code);
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = if starts_std_path(&tokens, at) {
            walk(&tokens, at, &mut Vec::new(), &mut paths)
        } else {
            at + 1
        };
    }
    paths.into_iter().filter_map(|(line, path)| judge(line, &path)).collect()
}

fn judge(line: usize, path: &[&str]) -> Option<Found> {
    let named = match path {
        [before @ .., "self" | "*"] => before,
        _ => path,
    };
    // Shorter than the forbidden path, it is an import that makes the forbidden one reachable by another name.
    let (_, instead) =
        FORBIDDEN.iter().find(|(forbidden, _)| forbidden.iter().zip(named).all(|(a, b)| a == b))?;
    Some(Found { line, path: path.join("::"), instead })
}

type Token<'a> = (usize, &'a str);

/// `std` as the first segment: of a longer path, or renamed.
fn starts_std_path(tokens: &[Token<'_>], at: usize) -> bool {
    let text = |index: usize| tokens.get(index).map_or("", |token| token.1);
    let is_inner_segment = at >= 2
        && text(at - 1) == "::"
        && is_word(text(at - 2))
        && !matches!(text(at - 2), "use" | "in" | "return");
    text(at) == "std" && matches!(text(at + 1), "::" | "as") && !is_inner_segment
}

/// Collects the paths of the tree that starts at `at`; returns the index after it.
fn walk<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    prefix: &mut Vec<&'a str>,
    paths: &mut Vec<(usize, Vec<&'a str>)>,
) -> usize {
    let depth = prefix.len();
    let mut line = 0;
    while let Some(&(token_line, token)) = tokens.get(at) {
        if token == "{" && prefix.len() > depth {
            at += 1;
            while tokens.get(at).is_some_and(|token| token.1 != "}") {
                at = if tokens[at].1 == "," { at + 1 } else { walk(tokens, at, prefix, paths) };
            }
            prefix.truncate(depth);
            return at + 1;
        }
        if token != "*" && !is_word(token) {
            break;
        }
        prefix.push(token);
        line = token_line;
        at += 1;
        if tokens.get(at).is_none_or(|token| token.1 != "::") {
            break;
        }
        at += 1;
    }
    if prefix.len() > depth {
        paths.push((line, prefix.clone()));
    } else {
        at += 1;
    }
    if tokens.get(at).is_some_and(|token| token.1 == "as") {
        at += 2;
    }
    prefix.truncate(depth);
    at
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_part_of_word = |c: char| c.is_alphanumeric() || c == '_';
            let length = if is_part_of_word(first) {
                rest.find(|c| !is_part_of_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (token, after) = rest.split_at(length);
            tokens.push((index + 1, token));
            rest = after.trim_start();
        }
    }
    tokens
}

/// The same text with blanks for comments, strings and characters; lines keep their numbers.
fn blank_comments_and_literals(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = comment_or_literal(rest, code.ends_with(|c: char| c.is_alphanumeric() || c == '_'));
        let (skipped, after) = rest.split_at(length.unwrap_or(first.len_utf8()));
        if length.is_some() {
            code.extend(skipped.chars().map(|c| if c == '\n' { c } else { ' ' }));
        } else {
            code.push_str(skipped);
        }
        rest = after;
    }
    code
}

/// The length of the comment, string or character that `rest` starts with.
fn comment_or_literal(rest: &str, after_word: bool) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if rest.starts_with('"') {
        return Some(quoted(rest, '"'));
    }
    if rest.starts_with('r') && !after_word {
        let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
        let opening = 1 + hashes + 1;
        if rest[1 + hashes..].starts_with('"') {
            let closing = format!("\"{}", "#".repeat(hashes));
            return Some(
                rest[opening..].find(&closing).map_or(rest.len(), |at| opening + at + closing.len()),
            );
        }
    }
    // A lifetime has no closing quote right after its first character.
    let mut characters = rest.strip_prefix('\'')?.chars();
    let first = characters.next()?;
    (first == '\\' || characters.next() == Some('\'')).then(|| quoted(rest, '\''))
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let step = if rest[at..].starts_with("/*") {
            depth += 1;
            2
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            2
        } else {
            rest[at..].chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::forbidden_uses;

    fn found(source: &str) -> Vec<String> {
        forbidden_uses(source).into_iter().map(|found| format!("{} {}", found.line, found.path)).collect()
    }

    #[test]
    fn plain_paths_and_use_trees_are_found_on_their_line() {
        assert_eq!(
            found("let a = 1;\nlet now = std::time::SystemTime::now();"),
            ["2 std::time::SystemTime::now"]
        );
        assert_eq!(
            found("use std::{fmt, fs,\n time::{Duration, Instant as Now}};"),
            ["1 std::fs", "2 std::time::Instant"]
        );
        assert_eq!(found("use ::std::thread;"), ["1 std::thread"]);
        assert_eq!(
            found("fn f(_: std::net::TcpStream, _: std :: env :: Args) {}"),
            ["1 std::net::TcpStream", "1 std::env::Args"]
        );
    }

    #[test]
    fn imports_that_would_hide_one_are_found() {
        assert_eq!(found("use std::time;"), ["1 std::time"]);
        assert_eq!(found("use std::time::*;"), ["1 std::time::*"]);
        assert_eq!(found("use std::time::{self, Duration};"), ["1 std::time::self"]);
        assert_eq!(found("use std as s;"), ["1 std"]);
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
            "std::mem::take(&mut std::sync::Arc::new(1));",
        ] {
            assert_eq!(found(harmless), Vec::<String>::new(), "{harmless}");
        }
        assert_eq!(found("const A: char = '\"'; use std::fs; // \""), ["1 std::fs"]);
    }
}
