//! The page of the documentation that lists all codes.

use certbound_core::catalogue::{Explanation, GROUPS, aadsts_numbers, explanations, sentence};

use super::screen::raised_by;

const BEGIN: &str = "<!-- codes -->\n";
const END: &str = "<!-- end of codes -->";

/// With `CERTBOUND_WRITE_DOCS=1` this test writes the codes into the page instead of comparing them.
#[test]
fn the_page_of_error_codes_has_every_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    let expected = page();
    if std::env::var_os("CERTBOUND_WRITE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    let name = "the_page_of_error_codes_has_every_code";
    assert!(found == expected, "run `CERTBOUND_WRITE_DOCS=1 cargo test --workspace --lib -- {name}`");
}

#[test]
fn the_page_has_a_heading_for_each_code_and_links_to_pages_that_exist() {
    let page = page();
    let docs = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"));
    for group in &GROUPS {
        for page in group.pages {
            assert!(docs.join(page).is_file(), "{}: {page}", group.title);
        }
    }
    for it in explanations() {
        let heading = format!("\n### {}\n", it.code);
        assert_eq!(page.matches(&heading).count(), 1, "{}", it.code);
    }
    assert!(!page.contains(['<', '|']), "the texts have characters of HTML or of tables");
}

/// Returns one section for each group, and one for the AADSTS numbers.
fn page() -> String {
    let mut page = String::new();
    for group in &GROUPS {
        page += &format!("\n## {}\n", group.title);
        let links: Vec<_> = group.pages.iter().map(|page| format!("[{}]({page})", name(page))).collect();
        if !links.is_empty() {
            page += &format!("\nSee also: {}.\n", links.join(", "));
        }
        page.extend(group.entries.iter().map(|entry| section(&entry.into())));
    }
    page += "\n## AADSTS numbers\n\nThe token service writes these numbers into its answers. ";
    page += "The meanings are in certbound's words.\n";
    page.extend(aadsts_numbers().iter().map(|known| section(&known.into())));
    page + "\n"
}

fn section(it: &Explanation) -> String {
    let causes: String = it.causes.iter().map(|cause| format!("* Cause: {}\n", sentence(cause))).collect();
    let (meaning, fix, by) = (sentence(it.meaning), sentence(it.fix), raised_by(it));
    format!("\n### {}\n\n{meaning}\n\n{causes}* Fix: {fix}\n* Raised by: {by}\n", it.code)
}

/// Returns the name of a page in a link: `managed-identity.md` is `managed identity`.
fn name(page: &str) -> String {
    page.trim_end_matches(".md").replace('-', " ")
}
