//! Whether an application acts for itself or for a user. There is one rule for Entra, and one rule for all other
//! issuers.

use certbound_core::jwt::Claims;

use crate::reading::Reading;

/// The kind of caller, as far as the token's claims state it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallerKind {
    /// An application that acts for itself.
    Application,
    /// An application that acts for a user.
    User,
    /// The claims state neither kind, or both kinds.
    Unclear,
}

impl CallerKind {
    pub(super) fn of(reading: &Reading, claims: &Claims, client: Option<&str>) -> Self {
        match (reading, client) {
            (Reading::Entra, _) => at_entra(reading, claims, client),
            (Reading::Standard { .. }, Some(client)) => elsewhere(reading, claims, client),
            (Reading::Standard { .. }, None) => Self::Unclear,
        }
    }
}

/// Determines the kind for Entra from `idtyp`. A user's token may lack `idtyp`, but it has scopes. An application's
/// token never has scopes.
fn at_entra(reading: &Reading, claims: &Claims, client: Option<&str>) -> CallerKind {
    let kind = claims.string("idtyp");
    if kind == Some("app") && client.is_some() {
        return CallerKind::Application;
    }
    let of_a_user = kind == Some("user") || !claims.contains("idtyp");
    match of_a_user && reading.scopes(claims).next().is_some() {
        true => CallerKind::User,
        false => CallerKind::Unclear,
    }
}

/// Claims that a token usually has only after the sign-in of a user: the session (`sid`, and `session_state` of older
/// versions of Keycloak), the methods of authentication (RFC 9068, section 2.2.1), and Okta's id of the user.
const OF_A_SIGN_IN: [&str; 4] = ["sid", "session_state", "amr", "uid"];

/// Claims about a person. `preferred_username` is not in this list, because Keycloak also writes it for applications.
const OF_A_PERSON: [&str; 5] = ["auth_time", "idp", "username", "name", "email"];

/// Claims that only Keycloak's client credentials grant writes: the address of the client.
const OF_A_CLIENTS_HOST: [&str; 2] = ["clientHost", "clientAddress"];

/// The client's id in older tokens of Keycloak's client credentials grant.
const OLDER_CLIENT_ID: &str = "clientId";

/// The prefix of Keycloak's user name for a client. The client id follows it.
const SERVICE_ACCOUNT: &str = "service-account-";

/// The suffix that Auth0 writes in `sub` after the client id.
const OF_AUTH0: &str = "@clients";

fn elsewhere(reading: &Reading, claims: &Claims, client: &str) -> CallerKind {
    let signed_in = has_any(claims, &OF_A_SIGN_IN);
    match (is_about_itself(reading, claims, client), signed_in) {
        (true, false) => CallerKind::Application,
        (true, true) => CallerKind::Unclear,
        (false, _) if is_about_a_user(reading, claims) => CallerKind::User,
        (false, _) => CallerKind::Unclear,
    }
}

/// Whether the token has a form that the client credentials grant issues.
fn is_about_itself(reading: &Reading, claims: &Claims, client: &str) -> bool {
    if is_keycloaks_service_account(claims, client) {
        return true;
    }
    match claims.string("sub") {
        // The form of RFC 9068, section 2.2, and of OpenIddict, Okta and oidc-provider.
        Some(subject) if subject == client => true,
        // The form of Auth0. In Auth0's own profile, the token contains the grant type too.
        Some(subject) => subject.strip_suffix(OF_AUTH0) == Some(client) && grant_fits(claims),
        // The form of Duende, and of OpenIddict in ABP.
        None => {
            !claims.contains("sub")
                && reading.names_client_outright(claims)
                && !claims.contains("preferred_username")
                && !has_any(claims, &OF_A_PERSON)
        }
    }
}

/// Whether Keycloak issued the token for a client: `sub` is the id of a user that represents the client. Keycloak's
/// user names are in lower case.
///
/// The name alone is no proof, because users can choose `preferred_username` (OpenID Connect Core, section 5.1). The
/// token must also have the address of the client, which users cannot choose.
fn is_keycloaks_service_account(claims: &Claims, client: &str) -> bool {
    let account = claims.string("preferred_username").and_then(|name| name.strip_prefix(SERVICE_ACCOUNT));
    account.is_some_and(|account| account.eq_ignore_ascii_case(client))
        && has_any(claims, &OF_A_CLIENTS_HOST)
        && !has_any(claims, &OF_A_PERSON)
}

/// Whether the token has scopes and its `sub` names a user (RFC 9068, section 2.2). A token that looks like the
/// application token of a different client is not accepted as a user's token.
fn is_about_a_user(reading: &Reading, claims: &Claims) -> bool {
    let account = claims.string("preferred_username").is_some_and(|name| name.starts_with(SERVICE_ACCOUNT));
    let subject = claims.string("sub").unwrap_or_default();
    // Keycloak omits the account's name if the client does not have the scope `profile`.
    let of_keycloaks_grant = has_any(claims, &OF_A_CLIENTS_HOST) || claims.contains(OLDER_CLIENT_ID);
    !subject.is_empty()
        && !of_keycloaks_grant
        && !subject.ends_with(OF_AUTH0)
        && !account
        && claims.string("gty") != Some("client-credentials")
        && reading.scopes(claims).next().is_some()
}

fn has_any(claims: &Claims, names: &[&str]) -> bool {
    names.iter().any(|name| claims.contains(name))
}

fn grant_fits(claims: &Claims) -> bool {
    !claims.contains("gty") || claims.string("gty") == Some("client-credentials")
}
