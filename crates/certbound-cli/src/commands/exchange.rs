//! `exchange`: both legs, or Leg 2 alone.

use std::sync::Arc;

use certbound::{JwtPopReport, ResourceScope, Source};

use super::dry_run::{DryRun, NeverTransport, stopped};
use crate::failure::Failure;
use crate::flags::{ClientFlags, ExchangeFlags, Leg1Flags};
use crate::observers::{Observers, Stations, Trace};
use crate::output::{self, Extras, Terminal, Token, rfc3339, tell};
use crate::plan::{self, AnyClient, Kind, Reach};

pub(super) async fn run(flags: ExchangeFlags, terminal: Terminal) -> Result<(), Failure> {
    let scope = plan::scope(&flags.client.identity, &flags.scope)?;
    let kind = Kind::from(flags.kind);
    if flags.client.run.dry_run {
        let mut dry = DryRun::default();
        let result = dry_exchange(&mut dry, &flags.client, &flags.leg1, &scope, kind).await?;
        return dry.print(result, terminal);
    }
    let network = plan::network(&flags.client.run)?;
    // The report is on a request: there must be one.
    let reach = match flags.report {
        true => Reach::fresh(network.transport()),
        false => Reach::kept(network.transport(), &flags.cache)?,
    };
    let plan = plan::two_legs(&flags.client, &flags.leg1, &reach)?;
    let report = Arc::new(JwtPopReport::default());
    let observer = Observers::default()
        .and(Arc::clone(&report) as _)
        .and_if(flags.client.run.trace, Trace)
        .and_if(terminal.tells_stations(), Stations);
    let token = AnyClient::TwoLegs(plan.client).token(&scope, kind, Arc::new(observer)).await?;
    if terminal.tells_stations() {
        tell_leg_2(&token);
    } else if flags.client.run.trace {
        tell_kept(&token);
    }
    let report = flags.report.then_some(&*report);
    let extras = Extras { certificate_source: &plan.source, with_legs: true, report, reveal: flags.reveal };
    let printed = output::print_token(&token, &extras, terminal);
    reach.saved().await;
    printed
}

/// Leg 1's request, and then Leg 2's with a stand-in for the assertion.
pub(super) async fn dry_exchange(
    dry: &mut DryRun,
    client: &ClientFlags,
    leg1: &Leg1Flags,
    scope: &ResourceScope,
    kind: Kind,
) -> Result<Result<Token, certbound::Error>, Failure> {
    let plan = plan::two_legs_in_the_dry(client, leg1, &Reach::fresh(NeverTransport))?;
    if let Some(leg1) = plan.leg1 {
        dry.assertion_is_a_stand_in();
        stopped(leg1.assertion().observe(dry.observer()).await)?;
    }
    Ok(AnyClient::TwoLegs(plan.leg2).token(scope, kind, dry.observer()).await)
}

/// The last station.
pub(super) fn tell_leg_2(token: &Token) {
    let (details, scheme, expires) = (token.details(), token.scheme(), rfc3339(token.expires_at()));
    if details.source == Source::Store {
        return tell_kept(token);
    }
    tell(&format!("Leg 2 done: token type {scheme}, scope {}, expires {expires}", details.scopes.join(" ")));
}

/// Says so if nothing was asked: an earlier command left the token.
pub(super) fn tell_kept(token: &Token) {
    let (details, scheme, expires) = (token.details(), token.scheme(), rfc3339(token.expires_at()));
    if details.source == Source::Store {
        let scopes = details.scopes.join(" ");
        tell(&format!(
            "Kept by an earlier command, nothing was asked: token type {scheme}, scope {scopes}, expires {expires}"
        ));
    }
}
