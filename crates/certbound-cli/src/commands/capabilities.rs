//! `capabilities`: prints the capabilities of this machine and of this program.

use std::time::Duration;

use certbound::ManagedIdentity;
use certbound::managed_identity::Capabilities;
use certbound_core::fips;
use serde_json::json;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::flags::{CapabilitiesFlags, Format};
use crate::output::{self, Terminal};
use crate::plan;

/// Whether this program can use keys in a TPM 2.0 without a PKCS#11 module.
const HAS_TPM: bool = cfg!(feature = "tpm");

/// Whether this program can call a vault that requests the certificate after the first handshake.
const HAS_OPENSSL: bool = cfg!(feature = "openssl");

pub(super) async fn run(flags: &CapabilitiesFlags, terminal: Terminal) -> Result<(), Failure> {
    let format = terminal.format_of(&[Format::Json, Format::Table, Format::Env, Format::Shell])?;
    let id = flags.machine.managed_identity.as_deref().unwrap_or("system");
    let builder = plan::machine_at(&flags.machine, id)?;
    let identity = plan::with_machine_keys(builder, &flags.keys)?.build()?;
    let can = match flags.timeout {
        None => identity.capabilities().await?,
        Some(seconds) => identity.capabilities_within(Duration::from_secs(seconds)).await?,
    };
    match format {
        Format::Json => output::print(&output::json(&as_json(&identity, &can), 0)?),
        Format::Env | Format::Shell => output::print(&assignments(format, &identity, &can)),
        _ => output::print_text(&as_table(&identity, &can)),
    }
}

fn as_json(identity: &ManagedIdentity, can: &Capabilities) -> serde_json::Value {
    json!({
        "identity": identity.id().to_string(),
        "source": can.origin.to_string(),
        "metadataService": can.imds.map(|version| version.to_string()),
        "bearer": true,
        "bound": can.binds,
        "imdsV2Disabled": can.imds_v2_disabled,
        "keyStrength": can.strength.map(|strength| strength.to_string()),
        "keysPersist": identity.has_persistent_key(),
        "fips": fips::module().is_some(),
        "tpm": HAS_TPM,
        "openssl": HAS_OPENSSL,
    })
}

fn assignments(format: Format, identity: &ManagedIdentity, can: &Capabilities) -> Zeroizing<Vec<u8>> {
    let flag = |is_true: bool| if is_true { "1" } else { "0" };
    let origin = can.origin.to_string();
    let strength = can.strength.map(|strength| strength.to_string());
    let mut values = vec![
        ("CERTBOUND_SOURCE", origin.as_str()),
        ("CERTBOUND_BOUND", flag(can.binds)),
        ("CERTBOUND_KEYS_PERSIST", flag(identity.has_persistent_key())),
    ];
    values.extend(strength.as_deref().map(|strength| ("CERTBOUND_KEY_STRENGTH", strength)));
    values.push(("CERTBOUND_FIPS", flag(fips::module().is_some())));
    values.push(("CERTBOUND_TPM", flag(HAS_TPM)));
    values.push(("CERTBOUND_OPENSSL", flag(HAS_OPENSSL)));
    output::assignments(format, &values)
}

fn as_table(identity: &ManagedIdentity, can: &Capabilities) -> String {
    let version = can.imds.map(|version| format!(", version {version}")).unwrap_or_default();
    let bound = match (can.binds, can.imds) {
        (true, _) => {
            let strength =
                can.strength.map_or_else(String::new, |strength| format!("; key strength: {strength}"));
            format!("yes{strength}")
        }
        (false, Some(_)) if can.imds_v2_disabled => {
            "no: MSAL_MI_DISABLE_IMDS_V2 disables version 2 of the metadata service".to_owned()
        }
        (false, Some(_)) => "no: this metadata service issues no certificates".to_owned(),
        (false, None) => "no: this platform issues no certificates".to_owned(),
    };
    let keys = match identity.has_persistent_key() {
        _ if !can.binds => "",
        true => "keys      stored: a bound token can be used after the command ends\n",
        false => "keys      in memory: a bound token cannot be used after the command ends\n",
    };
    let fips =
        fips::module().map_or_else(|| "no".to_owned(), |version| format!("yes: AWS-LC FIPS {version}"));
    let tpm = if HAS_TPM { "yes" } else { "no: this program was built without the feature `tpm`" };
    let openssl =
        if HAS_OPENSSL { "yes" } else { "no: this program was built without the feature `openssl`" };
    let (id, origin) = (identity.id(), &can.origin);
    format!(
        "identity  {id}\nsource    {origin}{version}\nBearer    yes\nbound     {bound}\n{keys}FIPS      {fips}\n\
         TPM keys  {tpm}\nOpenSSL   {openssl}\n"
    )
}
