//! The built-in world: two tenants, four applications, two managed identities, the token-exchange audience, a vault,
//! Graph, a custom API, and one resource that accepts no bound tokens.

use std::collections::BTreeMap;

use certbound_core::environment::Cloud;

use super::{
    Application, BoundTokens, FederatedCredential, ManagedIdentity, Resource, ResourceHost, ResourceStyle,
    Tenant, TokenVersion, VaultCertificate, VaultKeyKind, World,
};

/// The tenant in which all applications are registered. Its domain is `contoso.example`.
pub const TENANT: &str = "bea21ebe-8b64-4d06-9f6d-6a889b120a7c";
/// A second tenant, in which only [`MULTI_TENANT_APP`] exists. Its domain is `fabrikam.example`.
pub const OTHER_TENANT: &str = "5f1c2a7e-3d94-4b58-9c06-8e2b7a14d3f0";

/// The application of both legs. It trusts [`CLIENT_SUBJECT`] and has federated credentials for its own principal.
pub const APP: &str = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e";
/// The object id of [`APP`]'s service principal in [`TENANT`].
pub const APP_PRINCIPAL: &str = "0b4d7f52-6e18-4c3a-8f95-21c7d0a9e6b3";
/// An application without a certificate. It has federated credentials for [`APP`]'s principal and for the managed
/// identities.
pub const TARGET_APP: &str = "c2e9a640-7b15-4d8f-a3c1-5f60e8d2b794";
/// The object id of [`TARGET_APP`]'s service principal in [`TENANT`].
pub const TARGET_PRINCIPAL: &str = "84a1c6d3-05f7-4e29-b8d4-9e37f162c05a";
/// An application that is registered in [`TENANT`] and also exists in [`OTHER_TENANT`]. It trusts [`CLIENT_SUBJECT`]
/// and has federated credentials for its own principal.
pub const MULTI_TENANT_APP: &str = "7d30b8f1-2c46-4a9e-95e7-b14f8c06d2a8";
/// The object id of [`MULTI_TENANT_APP`]'s service principal in [`TENANT`].
pub const MULTI_TENANT_PRINCIPAL: &str = "e65f2b09-93d8-4710-a6cb-48d1f07e3c92";
/// The object id of [`MULTI_TENANT_APP`]'s service principal in [`OTHER_TENANT`].
pub const MULTI_TENANT_PRINCIPAL_IN_OTHER_TENANT: &str = "1f97e4c8-b60a-4d53-8e21-c3a5d9704b6f";
/// An application whose only credential is a secret. It may change all applications through Microsoft Graph.
pub const SECRET_APP: &str = "aa57c903-4e1d-4b62-8d08-73f9e5b1c264";
/// The object id of [`SECRET_APP`]'s service principal in [`TENANT`].
pub const SECRET_PRINCIPAL: &str = "3c08d5e7-a2f9-4816-97b4-0de6c1583fa2";
/// The secret of [`SECRET_APP`].
pub const SECRET: &str = "certbound-emulator-secret";

/// The machine's own (system-assigned) identity.
pub const SYSTEM_IDENTITY: &str = "5e1d0c8f-6a37-4b92-8f04-d7c3a9e16b25";
/// The object id of [`SYSTEM_IDENTITY`]'s service principal in [`TENANT`].
pub const SYSTEM_IDENTITY_PRINCIPAL: &str = "f27b94a3-0e5c-4d18-b6a9-3c81d50e7f42";
/// A user-assigned identity.
pub const USER_IDENTITY: &str = "98c4f2e7-1b60-4a5d-9e83-0f7d26b8c514";
/// The object id of [`USER_IDENTITY`]'s service principal in [`TENANT`].
pub const USER_IDENTITY_PRINCIPAL: &str = "41d8e6b2-7f93-4c0a-a5e1-b90c38f2d76e";
/// The resource id of [`USER_IDENTITY`].
pub const USER_IDENTITY_RESOURCE: &str = "/subscriptions/6c1f0e4a-2d8b-4937-8a5e-f30b7d91c246/resourcegroups/demo/providers/\
     Microsoft.ManagedIdentity/userAssignedIdentities/demo";

/// The subject of the emulator's client certificate. Every application of this world with SN/I trusts this subject.
pub const CLIENT_SUBJECT: &str = "CN=certbound-demo-app";
/// The common name in [`CLIENT_SUBJECT`].
pub const CLIENT_COMMON_NAME: &str = "certbound-demo-app";

/// Key Vault, as a resource.
pub const VAULT: &str = "https://vault.azure.net";
/// A vault's host.
pub const VAULT_HOST: &str = "demo.vault.azure.net";
/// The vault's RSA key.
pub const VAULT_RSA_KEY: &str = "demo-rsa";
/// The vault's key on P-256.
pub const VAULT_P256_KEY: &str = "demo-p256";
/// The vault's certificate. Its subject is [`CLIENT_SUBJECT`], so an application that trusts this subject can
/// authenticate with the certificate.
pub const VAULT_CERTIFICATE: &str = "demo-client";
/// Microsoft Graph, as a resource.
pub const GRAPH: &str = "https://graph.microsoft.com";
/// Graph's host for bound tokens.
pub const GRAPH_BOUND_HOST: &str = "mtlstb.graph.microsoft.com";
/// Graph's ordinary host, which never requests a certificate.
pub const GRAPH_HOST: &str = "graph.microsoft.com";
/// The custom API, as a resource. It refuses Bearer tokens.
pub const ORDERS: &str = "api://orders";
/// The custom API's host.
pub const ORDERS_HOST: &str = "orders.contoso.example";
/// Azure Resource Manager, a resource that accepts no bound tokens (392196).
pub const MANAGEMENT: &str = "https://management.azure.com";

/// The application id of the token-exchange audience, the `aud` of a Leg 1 token.
pub const EXCHANGE_APP_ID: &str = "fb60f99c-7a34-4190-8149-302f77469936";
const GRAPH_APP_ID: &str = "00000003-0000-0000-c000-000000000000";
const VAULT_APP_ID: &str = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093";
const MANAGEMENT_APP_ID: &str = "797f4846-ba00-4fd7-ba43-dac1f8f63013";
const ORDERS_APP_ID: &str = "d95b1e37-8c04-4f6a-b2e9-60a7c3f81d45";

impl World {
    /// Returns the world whose names are the constants of [`builtin`](self).
    pub fn built_in() -> World {
        World {
            tenants: vec![tenant(TENANT, "contoso.example"), tenant(OTHER_TENANT, "fabrikam.example")],
            applications: applications(),
            resources: vec![exchange(), vault(), graph(), orders(), management()],
            managed_identities: vec![
                ManagedIdentity { client_id: SYSTEM_IDENTITY.to_owned(), resource_id: None },
                ManagedIdentity {
                    client_id: USER_IDENTITY.to_owned(),
                    resource_id: Some(USER_IDENTITY_RESOURCE.to_owned()),
                },
            ],
            ..World::default()
        }
    }
}

fn tenant(id: &str, domain: &str) -> Tenant {
    Tenant { id: id.to_owned(), domains: vec![domain.to_owned()] }
}

fn applications() -> Vec<Application> {
    let by_certificate = || vec![CLIENT_SUBJECT.to_owned()];
    let mut app = with_roles(Application::new(APP, TENANT, APP_PRINCIPAL));
    app.trusted_subjects = by_certificate();
    app.federated_credentials = federated_to(APP_PRINCIPAL);

    let mut target = with_roles(Application::new(TARGET_APP, TENANT, TARGET_PRINCIPAL));
    target.federated_credentials = federated_to(APP_PRINCIPAL);
    for principal in [SYSTEM_IDENTITY_PRINCIPAL, USER_IDENTITY_PRINCIPAL] {
        // The machine is in the public cloud, so it needs only the credential of that cloud.
        target.federated_credentials.extend(federated_to(principal).into_iter().take(1));
    }

    let mut multi = with_roles(Application::new(MULTI_TENANT_APP, TENANT, MULTI_TENANT_PRINCIPAL));
    multi.principals.insert(OTHER_TENANT.to_owned(), MULTI_TENANT_PRINCIPAL_IN_OTHER_TENANT.to_owned());
    multi.trusted_subjects = by_certificate();
    add_role(&mut multi, VAULT_APP_ID, "Secrets.ReadWrite");
    multi.federated_credentials = federated_to(MULTI_TENANT_PRINCIPAL);

    let mut secret = with_roles(Application::new(SECRET_APP, TENANT, SECRET_PRINCIPAL));
    secret.secrets = vec![SECRET.to_owned()];
    add_role(&mut secret, VAULT_APP_ID, "Secrets.ReadWrite");
    add_role(&mut secret, GRAPH_APP_ID, "Application.ReadWrite.All");
    add_role(&mut secret, GRAPH_APP_ID, "Organization.Read.All");
    let system = with_roles(Application::new(SYSTEM_IDENTITY, TENANT, SYSTEM_IDENTITY_PRINCIPAL));
    let user = with_roles(Application::new(USER_IDENTITY, TENANT, USER_IDENTITY_PRINCIPAL));
    vec![app, target, multi, secret, system, user]
}

fn with_roles(mut application: Application) -> Application {
    let roles = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    application.roles = BTreeMap::from([
        (GRAPH_APP_ID.to_owned(), roles(&["Application.Read.All"])),
        (VAULT_APP_ID.to_owned(), roles(&["Secrets.Read", "Keys.Sign", "Certificates.Read"])),
        (ORDERS_APP_ID.to_owned(), roles(&["Orders.Read.All"])),
    ]);
    application
}

fn add_role(application: &mut Application, resource: &str, role: &str) {
    application.roles.entry(resource.to_owned()).or_default().push(role.to_owned());
}

/// Returns one credential for each cloud with a token exchange, with the cloud's issuer and audience.
fn federated_to(principal: &str) -> Vec<FederatedCredential> {
    let of = |cloud: &Cloud| {
        let audience = cloud.exchange_uri()?.to_owned();
        Some(FederatedCredential {
            issuer: format!("https://{}/{TENANT}/v2.0", cloud.login_host()),
            subject: principal.to_owned(),
            audience,
            ..FederatedCredential::default()
        })
    };
    Cloud::ALL.iter().filter_map(of).collect()
}

fn exchange() -> Resource {
    Resource {
        uris: Cloud::ALL.iter().filter_map(|cloud| cloud.exchange_uri()).map(str::to_owned).collect(),
        app_id: EXCHANGE_APP_ID.to_owned(),
        bound_tokens: BoundTokens::Allowed,
        ..Resource::default()
    }
}

fn vault() -> Resource {
    let uris: Vec<String> = Cloud::ALL.iter().map(|cloud| cloud.vault_uri().to_owned()).collect();
    Resource {
        hosts: uris.iter().map(|uri| host(&uri.replacen("https://", "*.", 1), true)).collect(),
        uris,
        app_id: VAULT_APP_ID.to_owned(),
        token_version: TokenVersion::V1,
        bound_tokens: BoundTokens::Allowed,
        token_binding_parameters: None,
        style: ResourceStyle::Vault,
        items: BTreeMap::from([("demo".to_owned(), "a secret that is none".to_owned())]),
        keys: BTreeMap::from([
            (VAULT_RSA_KEY.to_owned(), VaultKeyKind::Rsa2048),
            (VAULT_P256_KEY.to_owned(), VaultKeyKind::P256),
        ]),
        certificates: BTreeMap::from([(
            VAULT_CERTIFICATE.to_owned(),
            VaultCertificate { common_name: CLIENT_COMMON_NAME.to_owned(), key: VaultKeyKind::Rsa2048 },
        )]),
    }
}

fn graph() -> Resource {
    Resource {
        uris: Cloud::ALL.iter().map(|cloud| cloud.graph_uri().to_owned()).collect(),
        app_id: GRAPH_APP_ID.to_owned(),
        token_version: TokenVersion::V1,
        bound_tokens: BoundTokens::Allowed,
        style: ResourceStyle::Graph,
        hosts: vec![host(GRAPH_BOUND_HOST, true), host(GRAPH_HOST, false)],
        ..Resource::default()
    }
}

fn orders() -> Resource {
    let items = [("1001", "two lamps"), ("1002", "a desk")];
    Resource {
        uris: vec![ORDERS.to_owned()],
        app_id: ORDERS_APP_ID.to_owned(),
        bound_tokens: BoundTokens::Required,
        hosts: vec![host(ORDERS_HOST, true)],
        items: items.into_iter().map(|(number, order)| (number.to_owned(), order.to_owned())).collect(),
        ..Resource::default()
    }
}

fn management() -> Resource {
    Resource {
        uris: vec![MANAGEMENT.to_owned()],
        app_id: MANAGEMENT_APP_ID.to_owned(),
        token_version: TokenVersion::V1,
        ..Resource::default()
    }
}

fn host(name: &str, asks_for_certificate: bool) -> ResourceHost {
    ResourceHost { name: name.to_owned(), asks_for_certificate, late_certificate: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_world_is_read_back_from_its_own_json_without_secrets() {
        let text = serde_json::to_string(&World::built_in()).unwrap();
        assert!(!text.contains(SECRET), "a secret was written out");
        let back: World = serde_json::from_str(&text).unwrap();
        assert_eq!(back.applications.len(), 6);
        let with_exchange = Cloud::ALL.iter().filter(|cloud| cloud.exchange_uri().is_some());
        assert_eq!(back.application(APP).unwrap().federated_credentials.len(), with_exchange.count());
    }

    #[test]
    fn a_resource_is_found_by_uri_slash_or_application_id_and_by_nothing_close() {
        let world = World::built_in();
        for (name, found) in [
            (VAULT, true),
            ("https://vault.azure.net/", true),
            ("https://vault.azure.net//", false),
            ("https://VAULT.azure.net", false),
            (VAULT_APP_ID, true),
            ("api://AzureADTokenExchange", true),
        ] {
            assert_eq!(world.resource(name).is_some(), found, "{name}");
        }
    }
}
