//! The subject of a machine's certificate.

use x509_parser::asn1_rs::Oid;
use x509_parser::oid_registry::{OID_DOMAIN_COMPONENT, OID_X509_COMMON_NAME};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};

use super::IssuedCredential;

impl IssuedCredential {
    /// Whether the certificate's subject is the identity that the response names. The subject must have exactly one
    /// common name (the client id) and one domain component (the tenant).
    ///
    /// The method compares the attributes themselves: in the text form, a value can look like a different attribute.
    pub fn names_its_identity(&self) -> bool {
        let Ok((_, certificate)) = X509Certificate::from_der(&self.certificate) else { return false };
        let subject = certificate.subject();
        is_only(subject, &OID_X509_COMMON_NAME, &self.client_id)
            && is_only(subject, &OID_DOMAIN_COMPONENT, &self.tenant_id)
    }
}

fn is_only(subject: &X509Name<'_>, attribute: &Oid<'_>, expected: &str) -> bool {
    let mut values = subject.iter_by_oid(attribute);
    let first = values.next().and_then(|value| value.as_str().ok());
    first.is_some_and(|found| found.eq_ignore_ascii_case(expected)) && values.next().is_none()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    const CLIENT: &str = "11111111-2222-3333-4444-555555555555";
    const TENANT: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";

    fn named(attributes: &[(&str, &str)]) -> bool {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (name, value) in attributes {
            let kind = match *name {
                "CN" => DnType::CommonName,
                "O" => DnType::OrganizationName,
                _ => DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 25]),
            };
            params.distinguished_name.push(kind, *value);
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        let issued = IssuedCredential {
            client_id: CLIENT.to_owned(),
            tenant_id: TENANT.to_owned(),
            certificate,
            identity_type: "SystemAssigned".to_owned(),
            mtls_endpoint: "https://x.example".to_owned(),
        };
        issued.names_its_identity()
    }

    #[test]
    fn the_subject_is_the_identity_in_its_tenant_and_nobody_else() {
        assert!(named(&[("DC", TENANT), ("CN", CLIENT)]));
        assert!(named(&[("CN", &CLIENT.to_ascii_uppercase()), ("DC", TENANT), ("O", "more")]));
        for other in [
            &[][..],
            &[("CN", CLIENT)],
            &[("DC", TENANT)],
            &[("CN", TENANT), ("DC", CLIENT)],
            &[("CN", CLIENT), ("DC", "bbbbbbbb-bbbb-cccc-dddd-eeeeeeeeeeee")],
            // In the text form, these subjects contain the expected attributes.
            &[("O", "x, CN=11111111-2222-3333-4444-555555555555"), ("DC", TENANT), ("CN", "other")],
            &[("CN", "x, CN=11111111-2222-3333-4444-555555555555"), ("DC", TENANT)],
        ] {
            assert!(!named(other), "{other:?}");
        }
    }
}
