//! `token`: the direct flow.

use std::sync::Arc;

use certbound::ResourceScope;
use certbound_pkcs11::Pkcs11Uri;

use super::dry_run::DryRun;
use super::exchange::tell_kept;
use crate::failure::Failure;
use crate::flags::{ClientFlags, CredentialFlags, TokenFlags};
use crate::observers::{Observers, Trace};
use crate::output::{self, Extras, Terminal, tell};
use crate::plan::{self, Kind, NeverTransport, Reach, stopped};
use crate::token_uri;

pub(super) async fn run(flags: TokenFlags, terminal: Terminal) -> Result<(), Failure> {
    let scope = plan::scope(&flags.client.identity, &flags.scope)?;
    let kind = Kind::from(flags.kind);
    let credential = CredentialFlags { secret: flags.secret, assertion_file: flags.assertion_file };
    if flags.client.run.dry_run {
        let mut dry = DryRun::default();
        dry_direct(&mut dry, &flags.client, &credential, &scope, kind).await?;
        return dry.print(terminal);
    }
    let network = plan::network(&flags.client.run)?;
    let reach = Reach::kept(network.transport(), &flags.cache).await?;
    let reach = reach.told_to(Trace::of_platform(flags.client.run.trace));
    let reach = reach.seeing_bindings(flags.kind.require_observed_binding);
    let plan = plan::direct(&flags.client, &credential, kind, &reach)?;
    let observer = Observers::default().and_if(flags.client.run.trace, Trace);
    let token = plan::acquire(&plan.client, &scope, kind, Arc::new(observer)).await?;
    if flags.client.run.trace || terminal.tells_stations() {
        tell_kept(&token);
    }
    token.tell_region(terminal);
    if flags.client.machine.managed_identity.is_some() && kind == Kind::Bound {
        tell_ending_key(&flags.client);
    }
    let extras =
        Extras { certificate_source: &plan.source, with_legs: false, report: None, reveal: flags.reveal };
    let printed = output::print_token(&token, &extras, terminal);
    reach.saved().await;
    printed
}

/// Warns if the result is bound to an unstored key of a machine.
pub(super) fn tell_ending_key(client: &ClientFlags) {
    let keys = client.machine_state.keys.machine_keys.as_deref();
    let stays = keys.is_some_and(|keys| Pkcs11Uri::is_uri(keys) || token_uri::is_tpm(keys));
    if client.machine_state.machine_state.is_none() && !stays {
        tell("warning: no program can use this result, because its private key exists only in this command");
        tell("fix: store the key with --machine-state DIR, or call the resource with `certbound call`");
    }
}

/// Dry-runs the direct flow. For a token that needs a certificate of the machine, only the first request to the
/// metadata service is known.
pub(super) async fn dry_direct(
    dry: &mut DryRun,
    client: &ClientFlags,
    credential: &CredentialFlags,
    scope: &ResourceScope,
    kind: Kind,
) -> Result<(), Failure> {
    let reach = Reach::fresh(NeverTransport).told_to(dry.witness());
    let source = plan::direct(client, credential, kind, &reach)?.client;
    if client.machine.managed_identity.is_some() && plan::presents_machine(credential, kind) {
        dry.stops_there();
    }
    stopped(plan::acquire(&source, scope, kind, dry.observer()).await)
}
