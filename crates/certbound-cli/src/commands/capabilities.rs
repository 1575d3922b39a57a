//! `capabilities`: what this machine's managed identity can do.

use certbound::{IdentityId, ManagedIdentity};
use serde_json::json;

use crate::failure::Failure;
use crate::flags::{Format, MachineFlags};
use crate::output::{self, Terminal};
use crate::usage::Usage;

pub(super) fn run(flags: &MachineFlags, terminal: Terminal) -> Result<(), Failure> {
    let id: IdentityId = flags.managed_identity.as_deref().unwrap_or("system").parse()?;
    let identity = ManagedIdentity::builder(id).build()?;
    let can = identity.capabilities();
    let (id, source, strength) =
        (identity.id().to_string(), can.origin.to_string(), can.strength.to_string());
    match terminal.format() {
        Format::Json => {
            let result = json!({
                "identity": id,
                "source": source,
                "bearer": true,
                "bound": can.binds,
                "keyStrength": can.binds.then_some(strength),
            });
            output::print(&output::json(&result, 0)?)
        }
        Format::Table => {
            let bound = match can.binds {
                true => {
                    format!("yes, where the metadata service issues certificates; key kept in {strength}")
                }
                false => "no".to_owned(),
            };
            output::print(
                format!("identity  {id}\nsource    {source}\nBearer    yes\nbound     {bound}\n").as_bytes(),
            )
        }
        Format::Env => {
            let bound = u8::from(can.binds);
            output::print(format!("CERTBOUND_SOURCE={source}\nCERTBOUND_BOUND={bound}\n").as_bytes())
        }
        Format::Header => Err(Usage::Format { format: "header" }.into()),
    }
}
