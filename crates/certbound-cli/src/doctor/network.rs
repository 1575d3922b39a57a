//! The network: settings, region, the hosts, and this machine's clock.

use std::time::Duration;

use certbound::authority::RegionChoice;
use certbound::region::{RegionDetector, RegionOutcome};
use certbound::transport::Via;
use certbound::{Authority, Network};
use certbound_core::endpoint::{Channel, Flow};
use certbound_core::time::in_words;
use http::Uri;

use super::probe::Probe;
use super::resource::host_name;
use super::{Context, Line};
use crate::failure::Failure;
use crate::late;
use crate::plan::Kind;

/// A difference of the clocks of this many seconds or more is a warning, because the difference can grow.
const WARNING: u64 = 60;
/// Token services tolerate about this difference of the clocks, in seconds.
const TOLERATED: u64 = 300;

pub(super) async fn check(context: &mut Context) {
    let settings = settings(context);
    context.report.add(settings);
    let region = region(context).await;
    context.report.add(region);
    let (token_service, clock) = token_service(context).await;
    context.report.add(token_service);
    context.report.add(clock);
    let resource = resource(context).await;
    context.report.add(resource);
}

fn settings(context: &Context) -> Line {
    const ID: &str = "network.settings";
    const TITLE: &str = "proxy and trust";
    let network = match &context.network {
        Ok(network) => network,
        Err(failure) => return Line::failed(ID, TITLE, failure),
    };
    let host = context.authority.as_ref().map_or("login.microsoftonline.com", Authority::host);
    let url: Option<Uri> = format!("https://{host}/").parse().ok();
    let proxy = match url.and_then(|url| network.proxy_for(&url)) {
        Some(proxy) => format!("proxy {proxy}"),
        None => "no proxy".to_owned(),
    };
    Line::ok(ID, TITLE, format!("{proxy}; {}", trust()))
}

/// Returns the origin of the roots of trust. On Linux two variables replace the roots of the system.
fn trust() -> String {
    let variables = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter(|_| cfg!(target_os = "linux"));
    let set = variables.filter_map(|name| Some((name, std::env::var_os(name)?)));
    let roots: Vec<_> = set.map(|(name, path)| format!("{name} ({})", path.to_string_lossy())).collect();
    if roots.is_empty() {
        "roots of the system".to_owned()
    } else {
        format!("roots of {}", roots.join(" and "))
    }
}

/// Determines the region, which is a part of the token service's host.
async fn region(context: &mut Context) -> Line {
    const ID: &str = "network.region";
    const TITLE: &str = "region";
    if let Some(line) = context.report.first_failed(&["configuration", "network.settings"]) {
        return Line::needs(ID, TITLE, &line);
    }
    let (Some(authority), Ok(network)) = (&context.authority, &context.network) else {
        return Line::needs(ID, TITLE, "Configuration");
    };
    match authority.region_choice() {
        RegionChoice::Global => Line::ok(ID, TITLE, "no region is chosen: the global endpoint is used"),
        RegionChoice::Fixed(region) => Line::ok(ID, TITLE, format!("{region}, as configured")),
        RegionChoice::Detect if context.is_dry() => Line::skipped(ID, TITLE, "--dry-run sends no request"),
        RegionChoice::Detect => match RegionDetector::of_process().region(network.transport()).await {
            Ok(found) => {
                let outcome = RegionOutcome::Detected { source: found.source, remembered: false };
                let line = Line::ok(ID, TITLE, format!("{}, {outcome}", found.region));
                context.authority = Some(authority.clone().with_region_outcome(Some(found.region), outcome));
                line
            }
            Err(failure) => {
                let fix = failure.fix();
                let line = Line::warning(ID, TITLE, "not detected: the global endpoint is used", fix);
                let line = line.because(failure.to_string());
                let outcome = RegionOutcome::NotDetected { failure };
                context.authority = Some(authority.clone().with_region_outcome(None, outcome));
                line
            }
        },
    }
}

/// Probes the host of the token endpoint. Its answer also shows the difference of the clocks.
async fn token_service(context: &Context) -> (Line, Line) {
    const ID: &str = "network.token_service";
    const TITLE: &str = "token service";
    const CLOCK: &str = "network.clock";
    let skipped = |reason: &str| (Line::skipped(ID, TITLE, reason), Line::skipped(CLOCK, "clock", reason));
    if let Some(reason) = context.obstacle(&["configuration", "network.settings"]) {
        return skipped(&reason);
    }
    let (Some(authority), Ok(network)) = (&context.authority, &context.network) else {
        return skipped("needs: Configuration");
    };
    // A certificate that cannot be used is not presented. A wrong clock can be the cause, so the clock is checked too.
    let has_failed =
        context.report.has_failed(&["certificate.source", "certificate.key", "certificate.dates"]);
    let (channel, via) = match context.certificate.as_ref() {
        _ if has_failed => (Channel::MutualTls, Via::Tls),
        Some(certificate) => (Channel::MutualTls, Via::Bound(certificate)),
        None => (Channel::Plain, Via::Tls),
    };
    let probe = probe(context, network, authority, (channel, via)).await;
    if has_failed && is_ended_by_host(&probe) {
        return skipped("the host answers only with the client certificate, which cannot be used");
    }
    let title = format!("token service {}", probe.host);
    let Some(failure) = probe.failure() else {
        let clock = clock(&probe);
        let tls = match probe.answer.as_ref().is_ok_and(|reached| reached.is_asked) {
            true => "TLS is trusted; the host requests the client certificate",
            false => "TLS is trusted",
        };
        return (Line::ok(ID, title, format!("{}; {tls}", probe.way)), clock);
    };
    let clock = Line::needs(CLOCK, "clock", &format!("Network, {title}"));
    (unreachable(context, network, authority, (title, failure, probe.way)).await, clock)
}

async fn probe(
    context: &Context,
    network: &Network,
    authority: &Authority,
    (channel, via): (Channel, Via<'_>),
) -> Probe {
    let endpoint = authority.token_endpoint(Flow::ClientCredentials, channel);
    // Only the metadata of an OpenID issuer names its endpoints, and the issuer's own host has the metadata.
    let (url, via) = match &endpoint {
        Ok(endpoint) => (endpoint.url().to_owned(), via),
        Err(_) => (authority.url(), Via::Tls),
    };
    let (url, by) = (url.parse().unwrap_or_default(), (network, &network.transport()));
    Probe::send(by, &url, via, &context.clock, limit(context)).await
}

/// Returns whether the host ended TLS with an alert. Hosts that require a client certificate use different alerts.
fn is_ended_by_host(probe: &Probe) -> bool {
    probe.answer.as_ref().is_err_and(|error| error.alert().is_some())
}

fn limit(context: &Context) -> Duration {
    Duration::from_secs(context.asked.flow.client.run.connect_timeout)
}

/// Describes the failure of the token service's host. After a failed connection to a host with a region, the function
/// also probes the global host: a mistyped region is the usual cause.
async fn unreachable(
    context: &Context,
    network: &Network,
    authority: &Authority,
    (title, failure, way): (String, Failure, String),
) -> Line {
    const ID: &str = "network.token_service";
    let line = Line::failed(ID, title, &failure).with(way);
    let is_connection =
        matches!(failure.code.as_str(), "connect_failed" | "proxy_failed" | "request_timeout");
    let Some(region) = authority.region().filter(|_| is_connection) else { return line };
    let global =
        probe(context, network, &authority.clone().without_region(), (Channel::Plain, Via::Tls)).await;
    if global.answer.is_err() {
        return line;
    }
    let fix = format!(
        "check the region `{region}`, which is a part of the host's name; or leave --region out, or give --global-if-region-unreachable"
    );
    let line = line.with(format!("{}, the host without a region, can be reached", global.host));
    match context.asked.flow.client.identity.global_if_region_unreachable {
        // In this case `exchange` uses the global host.
        true => Line::warning(ID, line.title.clone(), line.summary.clone(), fix).because(failure.why),
        false => Line { fix: Some(fix), ..line },
    }
}

/// Compares this machine's clock with the date of the token service's answer.
fn clock(probe: &Probe) -> Line {
    const ID: &str = "network.clock";
    const TITLE: &str = "clock";
    let Some(ahead) = probe.answer.as_ref().ok().and_then(|reached| reached.ahead) else {
        return Line::skipped(ID, TITLE, "the answer of the token service has no date");
    };
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    let off = in_words(Duration::from_secs(ahead.unsigned_abs()));
    let summary = format!("this machine's clock is {off} {side} the token service's clock");
    let fix = "correct the clock of this machine (for example with chrony or systemd-timesyncd)";
    match ahead.unsigned_abs() {
        TOLERATED.. => Line::wrong(ID, TITLE, summary, fix)
            .because("token services tolerate a difference of about 5 minutes"),
        WARNING.. => Line::warning(ID, TITLE, summary, fix),
        0 => Line::ok(ID, TITLE, "equal to the token service's clock"),
        _ => Line::ok(ID, TITLE, summary),
    }
}

/// Probes the host of the resource. The host counts as reached if the only failure concerns the client certificate.
async fn resource(context: &mut Context) -> Line {
    const ID: &str = "network.resource";
    const TITLE: &str = "resource";
    let Some(url) = &context.asked.resource else {
        return Line::skipped(ID, TITLE, "give --resource-url URL to check a resource");
    };
    if let Some(reason) = context.obstacle(&["network.settings"]) {
        return Line::skipped(ID, TITLE, reason);
    }
    let (Ok(network), Some(transport)) = (&context.network, &context.transport) else {
        return Line::needs(ID, TITLE, "Network, proxy and trust");
    };
    let via = match context.certificate.as_ref().filter(|_| context.kind == Kind::Bound) {
        None => Via::Tls,
        // Only a request to a resource can wait for a late request for the certificate.
        Some(certificate) if late::library(transport, host_name(url)).is_some() => Via::Resource(certificate),
        // The probe uses HTTP/1.1: the HTTP/2 library can lose the alert by which a server refuses the certificate.
        Some(certificate) => Via::Bound(certificate),
    };
    let probe = Probe::send((network, transport), url, via, &context.clock, limit(context)).await;
    let title = format!("resource {}", probe.host);
    let line = match probe.failure() {
        Some(failure) if !super::resource::is_about_certificate(&probe) => {
            Line::failed(ID, title, &failure).with(probe.way.clone())
        }
        _ => Line::ok(ID, title, format!("{}; TLS is trusted", probe.way)),
    };
    context.resource = Some(probe);
    line
}

#[cfg(test)]
mod tests {
    use certbound::error::{Cause, TlsAlert, TransportError};

    use super::*;

    #[test]
    fn a_host_that_ends_tls_is_not_a_host_that_is_not_trusted() {
        let host = || "login.example".to_owned();
        let probe = |error| Probe { host: host(), way: String::new(), answer: Err(error) };
        let tls = |reason| probe(TransportError::Tls { host: host(), reason });
        let late = TransportError::Interrupted { host: host(), reason: Cause::new(TlsAlert(116)) };
        assert!(is_ended_by_host(&tls(Cause::new(TlsAlert(40)))) && is_ended_by_host(&probe(late)));
        assert!(!is_ended_by_host(&tls("the certificate of the server has expired".into())));
        assert!(!is_ended_by_host(&probe(TransportError::NotHttps)));
    }
}
