//! JSON Web Tokens in their compact form: parsed here, their signatures verified by `keys`.

use super::claims::Claims;
use super::short;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

/// Signatures that count. Those by a shared secret, and none at all, are not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Ps256,
    Es256,
    EdDsa,
}

impl Algorithm {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "PS256" => Some(Self::Ps256),
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A token whose signature nobody has looked at.
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key: Option<String>,
    pub(super) claims: Claims,
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// The token in `text`; `None`: it is none, but an opaque one.
pub(super) fn parse(text: &str) -> Option<Result<Unverified<'_>, String>> {
    let (signed, signature) = text.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.').filter(|(_, claims)| !claims.contains('.'))?;
    let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    Some(read(header, claims, signed.as_bytes(), signature))
}

fn read<'a>(
    header: Header,
    claims: &str,
    signed: &'a [u8],
    signature: &str,
) -> Result<Unverified<'a>, String> {
    let algorithm = Algorithm::named(&header.alg).ok_or_else(|| {
        let other = short(&header.alg);
        format!("its token is signed by '{other}'; RS256, PS256, ES256 and EdDSA are accepted")
    })?;
    if header.crit.is_some() {
        return Err("its token has critical extensions ('crit'), and this service knows none".to_owned());
    }
    let claims = URL_SAFE_NO_PAD.decode(claims).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let claims = Claims(claims.ok_or("the claims of its token are no JSON object")?);
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "its token's signature is no base64")?;
    Ok(Unverified { algorithm, key: header.kid, claims, signed, signature })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str, signature: &str) -> String {
        format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn what_is_no_jwt_is_opaque() {
        for text in ["", "abc", "a.b", "a.b.c", "a.b.c.d", "Agz.1.2"] {
            assert!(parse(text).is_none(), "{text}");
        }
        assert!(parse(&format!("{}.x", token(r#"{"alg":"RS256"}"#, "{}", "AA"))).is_none());
    }

    #[test]
    fn secrets_and_no_signature_are_refused_before_any_key_is_asked_for() {
        for algorithm in ["none", "None", "HS256", "HS512", "RS512", "RS256 ", ""] {
            let text = token(&format!(r#"{{"alg":"{algorithm}","kid":"k"}}"#), r#"{"iss":"i"}"#, "");
            let why = parse(&text).unwrap().unwrap_err();
            assert!(why.contains("signed by"), "{why}");
        }
    }

    #[test]
    fn extensions_and_broken_parts_are_refused() {
        let header = r#"{"alg":"ES256","crit":["b64"],"b64":false}"#;
        assert!(parse(&token(header, "{}", "")).unwrap().unwrap_err().contains("crit"));
        let header = r#"{"alg":"ES256"}"#;
        assert!(parse(&token(header, "[]", "")).unwrap().unwrap_err().contains("claims"));
        assert!(parse(&token(header, "{}", "é")).unwrap().unwrap_err().contains("signature"));
    }
}
