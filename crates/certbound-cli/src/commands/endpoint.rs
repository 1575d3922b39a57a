//! `endpoint`: prints the token endpoint that a command would use, and the reason.

use certbound::Authority;
use certbound_core::endpoint::{Channel, Flow};
use serde_json::json;

use crate::failure::Failure;
use crate::flags::{EndpointFlags, Format};
use crate::output::{self, Terminal};
use crate::plan;

pub(super) fn run(flags: &EndpointFlags, terminal: Terminal) -> Result<(), Failure> {
    let format =
        terminal.format_of(&[Format::Json, Format::Table, Format::Env, Format::Raw, Format::Shell])?;
    let authority = Authority::parse(&flags.authority)?;
    let authority = authority.with_region(plan::region(flags.region.as_deref())?);
    let authority = plan::in_region_of_environment(authority);
    let channel = if flags.mtls { Channel::MutualTls } else { Channel::Plain };
    if flags.mtls {
        authority.check_tenant()?;
    }
    let endpoint = authority.token_endpoint(Flow::ClientCredentials, channel)?;
    let (url, rule) = (endpoint.url(), endpoint.rule());
    match format {
        Format::Json => output::print(&output::json(&json!({"endpoint": url, "rule": rule.to_string()}), 0)?),
        Format::Table => {
            let text = format!("endpoint  {url}\nrule      {rule}\n          {}\n", rule.explain());
            output::print_text(&text)
        }
        Format::Raw => output::print(format!("{url}\n").as_bytes()),
        _ => {
            let values = [("CERTBOUND_ENDPOINT", url), ("CERTBOUND_RULE", &rule.to_string())];
            output::print(&output::assignments(format, &values))
        }
    }
}
