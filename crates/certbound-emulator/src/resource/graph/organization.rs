//! The organization: the caller's tenant.

use serde_json::{Map, Value, json};

use super::error::GraphError;
use super::page::Kind;
use super::path::Key;
use super::{Answer, Graph, permission};

const KIND: Kind = Kind {
    name: "Organization",
    properties: &["id", "displayName", "tenantType", "verifiedDomains"],
    filters: &["id"],
};

impl Graph<'_> {
    pub(super) fn organizations(&self) -> Result<Answer, GraphError> {
        permission::to_read_organization(self.caller)?;
        self.page(&KIND, "organization", self.tenant().into_iter().collect())
    }

    pub(super) fn organization(&self, key: &Key) -> Result<Answer, GraphError> {
        permission::to_read_organization(self.caller)?;
        let is_ours = matches!(key, Key::Plain(id) if id.eq_ignore_ascii_case(self.tenant_id()));
        let tenant = self.tenant().filter(|_| is_ours);
        let tenant = tenant.ok_or_else(|| GraphError::not_found(key.value()))?;
        self.single(&KIND, "organization", &tenant)
    }

    fn tenant(&self) -> Option<Map<String, Value>> {
        let tenant = self.server.world.tenant(self.tenant_id())?;
        let domains = tenant.domains.iter().enumerate().map(|(index, name)| {
            json!({
                "name": name,
                "type": "Managed",
                "capabilities": "",
                "isDefault": index == 0,
                "isInitial": index == 0,
            })
        });
        Some(super::object([
            ("id", json!(tenant.id)),
            ("displayName", json!(tenant.domains.first().unwrap_or(&tenant.id))),
            ("tenantType", json!("AAD")),
            ("verifiedDomains", domains.collect()),
        ]))
    }
}
