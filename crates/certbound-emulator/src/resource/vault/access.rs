//! The roles of a token, and the operations that they allow.

use super::refusal::VaultRefusal;
use super::routes::{Operation, Route};
use crate::resource::{Caller, ResourceServer};

const READ_SECRETS: &str = "Secrets.Read";
const WRITE_SECRETS: &str = "Secrets.ReadWrite";
const READ_KEYS: &str = "Keys.Read";
const SIGN: &str = "Keys.Sign";
const READ_CERTIFICATES: &str = "Certificates.Read";

/// Refuses the operation if no role of the token allows it.
pub(super) fn check(
    server: &ResourceServer<'_>,
    route: &Route<'_>,
    caller: &Caller,
) -> Result<(), VaultRefusal> {
    let (allowing, action) = needed(route.operation);
    if caller.token.roles().any(|role| allowing.contains(&role)) {
        return Ok(());
    }
    let claim = |name: &str| caller.token.claims().string(name).unwrap_or_default();
    let vault = server.host.split('.').next().unwrap_or_default();
    let (client, oid, iss) = (&caller.application, claim("oid"), claim("iss"));
    let collection = action.split('/').nth(2).unwrap_or_default();
    let object = if route.name.is_empty() { String::new() } else { format!("/{collection}/{}", route.name) };
    Err(VaultRefusal::forbidden(format!(
        "Caller is not authorized to perform action on resource.\r\n\
         If role assignments, deny assignments or role definitions were changed recently, please observe propagation \
         time.\r\n\
         Caller: appid={client};oid={oid};iss={iss}\r\n\
         Action: '{action}'\r\n\
         Resource: '/subscriptions/{}/resourcegroups/{}/providers/microsoft.keyvault/vaults/{vault}{object}'\r\n\
         Assignment: (not found)\r\n\
         DenyAssignmentId: null\r\n\
         DecisionReason: 'DeniedWithNoValidRBAC' \r\n\
         Vault: {vault};location=emulated\r\n\
         In the emulator's world, this role allows the action: {}\r\n",
        server.world.machine.subscription_id,
        server.world.machine.resource_group,
        allowing.join(" or "),
    )))
}

/// Returns the roles that allow an operation, and the real service's name of the action.
fn needed(operation: Operation) -> (&'static [&'static str], &'static str) {
    match operation {
        Operation::GetSecret => {
            (&[READ_SECRETS, WRITE_SECRETS], "Microsoft.KeyVault/vaults/secrets/getSecret/action")
        }
        Operation::ListSecrets
        | Operation::ListSecretVersions
        | Operation::ListDeletedSecrets
        | Operation::GetDeletedSecret => {
            (&[READ_SECRETS, WRITE_SECRETS], "Microsoft.KeyVault/vaults/secrets/readMetadata/action")
        }
        Operation::SetSecret => (&[WRITE_SECRETS], "Microsoft.KeyVault/vaults/secrets/setSecret/action"),
        Operation::UpdateSecret => (&[WRITE_SECRETS], "Microsoft.KeyVault/vaults/secrets/update/action"),
        Operation::DeleteSecret => (&[WRITE_SECRETS], "Microsoft.KeyVault/vaults/secrets/delete"),
        Operation::RecoverSecret => (&[WRITE_SECRETS], "Microsoft.KeyVault/vaults/secrets/recover/action"),
        Operation::PurgeSecret => (&[WRITE_SECRETS], "Microsoft.KeyVault/vaults/secrets/purge/action"),
        Operation::ListKeys | Operation::ListKeyVersions | Operation::GetKey => {
            (&[READ_KEYS, SIGN], "Microsoft.KeyVault/vaults/keys/read")
        }
        Operation::Sign => (&[SIGN], "Microsoft.KeyVault/vaults/keys/sign/action"),
        Operation::Verify => (&[SIGN], "Microsoft.KeyVault/vaults/keys/verify/action"),
        Operation::ListCertificates
        | Operation::ListCertificateVersions
        | Operation::GetCertificate
        | Operation::GetCertificatePolicy => {
            (&[READ_CERTIFICATES], "Microsoft.KeyVault/vaults/certificates/read")
        }
    }
}
