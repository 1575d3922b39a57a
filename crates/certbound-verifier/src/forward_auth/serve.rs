//! A small HTTP server for the question a proxy asks.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::ForwardAuth;

/// How long a proxy may take to send the head of a request.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many connections are served at once; more wait.
const MAX_CONNECTIONS: usize = 1024;
/// The head may carry a token and a certificate.
const MAX_HEAD: usize = 64 * 1024;

impl ForwardAuth {
    /// Answers on `listener` until `stop` is ready, and ends once every answer under way is sent.
    ///
    /// Speaks plain HTTP/1.1: it belongs on the proxy's own host or network. Bodies are not read.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(MAX_HEAD);
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let graceful = GracefulShutdown::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
            let (stream, from) = tokio::select! {
                () = &mut stop => break,
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    // Out of descriptors, say: others end and make room.
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            let auth = self.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let auth = auth.clone();
                async move {
                    let (mut parts, _) = request.into_parts();
                    parts.extensions.insert(from);
                    Ok::<_, Infallible>(auth.answer(&parts).await.map(Full::new))
                }
            });
            let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
            tokio::spawn(async move {
                let _place = place;
                // What goes wrong here is the proxy's connection; the next one is new.
                let _ = connection.await;
            });
        }
        graceful.shutdown().await;
    }
}
