//! Finds keys and certificates in a token, and reads their public attributes.

use certbound::certificate::CertificateChain;
use certbound_core::key_encoding;
use cryptoki::object::{Attribute, AttributeType, CertificateType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use crate::der::{curve_of_parameters, ec_public_key};
use crate::error::Pkcs11Error;
use crate::mechanism::KeyKind;
use crate::token::Opened;
use crate::uri::object_text;

/// The label and the id by which keys and certificates are found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) label: Option<String>,
    pub(crate) id: Option<Vec<u8>>,
}

/// A private key in a token: its public attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundKey {
    pub(crate) handle: ObjectHandle,
    pub(crate) id: Vec<u8>,
    pub(crate) label: Vec<u8>,
    /// The field is `None` for a kind of key that certbound does not use.
    pub(crate) kind: Option<KeyKind>,
    /// DER of the `SubjectPublicKeyInfo`, if the token reports the public key.
    pub(crate) public: Option<Vec<u8>>,
    pub(crate) may_sign: bool,
    pub(crate) asks_each_time: bool,
    /// The attribute by which the key can leave the token, or could leave it before.
    pub(crate) leaves: Option<&'static str>,
}

/// A certificate in a token.
#[derive(Clone, Debug)]
pub(crate) struct FoundCertificate {
    pub(crate) id: Vec<u8>,
    pub(crate) label: Vec<u8>,
    pub(crate) der: Vec<u8>,
    pub(crate) parsed: CertificateChain,
}

impl FoundCertificate {
    /// Returns whether the certificate is for the key: by the public key, or else by the id.
    pub(crate) fn is_for(&self, key: &FoundKey) -> bool {
        match &key.public {
            Some(public) => self.parsed.public_key_info() == public.as_slice(),
            None => self.id == key.id && !key.id.is_empty(),
        }
    }
}

impl Selector {
    /// Returns the attributes in the form of a URI.
    pub(crate) fn shown(&self) -> String {
        match object_text(self.label.as_deref(), self.id.as_deref()) {
            text if text.is_empty() => "any key".to_owned(),
            text => text,
        }
    }

    fn template(&self, class: ObjectClass) -> Vec<Attribute> {
        let label = self.label.as_ref().map(|label| Attribute::Label(label.clone().into()));
        let id = self.id.clone().map(Attribute::Id);
        let fixed = [Attribute::Class(class), Attribute::Token(true)];
        fixed.into_iter().chain(label).chain(id).collect()
    }
}

impl FoundKey {
    /// Returns the label and the id in the form of a URI.
    pub(crate) fn shown(&self) -> String {
        let label = String::from_utf8_lossy(&self.label);
        object_text(
            (!label.is_empty()).then_some(&*label),
            Some(&self.id).filter(|id| !id.is_empty()).map(Vec::as_slice),
        )
    }
}

/// Returns the private keys that match.
pub(crate) fn keys(opened: &Opened, selector: &Selector) -> Result<Vec<FoundKey>, Pkcs11Error> {
    let handles = opened.session.find_objects(&selector.template(ObjectClass::PRIVATE_KEY))?;
    handles.into_iter().map(|handle| key(&opened.session, handle)).collect()
}

/// Returns the certificates that match. A certificate that does not parse is omitted.
pub(crate) fn certificates(
    opened: &Opened,
    selector: &Selector,
) -> Result<Vec<FoundCertificate>, Pkcs11Error> {
    let mut template = selector.template(ObjectClass::CERTIFICATE);
    template.push(Attribute::CertificateType(CertificateType::X_509));
    let mut found = Vec::new();
    for handle in opened.session.find_objects(&template)? {
        let wanted = [AttributeType::Id, AttributeType::Label, AttributeType::Value];
        let all = opened.session.get_attributes(handle, &wanted)?;
        let der = bytes(&all, AttributeType::Value);
        if let Ok(parsed) = CertificateChain::from_der(vec![der.clone()]) {
            let (id, label) = (bytes(&all, AttributeType::Id), bytes(&all, AttributeType::Label));
            found.push(FoundCertificate { id, label, der, parsed });
        }
    }
    Ok(found)
}

/// Reads the attributes of a private key.
pub(crate) fn key(session: &Session, handle: ObjectHandle) -> Result<FoundKey, Pkcs11Error> {
    let wanted = [
        AttributeType::Id,
        AttributeType::Label,
        AttributeType::KeyType,
        AttributeType::Sign,
        AttributeType::AlwaysAuthenticate,
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::AlwaysSensitive,
        AttributeType::NeverExtractable,
        AttributeType::Modulus,
        AttributeType::PublicExponent,
        AttributeType::EcParams,
    ];
    let all = session.get_attributes(handle, &wanted)?;
    let id = bytes(&all, AttributeType::Id);
    let kind = all.iter().find_map(|it| if let Attribute::KeyType(kind) = it { Some(*kind) } else { None });
    let parameters = bytes(&all, AttributeType::EcParams);
    let kind = match kind {
        Some(KeyType::RSA) => Some(KeyKind::Rsa),
        Some(KeyType::EC) => curve_of_parameters(&parameters).map(KeyKind::Ec),
        _ => None,
    };
    let public = match kind {
        Some(KeyKind::Rsa) => {
            let (modulus, exponent) =
                (bytes(&all, AttributeType::Modulus), bytes(&all, AttributeType::PublicExponent));
            key_encoding::rsa_public_key(&modulus, &exponent)
                .filter(|_| !modulus.is_empty() && !exponent.is_empty())
        }
        Some(KeyKind::Ec(_)) => ec_point(session, &id)?.and_then(|point| ec_public_key(&parameters, &point)),
        None => None,
    };
    Ok(FoundKey {
        handle,
        id,
        label: bytes(&all, AttributeType::Label),
        kind,
        public,
        may_sign: flag(&all, AttributeType::Sign) != Some(false),
        asks_each_time: flag(&all, AttributeType::AlwaysAuthenticate) == Some(true),
        leaves: leaves(&all),
    })
}

/// Returns the point of the public key with this id. The object of a private key does not have the point.
fn ec_point(session: &Session, id: &[u8]) -> Result<Option<Vec<u8>>, Pkcs11Error> {
    if id.is_empty() {
        return Ok(None);
    }
    let selector = Selector { label: None, id: Some(id.to_vec()) };
    let handles = session.find_objects(&selector.template(ObjectClass::PUBLIC_KEY))?;
    let [handle] = handles.as_slice() else { return Ok(None) };
    let all = session.get_attributes(*handle, &[AttributeType::EcPoint])?;
    Ok(Some(bytes(&all, AttributeType::EcPoint)).filter(|point| !point.is_empty()))
}

/// Returns the attribute by which a key can leave its token, or could leave it before. If the token does not report one
/// of the four attributes, the function returns this attribute.
fn leaves(all: &[Attribute]) -> Option<&'static str> {
    let is = |kind| flag(all, kind) == Some(true);
    match () {
        () if flag(all, AttributeType::Extractable) != Some(false) => Some("CKA_EXTRACTABLE is not false"),
        () if !is(AttributeType::Sensitive) => Some("CKA_SENSITIVE is not true"),
        () if !is(AttributeType::NeverExtractable) => Some(
            "CKA_NEVER_EXTRACTABLE is not true: the key was made outside of the token, or was extractable",
        ),
        () if !is(AttributeType::AlwaysSensitive) => {
            Some("CKA_ALWAYS_SENSITIVE is not true: the key was made outside of the token, or was readable")
        }
        () => None,
    }
}

fn flag(all: &[Attribute], kind: AttributeType) -> Option<bool> {
    all.iter().find(|it| it.attribute_type() == kind).and_then(|it| match it {
        Attribute::Sign(value)
        | Attribute::AlwaysAuthenticate(value)
        | Attribute::Sensitive(value)
        | Attribute::Extractable(value)
        | Attribute::AlwaysSensitive(value)
        | Attribute::NeverExtractable(value) => Some(*value),
        _ => None,
    })
}

fn bytes(all: &[Attribute], kind: AttributeType) -> Vec<u8> {
    let found = all.iter().find(|it| it.attribute_type() == kind).and_then(|it| match it {
        Attribute::Id(value)
        | Attribute::Label(value)
        | Attribute::Value(value)
        | Attribute::Modulus(value)
        | Attribute::PublicExponent(value)
        | Attribute::EcParams(value)
        | Attribute::EcPoint(value) => Some(value.clone()),
        _ => None,
    });
    found.unwrap_or_default()
}
