//! `health`: asks the admin listener of a server whether the server is ready.

use std::io;
use std::time::Duration;

use certbound_core::shown::one_line;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::failure::{Failure, NETWORK, REFUSED};
use crate::flags::{Format, HealthFlags, HealthTarget};
use crate::output::{self, Terminal};

const REQUEST: &[u8] = b"GET /readyz HTTP/1.1\r\nhost: certbound\r\nconnection: close\r\n\r\n";
/// The largest answer that is read, in bytes.
const LARGEST: u64 = 16 * 1024;

pub(super) async fn run(flags: &HealthFlags, terminal: Terminal) -> Result<(), Failure> {
    let format = terminal.format_of(&[Format::Json, Format::Table])?;
    let target = &flags.address;
    let asked = tokio::time::timeout(Duration::from_secs(flags.timeout), ask(target)).await;
    let answer = match asked {
        Ok(answer) => answer.map_err(|error| unreachable(target, &error.to_string()))?,
        Err(_) => {
            let reason = format!("the server did not answer within {} s", flags.timeout);
            return Err(unreachable(target, &reason));
        }
    };
    let (status, body) = parse(&answer).ok_or_else(|| unreachable(target, "the answer is not HTTP"))?;
    match status {
        200 => match format {
            Format::Json => output::print(&output::json(&json!({ "ready": true }), 0)?),
            _ => output::print_text("ready\n"),
        },
        503 => Err(Failure::new(
            REFUSED,
            "not_ready",
            "the server is not ready",
            one_line(body.trim()),
            "remove the cause, or wait until the server is ready",
        )),
        other => Err(Failure::new(
            REFUSED,
            "not_an_admin_listener",
            "the readiness of the server is unknown",
            format!("{target} answered /readyz with the status {other}"),
            "give the address of --admin-listen, not the address that the server serves",
        )),
    }
}

async fn ask(target: &HealthTarget) -> io::Result<Vec<u8>> {
    match target {
        HealthTarget::Tcp(address) => exchange(TcpStream::connect(address).await?).await,
        HealthTarget::Unix(path) => exchange(UnixStream::connect(path).await?).await,
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<Vec<u8>> {
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    stream.take(LARGEST).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Returns the status and the body of an answer.
fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut words = head.strip_prefix("HTTP/1.")?.split(' ').skip(1);
    Some((words.next()?.get(..3)?.parse().ok()?, body.to_owned()))
}

fn unreachable(target: &HealthTarget, reason: &str) -> Failure {
    Failure::new(
        NETWORK,
        "admin_listener_unreachable",
        "the readiness of the server is unknown",
        format!("{target}: {reason}"),
        "check that the server runs, and that its --admin-listen has this address",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let parsed = parse(b"HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\nno keys\n");
        assert_eq!(parsed, Some((503, "no keys\n".to_owned())));
        assert_eq!(parse(b"HTTP/1.0 200\r\n\r\n"), Some((200, String::new())));
        let wrong: [&[u8]; 6] = [
            b"",
            b"SSH-2.0-x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 x\r\n\r\n",
            b"HTTP/1.1\r\n\r\n",
            b"\xff",
        ];
        for wrong in wrong {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
