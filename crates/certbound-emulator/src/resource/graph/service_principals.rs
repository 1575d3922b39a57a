//! Service principals: the applications and managed identities that exist in the caller's tenant.

use serde_json::{Map, Value, json};

use super::error::GraphError;
use super::page::Kind;
use super::path::Key;
use super::{Answer, Graph, permission};
use crate::world::Application;

const KIND: Kind = Kind {
    name: "ServicePrincipal",
    properties: &[
        "id",
        "appId",
        "displayName",
        "accountEnabled",
        "appOwnerOrganizationId",
        "servicePrincipalType",
        "servicePrincipalNames",
        "alternativeNames",
    ],
    filters: &["appId", "id", "displayName", "servicePrincipalType"],
};

impl Graph<'_> {
    pub(super) fn service_principals(&self) -> Result<Answer, GraphError> {
        permission::to_read_applications(self.caller)?;
        let objects = self.principals().map(|(application, id)| self.principal(application, id)).collect();
        self.page(&KIND, "servicePrincipals", objects)
    }

    pub(super) fn service_principal(&self, key: &Key) -> Result<Answer, GraphError> {
        permission::to_read_applications(self.caller)?;
        let found = match key {
            Key::Plain(id) if uuid::Uuid::try_parse(id).is_err() => {
                return Err(GraphError::bad_request(format!("Invalid object identifier '{id}'.")));
            }
            Key::Plain(id) => self.principals().find(|(_, principal)| principal.eq_ignore_ascii_case(id)),
            Key::Alternate(name, id) if name == "appid" => {
                self.principals().find(|(application, _)| application.id.eq_ignore_ascii_case(id))
            }
            Key::Alternate(name, _) => {
                let what = format!("the alternate key '{name}' of a service principal");
                return Err(GraphError::not_emulated(&what));
            }
        };
        let (application, id) = found.ok_or_else(|| GraphError::not_found(key.value()))?;
        self.single(&KIND, "servicePrincipals", &self.principal(application, id))
    }

    /// Returns the applications that exist in the caller's tenant, with their object ids in this tenant.
    fn principals(&self) -> impl Iterator<Item = (&Application, &str)> {
        let tenant = self.tenant_id();
        self.server.world.applications.iter().filter_map(move |application| {
            application.principals.get(tenant).map(|id| (application, id.as_str()))
        })
    }

    fn principal(&self, application: &Application, id: &str) -> Map<String, Value> {
        let identity = self.server.world.managed_identity(&application.id);
        let names: Vec<&str> = match identity.map(|identity| &identity.resource_id) {
            None => Vec::new(),
            Some(None) => vec!["isExplicit=False"],
            Some(Some(resource)) => vec!["isExplicit=True", resource],
        };
        let kind = if identity.is_some() { "ManagedIdentity" } else { "Application" };
        super::object([
            ("id", json!(id)),
            ("appId", json!(application.id)),
            ("displayName", json!(application.id)),
            ("accountEnabled", json!(application.enabled)),
            ("appOwnerOrganizationId", json!(application.home_tenant)),
            ("servicePrincipalType", json!(kind)),
            ("servicePrincipalNames", json!([application.id])),
            ("alternativeNames", json!(names)),
        ])
    }
}
