//! The page: Markdown that GitHub shows.

use super::evidence::Evidence;
use super::pki;
use super::rows::{GROUPS, Result, Row, all};

const TOKEN_KEY_ROLE: &str = "the certificate of a key that SoftHSM generated";

const INTRODUCTION: &str = "\
# Conformance

This page has every row of the acceptance matrix for certificate-bound tokens, and the evidence for each row that is shown. The
matrix is the file `docs/mtls-pop-acceptance-test-matrix.md` in the repository of MSAL.NET. This page uses the version that pull
request 6161 merged on 2026-08-17. That version is meant for all MSALs. Ids and priorities are those of that version; other
versions have other ids. The descriptions are ours. P0 rows need captured evidence. A *bound token* is a token of the type `mtls_pop`. The
[glossary](glossary.md) explains the other terms.

A test run writes this page. The test fails if the page differs from the run. Each row is a test that checks its description, on
real TLS connections. The emulator answers the requests. A few rows need a TLS server of the test, for example a server with
only TLS 1.2, or a server that holds an answer.

```sh
cargo test -p certbound-cli --test cli -- conformance::         # all rows, and the comparison with this page
cargo test -p certbound-cli --test cli -- conformance::req::    # the rows of one group
CERTBOUND_WRITE_DOCS=1 cargo test -p certbound-cli --test cli -- the_page_of_conformance    # writes this page
```

| Result | Meaning |
|---|---|
| shown | The test of the row passed in the run that wrote this page, and the page has the evidence of the test |
| shown with ... | As *shown*, with the limit that the cell names |
| not here | The row needs a system that the tests do not have |

The emulator is not Entra: no row of this page was seen at the real service. [Limits](limits.md) lists the tests of certbound and their limits.

## How to read the evidence

The server that received a request recorded it: method, URL, parameters, the facts of the TLS connection (version, server
name, client certificate), and the answer. `(redacted)` replaces a value that may be secret. Headers contain random ids, so only
the scheme of `Authorization` is shown. *no connection was opened*: the configured proxy was a listener that saw no
connection. *none was sent*: the server held its answer until the client ended the connection. Facts that the test read elsewhere
follow the requests, for example the error of the caller.
";

/// Writes the whole page.
pub(super) fn render(rows: &[&Row], evidence: &[Option<&Evidence>]) -> String {
    let mut text = INTRODUCTION.to_owned();
    text.push_str(&certificates());
    text.push_str(&summary());
    let by_id = |id: &str| {
        let at = rows.iter().position(|row| row.id == id).unwrap();
        evidence[at]
    };
    for (group, title, _, rows) in GROUPS {
        text.push_str(&format!("\n## {group}: {}\n\n", title.to_lowercase()));
        text.push_str(
            "| Id | Priority | What must be seen | Result | Test, or reason |\n|---|---|---|---|---|\n",
        );
        for row in rows.iter().copied().flatten() {
            let must = row.must;
            let id = match by_id(row.id) {
                Some(_) => format!("[{}](#{}-evidence)", row.id, lower(row.id)),
                None => row.id.to_owned(),
            };
            text.push_str(&format!("| {id} | P{} | {must} | ", row.priority));
            text.push_str(&format!("{} | {} |\n", result(row), test(row)));
        }
        for row in rows.iter().copied().flatten() {
            text.push_str(&details(row, by_id(row.id)));
        }
    }
    text
}

fn lower(id: &str) -> String {
    id.to_ascii_lowercase()
}

fn certificates() -> String {
    let mut text = format!(
        "\nThe keys are derived from the seed `{}` or are files of `testdata/certificates`, so the certificates are the \
         same in\neach run. Only T is different in each run: its key is generated in a token of SoftHSM. The evidence has \
         the SHA-256 of the\nDER of a leaf certificate in base64url, as `x5t#S256` of a token has it (RFC 8705, section \
         3.1).\n\n\
         | Certificate | Meaning | SHA-256, base64url | SHA-256, hexadecimal |\n|---|---|---|---|\n",
        pki::SEED
    );
    for named in pki::all() {
        let (name, role, thumbprint) = (named.name, named.role, named.thumbprint());
        text.push_str(&format!(
            "| {name} | {role} | `{}` | `{}` |\n",
            thumbprint.x5t_s256(),
            thumbprint.hex()
        ));
    }
    text.push_str(&format!("| {} | {TOKEN_KEY_ROLE} | new in each run | new in each run |\n", pki::NEW));
    text
}

fn summary() -> String {
    let mut text = "\n## Summary\n\n| Group | Subject | Shown | Not here |\n|---|---|---|---|\n".to_owned();
    let mut sums = [0; 2];
    for (group, title, _, rows) in GROUPS {
        let mut counts = [0; 2];
        for row in rows.iter().copied().flatten() {
            counts[kind(row)] += 1;
            sums[kind(row)] += 1;
        }
        let [shown, not_here] = counts;
        text.push_str(&format!("| {group} | {title} | {shown} | {not_here} |\n"));
    }
    let [shown, not_here] = sums;
    text.push_str(&format!(
        "| all | | {shown} | {not_here} |\n\nRows that are not shown, or have a limit:\n\n"
    ));
    for row in all() {
        match (&row.result, row.limit) {
            (Result::Shown { .. }, None) => {}
            (Result::Shown { .. }, Some(limit)) => text.push_str(&format!("* {}: shown {limit}.\n", row.id)),
            (Result::NotHere(why), _) => text.push_str(&format!("* {}: not here. {why}\n", row.id)),
        }
    }
    text
}

fn kind(row: &Row) -> usize {
    match row.result {
        Result::Shown { .. } => 0,
        Result::NotHere(_) => 1,
    }
}

fn result(row: &Row) -> String {
    let base = ["shown", "not here"][kind(row)];
    match row.limit {
        Some(limit) => format!("{base} {limit}"),
        None => base.to_owned(),
    }
}

fn test(row: &Row) -> String {
    match row.result {
        Result::Shown { name, file, .. } => {
            let short = file.rsplit('/').next().unwrap_or(file);
            format!("[`{}::{name}`](../{file})", short.trim_end_matches(".rs"))
        }
        Result::NotHere(why) => why.to_owned(),
    }
}

/// Returns the evidence of a row, which GitHub shows when the reader opens it.
fn details(row: &Row, evidence: Option<&Evidence>) -> String {
    let Some(evidence) = evidence else { return String::new() };
    let id = row.id;
    format!(
        "\n<details id=\"{}-evidence\"><summary>Evidence of {id}</summary>\n\n```text\n{}```\n\n</details>\n",
        lower(id),
        evidence.text()
    )
}
