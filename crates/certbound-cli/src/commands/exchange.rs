//! `exchange`: both legs, or Leg 2 alone.

use std::sync::Arc;

use certbound::ResourceScope;
use certbound::cache::Source;
use certbound::observe::JwtPopReport;

use super::dry_run::DryRun;
use super::token::tell_ending_key;
use crate::failure::Failure;
use crate::flags::{ClientFlags, ExchangeFlags, Leg1Flags};
use crate::observers::{Observers, Stations, Trace};
use crate::output::{self, Extras, Terminal, Token, rfc3339, tell};
use crate::plan::{self, DryLeg1, Kind, NeverTransport, Reach, stopped};

pub(super) async fn run(flags: ExchangeFlags, terminal: Terminal) -> Result<(), Failure> {
    let ExchangeFlags { scope, flow: flags } = flags;
    let scope = plan::scope(&flags.client.identity, &scope)?;
    let kind = Kind::from(flags.kind);
    if flags.client.run.dry_run {
        let mut dry = DryRun::default();
        dry_exchange(&mut dry, &flags.client, &flags.leg1, &scope, kind).await?;
        return dry.print(terminal);
    }
    let network = plan::network(&flags.client.run)?;
    // The report describes a request, so a cached token is not sufficient.
    let reach = match flags.report {
        true => Reach::fresh(network.transport()),
        false => Reach::kept(network.transport(), &flags.cache).await?,
    };
    let reach = reach.told_to(Trace::of_platform(flags.client.run.trace));
    let reach = reach.seeing_bindings(flags.kind.require_observed_binding);
    let plan = plan::two_legs(&flags.client, &flags.leg1, kind, &reach)?;
    let report = Arc::new(JwtPopReport::default());
    let stations = Stations { runs_leg1: flags.leg1.assertion_file.is_none() };
    let observer = Observers::default()
        .and(Arc::clone(&report) as _)
        .and_if(flags.client.run.trace, Trace)
        .and_if(terminal.tells_stations(), stations);
    let token = plan::acquire(&plan.client, &scope, kind, Arc::new(observer)).await?;
    if terminal.tells_stations() {
        tell_leg_2(&token);
    } else if flags.client.run.trace {
        tell_kept(&token);
    }
    token.tell_region(terminal);
    if flags.leg1.leg1_managed_identity.is_some() && kind == Kind::Bound {
        tell_ending_key(&flags.client);
    }
    let report = flags.report.then_some(&*report);
    let extras = Extras { certificate_source: &plan.source, with_legs: true, report, reveal: flags.reveal };
    let printed = output::print_token(&token, &extras, terminal);
    reach.saved().await;
    printed
}

/// Dry-runs the requests that are known: Leg 1's request, unless the assertion is given, and Leg 2's request, unless it
/// needs a certificate of the machine. If Leg 1 returns the assertion, Leg 2's request has a placeholder for it.
pub(super) async fn dry_exchange(
    dry: &mut DryRun,
    client: &ClientFlags,
    leg1: &Leg1Flags,
    scope: &ResourceScope,
    kind: Kind,
) -> Result<(), Failure> {
    let reach = Reach::fresh(NeverTransport).told_to(dry.witness());
    let plan = plan::two_legs_in_the_dry(client, leg1, kind, &reach)?;
    if let Some(leg1) = plan.leg1 {
        dry.assertion_is_a_stand_in();
        let result = match leg1 {
            DryLeg1::Certificate(client) => client.assertion().observe(dry.observer()).await.map(drop),
            DryLeg1::Machine(whole) => plan::acquire(&whole, scope, kind, dry.observer()).await.map(drop),
        };
        stopped(result)?;
    }
    match plan.leg2 {
        Some(leg2) => stopped(plan::acquire(&leg2, scope, kind, dry.observer()).await),
        None => {
            dry.stops_there();
            Ok(())
        }
    }
}

/// Reports on stderr that Leg 2 is done, or that an earlier command stored the token.
pub(super) fn tell_leg_2(token: &Token) {
    let (details, scheme, expires) = (token.details(), token.scheme(), rfc3339(token.expires_at()));
    if details.source == Source::Store {
        return tell_kept(token);
    }
    tell(&format!("Leg 2 done: token type {scheme}, scope {}, expires {expires}", details.scopes.join(" ")));
}

/// If an earlier command stored the token, reports this fact on stderr.
pub(super) fn tell_kept(token: &Token) {
    let (details, scheme, expires) = (token.details(), token.scheme(), rfc3339(token.expires_at()));
    if details.source == Source::Store {
        let scopes = details.scopes.join(" ");
        tell(&format!(
            "The token was stored by an earlier command, and no request was sent: token type {scheme}, scope {scopes}, expires {expires}"
        ));
    }
}
