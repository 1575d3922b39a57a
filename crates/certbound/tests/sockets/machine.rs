//! Tests of a machine's certificate in real handshakes: the failures that cause a new certificate, and the keys that
//! work.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certbound::certificate::{SignatureScheme, Signer};
use certbound::error::{KeyError, TransportError};
use certbound::managed_identity::{
    IdentityId, KeyProvider, KeyStrength, MachineKey, ManagedIdentityBuilder, SoftwareKeys,
};
use certbound::transport::{Answer, HyperTransport, Via};
use certbound::{Cloud, Network, ResourceScope, Transport};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::{MemoryTransport, Pair};
use rustls::version::{TLS12, TLS13};

use crate::server::{Asks, Refusal, TestServer, ok};

/// The emulated machine, with a real server as its token service.
struct Beside {
    machine: MemoryTransport,
    network: Arc<HyperTransport>,
    server: String,
}

impl Transport for Beside {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        if !matches!(via, Via::Local) {
            return self.network.send(request, via).await;
        }
        let mut answer = self.machine.send(request, via).await?;
        let body = String::from_utf8(answer.response.body().to_vec()).unwrap();
        *answer.response.body_mut() = body.replace("westus3.mtlsauth.microsoft.com", &self.server).into();
        Ok(answer)
    }
}

fn machine(pair: &Pair, server: &TestServer, network: &Network) -> ManagedIdentityBuilder {
    let transport = Beside {
        machine: pair.transport(),
        network: network.transport(),
        server: format!("localhost:{}", server.address.port()),
    };
    pair.managed_identity(IdentityId::System).with_transport(transport)
}

fn token() -> String {
    ok(r#"{"token_type":"mtls_pop","access_token":"T","expires_in":3600}"#)
}

fn issued(pair: &Pair) -> usize {
    pair.emulator().journal().iter().filter(|entry| entry.path.ends_with("/issuecredential")).count()
}

#[tokio::test]
async fn a_server_that_does_not_take_the_certificate_is_tried_with_another_one() {
    for version in [&TLS12, &TLS13] {
        for refusal in [Refusal::Revoked, Refusal::WithoutReason, Refusal::ByReset] {
            let (pair, vault) = (Pair::new(), ResourceScope::key_vault(Cloud::Public));
            let server = TestServer::start_by(version, Asks::AndRefuses(refusal), token()).await;
            let identity = machine(&pair, &server, &server.network().build().unwrap()).build().unwrap();
            let error = identity.bound_token(&vault).await.unwrap_err();
            assert_eq!(issued(&pair), 2, "{version:?} {refusal:?}: {error}");
            let by_alert = refusal == Refusal::Revoked;
            let code = "managed_identity_unreachable_network";
            assert_eq!((error.code(), error.is_transient()), (code, !by_alert), "{version:?}: {error}");
            assert_eq!(error.to_string().contains("TLS alert certificate_revoked"), by_alert, "{error}");
            // After the pause, the same rule applies to Leg 1 and Leg 2.
            pair.clock().advance(Duration::from_secs(180));
            let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(identity).build().unwrap();
            let error = leg2.bound_token(&vault).await.unwrap_err();
            assert_eq!(issued(&pair), 3, "{version:?} {refusal:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_says_nothing_of_the_certificate() {
    for version in [&TLS12, &TLS13] {
        let (pair, vault) = (Pair::new(), ResourceScope::key_vault(Cloud::Public));
        let server = TestServer::start_by(version, Asks::ForCertificate, token()).await;
        let stranger = TestServer::start(Asks::ForCertificate, token()).await;
        let identity = machine(&pair, &server, &stranger.network().build().unwrap()).build().unwrap();
        let error = identity.bound_token(&vault).await.unwrap_err();
        let code = "managed_identity_unreachable_network";
        assert_eq!((error.code(), issued(&pair)), (code, 1), "{error}");
    }
}

/// A key that signs only by RSA-PSS with SHA-256.
#[derive(Clone)]
struct PssOnly(MachineKey);

impl PssOnly {
    fn new() -> Self {
        let der = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().serialize_der();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(der.try_into().unwrap()).unwrap();
        Self(MachineKey::new(&key.public_key().unwrap(), Pss(key.clone())).unwrap())
    }
}

struct Pss(Arc<dyn rustls::sign::SigningKey>);

impl Signer for Pss {
    fn schemes(&self) -> &[SignatureScheme] {
        &[SignatureScheme::RsaPssSha256]
    }

    fn sign(&self, _: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signer = self.0.choose_scheme(&[rustls::SignatureScheme::RSA_PSS_SHA256]).unwrap();
        signer.sign(message).map_err(|error| KeyError::new(error.to_string()))
    }
}

impl KeyProvider for PssOnly {
    fn strength(&self) -> KeyStrength {
        KeyStrength::Hardware
    }

    async fn key(&self) -> Result<MachineKey, KeyError> {
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn a_key_that_signs_by_pss_alone_does_for_every_version_of_tls() {
    for version in [&TLS12, &TLS13] {
        let (pair, vault) = (Pair::new(), ResourceScope::key_vault(Cloud::Public));
        let server = TestServer::start_by(version, Asks::ForCertificate, token()).await;
        let network = server.network().build().unwrap();
        let pss = machine(&pair, &server, &network).with_keys(PssOnly::new()).build().unwrap();
        let software = machine(&pair, &server, &network).with_keys(SoftwareKeys::new()).build().unwrap();
        let expected: Vec<_> = [
            pss.bound_token(&vault).await.unwrap().binding().thumbprint(),
            software.bound_token(&vault).await.unwrap().binding().thumbprint(),
        ]
        .into_iter()
        .map(Some)
        .collect();
        let seen: Vec<_> = server.seen().iter().map(|seen| seen.certificate).collect();
        assert_eq!(seen, expected, "{version:?}");
    }
}
