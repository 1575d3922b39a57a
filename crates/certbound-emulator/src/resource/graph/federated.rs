//! Federated identity credentials of an application: list, get, create, update and delete.

mod fields;

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use self::fields::Fields;
use super::applications::object_id;
use super::error::GraphError;
use super::page::Kind;
use super::path::Key;
use super::{Answer, Graph, body, permission};
use crate::directory::NamedCredential;
use crate::world::check::credentials::MAX_FEDERATED;
use crate::world::{Application, FederatedCredential};

const KIND: Kind = Kind {
    name: "FederatedIdentityCredential",
    properties: &["id", "name", "issuer", "subject", "description", "audiences", "claimsMatchingExpression"],
    filters: &["name", "issuer", "subject"],
};

type Credentials = Vec<Arc<NamedCredential>>;

impl Graph<'_> {
    pub(super) fn federated_credentials(&self, key: &Key) -> Result<Answer, GraphError> {
        permission::to_read_applications(self.caller)?;
        let application = self.find(key)?;
        let present = self.server.directory.federated(&application.id);
        self.page(&KIND, &collection(application), present.iter().map(|it| shown(it)).collect())
    }

    pub(super) fn federated_credential(&self, key: &Key, credential: &Key) -> Result<Answer, GraphError> {
        permission::to_read_applications(self.caller)?;
        let application = self.find(key)?;
        let present = self.server.directory.federated(&application.id);
        let found = position(&present, credential)?.and_then(|at| present.get(at));
        let found = found.ok_or_else(|| GraphError::not_found(credential.value()))?;
        self.single(&KIND, &collection(application), &shown(found))
    }

    pub(super) fn create_federated_credential(
        &self,
        key: &Key,
        request: &Request<Bytes>,
    ) -> Result<Answer, GraphError> {
        let application = self.writable(key)?;
        let fields = Fields::read(&body::object(request)?)?;
        let created = Arc::new(fields.create()?);
        self.change(application, |present| with_another(present, &created))?;
        Ok(Answer::Created(self.entity(&collection(application), &Value::Object(shown(&created)))))
    }

    /// Changes a credential. With the header `Prefer: create-if-missing`, creates the credential if its name is
    /// unknown.
    pub(super) fn update_federated_credential(
        &self,
        key: &Key,
        credential: &Key,
        request: &Request<Bytes>,
    ) -> Result<Answer, GraphError> {
        let application = self.writable(key)?;
        let mut fields = Fields::read(&body::object(request)?)?;
        let upsert = prefers(request, "create-if-missing");
        let mut created = None;
        self.change(application, |present| match position(present, credential)? {
            Some(at) => {
                let mut after = present.to_vec();
                let before = after.remove(at);
                let changed = Arc::new(fields.change(&before)?);
                check_unique(&after, &changed)?;
                after.insert(at, changed);
                Ok(after)
            }
            None if upsert && Uuid::try_parse(credential.value()).is_err() => {
                fields.name_from(credential.value())?;
                let new = Arc::new(fields.create()?);
                created = Some(Arc::clone(&new));
                with_another(present, &new)
            }
            None => Err(GraphError::not_found(credential.value())),
        })?;
        Ok(created.map_or(Answer::Done, |new| {
            Answer::Created(self.entity(&collection(application), &Value::Object(shown(&new))))
        }))
    }

    pub(super) fn delete_federated_credential(
        &self,
        key: &Key,
        credential: &Key,
    ) -> Result<Answer, GraphError> {
        let application = self.writable(key)?;
        self.change(application, |present| {
            let at = position(present, credential)?;
            let at = at.ok_or_else(|| GraphError::not_found(credential.value()))?;
            let mut after = present.to_vec();
            after.remove(at);
            Ok(after)
        })?;
        Ok(Answer::Done)
    }

    fn writable(&self, key: &Key) -> Result<&Application, GraphError> {
        permission::to_read_applications(self.caller)?;
        let application = self.find(key)?;
        permission::to_write(self.caller, application)?;
        Ok(application)
    }

    fn change(
        &self,
        application: &Application,
        change: impl FnOnce(&[Arc<NamedCredential>]) -> Result<Credentials, GraphError>,
    ) -> Result<(), GraphError> {
        self.server.directory.change_federated(&application.id, self.server.now, change)
    }
}

fn collection(application: &Application) -> String {
    format!("applications('{}')/federatedIdentityCredentials", object_id(application))
}

/// Returns whether a header `Prefer` contains the preference (RFC 7240, section 2).
fn prefers(request: &Request<Bytes>, preference: &str) -> bool {
    let values = request.headers().get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|it| it.trim().eq_ignore_ascii_case(preference))
}

/// Returns the position of the credential that `key` selects by its id or its name.
fn position(present: &[Arc<NamedCredential>], key: &Key) -> Result<Option<usize>, GraphError> {
    match key {
        Key::Plain(text) => {
            Ok(present.iter().position(|it| it.id.eq_ignore_ascii_case(text) || it.name == *text))
        }
        Key::Alternate(property, name) if property == "name" => {
            Ok(present.iter().position(|it| it.name == *name))
        }
        Key::Alternate(property, _) => Err(GraphError::not_emulated(&format!(
            "the alternate key '{property}' of a federated identity credential"
        ))),
    }
}

fn with_another(
    present: &[Arc<NamedCredential>],
    new: &Arc<NamedCredential>,
) -> Result<Credentials, GraphError> {
    if present.iter().any(|it| it.name == new.name) {
        let message = format!("FederatedIdentityCredential with name {} already exists.", new.name);
        return Err(GraphError::new(409, "Request_MultipleObjectsWithSameKeyValue", message));
    }
    check_unique(present, new)?;
    if present.len() >= MAX_FEDERATED {
        let message = format!(
            "Unable to perform operation as '{}' would exceed the maximum quota count '{MAX_FEDERATED}' for \
             forward-link 'federatedIdentityCredentials'.",
            present.len() + 1
        );
        return Err(GraphError::new(403, "Directory_QuotaExceeded", message));
    }
    Ok(present.iter().chain([new]).map(Arc::clone).collect())
}

/// Checks that no other credential has the same issuer and the same subject or expression.
fn check_unique(others: &[Arc<NamedCredential>], new: &NamedCredential) -> Result<(), GraphError> {
    let pair = |it: &NamedCredential| {
        let FederatedCredential { issuer, subject, claims_matching_expression, .. } = it.credential.clone();
        (issuer, claims_matching_expression.unwrap_or(subject))
    };
    let (issuer, subject) = pair(new);
    if others.iter().all(|it| pair(it) != (issuer.clone(), subject.clone())) {
        return Ok(());
    }
    let text = format!(
        "The combination of issuer and subject must be unique for the application. Issuer {issuer} and Subject: \
         {subject} already exist."
    );
    Err(fields::invalid("Subject", &subject, &text))
}

fn shown(named: &NamedCredential) -> Map<String, Value> {
    let credential = &named.credential;
    let expression = credential.claims_matching_expression.as_ref();
    // A credential has either a subject or an expression. The real service shows `null` for the other property.
    let subject = expression.is_none().then_some(&credential.subject);
    super::object([
        ("id", json!(named.id)),
        ("name", json!(named.name)),
        ("issuer", json!(credential.issuer)),
        ("subject", json!(subject)),
        ("description", json!(named.description)),
        ("audiences", json!([credential.audience])),
        (
            "claimsMatchingExpression",
            json!(expression.map(|value| json!({ "value": value, "languageVersion": 1 }))),
        ),
    ])
}
