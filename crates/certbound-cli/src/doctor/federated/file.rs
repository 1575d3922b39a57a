//! The file of federated credentials, in the JSON of Microsoft Graph.

use std::path::Path;

use serde::Deserialize;

use crate::input;
use crate::usage::Usage;

/// The largest file, in bytes. An application has at most 20 credentials.
const MAX_BYTES: u64 = 1024 * 1024;

/// A registered federated credential. Graph's other members are ignored.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(in crate::doctor) struct Registered {
    pub(in crate::doctor) name: Option<String>,
    pub(in crate::doctor) issuer: String,
    /// The value is `None` if the credential has an expression instead.
    pub(in crate::doctor) subject: Option<String>,
    pub(in crate::doctor) audiences: Vec<String>,
    #[serde(default, rename = "claimsMatchingExpression", deserialize_with = "expression")]
    pub(in crate::doctor) expression: Option<String>,
}

/// The forms of the file: Graph's list, the array of the Azure CLI, or one credential.
#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    List { value: Vec<Registered> },
    Array(Vec<Registered>),
    One(Registered),
}

/// Reads the credentials. `-` is stdin.
///
/// # Errors
/// The file cannot be read, or does not have one of the forms. The error contains no part of the file.
pub(in crate::doctor) fn read(path: &Path) -> Result<Vec<Registered>, Usage> {
    let bytes = input::file_or_stdin(path, MAX_BYTES)?;
    let shown = path.display().to_string();
    parse(&bytes).ok_or(Usage::NoFederatedCredential { path: shown })
}

/// Parses the JSON of Microsoft Graph or of the Azure CLI. Returns `None` if the JSON does not have one of the forms.
pub(super) fn parse(bytes: &[u8]) -> Option<Vec<Registered>> {
    Some(match serde_json::from_slice(bytes).ok()? {
        Form::List { value } | Form::Array(value) => value,
        Form::One(one) => vec![one],
    })
}

/// Reads an expression, which Graph writes as an object with the member `value`.
fn expression<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    struct Expression {
        value: String,
    }

    Ok(Option::<Expression>::deserialize(deserializer)?.map(|expression| expression.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_an_array_and_one_credential_are_read() {
        let one = r#"{"id":"i","name":"n","issuer":"https://i","subject":"s","audiences":["a"],"description":null}"#;
        for text in
            [one.to_owned(), format!("[{one}]"), format!(r#"{{"@odata.context":"c","value":[{one}]}}"#)]
        {
            let read = parse(text.as_bytes()).unwrap();
            assert_eq!(
                (read.len(), read[0].subject.as_deref(), read[0].audiences.len()),
                (1, Some("s"), 1),
                "{text}"
            );
        }
        assert_eq!(parse(b"[]"), Some(Vec::new()));
        let flexible = r#"{"issuer":"i","subject":null,"audiences":["a"],"claimsMatchingExpression":{"value":"claims['sub'] eq 'x'","languageVersion":1}}"#;
        assert_eq!(
            parse(flexible.as_bytes()).unwrap()[0].expression.as_deref(),
            Some("claims['sub'] eq 'x'")
        );
    }

    #[test]
    fn another_form_is_refused() {
        for text in [
            "",
            "null",
            "{}",
            r#"{"issuer":"i"}"#,
            r#"{"value":{}}"#,
            "\"x\"",
            r#"{"issuer":1,"audiences":[]}"#,
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
