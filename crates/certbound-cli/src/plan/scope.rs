//! The scope that follows from a host name.

use certbound::{Cloud, ResourceScope};

/// Returns the scope for the hosts of Graph and Key Vault in every cloud, and `None` for every other host.
pub(crate) fn scope_for_host(host: &str) -> Option<ResourceScope> {
    let host = host.to_ascii_lowercase();
    Cloud::ALL.iter().find_map(|cloud| {
        let graph = name(cloud.graph_uri());
        if host == graph || below(&host, graph) {
            return Some(ResourceScope::graph(*cloud));
        }
        below(&host, name(cloud.vault_uri())).then(|| ResourceScope::key_vault(*cloud))
    })
}

/// Returns the URL of the host of Microsoft Graph that requests the client certificate. It is known only in the public
/// cloud.
pub(crate) fn graph_for_bound_tokens(cloud: Cloud) -> Option<&'static str> {
    (cloud == Cloud::Public).then_some("https://mtlstb.graph.microsoft.com")
}

fn name(uri: &str) -> &str {
    uri.trim_start_matches("https://").trim_end_matches('/')
}

fn below(host: &str, parent: &str) -> bool {
    host.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_graph_and_vaults_say_their_scope() {
        for (host, scope) in [
            ("graph.microsoft.com", Some("https://graph.microsoft.com/.default")),
            ("mtlstb.graph.microsoft.com", Some("https://graph.microsoft.com/.default")),
            ("Demo.Vault.Azure.Net", Some("https://vault.azure.net/.default")),
            ("demo.vault.azure.cn", Some("https://vault.azure.cn/.default")),
            ("vault.azure.net", None),
            ("evilgraph.microsoft.com", None),
            ("graph.microsoft.com.evil.example", None),
            (".vault.azure.net", None),
            ("orders.contoso.example", None),
        ] {
            let found = scope_for_host(host);
            assert_eq!(found.as_ref().map(ResourceScope::as_str), scope, "{host}");
        }
    }
}
