//! Tokens that are not cached, compared with the same HTTP requests by hyper and rustls alone.

use bytes::Bytes;

use crate::azure::{self, AZURE, TokenCredential as _};
use crate::bare::{self, Connection, FLOOR, LOGIN, MTLS};
use crate::harness::{RUNTIME, each, each_prepared};
use crate::ours::{self, APP, GRAPH};
use crate::peers::Peers;
use crate::sheet::Gate::{AtLeast, AtMost};
use crate::sheet::{Line, Sheet, Side};

const OURS: &str = "certbound";
const TURNS: usize = 400;
const POOLED: Line = (OURS, AtMost(1.5), FLOOR);

pub(crate) fn measure(sheet: &mut Sheet) {
    let mut peers = Peers::start();
    by_secret(sheet, &mut peers);
    by_certificate(sheet, &mut peers);
    fresh_legs(sheet, "two legs, fresh handshake, RSA-2048 certificate", "rsa");
    fresh_legs(sheet, "two legs, fresh handshake, P-256 certificate", "p256");
}

fn by_secret(sheet: &mut Sheet, peers: &mut Peers) {
    let (forms, connection) = ([bare::secret_form()], RUNTIME.block_on(Connection::to(LOGIN, None)));
    let (ours, scope, transport) = (ours::by_secret(&ours::network()), ours::scope(GRAPH), azure::network());
    let mut sides = vec![
        pooled(connection, &forms),
        each(OURS, TURNS, async || drop(ours.bearer_token(&scope).force_refresh().await.unwrap())),
        each(AZURE, TURNS, async || {
            drop(azure::credential(&transport).get_token(&[GRAPH], None).await.unwrap());
        }),
    ];
    sides.extend(peers.sides("cold"));
    sheet.compare("one request, by secret, pooled connection", sides, &[POOLED, (OURS, AtLeast(1.4), AZURE)]);
}

fn by_certificate(sheet: &mut Sheet, peers: &mut Peers) {
    let (own, scope) = (bare::certified("rsa"), ours::scope(GRAPH));
    let connect = || RUNTIME.block_on(Connection::to(MTLS, Some(own.clone())));
    let (forms, direct) =
        ([bare::direct_form(APP, GRAPH)], ours::direct(&ours::network(), ours::certificate("rsa")));
    let direct = each(OURS, TURNS, async || drop(direct.bound_token(&scope).force_refresh().await.unwrap()));
    let sides = vec![pooled(connect(), &forms), direct];
    sheet.compare("one request, by certificate, pooled connection", sides, &[POOLED]);

    let (forms, legs) = (bare::forms_of_legs(&own), ours::legs(&ours::network(), ours::certificate("rsa")));
    let legs = each(OURS, TURNS, async || drop(legs.bound_token(&scope).force_refresh().await.unwrap()));
    let mut sides = vec![pooled(connect(), &forms), legs];
    sides.extend(peers.sides("pair"));
    sheet.compare("two legs, pooled connection (MSAL: Bearer tokens)", sides, &[POOLED]);
}

/// Sends the forms repeatedly over one connection.
fn pooled(mut connection: Connection, forms: &[Bytes]) -> Side<'_> {
    each(FLOOR, TURNS, async move || send(&mut connection, forms).await)
}

async fn send(connection: &mut Connection, forms: &[Bytes]) {
    for form in forms {
        connection.token(form).await;
    }
}

/// Measures both legs with a certificate that has no connection yet. The measured time of both sides includes the TLS
/// configuration, but not the reading of the certificate. Each turn of both sides reads the key again, because the first
/// signature of an RSA key takes longer than its later signatures.
fn fresh_legs(sheet: &mut Sheet, what: &str, name: &'static str) {
    let network = ours::network();
    let (forms, scope) = (bare::forms_of_legs(&bare::certified(name)), ours::scope(GRAPH));
    let unconnected = || ours::legs(&network, ours::certificate(name));
    let sides = vec![
        each_prepared(
            FLOOR,
            TURNS,
            || bare::certified(name),
            async |own| send(&mut Connection::to(MTLS, Some(own)).await, &forms).await,
        ),
        each_prepared(OURS, TURNS, unconnected, async |legs| drop(legs.bound_token(&scope).await.unwrap())),
    ];
    sheet.compare(what, sides, &[(OURS, AtMost(1.25), FLOOR)]);
}
