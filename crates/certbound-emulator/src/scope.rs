//! The meaning of the parameter `scope`.

/// Scopes of OpenID Connect. MSAL for Go and for Java send them with every request. Entra ignores them if no user signs
/// in.
const OF_OPENID: [&str; 3] = ["openid", "profile", "offline_access"];

/// Returns the only scope of a resource, or `None` if the text has two or more scopes of resources. If the text has
/// only scopes of OpenID Connect, returns the trimmed text. Returns `None` for an empty text.
pub(crate) fn of_resource(scope: &str) -> Option<&str> {
    let mut of_resources = scope.split(' ').filter(|part| !part.is_empty() && !OF_OPENID.contains(part));
    match (of_resources.next(), of_resources.next()) {
        (Some(one), None) => Some(one),
        (None, _) => Some(scope.trim_matches(' ')).filter(|rest| !rest.is_empty()),
        _ => None,
    }
}
