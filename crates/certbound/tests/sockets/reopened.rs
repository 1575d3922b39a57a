//! A key that was opened anew, such as a hardware token that was taken out and put back: nothing of its old handle is
//! used, neither a connection nor the signer, even while an old binding lives.

use std::sync::Arc;

use bytes::Bytes;
use certbound::cache::Source;
use certbound::certificate::RotatingCertificate;
use certbound::error::TransportError;
use certbound::transport::Via;
use certbound::{
    Authority, BindingCertificate, BoundToken, Client, Network, ResourceScope, TenantId, TokenCache,
    Transport as _,
};
use certbound_testkit::emulator::serve::Server;
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Emulator, World};

use crate::server::{Asks, TestServer, stays_open};
use crate::signer::{Device, RSA, get, read};

fn open(chain: &[u8], device: &Device) -> BindingCertificate {
    BindingCertificate::from_signer(chain, device.clone()).unwrap()
}

#[tokio::test]
async fn two_signers_over_one_certificate_share_no_connection() {
    for to_resource in [false, true] {
        let server = TestServer::start(Asks::ForCertificate, stays_open("x")).await;
        let transport = server.network().build().unwrap().transport();
        let key = read("rsa.pkcs8.pem");
        let (dead, live) = (Device::new(&key, RSA), Device::new(&key, RSA));
        let chain = read("rsa.pem");
        let (old, new) = (open(&chain, &dead), open(&chain, &live));
        assert_eq!(old, new, "one certificate");
        let send = async |binding: &BindingCertificate| {
            let via = if to_resource { Via::Resource(binding) } else { Via::Bound(binding) };
            transport.send(get(&server), via).await
        };
        send(&old).await.unwrap();
        let signed = dead.signed();
        dead.unplug();
        // The connection of the old binding is open and idle.
        let answer = send(&new).await.unwrap();
        assert_eq!(answer.tls.presented, Some(new.thumbprint()));
        assert_eq!((dead.signed(), live.signed()), (signed, 2), "a proof and a handshake of the new signer");
        assert_eq!(server.seen().len(), 2, "a connection of its own");
        assert_eq!(server.open(), 2, "the connection of the old binding was neither used nor closed");
        // The old binding can open no other connection.
        let other = TestServer::start(Asks::ForCertificate, stays_open("x")).await;
        let elsewhere = other.network().build().unwrap().transport();
        let error = elsewhere.send(get(&other), Via::Resource(&old)).await.unwrap_err();
        assert!(matches!(error, TransportError::Signer { .. }), "{error:?}");
        drop(old);
        server.until_open(1).await;
        assert_eq!((dead.signed(), live.signed()), (signed, 2));
    }
}

/// Cached tokens were requested with the old handle. They are used with the new handle.
#[tokio::test]
async fn cached_tokens_are_used_with_the_new_handle() {
    let emulator = Arc::new(Emulator::new(World::built_in()).unwrap());
    let server = Server::start(Arc::clone(&emulator), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let network =
        Network::builder().proxy(server.proxy_url()).only_roots_pem(emulator.ca_pem()).build().unwrap();
    let identity = emulator.client_identity();
    let (key, chain) = (identity.key_pem.as_bytes(), identity.certificate_pem.as_bytes());
    let authority = Authority::public(TenantId::parse(builtin::TENANT).unwrap());
    let builder = || Client::builder(authority.clone(), builtin::APP).with_network(&network);
    let scope = ResourceScope::parse("api://orders/.default").unwrap();
    let url = format!("https://{}/orders", builtin::ORDERS_HOST);
    let call = || http::Request::get(&url).body(Bytes::new()).unwrap();
    // The handle that is used afterwards was opened later or earlier than the handle that no longer works.
    for (by_legs, is_earlier) in [(false, false), (true, false), (false, true), (true, true)] {
        let (dead, live) = (Device::new(key, RSA), Device::new(key, RSA));
        let earlier = is_earlier.then(|| open(chain, &live));
        let certificate = RotatingCertificate::new(open(chain, &dead));
        let cache = TokenCache::new();
        let direct =
            builder().with_cache(cache.clone()).with_certificate(certificate.clone()).build().unwrap();
        let legs = builder().with_cache(cache).with_assertions(direct.clone()).build().unwrap();
        let resource = if by_legs { legs.resource(&scope) } else { direct.resource(&scope) };
        let acquire = async || -> BoundToken {
            if by_legs { legs.bound_token(&scope).await } else { direct.bound_token(&scope).await }.unwrap()
        };
        let token = acquire().await;
        let signed = dead.signed();
        dead.unplug();
        let old = certificate.rotate(earlier.unwrap_or_else(|| open(chain, &live)));
        emulator.clear_journal();
        let cached = acquire().await;
        assert_eq!(cached.details().source, Source::Cache);
        assert_eq!(cached.secret().expose(), token.secret().expose());
        for answer in [resource.call(call()).await, cached.resource().call(call()).await] {
            assert_eq!(answer.unwrap().status(), 200, "by legs: {by_legs}");
        }
        assert!(emulator.journal().iter().all(|entry| entry.path == "/orders"), "no token was requested");
        assert_eq!((dead.signed(), live.signed()), (signed, 2), "a proof and one handshake");
        assert_eq!(cached, token, "one cached token with two handles");
        // The token that the program kept has the old handle. Its calls fail without harm.
        let error = token.resource().call(call()).await.unwrap_err();
        assert_eq!((error.code(), error.is_transient()), ("cryptographic_error", true));
        drop(old);
        // Options take another way to the cache.
        let again = match by_legs {
            true => legs.bound_token(&scope).tenant(TenantId::parse(builtin::TENANT).unwrap()).await,
            false => direct.bound_token(&scope).tenant(TenantId::parse(builtin::TENANT).unwrap()).await,
        };
        assert_eq!(again.unwrap().resource().call(call()).await.unwrap().status(), 200);
        assert_eq!(dead.signed(), signed);
    }
    server.shutdown().await;
}
