//! `token`: the direct flow.

use std::sync::Arc;

use super::dry_run::{DryRun, NeverTransport};
use super::exchange::tell_kept;
use crate::failure::Failure;
use crate::flags::TokenFlags;
use crate::observers::{Observers, Trace};
use crate::output::{self, Extras, Terminal};
use crate::plan::{self, Kind, Reach};

pub(super) async fn run(flags: TokenFlags, terminal: Terminal) -> Result<(), Failure> {
    let scope = plan::scope(&flags.client.identity, &flags.scope)?;
    let kind = Kind::from(flags.kind);
    let credential = flags.secret.with_assertion(flags.assertion_file);
    if flags.client.run.dry_run {
        let dry = DryRun::default();
        let client = plan::direct(&flags.client, &credential, kind, &Reach::fresh(NeverTransport))?.client;
        return dry.print(client.token(&scope, kind, dry.observer()).await, terminal);
    }
    let network = plan::network(&flags.client.run)?;
    let reach = Reach::kept(network.transport(), &flags.cache)?;
    let plan = plan::direct(&flags.client, &credential, kind, &reach)?;
    let observer = Observers::default().and_if(flags.client.run.trace, Trace);
    let token = plan.client.token(&scope, kind, Arc::new(observer)).await?;
    if flags.client.run.trace || terminal.tells_stations() {
        tell_kept(&token);
    }
    let extras =
        Extras { certificate_source: &plan.source, with_legs: false, report: None, reveal: flags.reveal };
    let printed = output::print_token(&token, &extras, terminal);
    reach.saved().await;
    printed
}
