//! Managed identities. The benchmark compares a cached token with an application's cached token. It compares the first
//! bound token of a machine with the work that the token needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use certbound::ManagedIdentity;
use certbound::managed_identity::SoftwareKeys;
use certbound_core::managed_identity::{CertificationRequest, IssuedCredential, PlatformMetadata};
use http::Request;
use rustix::time::ClockId;
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};
use tokio::runtime::Builder;

use crate::bare::{self, Connection};
use crate::harness::{RUNTIME, each, each_prepared, time_of_each, used};
use crate::ours::{self, GRAPH};
use crate::sheet::Gate::AtMost;
use crate::sheet::{Sheet, side};

const MACHINE: &str = "a managed identity";
/// The host of the token service in the machine's region.
const REGIONAL: &str = "westus3.mtlsauth.microsoft.com";
const METADATA: &str = "169.254.169.254";

pub(crate) fn measure(sheet: &mut Sheet) {
    // The generation of a key takes 30 to 300 ms, at random, and would hide all other costs. So the clients share a
    // key.
    let keys = Arc::new(SoftwareKeys::new());
    hit(sheet, &keys);
    first_token(sheet, &keys);
    blocked_worker(sheet);
}

/// Returns the machine's identity with its own connections and certificates, so that its next bound token is its first
/// bound token.
fn identity(keys: &Arc<SoftwareKeys>) -> ManagedIdentity {
    let builder = ManagedIdentity::system_assigned().with_keys(Arc::clone(keys));
    builder.with_network(&ours::network()).build().unwrap()
}

fn hit(sheet: &mut Sheet, keys: &Arc<SoftwareKeys>) {
    const APPLICATION: &str = "an application";
    const TURNS: usize = 1_000_000;
    let (machine, scope) = (identity(keys), ours::scope(GRAPH));
    let application = ours::direct(&ours::network(), ours::certificate("rsa"));
    RUNTIME.block_on(async {
        machine.bound_token(&scope).await.unwrap();
        application.bound_token(&scope).await.unwrap();
    });
    let sides = vec![
        each(APPLICATION, TURNS, async || drop(application.bound_token(&scope).await.unwrap())),
        each(MACHINE, TURNS, async || drop(machine.bound_token(&scope).await.unwrap())),
    ];
    sheet.compare("a cached token of a managed identity", sides, &[(MACHINE, AtMost(1.25), APPLICATION)]);
}

fn first_token(sheet: &mut Sheet, keys: &Arc<SoftwareKeys>) {
    const PARTS: &str = "its parts, bare, key generated before";
    const TURNS: usize = 200;
    let (key, scope, new) = (bare::certified("rsa").key, ours::scope(GRAPH), || identity(keys));
    let sides = vec![
        each(PARTS, TURNS, async || drop(parts_of_first_token(&key).await)),
        each_prepared(MACHINE, TURNS, new, async |machine| drop(machine.bound_token(&scope).await.unwrap())),
    ];
    sheet.compare("a machine's first bound token", sides, &[(MACHINE, AtMost(1.25), PARTS)]);
}

/// Does the work of a first bound token without the client: two HTTP requests to the metadata service, a signature over
/// the certificate request, and one request over a new mutual TLS connection.
async fn parts_of_first_token(key: &Arc<dyn SigningKey>) -> Bytes {
    let mut service = Connection::in_plain_text(METADATA).await;
    let url = "/metadata/identity/getplatformmetadata?cred-api-version=2.0";
    let answer = service.send(of_machine(Request::get(url)), Bytes::new()).await;
    let server = answer.headers()["server"].to_str().unwrap();
    let metadata = PlatformMetadata::parse(Some(server), answer.body()).unwrap();
    let request = CertificationRequest::new(&metadata, &key.public_key().unwrap()).unwrap();
    let signature = sign(key, request.to_be_signed());
    let request = STANDARD.encode(request.with_signature(&signature).unwrap());
    let url = "/metadata/identity/issuecredential?cred-api-version=2.0";
    let post = of_machine(Request::post(url)).header("content-type", "application/json; charset=utf-8");
    let answer = service.send(post, format!(r#"{{"csr":"{request}"}}"#).into()).await;
    let issued = IssuedCredential::parse(answer.body()).unwrap();
    let own = CertifiedKey::new(vec![CertificateDer::from(issued.certificate)], Arc::clone(key));
    let form = bare::direct_form(&issued.client_id, GRAPH);
    Connection::to(REGIONAL, Some(own)).await.token(&form).await
}

fn of_machine(request: http::request::Builder) -> http::request::Builder {
    let id = "00000000-0000-4000-8000-000000000000";
    let request = request.header("metadata", "true").header("accept", "application/json");
    request.header("x-ms-client-request-id", id)
}

/// Signs in the same way as the client signs a certificate request.
fn sign(key: &Arc<dyn SigningKey>, message: &[u8]) -> Vec<u8> {
    key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]).unwrap().sign(message).unwrap()
}

/// Measures the longest time for which a machine's client blocks an async worker. The client generates its key and
/// acquires its first bound token.
///
/// One worker runs all work that is not sent to a blocking thread. Between two sleeps the worker runs one or several
/// polls. The longest time between two sleeps, in CPU time of the worker's thread, is an upper bound of the longest
/// poll. The TLS library signs the handshake on the worker, so the limit includes the time of a signature.
fn blocked_worker(sheet: &mut Sheet) {
    const LIMIT: &str = "1 ms and the handshake's signature";
    let key = bare::certified("rsa").key;
    let sides = vec![
        side(LIMIT, || 1e6 + time_of_each(20, async || drop(sign(&key, &[7; 400])))),
        side(MACHINE, longest_stretch),
    ];
    sheet.compare("a machine's first bound token: longest poll", sides, &[(MACHINE, AtMost(1.0), LIMIT)]);
}

fn longest_stretch() -> f64 {
    let [begun, longest] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let now = || used(ClockId::ThreadCPUTime) as u64;
    let (wake, at_rest, at_end) = (Arc::clone(&begun), Arc::clone(&begun), Arc::clone(&longest));
    let rest = move || {
        at_end.fetch_max(now() - at_rest.load(Ordering::Relaxed), Ordering::Relaxed);
    };
    let mut builder = Builder::new_current_thread();
    builder.on_thread_unpark(move || wake.store(now(), Ordering::Relaxed)).on_thread_park(rest.clone());
    let runtime = builder.enable_all().build().unwrap();
    let (identity, scope) = (identity(&Arc::new(SoftwareKeys::new())), ours::scope(GRAPH));
    begun.store(now(), Ordering::Relaxed);
    runtime.block_on(async { identity.bound_token(&scope).await }).unwrap();
    rest();
    longest.load(Ordering::Relaxed) as f64
}
