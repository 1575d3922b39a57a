//! The query options of OData: `$select`, `$top`, `$filter` and `$skiptoken`.

use certbound_core::request::ReceivedForm;

use super::error::GraphError;

/// The page size if a request has no `$top`.
const USUAL_PAGE: usize = 100;
/// The largest page.
const LARGEST_PAGE: usize = 999;

/// The query options that the emulator does not emulate.
const OTHER_OPTIONS: [&str; 6] = ["expand", "orderby", "search", "count", "skip", "format"];

/// The query options of a request. The emulator accepts names with and without the dollar sign, as the real service
/// does.
#[derive(Debug)]
pub(super) struct Query {
    /// The selected properties. The list is empty if the request selects no property.
    pub(super) select: Vec<String>,
    pub(super) top: usize,
    pub(super) filter: Option<Filter>,
    pub(super) skiptoken: Option<String>,
    /// `$select`, `$top` and `$filter` as they were sent, for links to the next page.
    pub(super) sent: Vec<(&'static str, String)>,
}

/// The filter `property eq 'value'`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) property: String,
    pub(super) value: String,
}

impl Query {
    pub(super) fn parse(query: &str) -> Result<Self, GraphError> {
        let form = ReceivedForm::decode(query.as_bytes()).map_err(|error| {
            GraphError::new(400, "BadRequest", format!("The query cannot be read: {error}."))
        })?;
        let mut parsed =
            Self { select: Vec::new(), top: USUAL_PAGE, filter: None, skiptoken: None, sent: Vec::new() };
        for (name, value) in form.iter() {
            match name.strip_prefix('$').unwrap_or(name).to_ascii_lowercase().as_str() {
                "select" => {
                    let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
                    parsed.select = names.map(str::to_owned).collect();
                    parsed.sent.push(("$select", value.to_owned()));
                }
                "top" => {
                    parsed.top = top(value)?;
                    parsed.sent.push(("$top", value.to_owned()));
                }
                "filter" => {
                    parsed.filter = Some(Filter::parse(value)?);
                    parsed.sent.push(("$filter", value.to_owned()));
                }
                "skiptoken" => parsed.skiptoken = Some(value.to_owned()),
                other if name.starts_with('$') || OTHER_OPTIONS.contains(&other) => {
                    return Err(GraphError::not_emulated(&format!("the query option {name}")));
                }
                // The real service ignores parameters that are not of OData.
                _ => {}
            }
        }
        Ok(parsed)
    }
}

fn top(value: &str) -> Result<usize, GraphError> {
    let size = value.parse().ok().filter(|size| (1..=LARGEST_PAGE).contains(size));
    size.ok_or_else(|| {
        GraphError::unsupported_query(format!(
            "Invalid page size specified: '{value}'. Must be between 1 and {LARGEST_PAGE} inclusive."
        ))
    })
}

impl Filter {
    /// Reads `property eq 'value'`. Two quotes inside the value stand for one quote.
    fn parse(text: &str) -> Result<Self, GraphError> {
        let other = || {
            GraphError::not_emulated(&format!(
                "the filter '{text}'; a filter has the form: property eq 'value'"
            ))
        };
        let mut words = text.trim().splitn(3, ' ').map(str::trim);
        let (Some(property), Some(operator), Some(value)) = (words.next(), words.next(), words.next()) else {
            return Err(other());
        };
        let inner = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\''));
        match inner.map(|inner| inner.split("''").collect::<Vec<_>>()) {
            Some(parts) if operator == "eq" && !parts.iter().any(|part| part.contains('\'')) => {
                Ok(Self { property: property.to_owned(), value: parts.join("'") })
            }
            _ => Err(other()),
        }
    }
}
