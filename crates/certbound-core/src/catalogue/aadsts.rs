//! The AADSTS numbers that a token service can return in these flows, each with its meaning and advice.

/// One AADSTS number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aadsts {
    /// The number of `AADSTSnnn`.
    pub number: u32,
    /// The usual `error` of a response with this number.
    pub oauth_error: &'static str,
    /// The usual HTTP status of a response with this number.
    pub status: u16,
    /// The meaning of the number, in certbound's words.
    pub meaning: &'static str,
    /// The usual causes.
    pub causes: &'static [&'static str],
    /// Advice on how to fix the error.
    pub fix: &'static str,
}

/// Returns the entry of a number, if the number is known.
pub fn aadsts(number: u32) -> Option<&'static Aadsts> {
    TABLE.iter().find(|known| known.number == number)
}

/// Returns all known numbers, in the order of the table, which begins with mutual TLS.
pub fn aadsts_numbers() -> &'static [Aadsts] {
    TABLE
}

const fn row(
    number: u32,
    oauth_error: &'static str,
    status: u16,
    meaning: &'static str,
    fix: &'static str,
) -> Aadsts {
    Aadsts { number, oauth_error, status, meaning, causes: &[], fix }
}

impl Aadsts {
    const fn caused_by(self, causes: &'static [&'static str]) -> Self {
        Self { causes, ..self }
    }
}

#[rustfmt::skip]
const TABLE: &[Aadsts] = &[
    row(392_189, "invalid_request", 400,
        "the mTLS endpoint serves only subject-name/issuer certificates and federated credentials",
        "register the certificate's subject and issuer with the application, or use a federated credential")
        .caused_by(&["the certificate is registered by its value, but not by subject and issuer", "the request has a secret or no registered certificate"]),
    row(392_196, "invalid_request", 400,
        "the resource does not support certificate-bound tokens",
        "request a Bearer token for this resource, or ask Microsoft to enable the resource for bound tokens")
        .caused_by(&["Azure Resource Manager and other resources accept no bound tokens yet", "the resource's application is not enabled for bound tokens"]),
    row(392_199, "invalid_request", 400,
        "a bound token was requested with an assertion that is not bound",
        "request a bound token in Leg 1 (token_type mtls_pop), so that the assertion has cnf")
        .caused_by(&["Leg 1 requested a Bearer token", "the assertion is from an issuer that does not bind tokens"]),
    row(392_200, "invalid_request", 400,
        "the connection has no client certificate",
        "present the certificate in TLS; check that no proxy between the client and the service terminates TLS")
        .caused_by(&["a proxy terminates TLS between the client and the service", "the program sends the request without the certificate"]),
    row(392_204, "invalid_client", 401,
        "the client certificate has expired",
        "renew the certificate")
        .caused_by(&["the certificate was not renewed"]),
    row(500_181, "invalid_request", 400,
        "the TLS certificate is not the certificate that the assertion is bound to",
        "use the same certificate for both legs")
        .caused_by(&["Leg 1 and Leg 2 use different certificates", "the certificate was renewed between the legs", "a proxy presents its own certificate"]),
    row(50_171, "invalid_client", 401,
        "the audience is usable in mutual-TLS calls only",
        "send the request to the mTLS host with the certificate")
        .caused_by(&["a bound assertion was sent to the ordinary login host"]),
    row(51_000, "invalid_request", 412,
        "the feature MtlsClientAuth is disabled",
        "ask Microsoft to enable mTLS client authentication for the application and the tenant")
        .caused_by(&["the application or the tenant is not enabled for mutual TLS"]),
    row(3_921_996, "invalid_request", 400,
        "bound tokens for managed identities are not enabled for the tenant",
        "ask Microsoft to enable bound tokens for the tenant, or request a Bearer token")
        .caused_by(&["the tenant of the managed identity is not enabled for bound tokens"]),
    row(1_000_502, "invalid_client", 401,
        "the certificate is outside its validity period",
        "renew the certificate, or correct the clock of this machine")
        .caused_by(&["the certificate was not renewed", "the clock of this machine is wrong"]),
    row(1_000_604, "invalid_request", 400,
        "a request parameter is invalid",
        "read `error_description` in the service's answer")
        .caused_by(&["the request was made by hand, or by a client that is older than the service"]),
    row(1_000_610, "invalid_client", 401,
        "the attestation token is outside its validity period",
        "attest again, or correct the clock of this machine")
        .caused_by(&["the attestation token was stored and used later", "the clock of this machine is wrong"]),
    row(1_000_611, "invalid_client", 401,
        "the attestation token's issuer is not accepted",
        "attest with the attestation service of the platform")
        .caused_by(&["the attestation is from another service than the platform's"]),
    row(1_000_612, "invalid_client", 401,
        "a claim of the attestation token is not accepted",
        "attest again with the key that the certificate is for")
        .caused_by(&["the attestation is for another key"]),
    row(1_000_613, "invalid_client", 401,
        "the attestation token's jku header is not accepted",
        "attest with the attestation service of the platform")
        .caused_by(&["the attestation is from another service than the platform's"]),
    row(1_000_614, "invalid_client", 401,
        "the attestation token's signature is not valid",
        "attest again, and send the attestation token unchanged")
        .caused_by(&["the attestation token was changed or cut off"]),
    row(100_007, "invalid_request", 400,
        "the region serves only managed identities and first-party certificates",
        "leave the region out")
        .caused_by(&["the region was set for an application that Microsoft does not serve there"]),
    row(5_000_224, "invalid_request", 400,
        "the resource is not available in this region",
        "leave the region out")
        .caused_by(&["the region does not serve the resource"]),
    row(5_002_738, "invalid_client", 401,
        "the assertion's algorithm is not allowed",
        "sign the assertion with RS256 or PS256")
        .caused_by(&["the assertion is signed with HS256 or another algorithm that is not allowed"]),
    row(5_002_723, "invalid_client", 401,
        "the assertion's header does not identify a key",
        "add x5t#S256 or kid to the assertion's header")
        .caused_by(&["the assertion was made by a program that writes neither x5t, x5t#S256 nor kid"]),
    row(5_002_730, "invalid_client", 401,
        "the assertion's PSS signature is not acceptable",
        "use PSS with SHA-256 and a salt of 32 bytes")
        .caused_by(&["the signature has a salt of another length, or another hash"]),
    row(90_014, "invalid_request", 400,
        "a required field is missing",
        "read `error_description` in the service's answer, which names the field")
        .caused_by(&["the assertion has no `iss`, `sub`, `aud` or `exp`", "a parameter is missing in a request that was made by hand"]),
    row(50_027, "invalid_request", 400,
        "the assertion is not a well-formed JWT",
        "send the access token of Leg 1 unchanged")
        .caused_by(&["the assertion was cut off, or is not a JWT", "the header or a claim has a wrong form"]),
    row(700_016, "unauthorized_client", 400,
        "the application was not found in the directory",
        "check the client id and the tenant; a multi-tenant application must be provisioned in the tenant")
        .caused_by(&["the client id is misspelt, or belongs to another tenant or cloud", "the application was deleted, or has no service principal in the tenant"]),
    row(700_021, "invalid_client", 401,
        "the assertion belongs to a different application than the request",
        "write the client_id of the request into the assertion's `iss` and `sub`")
        .caused_by(&["the assertion was made for another application"]),
    row(700_023, "invalid_client", 401,
        "the assertion's audience is not this token endpoint",
        "use the exact token endpoint as the assertion's audience")
        .caused_by(&["the assertion was made for another endpoint or tenant"]),
    row(700_024, "invalid_client", 401,
        "the assertion is outside its validity period",
        "correct this machine's clock; if the assertion is from Leg 1, run Leg 1 again")
        .caused_by(&["the clock of this machine is wrong", "the assertion was stored and used later, or used twice"]),
    row(700_027, "invalid_client", 401,
        "the certificate is not registered, or the assertion's signature is not valid",
        "register the certificate's subject and issuer with the application; if the client signs an assertion, check that this certificate's key signs it")
        .caused_by(&["the certificate was renewed, and the new one is not registered yet", "the certificate belongs to another application", "the key does not belong to the certificate"]),
    row(700_030, "invalid_client", 401,
        "the certificate's subject name is not authorised for the application",
        "register this subject name with the application")
        .caused_by(&["the certificate's subject differs from the registered name", "the issuer of the certificate is not the registered issuer"]),
    row(7_000_215, "invalid_client", 401,
        "the client secret is wrong",
        "use the secret's value, not its id")
        .caused_by(&["the id of the secret was given instead of its value", "the secret belongs to another application"]),
    row(7_000_216, "invalid_client", 401,
        "the credential is missing or its type is malformed",
        "send client_assertion_type and client_assertion together")
        .caused_by(&["client_assertion_type or client_assertion is missing"]),
    row(7_000_218, "invalid_client", 401,
        "a client assertion or secret is required",
        "add a credential, or use the mTLS host with a certificate")
        .caused_by(&["the request has no credential", "the certificate was sent to the ordinary login host"]),
    row(7_000_222, "invalid_client", 401,
        "the client secret has expired",
        "create a new secret")
        .caused_by(&["the secret was not renewed"]),
    row(7_000_112, "unauthorized_client", 400,
        "the application is disabled",
        "enable the application")
        .caused_by(&["an administrator disabled the application"]),
    row(50_012, "invalid_client", 401,
        "client authentication failed",
        "register the certificate, secret or federated credential with the application")
        .caused_by(&["the application has no credential of this kind"]),
    row(90_002, "invalid_request", 400,
        "the tenant was not found",
        "check the tenant id and the cloud")
        .caused_by(&["the tenant is misspelt, was deleted, or is in another cloud"]),
    row(900_023, "invalid_request", 400,
        "the tenant is neither a GUID nor a domain name",
        "give the tenant's GUID or a verified domain")
        .caused_by(&["the tenant is misspelt, or has a character that no domain has"]),
    row(900_144, "invalid_request", 400,
        "a required parameter is missing",
        "read `error_description` in the service's answer, which names the parameter")
        .caused_by(&["a parameter is missing in a request that was made by hand"]),
    row(900_561, "invalid_request", 400,
        "the endpoint accepts POST only",
        "send a POST request")
        .caused_by(&["the endpoint was opened in a browser"]),
    row(9_002_313, "invalid_request", 400,
        "the request is malformed",
        "read `error_description` in the service's answer")
        .caused_by(&["a parameter is malformed or given twice", "the client authenticates in two ways at once"]),
    row(70_003, "unsupported_grant_type", 400,
        "the grant type is not supported",
        "use the grant type client_credentials")
        .caused_by(&["the request was made by hand"]),
    row(70_011, "invalid_scope", 400,
        "the scope is not valid",
        "give one scope of the form {resource}/.default")
        .caused_by(&["the scope is misspelt, or several resources are requested at once"]),
    row(1_002_012, "invalid_scope", 400,
        "a client-credentials scope must end in /.default",
        "give one scope of the form {resource}/.default")
        .caused_by(&["the scope names a permission instead of {resource}/.default"]),
    row(500_011, "invalid_resource", 400,
        "the resource was not found in the tenant",
        "check the scope; the resource must be provisioned in the tenant")
        .caused_by(&["the resource is misspelt", "the resource is in another tenant or cloud"]),
    row(650_053, "invalid_client", 400,
        "the scope does not exist on the resource",
        "give a scope of the form {resource}/.default")
        .caused_by(&["the scope names a permission that the resource does not have"]),
    row(65_001, "invalid_grant", 400,
        "no user or administrator has consented to the application",
        "ask an administrator of the tenant to consent")
        .caused_by(&["nobody consented to the application's permissions in this tenant"]),
    row(50_049, "invalid_instance", 400,
        "the cloud instance is unknown",
        "correct the authority; if you trust this host, build the client with without_authority_validation() (--no-authority-validation)")
        .caused_by(&["the host is misspelt, or is a private name of the service"]),
    row(53_003, "interaction_required", 400,
        "Conditional Access blocks the request",
        "check the tenant's Conditional Access policies; if the answer has a claims challenge, send it in the next request")
        .caused_by(&["a policy for workload identities blocks the location or the application"]),
    row(50_196, "invalid_grant", 400,
        "the client requests the same token in a loop",
        "cache the token, and do not request it again before it expires")
        .caused_by(&["the program requests a token for each call instead of using its cache"]),
    row(900_382, "invalid_client", 400,
        "confidential clients do not work across clouds",
        "use the authority of the application's cloud")
        .caused_by(&["the authority belongs to another cloud than the application"]),
    row(90_033, "temporarily_unavailable", 503,
        "the token service failed for a moment",
        "wait as long as the service asks, or some seconds, then send the request again")
        .caused_by(&["the service is busy, or one of its parts fails for a moment"]),
    row(90_061, "invalid_request", 400,
        "the token service could not fetch the keys of the assertion's issuer",
        "check that the issuer's metadata and keys can be fetched from the internet over HTTPS, then send the request again")
        .caused_by(&["the issuer is not reachable from the internet", "its metadata or keys are not valid"]),
    row(90_010, "invalid_request", 400,
        "the grant is not allowed at this endpoint",
        "use the endpoint of a tenant")
        .caused_by(&["the authority ends in common or consumers"]),
    row(9_001_023, "invalid_request", 400,
        "the grant is not allowed on common or consumers",
        "use the endpoint of a tenant")
        .caused_by(&["the authority ends in common or consumers"]),
    row(70_021, "invalid_request", 400,
        "no federated credential of the application matches the assertion",
        "compare the assertion's issuer, subject and audience with the federated credential, character by character")
        .caused_by(&["the issuer, subject or audience differs in case or by a slash", "the federated credential is new and does not take effect yet"]),
    row(70_025, "invalid_client", 401,
        "the application has no federated credential",
        "add a federated credential to the application of Leg 2; a new federated credential takes effect after some minutes")
        .caused_by(&["the federated credential was added to another application"]),
    row(700_211, "invalid_client", 401,
        "no federated credential of the application has the assertion's issuer",
        "compare the assertion's issuer with the federated credential, character by character")
        .caused_by(&["the issuer differs by a slash, or is the version 1 URL", "the assertion is from another tenant"]),
    row(700_212, "invalid_client", 401,
        "no federated credential of the application has the assertion's audience",
        "use an assertion of Leg 1 (on the command line `certbound assertion`), whose audience is the token exchange of the cloud; or set the federated credential's audience to the assertion's audience")
        .caused_by(&["the assertion is a token for a resource", "the federated credential has the audience of another cloud"]),
    row(700_213, "invalid_client", 401,
        "no federated credential of the application has the assertion's subject",
        "set the federated credential's subject to the object id of Leg 1's service principal")
        .caused_by(&["the subject has the client id instead of the object id of the service principal"]),
    row(7_002_121, "invalid_client", 401,
        "no federated credential of the application has the assertion's audience",
        "use an assertion of Leg 1 (on the command line `certbound assertion`), whose audience is the token exchange of the cloud; or set the federated credential's audience to the assertion's audience")
        .caused_by(&["the assertion is a token for a resource", "the federated credential has the audience of another cloud"]),
    row(7_002_131, "invalid_client", 401,
        "no federated credential matches the assertion's subject, neither by an exact subject nor by an expression",
        "compare the assertion's subject with the federated credential's subject or expression, character by character")
        .caused_by(&["the expression of a flexible credential does not match"]),
    row(7_002_137, "invalid_client", 401,
        "no federated credential of the application has the assertion's subject",
        "compare the assertion's subject with the federated credential, character by character")
        .caused_by(&["the subject is misspelt, or is the subject of another identity"]),
    row(7_002_138, "invalid_client", 401,
        "no federated credential of the application has the assertion's subject; perhaps only upper and lower case differ",
        "write the federated credential's subject exactly as in the assertion, in the same case")
        .caused_by(&["upper and lower case differ"]),
    row(700_214, "invalid_request", 400,
        "the federated credential's audience must be a URI",
        "use api://AzureADTokenExchange instead of the GUID of the token exchange")
        .caused_by(&["the federated credential has the GUID of the token exchange as audience"]),
    row(700_222, "invalid_request", 400,
        "Entra's own tokens are not accepted as assertions in this request",
        "use a managed identity as Leg 1, or an application that is enabled for this flow")
        .caused_by(&["Leg 1 is an application that is not enabled for this flow"]),
    row(700_223, "invalid_client", 401,
        "a policy of the tenant constrains federated credentials",
        "ask an administrator of the tenant to allow this issuer in the policy")
        .caused_by(&["the tenant allows certain issuers only"]),
    row(700_226, "invalid_client", 401,
        "an assertion that Entra issued must be a token of a managed identity",
        "use a managed identity as Leg 1, or an application that is enabled for this flow")
        .caused_by(&["Leg 1 is an application that is not enabled for this flow"]),
    row(700_227, "invalid_client", 401,
        "the Entra-issued assertion has a forbidden audience or issuer",
        "run Leg 1 with the token-exchange scope at a v2.0 endpoint")
        .caused_by(&["Leg 1 requested another scope, or used a version 1 endpoint"]),
    row(700_229, "invalid_client", 401,
        "only app-only tokens are accepted as assertions",
        "run Leg 1 with client credentials")
        .caused_by(&["the assertion is a token of a user"]),
    row(700_231, "invalid_client", 401,
        "a token that was obtained by a federated credential is not accepted as an assertion",
        "use a Leg 1 that authenticates by its own certificate or managed identity")
        .caused_by(&["Leg 1 itself authenticated by a federated credential"]),
    row(700_236, "invalid_client", 401,
        "the assertion was not issued in the application's home tenant",
        "run Leg 1 in the application's home tenant")
        .caused_by(&["Leg 1 and Leg 2 are in different tenants"]),
    row(700_238, "invalid_client", 401,
        "a policy of the tenant constrains federated credentials",
        "ask an administrator of the tenant to allow this issuer in the policy")
        .caused_by(&["the tenant allows certain issuers only"]),
    row(7_002_203, "invalid_client", 401,
        "the assertion does not meet a constraint on the issuer's key or on an enterprise claim",
        "configure the issuer to write the claim that the federated credential requires, or change the constraint")
        .caused_by(&["the issuer does not write the claim that the credential demands"]),
    row(7_002_381, "invalid_client", 401,
        "the assertion does not meet a constraint on the issuer's key or on an enterprise claim",
        "configure the issuer to write the claim that the federated credential requires, or change the constraint")
        .caused_by(&["the issuer does not write the claim that the credential demands"]),
    row(7_002_206, "invalid_client", 401,
        "the audience belongs to the token exchange of another cloud",
        "use an authority of the cloud in which the application is registered for both legs; the audience follows from the authority")
        .caused_by(&["Leg 1 uses an authority of another cloud than Leg 2"]),
    row(7_000_214, "invalid_client", 401,
        "the certificate was revoked",
        "replace the certificate")
        .caused_by(&["an administrator or the CA revoked the certificate"]),
    row(7_000_274, "invalid_client", 401,
        "the assertion's signature is not valid, or its certificate is outside its validity period",
        "check that the certificate is valid now and registered with the application, and that its key signs the assertion")
        .caused_by(&["the key does not belong to the registered certificate", "the certificate has expired"]),
    row(7_000_277, "invalid_client", 401,
        "the certificate was revoked",
        "replace the certificate")
        .caused_by(&["an administrator or the CA revoked the certificate"]),
    row(70_052, "invalid_request", 400,
        "the issuer is not allowed for a multi-tenant application",
        "use a different federated issuer")
        .caused_by(&["the application is multi-tenant, and the issuer is for one tenant only"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_stands_once_and_says_what_to_do() {
        for (at, known) in TABLE.iter().enumerate() {
            assert!(TABLE.iter().skip(at + 1).all(|other| other.number != known.number), "{}", known.number);
            assert!(
                !known.meaning.is_empty() && !known.fix.is_empty() && known.status >= 400,
                "{}",
                known.number
            );
        }
    }
}
