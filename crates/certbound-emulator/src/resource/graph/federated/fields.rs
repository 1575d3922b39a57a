//! The properties of a federated credential in a request: the rules of each property.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::directory::NamedCredential;
use crate::resource::graph::body::text;
use crate::resource::graph::error::GraphError;
use crate::world::FederatedCredential;
use crate::world::check::MAX_TEXT;
use crate::world::check::credentials::flexible;

/// The shortest and the longest name, in characters.
const NAME: std::ops::RangeInclusive<usize> = 3..=120;

/// The properties of a request. `None` stands for a property that is absent or `null`.
#[derive(Debug)]
pub(super) struct Fields {
    name: Option<String>,
    issuer: Option<String>,
    subject: Option<String>,
    expression: Option<String>,
    audience: Option<String>,
    /// The outer `None` means that the request does not change the description; the inner `None` removes the
    /// description.
    description: Option<Option<String>>,
}

impl Fields {
    pub(super) fn read(members: &Map<String, Value>) -> Result<Self, GraphError> {
        const KNOWN: [&str; 6] =
            ["name", "issuer", "subject", "audiences", "description", "claimsMatchingExpression"];
        if let Some(other) = members.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            let message = if other == "id" {
                "Property 'id' is read-only and cannot be set.".to_owned()
            } else {
                format!("Invalid property '{other}'.")
            };
            return Err(GraphError::bad_request(message));
        }
        let of = |name: &str| text(members, name).map(|value| value.map(str::to_owned));
        let description = match members.contains_key("description") {
            true => Some(of("description")?),
            false => None,
        };
        let fields = Self {
            name: of("name")?,
            issuer: of("issuer")?,
            subject: of("subject")?,
            expression: expression(members)?,
            audience: audience(members)?,
            description,
        };
        fields.check_lengths()?;
        Ok(fields)
    }

    /// Sets the name that the path contains.
    pub(super) fn name_from(&mut self, path: &str) -> Result<(), GraphError> {
        if self.name.as_deref().is_some_and(|name| name != path) {
            return Err(other_name(path));
        }
        self.name = Some(path.to_owned());
        Ok(())
    }

    /// Returns a new credential.
    pub(super) fn create(&self) -> Result<NamedCredential, GraphError> {
        let name = self.name.as_deref().unwrap_or_default();
        if !is_name(name) {
            let text = "The name must have 3 to 120 characters that are letters, digits, '-', '_', '.' or '~', and must \
                        begin with a letter or a digit.";
            return Err(invalid("Name", name, text));
        }
        let Some(audience) = self.audience.clone() else {
            return Err(invalid("Audiences", "", "The credential must have exactly one audience."));
        };
        let credential = FederatedCredential {
            issuer: self.issuer.clone().unwrap_or_default(),
            subject: self.subject.clone().unwrap_or_default(),
            claims_matching_expression: self.expression.clone(),
            audience,
        };
        check(&credential)?;
        Ok(NamedCredential {
            id: Uuid::new_v4().to_string(),
            name: name.to_owned(),
            description: self.description.clone().flatten(),
            credential,
        })
    }

    /// Returns the credential with the properties of the request. Its name does not change.
    pub(super) fn change(&self, before: &NamedCredential) -> Result<NamedCredential, GraphError> {
        if self.name.as_ref().is_some_and(|name| *name != before.name) {
            return Err(other_name(&before.name));
        }
        let mut after = before.clone();
        let credential = &mut after.credential;
        if let Some(issuer) = &self.issuer {
            credential.issuer.clone_from(issuer);
        }
        // A subject replaces an expression, and an expression replaces a subject.
        if let Some(subject) = &self.subject {
            credential.subject.clone_from(subject);
            credential.claims_matching_expression = None;
        }
        if let Some(expression) = &self.expression {
            credential.claims_matching_expression = Some(expression.clone());
            credential.subject = self.subject.clone().unwrap_or_default();
        }
        if let Some(audience) = &self.audience {
            credential.audience.clone_from(audience);
        }
        if let Some(description) = &self.description {
            after.description.clone_from(description);
        }
        check(&after.credential)?;
        Ok(after)
    }

    fn check_lengths(&self) -> Result<(), GraphError> {
        let all = [
            ("Issuer", self.issuer.as_ref()),
            ("Subject", self.subject.as_ref()),
            ("ClaimsMatchingExpression", self.expression.as_ref()),
            ("Audiences", self.audience.as_ref()),
            ("Description", self.description.as_ref().and_then(Option::as_ref)),
        ];
        for (name, value) in all {
            if let Some(value) = value.filter(|value| value.chars().count() > MAX_TEXT) {
                let text = format!("The value must have at most {MAX_TEXT} characters.");
                return Err(invalid(name, value, &text));
            }
        }
        Ok(())
    }
}

/// Checks the rules that concern several properties.
fn check(credential: &FederatedCredential) -> Result<(), GraphError> {
    let FederatedCredential { issuer, subject, claims_matching_expression, audience } = credential;
    for (name, value) in [("Issuer", issuer), ("Audiences", audience)] {
        if value.is_empty() {
            return Err(invalid(name, "", "The value must not be empty."));
        }
    }
    match claims_matching_expression {
        None if subject.is_empty() => {
            Err(invalid("Subject", "", "The credential must have a subject or a claimsMatchingExpression."))
        }
        None => Ok(()),
        Some(_) if !subject.is_empty() => {
            let text = "The credential must not have both a subject and a claimsMatchingExpression.";
            Err(invalid("ClaimsMatchingExpression", subject, text))
        }
        Some(expression) => flexible(issuer, expression).map_err(|(key, what)| {
            let name = if key == "issuer" { "Issuer" } else { "ClaimsMatchingExpression" };
            invalid(name, if key == "issuer" { issuer } else { expression }, &format!("The value {what}."))
        }),
    }
}

fn is_name(name: &str) -> bool {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    NAME.contains(&name.chars().count())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_safe)
}

/// Reads the only audience.
fn audience(members: &Map<String, Value>) -> Result<Option<String>, GraphError> {
    match members.get("audiences") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) => match list.as_slice() {
            [Value::String(audience)] => Ok(Some(audience.clone())),
            _ => Err(invalid("Audiences", "", "The credential must have exactly one audience.")),
        },
        Some(_) => Err(GraphError::bad_request("The property 'audiences' must be a list of texts.")),
    }
}

fn expression(members: &Map<String, Value>) -> Result<Option<String>, GraphError> {
    let expression = match members.get("claimsMatchingExpression") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(expression)) => expression,
        Some(_) => {
            let message = "The property 'claimsMatchingExpression' must be an object.";
            return Err(GraphError::bad_request(message));
        }
    };
    let value = text(expression, "value")?.unwrap_or_default();
    if expression.get("languageVersion").is_some_and(|version| *version != 1) {
        return Err(invalid("ClaimsMatchingExpression", value, "The languageVersion must be 1."));
    }
    Ok(Some(value.to_owned()))
}

fn other_name(name: &str) -> GraphError {
    invalid("Name", name, "The name of a credential cannot be changed.")
}

/// Returns the error of an invalid property.
pub(super) fn invalid(property: &str, value: &str, text: &str) -> GraphError {
    let value: String = value.chars().take(MAX_TEXT).collect();
    let message = format!(
        "{text} paramName: FederatedIdentityCredential.{property}, paramValue: {value}, objectType: \
         Microsoft.Online.DirectoryServices.Application"
    );
    GraphError::new(400, "InvalidFederatedIdentityCredentialValue", message)
}
