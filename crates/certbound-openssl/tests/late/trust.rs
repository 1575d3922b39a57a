//! Which certificates of servers OpenSSL accepts: the same as rustls.

use bytes::Bytes;
use certbound::Transport as _;
use certbound::error::{TransportError, Untrusted};
use certbound::transport::Via;
use http::Request;
use rcgen::{CertificateParams, DnType};

use crate::support::{Pki, call, certificate, serve_by, transport};

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
async fn a_host_that_begins_with_a_dot_is_refused() {
    let transport = transport(&Pki::new()).with_hosts([".localhost"]);
    let request = Request::get("https://.localhost/").body(Bytes::new()).unwrap();
    let error = transport.send(request, Via::Resource(&certificate())).await.unwrap_err();
    assert_eq!(error, TransportError::NotHttps);
}
