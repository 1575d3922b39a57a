//! The documents that clients and verifiers fetch first: OpenID metadata, keys, and the aliases of login hosts.

use bytes::Bytes;
use certbound_core::environment::{known_environment, known_environments};
use certbound_core::request::ReceivedForm;
use http::{Method, Request, Response};
use serde_json::{Value, json};

use super::TokenService;
use crate::answers::{AnswerContext, Refusal, refusal};
use crate::issue::{issuer_v1, issuer_v2};
use crate::world::hosts;

impl TokenService<'_> {
    /// Returns the answer with a published document, or `None` if no document is published at the path. Only login
    /// hosts publish documents.
    pub(super) fn discovery(
        &self,
        context: &AnswerContext<'_>,
        request: &Request<Bytes>,
    ) -> Option<Response<Bytes>> {
        let path = request.uri().path();
        let found = if self.mutual_tls {
            return None;
        } else if path == "/common/discovery/instance" {
            instance(request.uri().query().unwrap_or_default())
        } else if let Some(tenant) = inside(path, "/v2.0/.well-known/openid-configuration") {
            self.named(tenant).map(|tenant| self.metadata(&tenant, &self.issuer(&tenant), "/v2.0"))
        } else if let Some(tenant) = inside(path, "/.well-known/openid-configuration") {
            self.named(tenant).map(|tenant| self.metadata(&tenant, &issuer_v1(&tenant), ""))
        } else if let Some(tenant) = inside(path, "/discovery/v2.0/keys") {
            self.named(tenant).map(|tenant| self.keys.jwks(Some(&self.issuer(&tenant))))
        } else if let Some(tenant) = inside(path, "/discovery/keys") {
            // The keys of version 1 have no issuer.
            self.named(tenant).map(|_| self.keys.jwks(None))
        } else {
            return None;
        };
        let is_get = request.method() == Method::GET;
        let wrong_method = || refusal(900_561, "The endpoint only accepts GET requests.");
        Some(context.respond(if is_get { found } else { Err(wrong_method()) }))
    }

    /// Returns the tenant's id. For `common` and `organizations`, returns the placeholder that the real documents have.
    fn named(&self, name: &str) -> Result<String, Refusal> {
        if name.eq_ignore_ascii_case("common") || name.eq_ignore_ascii_case("organizations") {
            return Ok("{tenantid}".to_owned());
        }
        let tenant = self.world.tenant(name).map(|tenant| tenant.id.clone());
        tenant.ok_or_else(|| refusal(90_002, format!("Tenant '{name}' not found.")))
    }

    fn issuer(&self, tenant: &str) -> String {
        issuer_v2(self.cloud, tenant)
    }

    fn metadata(&self, tenant: &str, issuer: &str, version: &str) -> Value {
        let segment = if tenant == "{tenantid}" { "common" } else { tenant };
        let host = self.host;
        let oauth2 = format!("/{segment}/oauth2{version}");
        let mutual_tls = hosts::mutual_tls_host(self.cloud);
        json!({
            "token_endpoint": format!("https://{host}{oauth2}/token"),
            "token_endpoint_auth_methods_supported": [
                "client_secret_post", "private_key_jwt", "client_secret_basic", "self_signed_tls_client_auth"
            ],
            "jwks_uri": format!("https://{host}/{segment}/discovery{version}/keys"),
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": issuer,
            "request_uri_parameter_supported": false,
            "authorization_endpoint": format!("https://{host}{oauth2}/authorize"),
            "device_authorization_endpoint": format!("https://{host}{oauth2}/devicecode"),
            "end_session_endpoint": format!("https://{host}{oauth2}/logout"),
            "claims_supported": ["sub", "iss", "aud", "exp", "iat", "nbf", "tid", "ver"],
            "mtls_endpoint_aliases": { "token_endpoint": format!("https://{mutual_tls}{oauth2}/token") },
            "tls_client_certificate_bound_access_tokens": true,
            "tenant_region_scope": "EU",
            "cloud_instance_name": self.cloud.login_host().trim_start_matches("login."),
            "msgraph_host": self.cloud.graph_uri().trim_start_matches("https://"),
        })
    }
}

fn inside<'p>(path: &'p str, suffix: &str) -> Option<&'p str> {
    path.strip_prefix('/')?.strip_suffix(suffix).filter(|tenant| !tenant.is_empty() && !tenant.contains('/'))
}

/// Instance discovery: checks that an authority is a login host, and returns the aliases of all clouds.
fn instance(query: &str) -> Result<Value, Refusal> {
    let unknown = || {
        refusal(
            50_049,
            "Unknown or invalid instance. Check that the authority's host is a login host of a Microsoft cloud.",
        )
    };
    let query = ReceivedForm::decode(query.as_bytes()).map_err(|_| unknown())?;
    let endpoint = query.value("authorization_endpoint").ok_or_else(unknown)?;
    let (host, path) =
        endpoint.strip_prefix("https://").and_then(|rest| rest.split_once('/')).ok_or_else(unknown)?;
    known_environment(host).ok_or_else(unknown)?;
    let tenant = path.split('/').next().unwrap_or_default();
    let mut metadata: Vec<Value> = Vec::new();
    for environment in known_environments() {
        metadata.push(json!({
            "preferred_network": environment.preferred_network,
            "preferred_cache": environment.preferred_cache,
            "aliases": environment.aliases,
        }));
    }
    Ok(json!({
        "tenant_discovery_endpoint": format!("https://{host}/{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": metadata,
    }))
}
