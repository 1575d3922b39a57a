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
use tokio::runtime::{Handle, Id};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::TlsFacts;
use super::alarm::Alarm;
use super::connector::{Connector, Dialled, chain};
use super::watched::Ended;
use crate::error::TransportError;

/// One that nobody used for so long is closed: services close theirs after two minutes or more.
const IDLE: Duration = Duration::from_secs(90);
/// So many are kept for one host; after a burst, those beyond are closed.
const KEPT_AT_MOST: usize = 64;

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

/// One connection, which no other request has meanwhile.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    facts: TlsFacts,
    ended: Ended,
    /// None while a request has it.
    alarm: Option<Alarm>,
    driver: Driver,
}

/// The task that reads and writes.
struct Driver {
    task: AbortHandle,
    /// Requests of another runtime do not rely on this one's being run.
    runtime: Id,
    /// A request is under way.
    is_busy: bool,
}

impl Drop for Driver {
    /// A server that does not go on reading would hold up a farewell too.
    fn drop(&mut self) {
        if self.is_busy {
            self.task.abort();
        }
    }
}

impl Connection {
    pub(super) fn take_alarm(&mut self) -> Option<Alarm> {
        self.alarm.take()
    }
}

/// A connection on which the answer, or its body, is still to come. Dropped before that, it is closed.
pub(super) struct Answering {
    connection: Connection,
    host: Authority,
    idle: Arc<Mutex<Idle>>,
}

impl Connections {
    pub(super) fn new(connector: Connector, head: usize) -> Self {
        Self { connector, head, idle: Arc::default() }
    }

    /// The kept connection to the host of `url` that was used last.
    pub(super) fn kept(&self, url: &Uri) -> Option<Connection> {
        url.authority().and_then(|host| lock(&self.idle).take(host))
    }

    /// Sends the request to the host of its URL, on the connection that was `kept`, another such, or a new one.
    ///
    /// A server may close a kept connection at any time. A request of which nothing was written by then goes out on
    /// another; one that may have reached the server is never sent twice.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        mut kept: Option<Connection>,
    ) -> Result<(Answering, Response<Incoming>), TransportError> {
        let url = request.uri().clone();
        let host = url.authority().cloned().ok_or(TransportError::NotHttps)?;
        let mut request = as_sent(request, &host);
        loop {
            let known = kept.take().or_else(|| self.kept(&url));
            let is_new = known.is_none();
            let mut connection = match known {
                Some(connection) => connection,
                // Apart: it is large, and a request on a kept connection would carry it along.
                None => Box::pin(self.connect(&url)).await?,
            };
            match connection.sender.try_send_request(request).await {
                Ok(response) => {
                    let idle = Arc::clone(&self.idle);
                    return Ok((Answering { connection, host, idle }, response));
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !is_new => request = unsent,
                    _ => return Err(self.explain(&host, &connection, error.error())),
                },
            }
        }
    }

    fn explain(&self, host: &Authority, connection: &Connection, error: &hyper::Error) -> TransportError {
        let host = host.host().to_owned();
        if error.is_parse_too_large() {
            return TransportError::TooLarge { host, limit: self.head };
        }
        let interrupted = TransportError::Interrupted { host, reason: chain(error) };
        connection.ended.why().unwrap_or(interrupted)
    }

    async fn connect(&self, url: &Uri) -> Result<Connection, TransportError> {
        let Dialled { stream, facts, ended } = self.connector.dial(url).await?;
        let handshake = http1::Builder::new().max_buf_size(self.head).handshake(stream).await;
        let (sender, connection) = handshake.map_err(|error| TransportError::Interrupted {
            host: url.host().unwrap_or_default().to_owned(),
            reason: chain(&error),
        })?;
        // Whoever waits for an answer is told of the error too.
        let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        let driver = Driver { task, runtime: Handle::current().id(), is_busy: true };
        Ok(Connection { sender, facts, ended, alarm: None, driver })
    }
}

impl Answering {
    /// Gives the connection back, its answer read to the end, with the alarm; tells what its handshake showed.
    pub(super) fn over(self, alarm: Alarm) -> TlsFacts {
        let Self { mut connection, host, idle } = self;
        connection.alarm = Some(alarm);
        let facts = connection.facts;
        if connection.sender.is_ready() {
            keep(&idle, host, connection);
        } else if !connection.sender.is_closed() {
            // On another thread, what drives the connection may be a step behind. Or the server answered and does not go on
            // reading the request.
            tokio::spawn(async move {
                if let Ok(Ok(())) = timeout(IDLE, connection.sender.ready()).await {
                    keep(&idle, host, connection);
                }
            });
        }
        facts
    }
}

impl Idle {
    /// The one of this runtime that was used last.
    fn take(&mut self, host: &Authority) -> Option<Connection> {
        let kept = self.by_host.get_mut(host)?;
        let runtime = Handle::try_current().ok()?.id();
        while let Some(at) = kept.iter().rposition(|kept| kept.connection.driver.runtime == runtime) {
            let Kept { mut connection, since } = kept.remove(at);
            if since.elapsed() < IDLE && connection.sender.is_ready() {
                connection.driver.is_busy = true;
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

fn keep(idle: &Arc<Mutex<Idle>>, host: Authority, mut connection: Connection) {
    connection.driver.is_busy = false;
    let mut locked = lock(idle);
    let kept = locked.by_host.entry(host).or_default();
    let oldest = (kept.len() == KEPT_AT_MOST).then(|| kept.remove(0));
    kept.push(Kept { connection, since: Instant::now() });
    let begins = !std::mem::replace(&mut locked.is_swept, true);
    drop(locked);
    drop(oldest);
    if begins {
        // Not under the lock: a runtime that ends drops at once what it is to run.
        tokio::spawn(Sweeper { idle: Arc::downgrade(idle), is_over: false }.run());
    }
}

/// Closes what nobody uses, until there is nothing left.
struct Sweeper {
    idle: Weak<Mutex<Idle>>,
    /// It said itself that it is.
    is_over: bool,
}

impl Sweeper {
    async fn run(mut self) {
        loop {
            sleep(IDLE).await;
            let Some(idle) = self.idle.upgrade() else { return };
            let mut idle = lock(&idle);
            idle.sweep();
            if idle.by_host.is_empty() {
                idle.is_swept = false;
                self.is_over = true;
                return;
            }
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        // Also where a runtime ends before the connections do: the next one to be kept starts another.
        if let Some(idle) = self.idle.upgrade().filter(|_| !self.is_over) {
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
