//! An issuer's public keys (RFC 7517), and signatures verified by them. A key's own kind decides what it verifies, so no
//! token can choose to have a public key taken for a secret.

use super::jwt::{Algorithm, Unverified};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bursa_core::limits;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::Value;

/// A key that signs tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    id: Option<String>,
    /// The one algorithm that it is for, if it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A point as `04 x y`.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// The keys of one issuer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Keys(Vec<Key>);

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Keys {
    /// Those of a JWK set that verify signatures of a kind that counts; others are left out.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let set: Set = serde_json::from_slice(text).ok()?;
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        Some(Self(keys.filter_map(Key::of).take(limits::IDENTITY_KEYS).collect()))
    }

    /// Whether one of them may have signed `token`.
    pub(super) fn has_key_for(&self, token: &Unverified<'_>) -> bool {
        self.fitting(token).next().is_some()
    }

    /// Whether one of them did.
    pub(super) fn verify(&self, token: &Unverified<'_>) -> bool {
        self.fitting(token).any(|key| key.verify(token))
    }

    /// A token that names no key may be by any that fits.
    fn fitting<'a>(&'a self, token: &'a Unverified<'_>) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(move |key| {
            let named = token.key.is_none() || token.key == key.id;
            named && key.algorithm.is_none_or(|own| own == token.algorithm) && key.suits(token.algorithm)
        })
    }
}

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Material::Rsa { n: bytes(&jwk.n)?, e: bytes(&jwk.e)? },
            ("EC", Some("P-256")) => Material::P256([vec![4], bytes(&jwk.x)?, bytes(&jwk.y)?].concat()),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(&jwk.x)?),
            _ => return None,
        };
        let algorithm = match &jwk.alg {
            Some(name) => Some(Algorithm::named(name)?),
            None => None,
        };
        Some(Self { id: jwk.kid, algorithm, material })
    }

    const fn suits(&self, algorithm: Algorithm) -> bool {
        matches!(
            (&self.material, algorithm),
            (Material::Rsa { .. }, Algorithm::Rs256 | Algorithm::Ps256)
                | (Material::P256(_), Algorithm::Es256)
                | (Material::Ed25519(_), Algorithm::EdDsa)
        )
    }

    fn verify(&self, token: &Unverified<'_>) -> bool {
        let (signed, signature) = (token.signed, token.signature.as_slice());
        let verified = match &self.material {
            Material::Rsa { n, e } => {
                let kind = match token.algorithm {
                    Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                    _ => &RSA_PKCS1_2048_8192_SHA256,
                };
                RsaPublicKeyComponents { n, e }.verify(kind, signed, signature)
            }
            Material::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature)
            }
            Material::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(signed, signature),
        };
        verified.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::jwt;
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
    use serde_json::json;

    fn text(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn unsigned(algorithm: &str, key: &str) -> String {
        let header = json!({"alg": algorithm, "kid": key}).to_string();
        format!("{}.{}", text(header.as_bytes()), text(br#"{"sub":"s"}"#))
    }

    #[test]
    fn a_signature_counts_by_its_own_key_only() {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ec =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        let ed =
            Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap();
        let point = ec.public_key().as_ref();
        let keys = json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "ec", "x": text(&point[1..33]), "y": text(&point[33..])},
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA", "x": text(ed.public_key().as_ref())},
            {"kty": "OKP", "crv": "Ed25519", "kid": "enc", "use": "enc", "x": text(ed.public_key().as_ref())},
            {"kty": "oct", "kid": "secret", "k": "AAAA"}, "no key",
        ]});
        let keys = Keys::parse(keys.to_string().as_bytes()).unwrap();
        assert_eq!(keys.0.len(), 2);
        let sign = |algorithm: &str, key: &str| {
            let signed = unsigned(algorithm, key);
            let signature = match algorithm {
                "ES256" => ec.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec(),
                _ => ed.sign(signed.as_bytes()).as_ref().to_vec(),
            };
            format!("{signed}.{}", text(&signature))
        };
        let verified = |token: &str| keys.verify(&jwt::parse(token).unwrap().unwrap());
        assert!(verified(&sign("ES256", "ec")) && verified(&sign("EdDSA", "ed")));
        assert!(!verified(&sign("ES256", "ed")) && !verified(&sign("EdDSA", "ec")));
        assert!(!verified(&sign("EdDSA", "enc")) && !verified(&sign("ES256", "other")));
        let (good, other) = (sign("ES256", "ec"), sign("EdDSA", "ed"));
        let forged = format!("{}.{}", good.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
        assert!(!verified(&forged));
        assert!(!verified(&format!("{}.", good.rsplit_once('.').unwrap().0)));
    }
}
