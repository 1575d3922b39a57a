//! The kept connections of one TLS identity: each is one request's at a time, and given back when its answer was read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use tokio::time::Instant;

use super::TlsFacts;
use super::connector::{Connector, Dialled, chain};
use super::error::TransportError;
use super::watched::Ended;

/// One that nobody used for so long is closed: services close theirs after two minutes or more.
const IDLE: Duration = Duration::from_secs(90);

/// Connections with one TLS identity, to any host, over HTTP/1.1.
pub(super) struct Connections {
    connector: Connector,
    /// The largest head of an answer, in bytes.
    head: usize,
    idle: Arc<Mutex<Idle>>,
}

#[derive(Default)]
struct Idle {
    by_host: HashMap<Authority, Vec<Kept>, foldhash::quality::RandomState>,
    /// Whether a task looks after those that nobody uses.
    is_swept: bool,
}

struct Kept {
    connection: Connection,
    since: Instant,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    facts: TlsFacts,
    ended: Ended,
}

/// A connection on which the body of an answer is still to come. Dropped before that, it is closed.
pub(super) struct Answering {
    connection: Connection,
    host: Authority,
    idle: Arc<Mutex<Idle>>,
}

impl Connections {
    pub(super) fn new(connector: Connector, head: usize) -> Self {
        Self { connector, head, idle: Arc::default() }
    }

    /// Sends the request to the host of its URL, on a kept connection or a new one.
    ///
    /// A server may close a kept connection at any time. A request of which nothing was written by then goes out on
    /// another; one that may have reached the server is never sent twice.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Answering, Response<Incoming>), TransportError> {
        let url = request.uri().clone();
        let host = url.authority().cloned().ok_or(TransportError::NotHttps)?;
        let mut request = as_sent(request, &host);
        loop {
            let kept = lock(&self.idle).take(&host);
            let is_new = kept.is_none();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect(&url).await?,
            };
            match connection.sender.try_send_request(request).await {
                Ok(response) => {
                    let idle = Arc::clone(&self.idle);
                    return Ok((Answering { connection, host, idle }, response));
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !is_new => request = unsent,
                    _ => {
                        let (host, reason) = (host.host().to_owned(), chain(error.error()));
                        let interrupted = TransportError::Interrupted { host, reason };
                        return Err(connection.ended.why().unwrap_or(interrupted));
                    }
                },
            }
        }
    }

    async fn connect(&self, url: &Uri) -> Result<Connection, TransportError> {
        let Dialled { stream, facts, ended } = self.connector.dial(url).await?;
        let handshake = http1::Builder::new().max_buf_size(self.head).handshake(stream).await;
        let (sender, connection) = handshake.map_err(|error| TransportError::Interrupted {
            host: url.host().unwrap_or_default().to_owned(),
            reason: chain(&error),
        })?;
        // Whoever waits for an answer is told of the error too.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Connection { sender, facts, ended })
    }
}

impl Answering {
    /// Gives the connection back, its answer read to the end, and tells what its handshake showed.
    pub(super) fn over(self) -> TlsFacts {
        let Self { mut connection, host, idle } = self;
        let facts = connection.facts;
        if connection.sender.is_ready() {
            keep(&idle, host, connection);
        } else if !connection.sender.is_closed() {
            // On another thread, what drives the connection may be a step behind.
            tokio::spawn(async move {
                if connection.sender.ready().await.is_ok() {
                    keep(&idle, host, connection);
                }
            });
        }
        facts
    }
}

impl Idle {
    /// The one that was used last.
    fn take(&mut self, host: &Authority) -> Option<Connection> {
        let kept = self.by_host.get_mut(host)?;
        while let Some(Kept { connection, since }) = kept.pop() {
            if since.elapsed() < IDLE && connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    fn sweep(&mut self) {
        self.by_host.retain(|_, kept| {
            kept.retain(|kept| kept.since.elapsed() < IDLE && !kept.connection.sender.is_closed());
            !kept.is_empty()
        });
    }
}

fn keep(idle: &Arc<Mutex<Idle>>, host: Authority, connection: Connection) {
    let mut locked = lock(idle);
    locked.by_host.entry(host).or_default().push(Kept { connection, since: Instant::now() });
    if !locked.is_swept {
        locked.is_swept = true;
        tokio::spawn(Sweeper(Arc::downgrade(idle)).run());
    }
}

/// Closes what nobody uses, until there is nothing left.
struct Sweeper(Weak<Mutex<Idle>>);

impl Sweeper {
    async fn run(self) {
        loop {
            tokio::time::sleep(IDLE).await;
            let Some(idle) = self.0.upgrade() else { return };
            let mut idle = lock(&idle);
            idle.sweep();
            if idle.by_host.is_empty() {
                return;
            }
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        // Also where a runtime ends before the connections do: the next one to be kept starts another.
        if let Some(idle) = self.0.upgrade() {
            lock(&idle).is_swept = false;
        }
    }
}

fn lock(idle: &Mutex<Idle>) -> MutexGuard<'_, Idle> {
    // Nothing can panic while it is held, and every state it passes through is usable.
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As a server takes it that is no proxy (RFC 9112, section 3.2.1): the path alone, and the host in its header.
fn as_sent(mut request: Request<Full<Bytes>>, host: &Authority) -> Request<Full<Bytes>> {
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    if !request.headers().contains_key(header::HOST) {
        let named = if host.port_u16() == Some(443) { host.host() } else { without_user(host) };
        if let Ok(value) = HeaderValue::from_str(named) {
            request.headers_mut().insert(header::HOST, value);
        }
    }
    request
}

fn without_user(host: &Authority) -> &str {
    host.as_str().rsplit_once('@').map_or(host.as_str(), |(_, host)| host)
}
