//! The JSON Schema of the world file, for editors. The test checks that the published copy is up to date.

use super::World;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/world.schema.json");

#[test]
fn the_published_schema_is_that_of_the_types() {
    let mut schema = schemars::schema_for!(World);
    schema.insert("title".to_owned(), "The world of the certbound emulator".into());
    let expected = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
    if std::env::var_os("CERTBOUND_WRITE_SCHEMA").is_some() {
        std::fs::write(FILE, &expected).unwrap();
    }
    let found = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        found == expected,
        "docs/world.schema.json is out of date; generate the file again with\n  \
         CERTBOUND_WRITE_SCHEMA=1 cargo test -p certbound-emulator --lib world::schema"
    );
}
