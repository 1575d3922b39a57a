//! Generates keys in a token: sensitive and not extractable from the beginning.

use aws_lc_rs::rand;
use certbound::certificate::KeySpec;
use certbound_core::certificate::Curve;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;

use crate::der::curve_parameters;
use crate::error::{Outlook, Pkcs11Error};
use crate::objects::{self, FoundKey};
use crate::token::Opened;

/// A key pair that this process has just generated.
pub(crate) struct Generated {
    /// The private key.
    pub(crate) key: FoundKey,
    pair: [ObjectHandle; 2],
    session: Session,
}

/// Generates a key pair with this label. If `id` is `None`, the id is 16 random bytes.
pub(crate) fn generate(
    opened: &Opened,
    spec: KeySpec,
    label: &str,
    id: Option<&[u8]>,
) -> Result<Generated, Pkcs11Error> {
    let id = match id {
        Some(id) => id.to_vec(),
        None => {
            let mut id = vec![0; 16];
            rand::fill(&mut id).map_err(|_| Pkcs11Error::Call {
                call: "the random number generator".to_owned(),
                reason: "it returned no bytes".to_owned(),
                outlook: Outlook::Temporary,
            })?;
            id
        }
    };
    let named = [Attribute::Token(true), Attribute::Label(label.into()), Attribute::Id(id)];
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
    let (public, private) = session.generate_key_pair(&mechanism, &public, &private)?;
    // Another key can have the same name, so the new key is read by its handle.
    Ok(Generated { key: objects::key(&session, private)?, pair: [private, public], session })
}

fn rsa(bits: u64) -> (Mechanism<'static>, Vec<Attribute>) {
    let attributes =
        vec![Attribute::ModulusBits(bits.into()), Attribute::PublicExponent(vec![0x01, 0x00, 0x01])];
    (Mechanism::RsaPkcsKeyPairGen, attributes)
}

fn ec(curve: Curve) -> (Mechanism<'static>, Vec<Attribute>) {
    (Mechanism::EccKeyPairGen, vec![Attribute::EcParams(curve_parameters(curve))])
}

impl Generated {
    /// Removes the key pair, and no other object with its name.
    pub(crate) fn remove(self) -> Result<(), Pkcs11Error> {
        for object in self.pair {
            self.session.destroy_object(object)?;
        }
        Ok(())
    }
}
