//! Collections in pages, and the selection of properties.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::error::GraphError;
use super::odata::Query;
use super::{Answer, Graph};

/// A type of objects. Every type has the property `id`.
pub(super) struct Kind {
    /// The name of the type in the messages of the real service.
    pub(super) name: &'static str,
    pub(super) properties: &'static [&'static str],
    /// The properties that a filter may compare.
    pub(super) filters: &'static [&'static str],
}

/// The characters that are percent-encoded in the query of a link.
const IN_QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b',');

impl Graph<'_> {
    /// Answers with the page of a collection that the query selects. `collection` is the collection's name in the
    /// metadata.
    pub(super) fn page(
        &self,
        kind: &Kind,
        collection: &str,
        mut objects: Vec<Map<String, Value>>,
    ) -> Result<Answer, GraphError> {
        self.check_select(kind)?;
        if let Some(filter) = &self.query.filter {
            let is_same = |name: &&&str| name.eq_ignore_ascii_case(&filter.property);
            let Some(property) = kind.filters.iter().find(is_same) else {
                return Err(unsupported_filter(kind, &filter.property));
            };
            // The real service compares GUIDs and names without regard to case.
            objects.retain(|object| {
                let value = object.get(*property).and_then(Value::as_str);
                value.is_some_and(|value| value.eq_ignore_ascii_case(&filter.value))
            });
        }
        let begin = match &self.query.skiptoken {
            None => 0,
            Some(token) => after(&objects, token)?,
        };
        let end = objects.len().min(begin.saturating_add(self.query.top));
        let more = end < objects.len();
        let page = objects.get(begin..end).unwrap_or_default();
        let mut body = json!({ "@odata.context": self.context(collection, "") });
        if let Some(last) = page.last().filter(|_| more) {
            body["@odata.nextLink"] = json!(self.next_link(last));
        }
        body["value"] = page.iter().map(|object| self.selected(object)).collect();
        Ok(Answer::Found(body))
    }

    /// Answers with one object.
    pub(super) fn single(
        &self,
        kind: &Kind,
        collection: &str,
        object: &Map<String, Value>,
    ) -> Result<Answer, GraphError> {
        self.check_select(kind)?;
        let Query { filter, skiptoken, .. } = &self.query;
        if filter.is_some() || skiptoken.is_some() {
            let message = "The query option $filter or $skiptoken can be applied only to a collection.";
            return Err(GraphError::new(400, "BadRequest", message));
        }
        Ok(Answer::Found(self.entity(collection, &self.selected(object))))
    }

    /// Returns an object with its context.
    pub(super) fn entity(&self, collection: &str, object: &Value) -> Value {
        let mut body = json!({ "@odata.context": self.context(collection, "/$entity") });
        for (name, value) in object.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        body
    }

    /// Returns whether the request selects this property by name.
    pub(super) fn selects(&self, property: &str) -> bool {
        self.query.select.iter().any(|name| name.eq_ignore_ascii_case(property))
    }

    fn check_select(&self, kind: &Kind) -> Result<(), GraphError> {
        let known = |name: &String| kind.properties.iter().any(|known| known.eq_ignore_ascii_case(name));
        match self.query.select.iter().find(|name| !known(name)) {
            None => Ok(()),
            Some(name) => Err(GraphError::not_emulated(&format!(
                "the property '{name}' of the type {}, which has the properties {}",
                kind.name,
                kind.properties.join(", ")
            ))),
        }
    }

    /// Returns the selected properties of an object, or all properties if the request selects no property.
    fn selected(&self, object: &Map<String, Value>) -> Value {
        let is_selected = |name: &String| self.query.select.is_empty() || self.selects(name);
        object
            .iter()
            .filter(|(name, _)| is_selected(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    fn context(&self, collection: &str, suffix: &str) -> String {
        let select = match self.query.select.as_slice() {
            [] => String::new(),
            names => format!("({})", names.join(",")),
        };
        format!("https://{}/{}/$metadata#{collection}{select}{suffix}", self.server.host, self.version)
    }

    fn next_link(&self, last: &Map<String, Value>) -> String {
        let token = URL_SAFE_NO_PAD.encode(id(last));
        let sent = self.query.sent.iter().map(|(name, value)| (*name, value.as_str()));
        let query: Vec<String> = sent
            .chain([("$skiptoken", token.as_str())])
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, IN_QUERY)))
            .collect();
        format!("https://{}{}?{}", self.server.host, self.path, query.join("&"))
    }
}

fn id(object: &Map<String, Value>) -> &str {
    object.get("id").and_then(Value::as_str).unwrap_or_default()
}

/// Returns the position after the object that a page token names.
fn after(objects: &[Map<String, Value>], token: &str) -> Result<usize, GraphError> {
    let named = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let position = named.and_then(|named| objects.iter().position(|object| id(object) == named));
    position.map(|position| position + 1).ok_or_else(|| {
        let message =
            "The specified page token value has expired and can no longer be included in your request.";
        GraphError::new(400, "Directory_ExpiredPageToken", message)
    })
}

fn unsupported_filter(kind: &Kind, property: &str) -> GraphError {
    GraphError::unsupported_query(format!(
        "Unsupported or invalid query filter clause specified for property '{property}' of resource '{}'. This emulator \
         filters by: {}.",
        kind.name,
        kind.filters.join(", ")
    ))
}
