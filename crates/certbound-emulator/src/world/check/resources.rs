//! The checks of resources: each id, URI and host belongs to one resource only, and no host belongs to the token
//! service.

use super::{Mistakes, Seen, is_host_name};
use crate::world::hosts::Host;
use crate::world::{BoundTokens, Resource, ResourceHost, ResourceStyle, TokenBindingMode, World};

pub(super) fn check(world: &World, found: &mut Mistakes) {
    let (mut ids, mut uris, mut hosts) = (Seen::new(), Seen::new(), Seen::new());
    for (index, resource) in world.resources.iter().enumerate() {
        let at = format!("resources[{index}]");
        found.guid(&format!("{at}.app_id"), &resource.app_id);
        ids.once(&resource.app_id, &format!("{at}.app_id"), found);
        if resource.uris.is_empty() {
            found.add(format!("{at}.uris"), "at least one URI is needed: write a URI that scopes can name");
        }
        for (index, uri) in resource.uris.iter().enumerate() {
            let at = format!("{at}.uris[{index}]");
            found.text(&at, uri);
            if uri.contains(char::is_whitespace) {
                found.add(
                    &at,
                    format!("'{uri}' contains white space, but a scope ends at white space: remove it"),
                );
            }
            uris.once(uri, &at, found);
        }
        for (index, host) in resource.hosts.iter().enumerate() {
            let at = format!("{at}.hosts[{index}].name");
            host_name(&host.name, &at, found);
            hosts.once(&host.name, &at, found);
            late(resource, host, &at, found);
        }
        vault(resource, &at, found);
        token_binding(resource, &at, found);
    }
}

/// Checks the rules of a vault for bound tokens. The rules and `bound_tokens` must have at least one kind of token that
/// both of them accept.
fn token_binding(resource: &Resource, at: &str, found: &mut Mistakes) {
    let Some(rules) = resource.token_binding_parameters else { return };
    let at = format!("{at}.token_binding_parameters");
    if resource.style != ResourceStyle::Vault {
        found.add(
            &at,
            "only a resource with the style 'vault' has these rules: remove them, or use bound_tokens",
        );
    }
    let contradiction = match (resource.bound_tokens, rules.mode) {
        (BoundTokens::Refused, TokenBindingMode::Enforced) => {
            "is 'Enforced', so the vault accepts only bound tokens, but with bound_tokens = 'refused' no bound token is \
             issued: set bound_tokens to 'allowed' or 'required', or the mode to 'NotEnforced'"
        }
        (BoundTokens::Required, TokenBindingMode::NotEnforced) => {
            "is 'NotEnforced', so the vault rejects bound tokens, but bound_tokens = 'required' rejects all other tokens: set \
             bound_tokens to 'allowed' or 'refused', or the mode to 'Enforced'"
        }
        _ => return,
    };
    found.add(format!("{at}.mode"), contradiction);
}

/// Checks the key `late_certificate` of a host. A client demands the renegotiation by a header that only vaults read.
fn late(resource: &Resource, host: &ResourceHost, at: &str, found: &mut Mistakes) {
    let at = at.replace(".name", ".late_certificate");
    if host.late_certificate && resource.style != ResourceStyle::Vault {
        found.add(&at, "only a resource with the style 'vault' can have this key: remove the key");
    }
    if host.late_certificate && !host.asks_for_certificate {
        found.add(&at, "excludes asks_for_certificate = false of the host: remove one of the two keys");
    }
}

/// Checks the keys, certificates and secrets of a vault. A certificate also has a key and a secret of the same name.
/// The vault does not distinguish upper and lower case in names.
fn vault(resource: &Resource, at: &str, found: &mut Mistakes) {
    let keys = resource.keys.keys().map(|name| ("keys", name));
    let certificates = resource.certificates.keys().map(|name| ("certificates", name));
    let mut names = Seen::new();
    for (list, name) in keys.chain(certificates) {
        let at = format!("{at}.{list}.{name}");
        if resource.style != ResourceStyle::Vault {
            found.add(&at, "only a resource with the style 'vault' has keys and certificates: remove it");
        }
        if !is_vault_name(name) {
            found.add(
                &at,
                format!("'{name}' is not a name in a vault: use at most 127 letters, digits and hyphens"),
            );
        }
        names.once(name.to_ascii_lowercase(), &at, found);
    }
    if resource.style == ResourceStyle::Vault {
        let mut secrets = Seen::new();
        for name in resource.items.keys() {
            let at = format!("{at}.items.{name}");
            if !is_vault_name(name) {
                found.add(
                    &at,
                    format!("'{name}' is not a name in a vault: use at most 127 letters, digits and hyphens"),
                );
            }
            secrets.once(name.to_ascii_lowercase(), &at, found);
        }
    }
    for (name, certificate) in &resource.certificates {
        let at = format!("{at}.certificates.{name}");
        if let Some(secret) = resource.items.keys().find(|secret| secret.eq_ignore_ascii_case(name)) {
            found.add(&at, format!("a certificate also has a secret of its name, but items has '{secret}': rename one of them"));
        }
        found.text(&format!("{at}.common_name"), &certificate.common_name);
    }
}

/// Returns whether an object in a vault can have this name.
pub(crate) fn is_vault_name(name: &str) -> bool {
    (1..=127).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn host_name(name: &str, at: &str, found: &mut Mistakes) {
    let below = name.strip_prefix("*.");
    if !is_host_name(below.unwrap_or(name)) {
        found.add(
            at,
            format!("'{name}' is not a host name: write it in lower case, with or without '*.' in front"),
        );
    } else if Host::of(&World::default(), below.unwrap_or(name)).is_some() {
        found.add(at, format!("'{name}' is a host of the token service: choose a different name"));
    }
}
