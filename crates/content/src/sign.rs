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
    /// A [`crate::Directive`].
    Directive,
}

impl PayloadKind {
    /// The media type that stands in the signed bytes.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Root => "application/vnd.tiding.root.v1",
            Self::Release => "application/vnd.tiding.release.v1",
            Self::Order => "application/vnd.tiding.order.v1",
            Self::Directive => "application/vnd.tiding.directive.v1",
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
            Self::Directive => 4,
        });
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        match from.byte()? {
            1 => Ok(Self::Root),
            2 => Ok(Self::Release),
            3 => Ok(Self::Order),
            4 => Ok(Self::Directive),
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

fn pre_authentication(kind: PayloadKind, payload: &[u8]) -> Vec<u8> {
    pre_authentication_of(kind.media_type(), payload)
}

/// `"DSSEv1" SP len(type) SP type SP len(payload) SP payload`, lengths in decimal.
fn pre_authentication_of(media_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {media_type} {} ", media_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, Verifier};

    fn key(n: u8) -> SigningKey {
        SigningKey::from_secret(&[n; 32])
    }

    fn unhex<const N: usize>(text: &str) -> [u8; N] {
        let byte = |n: usize| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).expect("test vectors are hexadecimal");
        std::array::from_fn(byte)
    }

    #[test]
    fn the_pre_authentication_encoding_is_that_of_dsse() {
        let bytes = pre_authentication_of("http://example.com/HelloWorld", b"hello world");
        assert_eq!(bytes, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
        assert_eq!(pre_authentication(PayloadKind::Root, b""), b"DSSEv1 30 application/vnd.tiding.root.v1 0 ");
    }

    #[test]
    fn keys_and_signatures_are_those_of_rfc_8032_test_2() {
        let secret = unhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = SigningKey::from_secret(&secret);
        let public = unhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        assert_eq!(key.public().as_bytes(), &public);
        let signature = unhex(concat!(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ));
        assert_eq!(key.0.sign(&[0x72]).to_bytes(), signature);
    }

    #[test]
    fn a_signed_payload_is_believed_and_round_trips() {
        let mut signed = key(1).sign(PayloadKind::Order, b"go".to_vec());
        key(2).co_sign(&mut signed);
        key(1).co_sign(&mut signed);
        assert_eq!(signed.signatures.len(), 2, "signing again replaces");
        assert_eq!(signed.verify(PayloadKind::Order, &[key(2).public(), key(1).public()], 2), Ok(&b"go"[..]));
        assert_eq!(Signed::decode(&signed.encode()), Ok(signed));
    }

    #[test]
    fn g1_unsigned_or_wrongly_signed_documents_are_not_believed() {
        let allowed = [key(1).public()];
        let refused = |signed: &Signed| {
            let refusal = NotBelieved::TooFewSignatures { valid: 0, needed: 1 };
            assert_eq!(signed.verify(PayloadKind::Release, &allowed, 1), Err(refusal));
        };
        let good = key(1).sign(PayloadKind::Release, b"good".to_vec());
        assert!(good.verify(PayloadKind::Release, &allowed, 1).is_ok());
        refused(&Signed { signatures: Vec::new(), ..good.clone() });
        refused(&Signed { payload: b"evil".to_vec(), ..good.clone() });
        refused(&key(2).sign(PayloadKind::Release, b"good".to_vec()));
        let mut renamed = key(2).sign(PayloadKind::Release, b"good".to_vec());
        renamed.signatures[0].key = key(1).public().id();
        refused(&renamed);
        for bit in 0..512 {
            let mut flipped = good.clone();
            flipped.signatures[0].bytes[bit / 8] ^= 1 << (bit % 8);
            refused(&flipped);
        }
    }

    #[test]
    fn g8_a_key_counts_once_and_a_threshold_of_zero_is_refused() {
        let mut signed = key(1).sign(PayloadKind::Order, b"go".to_vec());
        signed.signatures.push(signed.signatures[0].clone());
        let twice = [key(1).public(), key(1).public()];
        let once = NotBelieved::TooFewSignatures { valid: 1, needed: 2 };
        assert_eq!(signed.verify(PayloadKind::Order, &twice, 2), Err(once));
        assert_eq!(signed.verify(PayloadKind::Order, &twice, 0), Err(NotBelieved::ZeroThreshold));
        assert!(Signed::decode(&signed.encode()).is_err(), "two signatures of one key are not canonical");
    }

    #[test]
    fn g8_a_key_has_only_one_id() {
        // y = 3 is a point of large order; y + p < 2^255 would be other bytes, and another id, of the same point.
        let mut canonical = [0; 32];
        canonical[0] = 3;
        let mut alias = [0xff; 32];
        (alias[0], alias[31]) = (0xed + 3, 0x7f);
        let lax = |bytes| ed25519_dalek::VerifyingKey::from_bytes(bytes).map(|key| key.to_edwards());
        assert_eq!(lax(&canonical).ok(), lax(&alias).ok(), "both are taken for the same point by the library");
        assert!(PublicKey::from_bytes(&canonical).is_some());
        assert_eq!(PublicKey::from_bytes(&alias), None);
    }

    #[test]
    fn g15_a_signature_of_another_kind_is_refused() {
        let release = key(1).sign(PayloadKind::Release, b"same bytes".to_vec());
        let wrong = NotBelieved::WrongKind { wanted: PayloadKind::Order, found: PayloadKind::Release };
        assert_eq!(release.verify(PayloadKind::Order, &[key(1).public()], 1), Err(wrong));
        let relabelled = Signed { kind: PayloadKind::Order, ..release };
        let invalid = NotBelieved::TooFewSignatures { valid: 0, needed: 1 };
        assert_eq!(relabelled.verify(PayloadKind::Order, &[key(1).public()], 1), Err(invalid));
    }

    #[test]
    fn g15_weak_keys_are_refused() {
        let small_order = [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        ];
        for text in small_order {
            let bytes = unhex(text);
            assert!(ed25519_dalek::VerifyingKey::from_bytes(&bytes).is_ok(), "{text} is a point");
            assert_eq!(PublicKey::from_bytes(&bytes), None, "{text}");
            assert!(<PublicKey as Encode>::decode(&bytes).is_err(), "{text}");
        }
    }

    #[test]
    fn g15_a_malleable_signature_is_refused() {
        // S + L is the same number modulo the group's order L, so lax verifiers take it for a second valid signature.
        let order: [u8; 32] = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let mut signed = key(1).sign(PayloadKind::Order, b"go".to_vec());
        let mut carry = 0;
        for (byte, add) in signed.signatures[0].bytes[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        assert_eq!(carry, 0);
        assert!(signed.verify(PayloadKind::Order, &[key(1).public()], 1).is_err());
    }

    #[test]
    fn g15_verification_is_strict_about_small_order_commitments() {
        // With R = the neutral point and S = k a, the equation S B = R + k A holds, and lax verification says yes.
        use ed25519_dalek::Digest as _;
        let key = key(1);
        let message = pre_authentication(PayloadKind::Order, b"go");
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let hash = ed25519_dalek::Sha512::new().chain_update(&bytes[..32]).chain_update(key.public().as_bytes());
        let k = hash.chain_update(&message).finalize();
        let a = key.0.to_scalar();
        let mut product = a - a;
        for bit in (0..512).rev() {
            product += product;
            if k[bit / 8] >> (bit % 8) & 1 == 1 {
                product += a;
            }
        }
        bytes[32..].copy_from_slice(product.as_bytes());
        let lax = key.0.verifying_key();
        assert!(lax.verify(&message, &ed25519_dalek::Signature::from_bytes(&bytes)).is_ok(), "the lax equation holds");
        let signatures = vec![Signature { key: key.public().id(), bytes }];
        let signed = Signed { kind: PayloadKind::Order, payload: b"go".to_vec(), signatures };
        assert!(signed.verify(PayloadKind::Order, &[key.public()], 1).is_err());
    }

    #[test]
    fn signatures_rise_and_are_at_most_sixteen() {
        let mut signed = key(1).sign(PayloadKind::Order, b"go".to_vec());
        (2..=16).for_each(|n| key(n).co_sign(&mut signed));
        assert!(Signed::decode(&signed.encode()).is_ok());
        let mut unsorted = signed.clone();
        unsorted.signatures.swap(3, 4);
        assert!(Signed::decode(&unsorted.encode()).is_err());
        key(17).co_sign(&mut signed);
        assert!(Signed::decode(&signed.encode()).is_err());
    }
}
