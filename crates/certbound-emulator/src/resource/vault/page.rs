//! Lists in pages.

use serde_json::{Value, json};

use super::query::Query;
use crate::resource::ResourceServer;

/// The page that a request asks for.
pub(super) struct Page<'r> {
    pub(super) server: &'r ResourceServer<'r>,
    /// The path of the list.
    pub(super) path: &'r str,
    pub(super) query: &'r Query,
}

impl Page<'_> {
    /// Returns the answer with the entries of this page. Each entry has a marker, and the entries are sorted by their
    /// markers. A page begins after a marker. The addition or removal of an entry between two pages therefore neither
    /// skips nor repeats a different entry.
    pub(super) fn of(&self, entries: impl Iterator<Item = (String, Value)>) -> Value {
        let after = self.query.after.as_deref();
        let mut rest = entries.filter(|(marker, _)| after.is_none_or(|after| marker.as_str() > after));
        let entries: Vec<(String, Value)> = rest.by_ref().take(self.query.page_size()).collect();
        let last = entries.last().filter(|_| rest.next().is_some());
        let next = last.map(|(marker, _)| {
            format!("https://{}:443{}?{}", self.server.host, self.path, self.query.next(marker))
        });
        let value: Vec<Value> = entries.into_iter().map(|(_, entry)| entry).collect();
        json!({ "value": value, "nextLink": next })
    }
}
