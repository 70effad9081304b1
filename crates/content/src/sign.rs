//! Signed documents: exact bytes, a payload kind that separates domains, ed25519.
//!
//! The bytes that are signed are DSSE's pre-authentication encoding of the kind and the payload (secure-systems-lab DSSE
//! protocol 1.0.2), so a signature on a release can never be read as one on an order. Verification is strict
//! (`verify_strict`: no malleable signatures, no small-order keys).

use crate::encoding::{Decoder, Document, Encode, Encoder, Malformed};
use crate::{Digest, KeyId};
use std::collections::BTreeSet;

/// What a signed payload is; the kind is part of the signed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PayloadKind {
    /// A [`crate::Root`].
    Root,
    /// A [`crate::Release`].
    Release,
    /// A [`crate::Order`].
    Order,
}

impl PayloadKind {
    /// The media type that stands in the signed bytes.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Root => "application/vnd.tiding.root.v1",
            Self::Release => "application/vnd.tiding.release.v1",
            Self::Order => "application/vnd.tiding.order.v1",
        }
    }
}

/// The public half of a signing key: 32 bytes that are a valid, strong ed25519 point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(ed25519_dalek::VerifyingKey);

impl PublicKey {
    /// A key from its 32 bytes; `None` when they are no point, a weak (small-order) one, or not the canonical bytes of
    /// a point (else one key could have two ids).
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).ok()?;
        (!key.is_weak() && key.to_edwards().compress().as_bytes() == bytes).then_some(Self(key))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The id of this key.
    pub fn id(&self) -> KeyId {
        KeyId(Digest::of(self.as_bytes()))
    }
}

impl Encode for PublicKey {
    const WHAT: &'static str = "public key";

    fn put(&self, to: &mut Encoder) {
        to.raw(self.as_bytes());
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Self::from_bytes(&from.array()?).ok_or_else(|| from.wrong("a public key is weak, or no ed25519 point"))
    }
}

/// A private signing key; printing it prints its public id.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A key from 32 secret bytes, which the caller drew from a good source.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(secret))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs `payload` as a document of `kind`.
    pub fn sign(&self, kind: PayloadKind, payload: Vec<u8>) -> Signed {
        let mut signed = Signed { kind, payload, signatures: Vec::new() };
        self.co_sign(&mut signed);
        signed
    }

    /// Adds this key's signature to a document that others may have signed; its own earlier one is replaced.
    pub fn co_sign(&self, signed: &mut Signed) {
        use ed25519_dalek::Signer;
        let signature = self.0.sign(&pre_authentication(signed.kind, &signed.payload));
        signed.signatures.retain(|other| other.key != self.public().id());
        signed.signatures.push(Signature { key: self.public().id(), bytes: signature.to_bytes() });
        signed.signatures.sort_by_key(|signature| signature.key);
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({:?})", self.public().id())
    }
}

/// One signature and the id of the key that is said to have made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The key.
    pub key: KeyId,
    /// The 64 bytes of the ed25519 signature.
    pub bytes: [u8; 64],
}

/// A payload and who signed it. Nothing in it is believed before [`Signed::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// What the payload is said to be.
    pub kind: PayloadKind,
    /// The exact bytes that were signed.
    pub payload: Vec<u8>,
    /// At most [`Signed::MAX_SIGNATURES`] signatures, rising by key id.
    pub signatures: Vec<Signature>,
}

/// Why a signed document is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotBelieved {
    /// The document is of another kind than the place asks for.
    #[error("a signed {found:?} stands where a signed {wanted:?} belongs")]
    WrongKind {
        /// The kind asked for.
        wanted: PayloadKind,
        /// The kind found.
        found: PayloadKind,
    },
    /// Too few of the allowed keys have validly signed it.
    #[error("{valid} of {needed} needed signatures are valid")]
    TooFewSignatures {
        /// Distinct allowed keys with a valid signature.
        valid: usize,
        /// How many are needed.
        needed: usize,
    },
    /// A threshold of zero would let everything pass, and is refused.
    #[error("a threshold of zero signatures is refused")]
    ZeroThreshold,
}

impl Signed {
    /// The longest payload, in bytes.
    pub const MAX_PAYLOAD: usize = 64 * 1024;
    /// How many signatures a document may carry.
    pub const MAX_SIGNATURES: usize = 16;

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        Encode::encode(self)
    }

    /// Reads canonical bytes, refusing anything else. What was read is not believed yet.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Encode::decode(bytes)
    }

    /// The digest of the payload: a release's or an order's id.
    pub fn payload_digest(&self) -> Digest {
        Digest::of(&self.payload)
    }

    /// The payload, once at least `threshold` distinct keys of `allowed` have validly signed it as a `kind`.
    pub fn verify(&self, kind: PayloadKind, allowed: &[PublicKey], threshold: usize) -> Result<&[u8], NotBelieved> {
        if self.kind != kind {
            return Err(NotBelieved::WrongKind { wanted: kind, found: self.kind });
        }
        if threshold == 0 {
            return Err(NotBelieved::ZeroThreshold);
        }
        let message = pre_authentication(kind, &self.payload);
        let valid: BTreeSet<KeyId> = (self.signatures.iter())
            .filter_map(|signature| {
                let key = allowed.iter().find(|key| key.id() == signature.key)?;
                let signature = ed25519_dalek::Signature::from_bytes(&signature.bytes);
                key.0.verify_strict(&message, &signature).is_ok().then(|| key.id())
            })
            .collect();
        match valid.len() >= threshold {
            true => Ok(&self.payload),
            false => Err(NotBelieved::TooFewSignatures { valid: valid.len(), needed: threshold }),
        }
    }
}

impl Encode for PayloadKind {
    const WHAT: &'static str = "payload kind";

    fn put(&self, to: &mut Encoder) {
        to.byte(match self {
            Self::Root => 1,
            Self::Release => 2,
            Self::Order => 3,
        });
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        match from.byte()? {
            1 => Ok(Self::Root),
            2 => Ok(Self::Release),
            3 => Ok(Self::Order),
            other => Err(from.wrong(format!("there is no payload kind {other}"))),
        }
    }
}

impl Encode for Signature {
    const WHAT: &'static str = "signature";

    fn put(&self, to: &mut Encoder) {
        to.value(&self.key).raw(&self.bytes);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { key: from.value()?, bytes: from.array()? })
    }
}

impl Encode for Signed {
    const WHAT: &'static str = "signed document";

    fn put(&self, to: &mut Encoder) {
        to.header(Document::Signed).value(&self.kind).bytes(&self.payload).list(self.signatures.iter());
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        from.header(Document::Signed)?;
        let kind = from.value()?;
        let payload = from.bytes("the payload", Self::MAX_PAYLOAD)?.to_vec();
        let signatures: Vec<Signature> = from.list("the number of signatures", Self::MAX_SIGNATURES, 96)?;
        match signatures.is_sorted_by(|a, b| a.key < b.key) {
            true => Ok(Self { kind, payload, signatures }),
            false => Err(from.wrong("signatures do not rise by key")),
        }
    }
}

/// `"DSSEv1" SP len(type) SP type SP len(payload) SP payload`, lengths in decimal.
fn pre_authentication(kind: PayloadKind, payload: &[u8]) -> Vec<u8> {
    let media_type = kind.media_type();
    let mut bytes = format!("DSSEv1 {} {media_type} {} ", media_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}
