//! A probe of a host: one GET request to its root, which shows name resolution, proxy, TLS and the server's clock.

use std::time::Duration;

use bytes::Bytes;
use certbound::clock::Clock;
use certbound::error::TransportError;
use certbound::transport::Via;
use certbound::{Network, Transport, UnixTime};
use http::header::DATE;
use http::{Request, Uri};

use crate::failure::Failure;

/// The result of a probe.
pub(super) struct Probe {
    pub(super) host: String,
    /// The way to the host: through a proxy, or directly with these addresses.
    pub(super) way: String,
    pub(super) answer: Result<Reached, TransportError>,
}

/// An answer. Its status does not matter.
pub(super) struct Reached {
    /// Whether the host requested a client certificate. The value is false for a probe without a certificate.
    pub(super) is_asked: bool,
    /// The seconds by which this machine's clock is ahead of the server's clock. The value is `None` for an answer
    /// without a date.
    pub(super) ahead: Option<i64>,
}

impl Probe {
    /// Probes the host of `url` on a connection with the certificate of `via`.
    pub(super) async fn send(
        (network, transport): (&Network, &impl Transport),
        url: &Uri,
        via: Via<'_>,
        clock: &dyn Clock,
        limit: Duration,
    ) -> Self {
        let host = url.authority().map(ToString::to_string).unwrap_or_default();
        let way = match network.proxy_for(url) {
            Some(proxy) => format!("through the proxy {proxy}"),
            None => addresses(url, limit).await,
        };
        let root: Result<Uri, _> = format!("https://{host}/").parse();
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = root.unwrap_or_default();
        let before = clock.now();
        let answer = transport.send(request, via).await;
        let answer = match via.binding() {
            Some(_) => answer.map_err(TransportError::or_certificate_refused),
            None => answer,
        };
        let answer = match answer {
            Ok(answer) => {
                let date = answer.response.headers().get(DATE).and_then(|date| date.to_str().ok());
                let date = date.and_then(UnixTime::from_http_date);
                let ahead = date.map(|date| ahead(before, clock.now(), date));
                Ok(Reached { is_asked: answer.tls.certificate_requested, ahead })
            }
            // The body is not used. With a certificate, the transport sends a request only if the host requested the
            // certificate.
            Err(TransportError::TooLarge { .. }) => {
                Ok(Reached { is_asked: via.binding().is_some(), ahead: None })
            }
            Err(error) => Err(error),
        };
        Self { host, way, answer }
    }

    /// Returns the error of the probe, if the host could not be used.
    pub(super) fn failure(&self) -> Option<Failure> {
        let cause = self.answer.as_ref().err()?.clone();
        Some(certbound::Error::Transport { leg: None, cause, target: None }.into())
    }
}

/// Returns the seconds by which this machine's clock is ahead of a date. The server wrote the date between the clock's
/// readings `before` and `after`.
fn ahead(before: UnixTime, after: UnixTime, date: UnixTime) -> i64 {
    let seconds = |time: UnixTime| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let (before, after, date) = (seconds(before), seconds(after), seconds(date));
    match date {
        _ if date < before => before - date,
        _ if date > after => after - date,
        _ => 0,
    }
}

/// Resolves the name of the host. The function only describes a failure, because the request of the probe then fails
/// for the same reason.
async fn addresses(url: &Uri, limit: Duration) -> String {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let found =
        tokio::time::timeout(limit, tokio::net::lookup_host((host, url.port_u16().unwrap_or(443)))).await;
    let addresses: Vec<String> = match found {
        Ok(Ok(addresses)) => addresses.map(|address| address.ip().to_string()).collect(),
        _ => Vec::new(),
    };
    match addresses.as_slice() {
        [] => "the name cannot be resolved".to_owned(),
        [one] => format!("at {one}"),
        [first, rest @ ..] => format!("at {first} and {} more addresses", rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_duration_of_the_request_is_no_difference_of_the_clocks() {
        let time = UnixTime::from_secs;
        for (before, after, date, expected) in [
            (100, 105, 100, 0),
            (100, 105, 103, 0),
            (100, 105, 105, 0),
            (100, 105, 90, 10),
            (100, 105, 125, -20),
        ] {
            assert_eq!(ahead(time(before), time(after), time(date)), expected, "{date}");
        }
    }
}
