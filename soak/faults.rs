//! Random faults of the token service, of the platform and of a resource.

use std::sync::Arc;
use std::time::Duration;

use certbound_emulator::world::builtin::VAULT_HOST;
use certbound_emulator::{Condition, Emulator, Fault, FaultResult, LegKind, PlatformEndpoint, PlatformKind};

use crate::chance::Chance;
use crate::oracle::Oracle;
use crate::subjects::{EXCHANGE, REGION};
use crate::world::FAULTY;

/// The statuses of answers with `Retry-After`, and the seconds of this header. Answers without `Retry-After` are
/// refusals of the token service, so the journal distinguishes them.
pub(crate) const WAITS: [(u16, u32); 2] = [(429, 40), (503, 25)];
/// The AADSTS number of a transient error, which does not depend on the request.
const BUSY: u32 = 90_033;
/// The maximum number of rules that wait for a request. With more rules, too many requests would fail at the same time.
const WAITING: usize = 5;
/// The lifetime of a machine's certificate, in seconds of the fast clock. The client renews the certificate before half
/// of this time has passed.
pub(crate) const MACHINE_CERTIFICATE: u64 = 400;

/// Adds faults for single requests. After 20 to 59 steps, the function starts an outage of one to four seconds.
pub(crate) async fn inject(mut chance: Chance, emulator: Arc<Emulator>, oracle: Arc<Oracle>) {
    loop {
        renew_often(&emulator);
        for _ in 0..chance.among(20..60) {
            tokio::time::sleep(chance.milliseconds(20..180)).await;
            if emulator.faults().len() <= WAITING {
                emulator.add_fault(single(&mut chance));
            }
        }
        outage(&mut chance, &emulator, &oracle).await;
    }
}

/// Lets the metadata service issue certificates with a short lifetime.
fn renew_often(emulator: &Emulator) {
    let condition = Condition::endpoint(PlatformEndpoint::IssueCredential);
    emulator.add_fault(Fault::always(
        condition,
        FaultResult::CertificateLifetime { seconds: MACHINE_CERTIFICATE },
    ));
}

/// Returns a fault for one request.
fn single(chance: &mut Chance) -> Fault {
    match chance.among(0..8) {
        0 => {
            let endpoint = *chance.pick(&[PlatformEndpoint::Token, PlatformEndpoint::PlatformMetadata]);
            Fault::once(
                Condition { platform: Some(PlatformKind::Imds), ..Condition::endpoint(endpoint) },
                answer(chance),
            )
        }
        1 => {
            let condition =
                Condition { host_suffix: Some(VAULT_HOST.to_owned()), ..Condition::leg(LegKind::Resource) };
            Fault::once(condition, broken(chance))
        }
        _ => {
            let result = if chance.one_in(2) { answer(chance) } else { broken(chance) };
            Fault::once(of_token_service(chance), result)
        }
    }
}

/// Returns a condition for requests of one leg, or of all legs, in one faulty tenant.
fn of_token_service(chance: &mut Chance) -> Condition {
    let leg = *chance.pick(&[Some(LegKind::Leg1), Some(LegKind::Leg2), Some(LegKind::Direct), None]);
    Condition { leg, path_contains: Some((*chance.pick(&FAULTY)).to_owned()), ..Condition::any() }
}

/// Returns an error answer, with or without `Retry-After`.
fn answer(chance: &mut Chance) -> FaultResult {
    let (status, seconds) = *chance.pick(&WAITS);
    if chance.one_in(2) {
        let (body, headers) = (String::new(), Default::default());
        return FaultResult::Status { status, body, retry_after: Some(seconds), headers };
    }
    let error = Some("temporarily_unavailable".to_owned());
    FaultResult::Refusal { aadsts: BUSY, error, status: Some(status), suberror: None, claims: None }
}

/// Returns a failure of the network.
fn broken(chance: &mut Chance) -> FaultResult {
    match chance.among(0..5) {
        0 => hang(),
        1 | 2 => FaultResult::Delay { milliseconds: chance.among(50..900) },
        3 => FaultResult::ConnectionReset,
        _ => FaultResult::TruncatedBody,
    }
}

fn hang() -> FaultResult {
    let longer = EXCHANGE + Duration::from_secs(3);
    FaultResult::Delay { milliseconds: longer.as_millis().try_into().unwrap_or(u64::MAX) }
}

/// Makes a part of the service unusable for one to four seconds, and then removes all faults.
async fn outage(chance: &mut Chance, emulator: &Emulator, oracle: &Oracle) {
    let region = || format!("{REGION}.mtlsauth.microsoft.com");
    let of_region = || Condition { host_suffix: Some(region()), ..Condition::any() };
    let is_of_region = chance.one_in(2);
    if is_of_region {
        oracle.region_is_away(true);
        emulator.add_fault(Fault::always(of_region(), FaultResult::Unreachable));
        // Open connections are reset too.
        emulator.add_fault(Fault::always(of_region(), FaultResult::ConnectionReset));
    } else {
        let condition = of_token_service(chance);
        let rules = match chance.among(0..4) {
            0 => vec![Fault::always(condition, hang())],
            1 => vec![Fault::always(condition, answer(chance))],
            // Equal requests at the same time get different answers.
            _ => (0..30).map(|_| Fault::once(condition.clone(), answer(chance))).collect(),
        };
        for rule in rules {
            emulator.add_fault(rule);
        }
    }
    tokio::time::sleep(chance.milliseconds(1_000..4_000)).await;
    emulator.clear_faults();
    if is_of_region {
        oracle.region_is_away(false);
    }
}
