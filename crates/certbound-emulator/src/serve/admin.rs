//! The admin port: JSON over HTTP. The path begins with a random token, which
//! [`Server::admin_url`](super::Server::admin_url) contains. `emulator start` prints this URL in its first output line
//! (the *ready line*).

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use certbound_serve::{Body, Connection};
use http::header::HOST;
use http::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::connection::{ResponseBody, whole};
use super::current::CurrentEmulator;
use crate::answers::json_response;
use crate::emulator::Emulator;
use crate::fault::Fault;
use crate::journal;

/// The largest rule, in bytes of JSON. There can be 1000 rules.
const MAX_FAULT: usize = 16 * 1024;

/// The admin interface, with its token and the host names that it accepts.
pub(super) struct Surface {
    current: CurrentEmulator,
    token: String,
    hosts: [String; 2],
}

impl Surface {
    pub(super) fn new(current: CurrentEmulator, token: String, port: u16) -> Self {
        Self { current, token, hosts: [format!("127.0.0.1:{port}"), format!("localhost:{port}")] }
    }
}

/// Serves one client of the admin port.
pub(super) async fn connection(stream: TcpStream, connection: Connection, surface: Arc<Surface>) {
    let service = move |request: Request<Body>| {
        let surface = Arc::clone(&surface);
        async move {
            Ok::<_, Infallible>(match whole(request).await {
                // The generation of a key takes time, and the proxy must answer in the meantime.
                Ok(request) => {
                    tokio::task::spawn_blocking(move || surface.answer(&request)).await.unwrap_or_else(|_| {
                        error(
                            StatusCode::INTERNAL_SERVER_ERROR,
                            "the emulator failed: report this error as a bug of certbound",
                        )
                    })
                }
                Err(response) => response,
            })
        }
    };
    if let Err(error) = connection.http1(stream, service).await {
        tracing::debug!(%error, "an admin connection ended early");
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: i64,
}

impl Surface {
    fn answer(&self, request: &Request<Bytes>) -> Response<ResponseBody> {
        if !self.is_named(request) {
            return error(
                StatusCode::FORBIDDEN,
                "the Host header does not name this port: use the URL of the ready line",
            );
        }
        let path = request.uri().path().strip_prefix('/').and_then(|path| path.split_once('/'));
        match path {
            Some((token, path)) if self.is_token(token) => self.route(request.method(), path, request.body()),
            _ => error(
                StatusCode::NOT_FOUND,
                "the path must begin with the token of the ready line: use the URL of the ready line",
            ),
        }
    }

    /// Returns whether the request names this port. By DNS rebinding, a web page can send requests to this port, but
    /// only with a `Host` that the page's author controls. An authority in the request line has priority over `Host`
    /// (RFC 9112, section 3.2.2), so this function checks the authority too.
    fn is_named(&self, request: &Request<Bytes>) -> bool {
        let ours = |host: &str| self.hosts.iter().any(|ours| ours == host);
        let mut hosts = request.headers().get_all(HOST).iter();
        let (host, more) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next());
        let line = request.uri().authority().is_none_or(|line| ours(line.as_str()));
        line && more.is_none() && host.is_some_and(ours)
    }

    fn is_token(&self, token: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(token.as_bytes(), self.token.as_bytes()).is_ok()
    }

    fn route(&self, method: &Method, path: &str, body: &[u8]) -> Response<ResponseBody> {
        let emulator = &*self.current.get();
        match (method.as_str(), path) {
            ("GET", "journal") => {
                let pieces = journal::text(emulator.shared_journal());
                ok(&Value::Null).map(|_| ResponseBody::in_pieces(pieces))
            }
            ("DELETE", "journal") => {
                emulator.clear_journal();
                done()
            }
            ("GET", "clock") => clock(emulator),
            ("PUT", "clock") => match serde_json::from_slice::<Advance>(body) {
                Ok(advance) => {
                    emulator.advance(advance.advance_seconds);
                    clock(emulator)
                }
                Err(why) => error(
                    StatusCode::BAD_REQUEST,
                    &format!("the body is invalid: {why}; send {{\"advance_seconds\": n}}"),
                ),
            },
            ("GET", "faults") => ok(&json!({ "faults": emulator.faults() })),
            ("POST", "faults") if body.len() > MAX_FAULT => {
                error(StatusCode::PAYLOAD_TOO_LARGE, "a fault may have at most 16 KiB: send a smaller fault")
            }
            ("POST", "faults") => match serde_json::from_slice::<Fault>(body) {
                Ok(fault) => match fault.check() {
                    Err(why) => error(StatusCode::BAD_REQUEST, why),
                    Ok(()) if emulator.add_fault(fault) => ok(&json!({ "faults": emulator.faults().len() })),
                    Ok(()) => error(StatusCode::CONFLICT, "there are already 1000 faults: remove them first"),
                },
                Err(why) => error(
                    StatusCode::BAD_REQUEST,
                    &format!(
                        "the body is invalid: {why}; send {{\"condition\": .., \"result\": .., \"count\": n}}"
                    ),
                ),
            },
            ("DELETE", "faults") => {
                emulator.clear_faults();
                done()
            }
            ("POST", "keys/rotate") => match emulator.rotate_keys() {
                Ok(()) => done(),
                Err(why) => error(StatusCode::INTERNAL_SERVER_ERROR, &why.to_string()),
            },
            ("POST", "reset") => {
                emulator.reset();
                done()
            }
            ("GET", "world") => ok(&json!(emulator.world())),
            (_, "journal" | "clock" | "faults" | "keys/rotate" | "reset" | "world") => error(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path does not accept this method: see docs/faults.md",
            ),
            _ => error(
                StatusCode::NOT_FOUND,
                "there is no endpoint at this path: use journal, clock, faults, keys/rotate, reset or world",
            ),
        }
    }
}

fn clock(emulator: &Emulator) -> Response<ResponseBody> {
    ok(&json!({ "now": emulator.now().as_secs(), "offset_seconds": emulator.clock_offset() }))
}

fn ok(body: &Value) -> Response<ResponseBody> {
    json_response(200, body).map(ResponseBody::whole)
}

fn done() -> Response<ResponseBody> {
    ok(&json!({}))
}

fn error(status: StatusCode, text: &str) -> Response<ResponseBody> {
    json_response(status.as_u16(), &json!({ "error": text })).map(ResponseBody::whole)
}
