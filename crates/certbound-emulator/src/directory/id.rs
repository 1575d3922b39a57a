//! Object ids for entries to which the world gives no id.

use aws_lc_rs::digest::{SHA256, digest};
use uuid::Builder;

/// Returns an id, a GUID, that depends only on these texts. The same world therefore has the same ids each time.
pub(crate) fn derived(kind: &str, parts: &[&str]) -> String {
    let text = [&[kind], parts].concat().join("\n");
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest(&SHA256, text.as_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
    Builder::from_random_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_distinct() {
        let id = derived("application", &["a", "b"]);
        assert_eq!(id, derived("application", &["a", "b"]));
        assert!(uuid::Uuid::try_parse(&id).is_ok());
        for other in
            [derived("application", &["ab"]), derived("x", &["a", "b"]), derived("application", &["b", "a"])]
        {
            assert_ne!(id, other);
        }
    }
}
