//! Generates keys in a token: sensitive and not extractable from the beginning.

use aws_lc_rs::rand;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;

use crate::der::Curve;
use crate::error::Pkcs11Error;
use crate::key::only_one;
use crate::objects::{self, FoundKey, Selector};
use crate::token::Opened;

/// The kind of a key to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySpec {
    /// RSA with 2048 bits. Managed identities need it.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
    /// EC on P-256. It cannot sign assertions for Bearer tokens.
    P256,
    /// EC on P-384. It cannot sign assertions for Bearer tokens.
    P384,
}

/// Generates a key pair with this label, and returns its private key. Without an id, the id is 16 random bytes.
pub(crate) fn generate(
    opened: &Opened,
    spec: KeySpec,
    label: &str,
    id: Option<&[u8]>,
) -> Result<FoundKey, Pkcs11Error> {
    let id = match id {
        Some(id) => id.to_vec(),
        None => {
            let mut id = vec![0; 16];
            rand::fill(&mut id).map_err(|_| Pkcs11Error::Call {
                call: "the random number generator".to_owned(),
                reason: "it returned no bytes".to_owned(),
                is_gone: false,
            })?;
            id
        }
    };
    let named = [Attribute::Token(true), Attribute::Label(label.into()), Attribute::Id(id.clone())];
    let (mechanism, kind) = match spec {
        KeySpec::Rsa2048 => rsa(2048),
        KeySpec::Rsa3072 => rsa(3072),
        KeySpec::Rsa4096 => rsa(4096),
        KeySpec::P256 => ec(Curve::P256),
        KeySpec::P384 => ec(Curve::P384),
    };
    let public: Vec<_> = named
        .iter()
        .cloned()
        .chain(kind)
        .chain([Attribute::Verify(true), Attribute::Private(false)])
        .collect();
    let private = [
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
    ];
    let private: Vec<_> = named.into_iter().chain(private).collect();
    // The login belongs to all sessions of the process.
    let session = opened.module.open_rw_session(opened.slot)?;
    session.generate_key_pair(&mechanism, &public, &private)?;
    let selector = Selector { label: Some(label.to_owned()), id: Some(id) };
    only_one(opened, objects::keys(opened, &selector)?, &selector)
}

fn rsa(bits: u64) -> (Mechanism<'static>, Vec<Attribute>) {
    let attributes =
        vec![Attribute::ModulusBits(bits.into()), Attribute::PublicExponent(vec![0x01, 0x00, 0x01])];
    (Mechanism::RsaPkcsKeyPairGen, attributes)
}

fn ec(curve: Curve) -> (Mechanism<'static>, Vec<Attribute>) {
    (Mechanism::EccKeyPairGen, vec![Attribute::EcParams(curve.parameters())])
}

/// Removes a key pair that this process has just generated.
pub(crate) fn remove(opened: &Opened, key: &FoundKey) -> Result<(), Pkcs11Error> {
    let session = opened.module.open_rw_session(opened.slot)?;
    let id = [Attribute::Token(true), Attribute::Id(key.id.clone()), Attribute::Label(key.label.clone())];
    for object in session.find_objects(&id)? {
        session.destroy_object(object)?;
    }
    Ok(())
}
