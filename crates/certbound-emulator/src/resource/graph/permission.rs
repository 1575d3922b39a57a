//! The application permissions that each operation needs.

use super::error::GraphError;
use crate::resource::Caller;
use crate::world::Application;

const READ_APPLICATIONS: [&str; 5] = [
    "Application.Read.All",
    "Application.ReadWrite.OwnedBy",
    "Application.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
];
const READ_ORGANIZATION: [&str; 4] =
    ["Organization.Read.All", "Organization.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"];
const WRITE_APPLICATIONS: &str = "Application.ReadWrite.All";
const WRITE_OWN_APPLICATIONS: &str = "Application.ReadWrite.OwnedBy";

pub(super) fn to_read_applications(caller: &Caller) -> Result<(), GraphError> {
    has_one_of(caller, &READ_APPLICATIONS)
}

pub(super) fn to_read_organization(caller: &Caller) -> Result<(), GraphError> {
    has_one_of(caller, &READ_ORGANIZATION)
}

/// Checks the permission to change an application. The world has no owners, so an application owns only itself.
pub(super) fn to_write(caller: &Caller, application: &Application) -> Result<(), GraphError> {
    let is_own = application.id.eq_ignore_ascii_case(&caller.application);
    let own: &[&str] = if is_own { &[WRITE_OWN_APPLICATIONS] } else { &[] };
    has_one_of(caller, &[own, &[WRITE_APPLICATIONS]].concat())
}

fn has_one_of(caller: &Caller, accepted: &[&str]) -> Result<(), GraphError> {
    let accepted = caller.token.roles().any(|role| accepted.contains(&role));
    if accepted { Ok(()) } else { Err(GraphError::denied()) }
}
