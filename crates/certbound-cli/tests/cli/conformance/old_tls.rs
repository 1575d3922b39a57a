//! A server that chooses a version of TLS that clients no longer accept. No TLS library here can do this.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::door;
use super::stage::MTLS_HOST;

/// Answers the ClientHello of one client with a ServerHello of TLS 1.1 (RFC 4346), and checks that the client then sends one
/// alert and nothing else. Returns the first line of the client's request for a tunnel, and the description of the alert (RFC
/// 5246, section 7.2).
pub(super) async fn tls_1_1(listener: TcpListener) -> (String, u8) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let tunnel = door::connect(&mut stream, &[MTLS_HOST]).await.unwrap();
    let mut head = [0; 5];
    stream.read_exact(&mut head).await.unwrap();
    let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    stream.read_exact(&mut hello).await.unwrap();
    // Version, random, no session id, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, no compression.
    let mut body = vec![3, 2];
    body.extend([7; 32]);
    body.extend([0, 0xc0, 0x13, 0]);
    let mut record = vec![22, 3, 2, 0, 4 + body.len() as u8, 2, 0, 0, body.len() as u8];
    record.extend(body);
    stream.write_all(&record).await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    // The record of an alert, with its level and its description.
    let [21, _, _, 0, 2, 2, description] = rest[..] else { panic!("{rest:?}") };
    (tunnel, description)
}
