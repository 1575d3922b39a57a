//! The lines on Leg 2 and its `jwt-pop`.

use super::super::evidence::Provided;
use super::super::{Evidence, How, documents};
use super::{Line, at_regional_host, certificate, parameter, presented, want};

pub(super) const LINES: &[Line] = &[
    Line {
        id: "leg2.assertion-provider",
        leg: Some(2),
        how: How::Type,
        text: "Uses an assertion provider (with_assertions)",
        look: |it| {
            let entry = it.leg2.token_request()?;
            let carried = entry.parameter("client_assertion").is_some();
            want(
                carried && !it.provided.is_empty(),
                "Client<ByAssertion>; its request carries what the provider gave",
            )
        },
    },
    Line {
        id: "leg2.provider-returns-bound-assertion",
        leg: Some(2),
        how: How::Type,
        text: "The provider returns the assertion, byte for byte what Leg 1 brought",
        look: |it| {
            let (provided, brought) =
                (provided(it)?.outcome.as_ref().map_err(Clone::clone)?, it.leg1.seen()?);
            let sent = it.leg2.token_request()?.parameter("client_assertion");
            let same = provided.digest == brought.digest && sent == Some(brought.digest.as_str());
            want(
                same,
                format!("Leg1::assertion_for returns a BoundAssertion; sent: {}", sent.unwrap_or("nothing")),
            )
        },
    },
    Line {
        id: "leg2.binding-certificate",
        leg: Some(2),
        how: How::Type,
        text: "The binding certificate travels with the assertion",
        look: |it| {
            let expected = certificate(it)?;
            let assertion = provided(it)?.outcome.as_ref().map_err(Clone::clone)?;
            let bound = assertion.confirmation.as_deref().is_some_and(|found| expected.matches_claim(found));
            want(bound, "BoundAssertion holds both; the assertion's cnf is that certificate's hash")
        },
    },
    Line {
        id: "leg2.bound-token-requested",
        leg: Some(2),
        how: How::Wire,
        text: "Asks for a bound token in the request",
        look: |it| parameter(it.leg2.token_request()?, "token_type", "mtls_pop"),
    },
    Line {
        id: "leg2.no-certificate-credential",
        leg: Some(2),
        how: How::Type,
        text: "No certificate of the application's own: it comes with the assertion",
        look: |it| {
            let entry = it.leg2.token_request()?;
            let credentials: Vec<&str> = ["client_assertion", "client_secret"]
                .into_iter()
                .filter(|name| entry.parameter(name).is_some())
                .collect();
            want(
                credentials == ["client_assertion"],
                format!("no client has both; sent: {}", credentials.join(", ")),
            )
        },
    },
    Line {
        id: "leg2.no-experimental-switch",
        leg: Some(2),
        how: How::Type,
        text: "No experimental switch has to be set",
        look: |_| documents::no_experimental_switch(),
    },
    Line {
        id: "jwt-pop.client-assertion",
        leg: Some(2),
        how: How::Wire,
        text: "client_assertion is in the token request",
        look: |it| {
            let found = it.leg2.token_request()?.parameter("client_assertion");
            found.map(|digest| format!("client_assertion={digest}")).ok_or_else(|| "it is not".to_owned())
        },
    },
    Line {
        id: "jwt-pop.client-assertion-type",
        leg: Some(2),
        how: How::Wire,
        text: "client_assertion_type is urn:ietf:params:oauth:client-assertion-type:jwt-pop",
        look: |it| {
            let expected = "urn:ietf:params:oauth:client-assertion-type:jwt-pop";
            parameter(it.leg2.token_request()?, "client_assertion_type", expected)
        },
    },
    Line {
        id: "jwt-pop.mtls-endpoint",
        leg: Some(2),
        how: How::Wire,
        text: "The regional mTLS endpoint is used (mtlsauth.microsoft.com), with the certificate",
        look: |it| {
            let at = at_regional_host(&it.leg2)?;
            presented(it.leg2.token_request()?, it).map(|_| at)
        },
    },
    Line {
        id: "jwt-pop.provider-invoked",
        leg: Some(2),
        how: How::Wire,
        text: "The assertion provider is invoked, once",
        look: |it| {
            let times = it.provided.len();
            provided(it).and_then(|_| want(times == 1, format!("invoked {times} times")))
        },
    },
    Line {
        id: "jwt-pop.token-endpoint-provided",
        leg: Some(2),
        how: How::Wire,
        text: "The token endpoint is told to the assertion provider, and it is the one used",
        look: |it| {
            let (told, entry) = (&provided(it)?.token_endpoint, it.leg2.token_request()?);
            let used = format!("https://{}{}", entry.host, entry.path);
            want(*told == used, format!("told {told}, used {used}"))
        },
    },
];

/// Returns the only call of the assertion provider.
fn provided(evidence: &Evidence) -> Result<&Provided, String> {
    evidence.provided.first().ok_or_else(|| match evidence.leg2.seen() {
        Err(reason) => format!("the provider was not invoked: {reason}"),
        Ok(_) => "the provider was not invoked".to_owned(),
    })
}
