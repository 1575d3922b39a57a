//! The token: claims, binding and signature; and the answer that contains it.

mod alteration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certbound_core::certificate::Thumbprint;
use certbound_core::environment::Cloud;
use certbound_core::request::MTLS_POP;
use certbound_core::time::UnixTime;
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub(crate) use self::alteration::Alteration;
pub use self::alteration::TokenForm;
use crate::keys::TokenKey;
use crate::world::token_binding::STRENGTH_CLAIM;
use crate::world::{Application, ManagedIdentity, Resource, Tenant, TokenVersion, World};

/// The usual lifetime of a token, in seconds.
const LIFETIME: u64 = 3_600;
/// The usual lifetime of a managed identity's own token, in seconds.
const MACHINE_LIFETIME: u64 = 86_400;
/// The answer has `refresh_in` if the token's lifetime is at least this number of seconds, or if the world sets the
/// lifetime.
const LONG: u64 = 2 * 3_600;
/// The number of seconds by which `iat` and `nbf` precede the time of issue, as in the real service.
pub(crate) const BACKDATED: u64 = 300;

/// The decision to issue a token, with everything that the token contains.
#[derive(Debug)]
pub(crate) struct Grant<'w> {
    pub(crate) tenant: &'w Tenant,
    pub(crate) application: &'w Application,
    /// The object id of the application's service principal in the tenant.
    pub(crate) principal: &'w str,
    pub(crate) resource: &'w Resource,
    /// The resource as the request spelled it.
    pub(crate) audience: String,
    pub(crate) proof: Proof,
    /// The claims about the client, if the client is a managed identity.
    pub(crate) machine: Option<MachineClaims>,
    /// The thumbprint of the binding certificate. It is `None` for a Bearer token.
    pub(crate) bound_to: Option<Thumbprint>,
    /// The client's capabilities, such as `cp1`.
    pub(crate) capabilities: Vec<String>,
    pub(crate) cloud: Cloud,
    /// The token's lifetime, in seconds.
    pub(crate) lifetime: u64,
    /// Whether the answer suggests a new token after half of the lifetime.
    pub(crate) suggests_refresh: bool,
}

/// The way in which the client was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    Secret,
    Certificate,
    /// A certificate that the machine's metadata service issued.
    Machine,
    Federated,
}

/// The claims with the resource ids of a managed identity and of its machine.
#[derive(Debug)]
pub(crate) struct MachineClaims {
    /// `xms_mirid`
    identity: String,
    /// `xms_az_rid`, only for a user-assigned identity.
    used_by: Option<String>,
}

impl MachineClaims {
    pub(crate) fn of(world: &World, identity: &ManagedIdentity) -> Self {
        let machine = lower_case_group(&world.machine.resource_id());
        match &identity.resource_id {
            None => Self { identity: machine, used_by: None },
            Some(id) => Self { identity: lower_case_group(id), used_by: Some(machine) },
        }
    }
}

/// Returns the resource id with the segment `resourcegroups` in lower case, as in real tokens.
fn lower_case_group(resource_id: &str) -> String {
    let lower = |segment: &str| match segment.eq_ignore_ascii_case("resourcegroups") {
        true => "resourcegroups".to_owned(),
        false => segment.to_owned(),
    };
    resource_id.split('/').map(lower).collect::<Vec<_>>().join("/")
}

impl World {
    /// Returns the lifetime of a token, in seconds.
    pub(crate) fn lifetime(&self, of_machine: bool) -> u64 {
        let usual = if of_machine { MACHINE_LIFETIME } else { LIFETIME };
        self.token_lifetime_seconds.unwrap_or(usual)
    }

    /// Returns whether the answer with a token of this lifetime has `refresh_in`.
    pub(crate) fn suggests_refresh(&self, lifetime: u64) -> bool {
        lifetime >= LONG || self.token_lifetime_seconds.is_some()
    }
}

/// Returns the body of the answer, or `None` if signing failed. `alteration` makes one part of the answer wrong.
pub(crate) fn answer(
    grant: &Grant<'_>,
    key: &TokenKey,
    now: UnixTime,
    alteration: Option<Alteration>,
) -> Option<Value> {
    let mut claims = claims(grant, now);
    let mut token_type = if grant.bound_to.is_some() { MTLS_POP } else { "Bearer" };
    let mut scope = format!("{}/.default", grant.audience);
    match alteration {
        Some(Alteration::Bearer) => {
            claims.remove("cnf");
            claims.remove("xms_tbflags");
            claims.remove(STRENGTH_CLAIM);
            token_type = "Bearer";
        }
        Some(Alteration::NoCnf) => drop(claims.remove("cnf")),
        Some(Alteration::ForeignCnf) => {
            claims.insert("cnf".to_owned(), json!({ "x5t#S256": alteration::foreign() }));
        }
        Some(Alteration::WrongScope) => scope = "https://wrong.example/.default".to_owned(),
        _ => {}
    }
    let header = header(grant, key);
    let token = match alteration {
        Some(Alteration::Form(form)) => alteration::in_form(form, &header, &claims, key)?,
        _ => key.sign(&header, &claims)?,
    };
    let token = if alteration == Some(Alteration::EmptyToken) { "" } else { token.expose() };
    let lifetime = grant.lifetime;
    let mut body = json!({
        "token_type": token_type,
        "scope": scope,
        "expires_in": lifetime - 1,
        "ext_expires_in": lifetime - 1,
        "access_token": token,
    });
    if grant.suggests_refresh {
        body["refresh_in"] = json!(lifetime / 2);
    }
    Some(body)
}

fn header(grant: &Grant<'_>, key: &TokenKey) -> Map<String, Value> {
    let mut header = Map::new();
    header.insert("typ".to_owned(), json!("JWT"));
    header.insert("alg".to_owned(), json!("RS256"));
    if grant.resource.token_version == TokenVersion::V1 {
        header.insert("x5t".to_owned(), json!(key.kid()));
    }
    header.insert("kid".to_owned(), json!(key.kid()));
    header
}

fn claims(grant: &Grant<'_>, now: UnixTime) -> Map<String, Value> {
    let (now, tenant) = (now.as_secs(), grant.tenant.id.as_str());
    let v1 = grant.resource.token_version == TokenVersion::V1;
    let mut claims = Map::new();
    let mut set = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
    set("aud", json!(if v1 { &grant.audience } else { &grant.resource.app_id }));
    set("iss", json!(if v1 { issuer_v1(tenant) } else { issuer_v2(grant.cloud, tenant) }));
    set("iat", json!(now.saturating_sub(BACKDATED)));
    set("nbf", json!(now.saturating_sub(BACKDATED)));
    set("exp", json!(now.saturating_add(grant.lifetime)));
    set("aio", json!(opaque()));
    set(if v1 { "appid" } else { "azp" }, json!(grant.application.id));
    set(if v1 { "appidacr" } else { "azpacr" }, json!(if grant.proof == Proof::Secret { "1" } else { "2" }));
    if v1 {
        set("idp", json!(issuer_v1(tenant)));
    }
    set("idtyp", json!("app"));
    set("oid", json!(grant.principal));
    set("rh", json!(opaque()));
    if let Some(roles) = grant.application.roles.get(&grant.resource.app_id).filter(|roles| !roles.is_empty())
    {
        set("roles", json!(roles));
    }
    set("sub", json!(grant.principal));
    set("tid", json!(tenant));
    set("uti", json!(opaque()));
    set("ver", json!(if v1 { "1.0" } else { "2.0" }));
    if !grant.capabilities.is_empty() {
        set("xms_cc", json!(grant.capabilities));
    }
    if grant.proof == Proof::Federated {
        // The value has no meaning: the token service refuses every assertion of Entra that has this claim.
        set("xms_ficinfo", json!("CAAQABgAIAAoAjAA"));
    }
    if let Some(machine) = &grant.machine {
        set("xms_mirid", json!(machine.identity));
        if let Some(machine) = &machine.used_by {
            set("xms_az_rid", json!(machine));
        }
    }
    if let Some(thumbprint) = &grant.bound_to {
        set("cnf", json!({ "x5t#S256": thumbprint.x5t_s256() }));
        set("xms_tbflags", json!(2));
        if let Some(strength) = grant.application.token_binding_strength {
            set(STRENGTH_CLAIM, json!(strength));
        }
    }
    claims
}

/// Returns the issuer of version 1 tokens, which is the same in every cloud.
pub(crate) fn issuer_v1(tenant: &str) -> String {
    format!("https://sts.windows.net/{tenant}/")
}

/// Returns the issuer of version 2 tokens.
pub(crate) fn issuer_v2(cloud: Cloud, tenant: &str) -> String {
    format!("https://{}/{tenant}/v2.0", cloud.login_host())
}

fn opaque() -> String {
    URL_SAFE_NO_PAD.encode(Uuid::new_v4().as_bytes())
}
