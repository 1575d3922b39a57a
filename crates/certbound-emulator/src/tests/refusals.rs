use certbound_core::credential::JWT_BEARER;

use super::*;
use crate::world::builtin::{MANAGEMENT, SECRET, SECRET_APP, TARGET_APP};

type Row<'a> = (&'a str, u64, u16, Box<dyn Fn(&Emulator) -> Response<Bytes> + 'a>);

fn row<'a>(
    name: &'a str,
    code: u64,
    status: u16,
    send: impl Fn(&Emulator) -> Response<Bytes> + 'a,
) -> Row<'a> {
    (name, code, status, Box::new(send))
}

fn ask(change: impl Fn(&Emulator, &mut Ask<'static>) + 'static) -> impl Fn(&Emulator) -> Response<Bytes> {
    move |emulator| {
        let mut ask = Ask::leg1(emulator);
        change(emulator, &mut ask);
        ask.send(emulator)
    }
}

/// Returns a function that sends a form to the mutual-TLS host with the right certificate.
fn raw(tenant: &'static str, body: &'static str) -> impl Fn(&Emulator) -> Response<Bytes> {
    move |emulator| {
        let tls = with(MTLS, emulator.client_identity());
        emulator.handle(NOW, &tls, post(tenant, Bytes::from_static(body.as_bytes())))
    }
}

/// Returns a function that sends a form to the ordinary host.
fn plain(parameters: &'static [(&'static str, &'static str)]) -> impl Fn(&Emulator) -> Response<Bytes> {
    move |emulator| {
        let mut all = vec![("grant_type", "client_credentials"), ("scope", VAULT_SCOPE)];
        all.extend(parameters);
        emulator.handle(NOW, &TlsFacts::without_certificate(LOGIN), post(TENANT, form(&all)))
    }
}

const GOOD: &str = "client_id=163ffef9-a313-45b4-ab2f-c7e2f5e0e23e&grant_type=client_credentials\
                    &scope=https://vault.azure.net/.default&token_type=mtls_pop";

#[test]
fn every_cause_has_its_own_number_and_status() {
    let emulator = emulator_with(|world| {
        let mut disabled = Application::new("33333333-aaaa-4aaa-8aaa-333333333333", TENANT, "x");
        disabled.enabled = false;
        let mut not_enabled = Application::new("44444444-aaaa-4aaa-8aaa-444444444444", TENANT, "y");
        not_enabled.mutual_tls_enabled = false;
        not_enabled.trusted_subjects = vec!["CN=certbound-demo-app".to_owned()];
        world.application_mut(SECRET_APP).unwrap().expired_secrets = vec!["of last year".to_owned()];
        world.applications.extend([disabled, not_enabled]);
    });
    let rows = [
        row("the base of this table is right", 0, 200, raw(TENANT, GOOD)),
        // The form.
        row("empty body", 900_144, 400, raw(TENANT, "")),
        row("no grant_type", 900_144, 400, raw(TENANT, "client_id=a&scope=b")),
        row("no client_id", 900_144, 400, raw(TENANT, "grant_type=client_credentials&scope=b")),
        row("no scope", 900_144, 400, raw(TENANT, "grant_type=client_credentials&client_id=a")),
        row("another grant", 70_003, 400, raw(TENANT, "grant_type=password&client_id=a&scope=b")),
        row(
            "a parameter that is not emulated",
            9_002_313,
            400,
            raw(TENANT, "grant_type=client_credentials&client_id=a&scope=b&fmi_path=c"),
        ),
        row(
            "claims that are no JSON",
            9_002_313,
            400,
            raw(TENANT, "grant_type=client_credentials&client_id=a&scope=b&claims=c"),
        ),
        // The application.
        row("unknown application", 700_016, 400, ask(|_, it| it.client_id = "nobody")),
        row(
            "disabled application",
            7_000_112,
            400,
            ask(|_, it| it.client_id = "33333333-aaaa-4aaa-8aaa-333333333333"),
        ),
        // The certificate.
        row("no certificate", 392_200, 400, ask(|_, it| it.tls.client_chain = None)),
        row(
            "mtls_pop on the ordinary host",
            392_200,
            400,
            ask(|_, it| it.tls.server_name = LOGIN.to_owned()),
        ),
        row("expired certificate", 392_204, 401, ask(|_, it| it.now = later(8 * 24 * 3_600))),
        row("nothing registered", 392_189, 400, ask(|_, it| it.client_id = BARE_APP)),
        row("federated only, and no assertion", 392_189, 400, ask(|_, it| it.client_id = TARGET_APP)),
        row(
            "another subject of the same authority",
            700_030,
            401,
            ask(|emulator, it| it.tls = with(MTLS, &p256(emulator, "somebody-else"))),
        ),
        row(
            "the subject, self-signed",
            700_027,
            401,
            ask(|emulator, it| {
                let options = IssueOptions::new("certbound-demo-app");
                it.tls = with(MTLS, &emulator.self_signed_client_certificate(&options).unwrap());
            }),
        ),
        row(
            "the authority's own certificate",
            700_030,
            401,
            ask(|emulator, it| it.tls.client_chain = Some(vec![emulator.ca_der().to_vec()])),
        ),
        row(
            "not enabled for mutual TLS",
            51_000,
            412,
            ask(|_, it| it.client_id = "44444444-aaaa-4aaa-8aaa-444444444444"),
        ),
        row("a secret on the mutual-TLS host", 392_189, 400, |emulator: &Emulator| {
            let body = form(&[
                ("client_id", SECRET_APP),
                ("client_secret", SECRET),
                ("scope", VAULT_SCOPE),
                ("grant_type", "client_credentials"),
            ]);
            emulator.handle(NOW, &with(MTLS, emulator.client_identity()), post(TENANT, body))
        }),
        // Credentials on the ordinary host.
        row("the right secret", 0, 200, plain(&[("client_id", SECRET_APP), ("client_secret", SECRET)])),
        row("no credential", 7_000_218, 401, plain(&[("client_id", SECRET_APP)])),
        row("wrong secret", 7_000_215, 401, plain(&[("client_id", SECRET_APP), ("client_secret", "guess")])),
        row(
            "expired secret",
            7_000_222,
            401,
            plain(&[("client_id", SECRET_APP), ("client_secret", "of last year")]),
        ),
        row(
            "an application without secrets",
            7_000_215,
            401,
            plain(&[("client_id", APP), ("client_secret", SECRET)]),
        ),
        row(
            "unknown assertion type",
            7_000_216,
            401,
            plain(&[("client_id", APP), ("client_assertion", "a"), ("client_assertion_type", "saml")]),
        ),
        row(
            "assertion that is none",
            50_027,
            400,
            plain(&[("client_id", APP), ("client_assertion", "a.b"), ("client_assertion_type", JWT_BEARER)]),
        ),
        row(
            "jwt-pop on the ordinary host",
            392_200,
            400,
            plain(&[("client_id", APP), ("client_assertion", "a"), ("client_assertion_type", JWT_POP)]),
        ),
    ];
    for (name, expected, status, send) in rows {
        let response = send(&emulator);
        assert_eq!((code(&response), response.status().as_u16()), (expected, status), "{name}");
        let recorded = emulator.journal().last().unwrap().aadsts.map_or(0, u64::from);
        assert_eq!(recorded, expected, "{name}: the journal");
    }
}

#[test]
fn the_plain_token_of_a_resource_without_binding_is_issued() {
    let emulator = emulator();
    let scope = format!("{MANAGEMENT}/.default");
    let body = json_of(&Ask { scope: &scope, ..Ask::plain(&emulator) }.send(&emulator));
    assert_eq!(body["token_type"], "Bearer");
}

#[test]
fn the_first_failure_of_many_is_the_answer() {
    let emulator = emulator();
    let mut ask = Ask::leg1(&emulator);
    ask.scope = "nonsense";
    ask.tls.client_chain = None;
    ask.client_id = "nobody";
    ask.tenant = "nonsense";
    let mut seen = vec![ask.code(&emulator)];
    ask.tenant = TENANT;
    seen.push(ask.code(&emulator));
    ask.client_id = APP;
    seen.push(ask.code(&emulator));
    ask.tls = with(MTLS, emulator.client_identity());
    seen.push(ask.code(&emulator));
    assert_eq!(seen, [900_023, 700_016, 392_200, 1_002_012]);
}

#[test]
fn a_request_for_another_host_than_the_handshakes_is_misdirected() {
    let emulator = emulator();
    let tls = with(MTLS, emulator.client_identity());
    let mut misdirected = post(TENANT, Bytes::from_static(GOOD.as_bytes()));
    misdirected.headers_mut().insert("host", LOGIN.parse().unwrap());
    assert_eq!(emulator.handle(NOW, &tls, misdirected).status(), 421);
    let mut elsewhere = tls.clone();
    elsewhere.server_name = "example.com".to_owned();
    assert_eq!(emulator.handle(NOW, &elsewhere, post(TENANT, Bytes::new())).status(), 421);
}
