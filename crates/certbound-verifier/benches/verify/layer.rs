//! Compares a request over HTTP/1.1 through the layer with the same server without the layer. Client and server share
//! the thread and a pipe, so the CPU time is that of both. Its inverse is the number of requests per second on one
//! core.

use std::convert::Infallible;

use bytes::Bytes;
use certbound_verifier::{Verifier, VerifyLayer};
use criterion::Criterion;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tower_layer::Layer as _;
use tower_service::Service;

use crate::decision::remembering;
use crate::ratio::{Cpu, ROUNDS, in_round, print_ratios};
use crate::report::Gate;
use crate::support::{client, token};

const GROUP: &str = "layer";
const FLOOR: &str = "the same server without it";

/// A service that answers every request with `[]`.
#[derive(Clone)]
struct Orders;

impl Service<Request<Incoming>> for Orders {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Incoming>) -> Self::Future {
        std::future::ready(Ok(Response::new(Full::new(Bytes::from_static(b"[]")))))
    }
}

/// Opens a connection to a new server, which stays open.
async fn connect<S, R>(service: S) -> SendRequest<Empty<Bytes>>
where
    S: Service<Request<Incoming>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: std::error::Error + Send + Sync,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: std::error::Error + Send + Sync,
{
    let (near, far) = tokio::io::duplex(64 * 1024);
    let serving = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(far), TowerToHyperService::new(service));
    tokio::spawn(serving);
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask(sender: &mut SendRequest<Empty<Bytes>>, authorization: &str) {
    sender.ready().await.unwrap();
    let request = Request::get("/orders").header("host", "orders.example");
    let request = request.header("authorization", authorization).body(Empty::new()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.into_body().collect().await.unwrap();
}

pub(crate) fn measure(criterion: &mut Criterion<Cpu>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let authorization = format!("mtls_pop {}", token().sign());
    let behind = |verifier: Verifier| {
        // A server reads the certificate once for each connection, so this does too.
        let peer = client();
        VerifyLayer::new(verifier).certificate_from(move |_| peer.clone()).layer(Orders)
    };
    let (plain, verifying, remembered) = runtime.block_on(async {
        (
            connect(Orders).await,
            connect(behind(remembering(0))).await,
            connect(behind(remembering(1024))).await,
        )
    });
    let mut senders = [(FLOOR, plain), ("verifying each", verifying), ("remembering", remembered)];
    let mut group = criterion.benchmark_group(GROUP);
    for round in 0..ROUNDS {
        for (row, sender) in &mut senders {
            let sender = tokio::sync::Mutex::new(sender);
            group.bench_function(in_round(row, round), |bencher| {
                bencher.to_async(&runtime).iter(|| async { ask(*sender.lock().await, &authorization).await });
            });
        }
    }
    group.finish();
}

pub(crate) fn print() {
    print_ratios(GROUP, FLOOR, &[("verifying each", Gate::None), ("remembering", Gate::None)]);
}
