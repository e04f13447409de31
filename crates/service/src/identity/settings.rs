//! `[[identity]]` and `[[exchange]]` of the configuration.

use super::pattern::Pattern;
use super::provider;
use crate::scope::{Scope, Scopes};
use bursa_core::limits;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// OpenID Connect: signed access tokens, or opaque ones with introspection.
    Oidc,
    /// Globus Auth.
    Globus,
}

impl Kind {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Oidc => "oidc",
            Self::Globus => "globus",
        }
    }
}

/// A provider whose tokens count here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentitySettings {
    /// What it speaks.
    pub kind: Kind,
    /// Its name and address, exactly as it writes it.
    #[serde(default)]
    pub issuer: String,
    /// What tokens for this service have in `aud`; `client_id` where it is not given.
    pub audience: Option<String>,
    /// Our own client there, for questions about opaque tokens.
    pub client_id: Option<String>,
    /// A file with its secret.
    pub client_secret_file: Option<PathBuf>,
    /// Scopes that each token must have.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The claim with the user's name.
    #[serde(default = "username")]
    pub username: String,
    /// The claim with the user's groups.
    pub groups: Option<String>,
    /// Who may be a user: patterns of usernames, `group:` or `subject:` before those of either. Nobody by default.
    #[serde(default)]
    pub allow: Vec<Pattern>,
    /// What its tokens may do here: scopes of Bursa.
    pub grants: Option<Grants>,
    /// Certificates to trust there, instead of those that browsers trust.
    pub ca_file: Option<PathBuf>,
    /// The public client that `bursa login` is there.
    pub login_client_id: Option<String>,
    /// Scopes that `bursa login` asks for; `scopes` where none is given.
    #[serde(default)]
    pub login_scopes: Vec<String>,
    /// The resource (RFC 8707) that `bursa login` asks a token for.
    pub resource: Option<String>,
}

/// Scopes of Bursa, by their names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Grants(Scopes);

impl Grants {
    pub(super) const fn scopes(&self) -> Scopes {
        self.0
    }
}

impl TryFrom<Vec<String>> for Grants {
    type Error = String;

    fn try_from(words: Vec<String>) -> Result<Self, String> {
        let named = |word: &String| {
            let all = || Scopes::ALL.words().collect::<Vec<_>>().join(", ");
            Scope::named(word).ok_or_else(|| format!("'{word}' is not one of {}", all()))
        };
        words.iter().map(named).collect::<Result<_, _>>().map(Self)
    }
}

/// A rule by which a workload's token is exchanged for one of Bursa's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExchangeSettings {
    /// Who becomes its user.
    pub name: String,
    /// The issuer of the workload's token.
    pub issuer: String,
    /// What that token must have in `aud`.
    pub audience: String,
    /// Claims that it must have, by name.
    #[serde(rename = "match")]
    pub claims: BTreeMap<String, Pattern>,
    /// What the new token may do.
    pub scopes: Grants,
    /// Seconds for which it is valid.
    #[serde(default = "lifetime")]
    pub lifetime_s: u64,
    /// Certificates to trust at the issuer, instead of those that browsers trust.
    pub ca_file: Option<PathBuf>,
}

/// Where Globus Auth is.
const GLOBUS: &str = "https://auth.globus.org";

fn username() -> String {
    "preferred_username".to_owned()
}

const fn lifetime() -> u64 {
    900
}

/// The providers in a JSON list.
///
/// # Errors
/// One sentence: what is wrong with them.
pub(crate) fn parse_identity(text: &str) -> Result<Vec<IdentitySettings>, String> {
    let mut all: Vec<IdentitySettings> = serde_json::from_str(text).map_err(|why| why.to_string())?;
    for settings in &mut all {
        if settings.kind == Kind::Globus {
            if settings.issuer.is_empty() {
                GLOBUS.clone_into(&mut settings.issuer);
            }
            if settings.username == username() {
                "username".clone_into(&mut settings.username);
            }
        }
        provider::check(settings)?;
    }
    let mut issuers: Vec<_> = all.iter().map(|settings| &settings.issuer).collect();
    issuers.sort();
    match issuers.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("the issuer '{}' is there twice", pair[0])),
        None => Ok(all),
    }
}

/// The rules in a JSON list.
///
/// # Errors
/// One sentence: what is wrong with them.
pub(crate) fn parse_exchange(text: &str) -> Result<Vec<ExchangeSettings>, String> {
    let all: Vec<ExchangeSettings> = serde_json::from_str(text).map_err(|why| why.to_string())?;
    for rule in &all {
        let wrong = |why: &str| Err(format!("of the rule '{}': {why}", rule.name));
        let longest = limits::EXCHANGED_TOKEN_S;
        if !super::fetch::is_safe(&rule.issuer) {
            return wrong("its issuer must begin with https:// (http:// only on this host)");
        }
        if rule.name.is_empty() || rule.name.len() > limits::NAME_BYTES {
            return wrong("its name must have 1 to 256 bytes");
        }
        if rule.claims.is_empty() {
            return wrong(
                "match must name a claim, such as sub or repository: else whoever has a token there may come",
            );
        }
        if rule.scopes.0.is_empty() || rule.scopes.0.has(Scope::Admin) {
            return wrong("scopes must say what its tokens may do, and cannot hold admin");
        }
        if !(1..=longest).contains(&rule.lifetime_s) {
            return wrong(&format!("lifetime_s must be 1 to {longest}"));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_needs_what_makes_its_tokens_safe() {
        let oidc = r#"[{"kind": "oidc", "issuer": "https://i", "audience": "bursa"}]"#;
        let settings = parse_identity(oidc).unwrap().remove(0);
        assert!(settings.allow.is_empty() && settings.username == "preferred_username");
        let globus = r#"[{"kind": "globus", "client_id": "c", "client_secret_file": "f", "scopes": ["s"]}]"#;
        let settings = parse_identity(globus).unwrap().remove(0);
        assert_eq!((settings.issuer.as_str(), settings.username.as_str()), (GLOBUS, "username"));
        for (text, why) in [
            (r#"[{"kind": "saml", "issuer": "https://i"}]"#, "unknown variant"),
            (r#"[{"kind": "oidc", "issuer": "https://i", "audience": "b", "allows": []}]"#, "unknown field"),
            (r#"[{"kind": "oidc", "issuer": "http://i.org", "audience": "b"}]"#, "https://"),
            (r#"[{"kind": "oidc", "issuer": "https://i"}]"#, "audience is needed"),
            (
                r#"[{"kind": "oidc", "issuer": "https://i", "audience": "b", "login_client_id": "b"}]"#,
                "differ",
            ),
            (r#"[{"kind": "oidc", "issuer": "https://i", "audience": "b", "allow": ["a*b"]}]"#, "no pattern"),
            (
                r#"[{"kind": "oidc", "issuer": "https://i", "audience": "b", "client_secret_file": "f"}]"#,
                "client_id",
            ),
            (r#"[{"kind": "globus", "scopes": ["s"]}]"#, "client_secret_file"),
            (r#"[{"kind": "globus", "client_id": "c", "client_secret_file": "f"}]"#, "scopes"),
        ] {
            let refused = parse_identity(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
        let twice = format!("{},{}", &oidc[..oidc.len() - 1], &oidc[1..]);
        assert!(parse_identity(&twice).unwrap_err().contains("twice"));
    }

    #[test]
    fn a_rule_names_whom_it_means_and_what_it_gives() {
        let rule =
            |more: &str| format!(r#"[{{"name": "ci", "issuer": "https://i", "audience": "b", {more}}}]"#);
        let good = rule(r#""match": {"sub": "repo:lab/*"}, "scopes": ["tasks:submit"]"#);
        assert_eq!(parse_exchange(&good).unwrap()[0].lifetime_s, 900);
        for (more, why) in [
            (r#""match": {}, "scopes": ["tasks:submit"]"#, "match"),
            (r#""match": {"sub": "x"}, "scopes": []"#, "scopes"),
            (r#""match": {"sub": "x"}, "scopes": ["admin"]"#, "admin"),
            (r#""match": {"sub": "x"}, "scopes": ["tasks"]"#, "'tasks' is not one of"),
            (r#""match": {"sub": "x"}, "scopes": ["tasks:read"], "lifetime_s": 0"#, "lifetime_s"),
            (r#""match": {"sub": "x"}, "scopes": ["tasks:read"], "lifetime_s": 86401"#, "lifetime_s"),
        ] {
            let refused = parse_exchange(&rule(more)).unwrap_err();
            assert!(refused.contains(why), "{more}: {refused}");
        }
    }
}
