//! Codes about answers of the token service that cannot be used.

use super::{CLIENT, Entry, Group, entry};

pub(super) const GROUP: Group = Group {
    title: "Answers of the token service that are not used",
    pages: &["limits.md"],
    entries: ENTRIES,
};

/// The usual cause: most answers that cannot be used are not from the token service itself.
const PROXY: &str = "a proxy or another server answered instead of the token service";

const CHECK_PROXIES: &str = "check the authority, and that no proxy answers instead of the token service";

#[rustfmt::skip]
const ENTRIES: &[Entry] = &[
    entry("json_parse_failed", CLIENT,
        "the answer is not a JSON object",
        &[PROXY],
        CHECK_PROXIES),
    entry("answer_duplicate_field", CLIENT,
        "the answer has a member twice, so two readers could understand it differently",
        &[PROXY],
        CHECK_PROXIES),
    entry("answer_missing_field", CLIENT,
        "the answer lacks a required member",
        &[PROXY],
        CHECK_PROXIES),
    entry("answer_wrong_type", CLIENT,
        "a member of the answer has the wrong JSON type",
        &[PROXY],
        CHECK_PROXIES),
    entry("answer_empty_token", CLIENT,
        "the token in the answer is empty",
        &[PROXY],
        "send the request again; if the answer is the same, report it to the service"),
    entry("answer_token_malformed", CLIENT,
        "the token in the answer has characters that are not allowed in a token (RFC 6750)",
        &[PROXY],
        "send the request again; if the answer is the same, report it to the service"),
    entry("redirect_refused", CLIENT,
        "the token service answered with a redirect; the client follows no redirect, because an assertion must not reach another host",
        &["the service redirects requests of this endpoint to a different host for a short time", PROXY],
        "send the request again; if the redirect remains, use the host that it names as the authority"),
    entry("token_type_missing", CLIENT,
        "the answer has no `token_type`, so the client cannot know whether the token is bound",
        &[PROXY],
        CHECK_PROXIES),
    entry("token_type_mismatch", CLIENT,
        "the token has a different type than the client requested; the client never accepts a Bearer token instead of a bound token",
        &["the region does not bind tokens", "the application or the resource is not enabled for bound tokens"],
        "remove the region, or ask Microsoft to enable the application and the resource"),
    entry("token_not_bound", CLIENT,
        "neither the answer nor the token shows a binding to the client's certificate",
        &["an issuer of RFC 8705 issues opaque tokens, or does not bind this client's tokens"],
        "configure the issuer to bind the tokens and issue JWTs, or request a Bearer token"),
    entry("confirmation_missing", CLIENT,
        "the answer says mtls_pop, but the token has no confirmation claim (`cnf`)",
        &["the service does not bind tokens for this resource"],
        "configure the service to bind the tokens for the resource, or request a Bearer token"),
    entry("token_unreadable", CLIENT,
        "the token is a JWT that two resources could read differently",
        &["the token was changed between the token service and the client"],
        "report the error to the service"),
    entry("binding_not_observed", CLIENT,
        "the token is opaque or encrypted, and the client requires a readable binding",
        &["the resource's tokens are encrypted", "require_observed_binding() (--require-observed-binding) is set"],
        "let the service issue signed JWTs for the resource, or leave out require_observed_binding() (--require-observed-binding)"),
    entry("scope_mismatch", CLIENT,
        "the answer is for another scope than the request",
        &["the scope names an alias of the resource"],
        "check the scope; if the scope is correct, report the error to the service"),
    entry("token_over", CLIENT,
        "the token had expired when it arrived",
        &["the clock of this machine is fast"],
        "correct the clock"),
];
