//! The checks of resources: each id, URI and host belongs to one resource only, and no host belongs to the token
//! service.

use super::{Mistakes, Seen, is_host_name};
use crate::world::World;
use crate::world::hosts::Host;

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
        }
    }
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
