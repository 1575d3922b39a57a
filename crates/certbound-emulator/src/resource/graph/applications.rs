//! Applications: the objects of an application registration.

use bytes::Bytes;
use http::Request;
use serde_json::{Map, Value, json};

use super::error::GraphError;
use super::page::Kind;
use super::path::Key;
use super::{Answer, Graph, body, key_credentials, permission};
use crate::directory::derived;
use crate::world::Application;

const KIND: Kind = Kind {
    name: "Application",
    properties: &["id", "appId", "displayName", "signInAudience", "publisherDomain", "keyCredentials"],
    filters: &["appId", "id", "displayName"],
};

impl Graph<'_> {
    pub(super) fn applications(&self) -> Result<Answer, GraphError> {
        permission::to_read_applications(self.caller)?;
        let objects = self.registered().map(|application| self.shown(application, false)).collect();
        self.page(&KIND, "applications", objects)
    }

    pub(super) fn application(&self, key: &Key) -> Result<Answer, GraphError> {
        permission::to_read_applications(self.caller)?;
        let application = self.find(key)?;
        // The real service shows the bytes of certificates only to a request that selects this property.
        let object = self.shown(application, self.selects("keyCredentials"));
        self.single(&KIND, "applications", &object)
    }

    /// Changes the certificates of an application.
    pub(super) fn update_application(
        &self,
        key: &Key,
        request: &Request<Bytes>,
    ) -> Result<Answer, GraphError> {
        permission::to_read_applications(self.caller)?;
        let application = self.find(key)?;
        permission::to_write(self.caller, application)?;
        let members = body::object(request)?;
        if let Some(name) = members.keys().find(|name| name.as_str() != "keyCredentials") {
            let what = format!("a change of the property '{name}' of an application");
            return Err(GraphError::not_emulated(&what));
        }
        let Some(sent) = members.get("keyCredentials").and_then(Value::as_array) else {
            return Err(GraphError::bad_request("The property keyCredentials must be a list."));
        };
        self.server.directory.change_keys(&application.id, self.server.now, |present| {
            key_credentials::changed(present, sent)
        })?;
        Ok(Answer::Done)
    }

    /// Returns the application of a key. The application must be registered in the caller's tenant.
    pub(super) fn find(&self, key: &Key) -> Result<&Application, GraphError> {
        let found = match key {
            Key::Plain(id) if uuid::Uuid::try_parse(id).is_err() => {
                return Err(GraphError::bad_request(format!("Invalid object identifier '{id}'.")));
            }
            Key::Plain(id) => self.registered().find(|it| object_id(it).eq_ignore_ascii_case(id)),
            Key::Alternate(name, id) if name == "appid" => {
                self.registered().find(|it| it.id.eq_ignore_ascii_case(id))
            }
            Key::Alternate(name, _) => {
                return Err(GraphError::not_emulated(&format!(
                    "the alternate key '{name}' of an application"
                )));
            }
        };
        found.ok_or_else(|| GraphError::not_found(key.value()))
    }

    /// Returns the applications of the caller's tenant. A managed identity has a service principal only.
    fn registered(&self) -> impl Iterator<Item = &Application> {
        let world = self.server.world;
        let is_identity = |application: &Application| world.managed_identity(&application.id).is_some();
        let tenant = self.tenant_id();
        world.applications.iter().filter(move |it| it.home_tenant == tenant && !is_identity(it))
    }

    fn shown(&self, application: &Application, with_certificates: bool) -> Map<String, Value> {
        let audience = if application.principals.len() > 1 { "AzureADMultipleOrgs" } else { "AzureADMyOrg" };
        let tenant = self.server.world.tenant(&application.home_tenant);
        let domain = tenant.and_then(|tenant| tenant.domains.first());
        let keys = self.server.directory.keys(&application.id);
        let keys: Vec<Value> =
            keys.iter().map(|key| key_credentials::shown(key, with_certificates)).collect();
        super::object([
            ("id", json!(object_id(application))),
            ("appId", json!(application.id)),
            ("displayName", json!(application.id)),
            ("signInAudience", json!(audience)),
            ("publisherDomain", json!(domain)),
            ("keyCredentials", json!(keys)),
        ])
    }
}

/// Returns the object id of an application. The world does not contain this id, and it differs from the client id.
pub(super) fn object_id(application: &Application) -> String {
    derived("application", &[&application.id])
}
