//! The admin listener: health, readiness and metrics. It verifies no tokens.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certbound_serve::{Body, Limits};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::lifecycle::Ended;
use super::socket::{Socket, Sockets};
use super::status::Status;
use crate::failure::Failure;
use crate::flags::ServerFlags;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// The media type of Prometheus' text format.
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// The limits of the admin listener, as far as they differ from the defaults.
const CONNECTIONS: usize = 64;
const HEAD_BYTES: usize = 8 * 1024;
const STOP: Duration = Duration::from_secs(1);

/// The admin listener of a server. Without --admin-listen it does nothing.
pub(crate) struct Admin {
    address: Option<String>,
    stop: Option<oneshot::Sender<()>>,
    tasks: JoinSet<()>,
}

impl Admin {
    /// Starts the listener that the flags name.
    pub(crate) async fn start(
        sockets: &mut Sockets<'_>,
        flags: &ServerFlags,
        status: Arc<Status>,
    ) -> Result<Self, Failure> {
        let mut admin = Self { address: None, stop: None, tasks: JoinSet::new() };
        if let Some(listen) = &flags.admin_listen {
            let socket = sockets.bind(listen).await?;
            let (stop, stopped) = oneshot::channel();
            admin.address = Some(socket.shown().to_owned());
            admin.stop = Some(stop);
            admin.tasks.spawn(serve(socket, status, stopped));
        }
        Ok(admin)
    }

    /// Returns the address for clients: `http://ADDRESS:PORT` or `unix:PATH`.
    pub(crate) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Stops the listener. Call this function after the end of the server, so that readiness can be read until then.
    pub(crate) async fn stop(mut self, ended: Ended) {
        if ended == Ended::AtOnce {
            return self.tasks.shutdown().await;
        }
        drop(self.stop.take());
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn serve(socket: Socket, status: Arc<Status>, stopped: oneshot::Receiver<()>) {
    let mut limits = Limits::default();
    (limits.connections, limits.head_bytes, limits.stop) = (CONNECTIONS, HEAD_BYTES, STOP);
    let stop = async { drop(stopped.await) };
    certbound_serve::serve(socket, limits, stop, |stream, _, connection| {
        let status = Arc::clone(&status);
        async move {
            let service = |request: Request<Body>| {
                let response = answer(&status, request.method(), request.uri().path());
                async { Ok::<_, Infallible>(response.map(Full::new)) }
            };
            if let Err(error) = connection.http1(stream, service).await {
                tracing::debug!(%error, "a connection to the admin listener ended early");
            }
        }
    })
    .await;
}

fn answer(status: &Status, method: &Method, path: &str) -> Response<Bytes> {
    let (code, content_type, body) = match path {
        _ if method != Method::GET && method != Method::HEAD => {
            let mut response = respond(
                StatusCode::METHOD_NOT_ALLOWED,
                TEXT,
                "the admin listener answers GET and HEAD only\n".to_owned(),
            );
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        "/healthz" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => match status.readiness() {
            Ok(()) => (StatusCode::OK, TEXT, "ready\n".to_owned()),
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{reason}\n")),
        },
        "/metrics" => (StatusCode::OK, METRICS, status.metrics()),
        _ => (
            StatusCode::NOT_FOUND,
            TEXT,
            "the admin listener has the paths /healthz, /readyz and /metrics\n".to_owned(),
        ),
    };
    respond(code, content_type, body)
}

fn respond(code: StatusCode, content_type: HeaderValue, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
