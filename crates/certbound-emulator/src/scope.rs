//! What a scope parameter asks for.

/// Scopes of OpenID Connect. MSAL for Go and for Java send them with every request; where no user signs in, Entra passes them
/// by.
const OF_OPENID: [&str; 3] = ["openid", "profile", "offline_access"];

/// The one scope of a resource; none where there are several, or nothing at all. Without any, what is there instead.
pub(crate) fn of_resource(scope: &str) -> Option<&str> {
    let mut of_resources = scope.split(' ').filter(|part| !part.is_empty() && !OF_OPENID.contains(part));
    match (of_resources.next(), of_resources.next()) {
        (Some(one), None) => Some(one),
        (None, _) => Some(scope.trim_matches(' ')).filter(|rest| !rest.is_empty()),
        _ => None,
    }
}
