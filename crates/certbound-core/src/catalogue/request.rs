//! Codes about the options of a request.

use super::{CLIENT, CLIENT_AND_COMMAND, Entry, Group, entry};

pub(super) const GROUP: Group = Group { title: "Options of a request", pages: &[], entries: ENTRIES };

#[rustfmt::skip]
const ENTRIES: &[Entry] = &[
    entry("force_refresh_and_token_hash_not_compatible", CLIENT,
        "a forced refresh and the hash of a rejected token exclude each other",
        &["one acquisition has `.force_refresh()` and `.rejected(..)`"],
        "use one of the two options"),
    entry("invalid_json_claims_format", CLIENT,
        "the claims challenge or the client's own claims are not a JSON object",
        &["the value of the challenge was not decoded from base64", "the text was changed"],
        "decode the challenge of the resource from base64, and pass the result unchanged; give the client's own claims as a JSON object"),
    entry("invalid_query_parameter", CLIENT,
        "a query parameter cannot be added to the token endpoint",
        &[
            "the name or the value has a space or a control character",
            "the name is reserved for a parameter of the client",
        ],
        "use printable characters without spaces; if the client has an option for the parameter, use the option"),
    entry("invalid_body_parameter", CLIENT,
        "a parameter cannot be added to the body of the request",
        &["the client writes the parameter itself", "the parameter is given twice, or is empty"],
        "use the client's option for the parameter, or another name"),
    entry("invalid_attribute_token", CLIENT,
        "an attribute token is empty or has white space",
        &["several tokens were given as one text"],
        "give each attribute token as an item of its own"),
    entry("invalid_assertion_claims", CLIENT,
        "the extra claims cannot be added to the client's assertion",
        &["the text is not a JSON object", "it has a claim that the client writes itself"],
        "give a JSON object of other claims"),
    entry("assertion_claims_not_supported", CLIENT,
        "extra claims were given, but this request has no signed assertion",
        &["the request is for a bound token, which authenticates by TLS"],
        "leave the claims out, or request a Bearer token"),
    entry("encoded_token_too_long", CLIENT,
        "the client's assertion has more than the 65536 characters that the service accepts",
        &["the extra claims are very long"],
        "add fewer or shorter claims"),
    entry("option_not_for_managed_identity", CLIENT,
        "an acquisition of a managed identity has an option that only clients have",
        &["a tenant, an authority, an FMI path or a parameter was set"],
        "remove the option; the platform decides these values"),
    entry("invalid_resource_request", CLIENT_AND_COMMAND,
        "the token must not be sent with this request",
        &["the URL is not https, or has a user name", "the request sets a header that the client writes itself"],
        "send an absolute https URL; the client itself sets Authorization, Host and Content-Length"),
];
