//! Which certificates of servers OpenSSL accepts: the same as rustls.

use bytes::Bytes;
use certbound::Transport as _;
use certbound::error::{TransportError, Untrusted};
use certbound::transport::Via;
use http::Request;
use rcgen::{CertificateParams, DnType, date_time_ymd};

use crate::support::{Pki, call, certificate, serve, serve_by, transport};

/// Returns the reason why a server whose certificate has a change is not trusted.
async fn untrusted(pki: &Pki, change: impl FnOnce(&mut CertificateParams)) -> Untrusted {
    let (address, seen) = serve_by(pki.acceptor_with(change), |_| async {}).await;
    let error = call(&transport(pki), address, &certificate()).await.unwrap_err();
    let TransportError::Tls { reason, .. } = &error else { panic!("{error:?}") };
    assert!(seen.requests().is_empty());
    reason.find::<Untrusted>().cloned().unwrap_or_else(|| panic!("{error:?}"))
}

#[tokio::test]
async fn a_name_in_the_subject_is_no_host_name() {
    let in_subject = |params: &mut CertificateParams| {
        params.subject_alt_names.clear();
        params.distinguished_name.push(DnType::CommonName, "localhost");
    };
    let expected = Untrusted::OtherName { expected: "localhost".to_owned(), presented: Vec::new() };
    assert_eq!(untrusted(&Pki::new(), in_subject).await, expected);
}

#[tokio::test]
async fn a_certificate_outside_its_dates_is_refused_with_the_date() {
    let past = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 2);
    };
    let reason = untrusted(&Pki::new(), past).await;
    assert!(matches!(reason, Untrusted::Expired { .. }), "{reason:?}");
    assert!(reason.to_string().contains("was valid until 2020-01-02T00:00:00Z"), "{reason}");
    let future = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2999, 1, 1);
        params.not_after = date_time_ymd(2999, 1, 2);
    };
    let reason = untrusted(&Pki::new(), future).await;
    assert!(matches!(reason, Untrusted::NotYetValid { .. }), "{reason:?}");
    assert!(reason.to_string().contains("becomes valid at 2999-01-01T00:00:00Z"), "{reason}");
}

/// The server sends no certificate of a CA. The trusted CA is not self-signed, and its issuer is not known.
#[tokio::test]
async fn a_trusted_ca_needs_no_issuer() {
    let ca = Pki::under(&Pki::named("an unknown root"));
    let (address, seen) = serve(&ca, |mut peer| async move {
        peer.request().await;
        peer.answer("401 Unauthorized", "no token").await;
    })
    .await;
    let error = call(&transport(&ca), address, &certificate()).await.unwrap_err();
    assert_eq!(error.code(), "certificate_not_requested", "{error:?}");
    assert_eq!(seen.requests().len(), 1);
}

#[tokio::test]
async fn a_host_that_begins_with_a_dot_is_refused() {
    let transport = transport(&Pki::new()).with_hosts([".localhost"]);
    let request = Request::get("https://.localhost/").body(Bytes::new()).unwrap();
    let error = transport.send(request, Via::Resource(&certificate())).await.unwrap_err();
    assert_eq!(error, TransportError::NotHttps);
}
