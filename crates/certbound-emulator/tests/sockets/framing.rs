//! The end of a request, and the parts that belong to it.

use certbound_emulator::world::builtin::ORDERS;

use super::*;

/// Returns the whole answer to these bytes, over TLS with the right certificate.
async fn raw(fixture: &Fixture, request: &str) -> String {
    let tunnel = connect(fixture.server.proxy_address(), &format!("{MTLS}:443")).await.unwrap();
    let connector = TlsConnector::from(tls(&fixture.emulator, fixture.identity()));
    let mut stream = connector.connect(ServerName::try_from(MTLS).unwrap(), tunnel).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The read may end with an error, which does not matter here.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn s77_a_trailer_is_no_parameter_and_framing_that_can_be_read_two_ways_is_refused() {
    let fixture = start().await;
    let head = format!(
        "POST /{TENANT}/oauth2/v2.0/token HTTP/1.1\r\nhost: {MTLS}\r\nconnection: close\r\ncontent-type: \
         application/x-www-form-urlencoded\r\n"
    );
    let chunked = |body: &str, trailer: &str| {
        let length = body.len();
        format!("{head}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n{trailer}\r\n")
    };
    let taken = raw(&fixture, &chunked(LEG_1, "scope: https://vault.azure.net/.default\r\n")).await;
    assert!(taken.starts_with("HTTP/1.1 200 "), "{taken}");
    assert!(taken.contains("\"scope\":\"api://AzureADTokenExchange/.default\""), "{taken}");
    let without_scope = LEG_1.replace("&scope=api://AzureADTokenExchange/.default", "");
    let lacking = raw(&fixture, &chunked(&without_scope, &format!("scope: {ORDERS}/.default\r\n"))).await;
    assert!(lacking.starts_with("HTTP/1.1 400 ") && lacking.contains("AADSTS900144"), "{lacking}");

    let answered = fixture.emulator.journal().len();
    let twice = format!("{head}content-length: 5\r\ncontent-length: 6\r\n\r\n{LEG_1}");
    let broken_chunk = format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n{LEG_1}\r\n0\r\n\r\n");
    for request in [twice, broken_chunk] {
        let answer = raw(&fixture, &request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request}: {answer}");
    }
    assert_eq!(fixture.emulator.journal().len(), answered, "neither was looked at");
}

#[tokio::test]
async fn a_request_must_have_the_header_host_once() {
    let fixture = start().await;
    let request = |version: &str, hosts: &str| {
        let length = LEG_1.len();
        format!(
            "POST /{TENANT}/oauth2/v2.0/token HTTP/{version}\r\n{hosts}connection: close\r\ncontent-length: {length}\r\n\
             content-type: application/x-www-form-urlencoded\r\n\r\n{LEG_1}"
        )
    };
    let host = format!("host: {MTLS}\r\n");
    for (version, hosts, status) in [
        ("1.1", String::new(), 400),
        ("1.1", host.repeat(2), 400),
        ("1.0", host.repeat(2), 400),
        ("1.1", host, 200),
        ("1.0", String::new(), 200),
    ] {
        let answer = raw(&fixture, &request(version, &hosts)).await;
        assert_eq!(answer.split(' ').nth(1), Some(&*status.to_string()), "{version} {hosts}: {answer}");
    }
}
