//! `MSAL_MI_DISABLE_IMDS_V2`, which disables version 2 of the metadata service.

use certbound::error::{Phase, PlatformError, ProbeFailure, TransportError};
use certbound::managed_identity::{
    IdentityId, ImdsVersion, KeyStrength, MachineSource, ManagedIdentityBuilder,
};
use certbound::{Authority, Client, ManagedIdentity, TenantId};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::{AnsweringTransport, NeverTransport, Pair, ScriptedTransport, Seen};

use crate::managed_identity::asked;
use crate::two_leg::vault;

const V1: &str = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01";

fn set_to(value: &'static str) -> impl Fn(&str) -> Option<String> + Send + Sync + 'static {
    move |name| (name == "MSAL_MI_DISABLE_IMDS_V2").then(|| value.to_owned())
}

fn switched_off() -> ManagedIdentityBuilder {
    ManagedIdentity::system_assigned().with_environment(set_to("true"))
}

#[tokio::test]
async fn only_true_in_any_case_and_1_have_an_effect() {
    for value in ["true", "TRUE", "True", "1"] {
        let pair = Pair::new();
        let builder = pair.managed_identity(IdentityId::System).with_environment(set_to(value));
        let identity = builder.build().unwrap();
        let error = identity.bound_token(&vault()).await.unwrap_err();
        assert_eq!(error.code(), "mtls_pop_token_not_supported_in_imds_v1", "{value}");
        assert!(error.to_string().contains("MSAL_MI_DISABLE_IMDS_V2") && !error.is_transient(), "{error}");
        assert!(asked(&pair).is_empty() && !identity.may_bind());
        // A plain Bearer token is requested from version 1, as always.
        identity.bearer_token(&vault()).await.unwrap();
        let journal = pair.emulator().journal();
        assert_eq!((journal.len(), &*journal[0].path), (1, "/metadata/identity/oauth2/token"));
    }
    for value in ["", "0", "false", "yes", "on", " true", "true ", "1 ", "01", "2", "tru"] {
        let pair = Pair::new();
        let builder = pair.managed_identity(IdentityId::System).with_environment(set_to(value));
        let identity = builder.build().unwrap();
        assert!(identity.may_bind(), "{value:?}");
        identity.bound_token(&vault()).await.unwrap();
        assert!(!identity.capabilities().await.unwrap().imds_v2_disabled, "{value:?}");
    }
}

#[tokio::test]
async fn every_request_for_a_certificate_is_refused_before_any_request() {
    let identity = switched_off().bearer_over_mtls().with_transport(NeverTransport).build().unwrap();
    let leg1_only = identity.assertion().await.map(drop).unwrap_err();
    let bound = identity.bound_token(&vault()).await.map(drop).unwrap_err();
    let bearer = identity.bearer_token(&vault()).force_refresh().await.map(drop).unwrap_err();
    let authority = || Authority::public(TenantId::parse(builtin::TENANT).unwrap());
    let client = || Client::builder(authority(), builtin::TARGET_APP).with_transport(NeverTransport);
    let leg2 = client().with_assertions(identity.clone()).build().unwrap();
    let two_legs = leg2.bound_token(&vault()).await.map(drop).unwrap_err();
    let leg2 = client().with_unbound_assertions(identity).build().unwrap();
    let unbound = leg2.bearer_token(&vault()).await.map(drop).unwrap_err();
    for error in [leg1_only, bound, bearer, two_legs, unbound] {
        assert_eq!(error.code(), "mtls_pop_token_not_supported_in_imds_v1", "{error}");
        assert!(error.fix().contains("remove the variable"), "{}", error.fix());
    }
}

#[tokio::test]
async fn a_required_strength_is_refused_as_such() {
    for strength in [KeyStrength::Software, KeyStrength::Hardware] {
        let builder = switched_off().bearer_over_mtls().min_strength(strength);
        let identity = builder.with_transport(NeverTransport).build().unwrap();
        let bound = identity.bound_token(&vault()).await.map(drop).unwrap_err();
        let bearer = identity.bearer_token(&vault()).await.map(drop).unwrap_err();
        for error in [bound, bearer] {
            assert_eq!(error.code(), "min_strength_not_met", "{error}");
            let text = error.to_string();
            assert!(
                text.contains("MSAL_MI_DISABLE_IMDS_V2") && text.contains(&strength.to_string()),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn capabilities_say_version_1_and_no_strength_without_probing_version_2() {
    let transport = AnsweringTransport::new(|seen: &Seen| match seen.url.as_str() {
        url if url.starts_with(V1) => (400, String::new()),
        url => panic!("{url}"),
    });
    for (id, selector) in [
        (IdentityId::System, ""),
        (IdentityId::resource_id("/subscriptions/a").unwrap(), "&mi_res_id=%2Fsubscriptions%2Fa"),
    ] {
        let transport = transport.clone();
        let builder = ManagedIdentity::builder(id).with_environment(set_to("1"));
        let identity = builder.with_transport(transport.clone()).build().unwrap();
        let can = identity.capabilities().await.unwrap();
        assert_eq!((can.origin, can.imds), (MachineSource::Imds, Some(ImdsVersion::V1)));
        assert_eq!((can.binds, can.strength, can.imds_v2_disabled), (false, None, true));
        assert_eq!(transport.seen().last().unwrap().url, format!("{V1}{selector}"));
    }
    assert_eq!(transport.seen().len(), 2);
}

#[tokio::test]
async fn a_machine_without_a_metadata_service_names_the_variable_as_a_reason() {
    let unreachable = || TransportError::Connect { host: "h".to_owned(), reason: "no route".into() };
    let late = TransportError::TimedOut {
        host: "h".to_owned(),
        phase: Phase::Connect,
        limit: std::time::Duration::from_secs(1),
        proxy: None,
    };
    let transport = ScriptedTransport::default().then_fails(unreachable()).then_fails(late).then(404, "");
    let identity = switched_off().with_transport(transport).build().unwrap();
    for is_unreachable in [true, true, false] {
        let error = identity.capabilities().await.unwrap_err();
        assert_eq!(error.code(), "managed_identity_all_sources_unavailable");
        assert!(error.to_string().contains("MSAL_MI_DISABLE_IMDS_V2"), "{error}");
        let certbound::Error::Platform { what: PlatformError::NoSource(found), .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!((&found.v2, found.is_unreachable()), (&ProbeFailure::Disabled, is_unreachable));
        assert_eq!(error.is_transient(), is_unreachable);
    }
}

#[tokio::test]
async fn a_source_of_the_environment_is_not_affected() {
    let variable = |name: &str| match name {
        "MSI_ENDPOINT" => Some("http://127.0.0.1:42".to_owned()),
        name => set_to("true")(name),
    };
    let builder = ManagedIdentity::system_assigned().with_environment(variable);
    let identity = builder.with_transport(NeverTransport).build().unwrap();
    assert_eq!(
        identity.bound_token(&vault()).await.unwrap_err().code(),
        "mtls_pop_not_supported_for_environment"
    );
    assert!(!identity.may_bind() && !identity.capabilities().await.unwrap().imds_v2_disabled);
    // A source that the application names still obeys the variable.
    let builder = switched_off().at(MachineSource::Imds).with_transport(NeverTransport);
    let error = builder.build().unwrap().bound_token(&vault()).await.unwrap_err();
    assert_eq!(error.code(), "mtls_pop_token_not_supported_in_imds_v1");
}
