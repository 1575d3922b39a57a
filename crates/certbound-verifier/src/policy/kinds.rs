//! Whether an application calls for itself or for a user: one rule for Entra, one for every other issuer.

use certbound_core::jwt::Claims;

use crate::reading::Reading;

/// Whom a token is about, as far as its issuer's claims say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallerKind {
    /// An application that acts for itself.
    Application,
    /// An application that acts for a user.
    User,
    /// The claims say neither, or both.
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

/// `idtyp` says it; a user's token may lack it, and has scopes instead, which an application's token never has.
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

/// What the sign-in of a user leaves in a token, and the client credentials grant does not: the session (`sid`, and
/// `session_state` of older versions of Keycloak), the means of authentication (RFC 9068, section 2.2.1), and Okta's
/// id of the user.
const OF_A_SIGN_IN: [&str; 4] = ["sid", "session_state", "amr", "uid"];

/// What further says that there is a person, where there is no `sub`.
const OF_A_PERSON: [&str; 6] = ["auth_time", "idp", "preferred_username", "username", "name", "email"];

/// What Keycloak names the user that stands for a client before the client's id.
const SERVICE_ACCOUNT: &str = "service-account-";

/// What Auth0 writes in `sub` behind the client's id.
const OF_AUTH0: &str = "@clients";

fn elsewhere(reading: &Reading, claims: &Claims, client: &str) -> CallerKind {
    let signed_in = OF_A_SIGN_IN.iter().any(|name| claims.contains(name));
    match (is_about_itself(reading, claims, client), signed_in) {
        (true, false) => CallerKind::Application,
        (true, true) => CallerKind::Unclear,
        (false, _) if is_about_a_user(reading, claims) => CallerKind::User,
        (false, _) => CallerKind::Unclear,
    }
}

/// The shapes of a token of the client credentials grant.
fn is_about_itself(reading: &Reading, claims: &Claims, client: &str) -> bool {
    // Keycloak: `sub` is the id of a user that stands for the client. User names are in lower case there.
    let account = claims.string("preferred_username").and_then(|name| name.strip_prefix(SERVICE_ACCOUNT));
    if account.is_some_and(|account| account.eq_ignore_ascii_case(client)) {
        return true;
    }
    match claims.string("sub") {
        // RFC 9068, section 2.2; OpenIddict, Okta, oidc-provider.
        Some(subject) if subject == client => true,
        // Auth0, whose own profile names the grant too.
        Some(subject) => subject.strip_suffix(OF_AUTH0) == Some(client) && grant_fits(claims),
        // Duende, and OpenIddict in ABP.
        None => {
            !claims.contains("sub")
                && reading.names_client_outright(claims)
                && !OF_A_PERSON.iter().any(|name| claims.contains(name))
        }
    }
}

/// RFC 9068, section 2.2: `sub` is the user. What looks like an application of another client is nobody's token.
fn is_about_a_user(reading: &Reading, claims: &Claims) -> bool {
    let account = claims.string("preferred_username").is_some_and(|name| name.starts_with(SERVICE_ACCOUNT));
    let subject = claims.string("sub").unwrap_or_default();
    !subject.is_empty()
        && !subject.ends_with(OF_AUTH0)
        && !account
        && claims.string("gty") != Some("client-credentials")
        && reading.scopes(claims).next().is_some()
}

fn grant_fits(claims: &Claims) -> bool {
    !claims.contains("gty") || claims.string("gty") == Some("client-credentials")
}
