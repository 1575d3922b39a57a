//! Faults of a machine.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_cert::der::Encode as _;

use super::requests::{issued, right};
use super::*;
use crate::world::builtin::SYSTEM_IDENTITY;
use crate::{Condition, Fault, FaultResult, PlatformEndpoint, PlatformKind};

pub(super) fn plant(emulator: &Emulator, endpoint: PlatformEndpoint, result: &str) {
    let result = serde_json::from_str(result).unwrap();
    emulator.add_fault(Fault::once(Condition::endpoint(endpoint), result));
}

#[test]
fn each_wrong_certificate_is_wrong_in_the_way_it_says() {
    let emulator = emulator();
    let own_key = {
        use x509_cert::der::Decode as _;
        x509_cert::request::CertReq::from_der(&right()).unwrap().info.public_key.to_der().unwrap()
    };
    let own_name = format!("DC={TENANT}, CN={SYSTEM_IDENTITY}");
    let now = i64::try_from(NOW.as_secs()).unwrap();
    for (fault, has_key, has_name, begun, over) in [
        ("delay", true, true, true, false),
        ("foreign_key_certificate", false, true, true, false),
        ("foreign_identity_certificate", true, false, true, false),
        ("expired_certificate", true, true, true, true),
        ("not_yet_valid_certificate", true, true, false, false),
    ] {
        let result = if fault == "delay" {
            r#"{"delay":{"milliseconds":1}}"#.to_owned()
        } else {
            format!("\"{fault}\"")
        };
        plant(&emulator, PlatformEndpoint::IssueCredential, &result);
        let body = issued(&emulator, "", &right());
        let der = STANDARD.decode(body["certificate"].as_str().unwrap()).unwrap();
        let (_, found) = x509_parser::parse_x509_certificate(&der).unwrap();
        let (from, until) = (found.validity().not_before.timestamp(), found.validity().not_after.timestamp());
        assert_eq!(
            (
                found.public_key().raw == own_key,
                found.subject().to_string() == own_name,
                from <= now,
                until < now
            ),
            (has_key, has_name, begun, over),
            "{fault}"
        );
        assert_eq!(
            (&body["client_id"], &body["tenant_id"]),
            (&json!(SYSTEM_IDENTITY), &json!(TENANT)),
            "{fault}"
        );
    }
}

#[test]
fn an_answer_lacks_the_member_that_a_fault_names() {
    let emulator = emulator();
    for name in ["cuId", "clientId", "tenantId", "attestationEndpoint"] {
        let right = json_of(&send(&emulator, get(METADATA), ""));
        plant(
            &emulator,
            PlatformEndpoint::PlatformMetadata,
            &format!(r#"{{"without_member":{{"name":"{name}"}}}}"#),
        );
        let mut expected = right.clone();
        assert!(expected.as_object_mut().unwrap().remove(name).is_some());
        assert_eq!(json_of(&send(&emulator, get(METADATA), "")), expected);
    }
    plant(&emulator, PlatformEndpoint::IssueCredential, r#"{"without_member":{"name":"certificate"}}"#);
    let body = issued(&emulator, "", &right());
    assert!(body.get("certificate").is_none() && body["client_id"] == SYSTEM_IDENTITY, "{body}");
}

/// While the metadata service restarts, a front-end server answers, with different headers.
#[test]
fn a_status_brings_its_own_headers() {
    let emulator = emulator();
    let fault = r#"{"status":{"status":500,"headers":{"Server":"Microsoft-IIS/10.0","x-more":"1"}}}"#;
    plant(&emulator, PlatformEndpoint::PlatformMetadata, fault);
    let response = send(&emulator, get(METADATA), "");
    let header = |name| response.headers().get(name).unwrap().to_str().unwrap();
    assert_eq!(
        (response.status().as_u16(), header("server"), header("x-more")),
        (500, "Microsoft-IIS/10.0", "1")
    );
    // The fault also applies to the token service.
    emulator.add_fault(serde_json::from_str(&format!(r#"{{"result":{fault}}}"#)).unwrap());
    assert_eq!(Ask::leg1(&emulator).send(&emulator).headers()["server"], "Microsoft-IIS/10.0");
    for bad in [r#""a b":"c""#, r#""a":"b\nc""#, r#""Content-Length":"7""#, r#""transfer-encoding":"x""#] {
        let fault = format!(r#"{{"result":{{"status":{{"status":500,"headers":{{{bad}}}}}}}}}"#);
        assert!(serde_json::from_str::<Fault>(&fault).is_err(), "{bad}");
    }
}

#[test]
fn the_agent_of_arc_names_another_file_or_none() {
    let emulator = emulator();
    emulator.install_arc_agent(crate::ArcKey::new("/var/opt/azcmagent/tokens/a.key"));
    let asked = || get("/arc/token?api-version=2020-06-01&resource=https://vault.azure.net");
    let challenge = || {
        let response = send(&emulator, asked(), "");
        assert_eq!(response.status(), 401);
        response.headers().get("www-authenticate").map(|header| header.to_str().unwrap().to_owned())
    };
    let right = Some("Basic realm=/var/opt/azcmagent/tokens/a.key".to_owned());
    for (file, expected) in [
        (Some("/etc/passwd"), Some("Basic realm=/etc/passwd")),
        (Some("/var/opt/azcmagent/tokens/a.txt"), Some("Basic realm=/var/opt/azcmagent/tokens/a.txt")),
        (None, None),
    ] {
        let result = FaultResult::ArcChallenge { file: file.map(str::to_owned) };
        emulator.add_fault(Fault::once(Condition::platform(PlatformKind::Arc), result));
        assert_eq!(challenge().as_deref(), expected);
        assert_eq!(challenge(), right);
    }
}

#[test]
fn a_fault_of_the_handshake_is_met_by_no_request() {
    let emulator = emulator();
    for result in ["foreign_server_certificate", "client_certificate_refused", "unreachable"] {
        emulator.add_fault(serde_json::from_str(&format!(r#"{{"result":"{result}"}}"#)).unwrap());
    }
    assert_eq!(Ask::leg1(&emulator).code(&emulator), 0);
    assert_eq!(status(&emulator, get(TOKEN)), 200);
    assert_eq!(emulator.faults().iter().map(|fault| fault.count).collect::<Vec<_>>(), [Some(1); 3]);
    assert!(!emulator.refuses_certificates(LOGIN), "this host requests no certificate");
    assert!(emulator.refuses_certificates(MTLS) && !emulator.refuses_certificates(MTLS), "once");
    assert!(emulator.node_is_foreign() && !emulator.node_is_foreign(), "once");
    assert!(emulator.is_unreachable(MTLS) && !emulator.is_unreachable(MTLS), "once");
}
