//! Workloads: the token that a CI system gives a run, exchanged by a rule for a short-lived token of Bursa's.

use super::issuer::Issuer;
use super::settings::ExchangeSettings;
use super::{Granted, Known, Refusal, jwt, short};
use bursa_core::limits;
use bursa_core::time::Wall;
use std::sync::Arc;

/// A rule, ready to be asked.
#[derive(Debug)]
pub(super) struct Rule {
    settings: ExchangeSettings,
    issuer: Arc<Issuer>,
}

impl Rule {
    pub(super) const fn new(settings: ExchangeSettings, issuer: Arc<Issuer>) -> Self {
        Self { settings, issuer }
    }
}

/// What the first rule gives that the workload's token meets.
pub(super) async fn grant(rules: &[Rule], token: &str, now: Wall) -> Result<Granted, Refusal> {
    let invalid = |why: &str| Refusal::Invalid(why.to_owned());
    if token.len() > limits::IDENTITY_TOKEN_BYTES {
        return Err(invalid("its subject_token is too long"));
    }
    let token = jwt::parse(token).ok_or_else(|| invalid("its subject_token is no JWT"))?;
    let token = token.map_err(Refusal::Invalid)?;
    let named = short(token.claims.text("iss").unwrap_or_default());
    let mut refused = Refusal::Invalid(format!("no rule takes tokens of '{named}'"));
    for rule in rules.iter().filter(|rule| token.claims.text("iss") == Some(&rule.issuer.url)) {
        if let Err(why) = token.claims.check(&rule.issuer.url, &rule.settings.audience, now) {
            refused = Refusal::Invalid(why);
            continue;
        }
        if !rule.issuer.signed(&token).await? {
            return Err(invalid("its token is signed by no key of its issuer"));
        }
        let missed =
            rule.settings.claims.iter().find(|(name, pattern)| {
                token.claims.plain(name).is_none_or(|value| !pattern.matches(&value))
            });
        match missed {
            None => return Ok(rule.granted(now)),
            Some((name, _)) => {
                let why = format!(
                    "the claim '{name}' of its token is not what the rule '{}' wants",
                    rule.settings.name
                );
                refused = Refusal::Unwanted(why);
            }
        }
    }
    Err(refused)
}

impl Rule {
    /// Whoever meets the rule is one user, named by it: runs of one workload see each other's tasks.
    fn granted(&self, now: Wall) -> Granted {
        let ExchangeSettings { name, scopes, lifetime_s, .. } = &self.settings;
        let expires = Wall(now.0.saturating_add(lifetime_s.saturating_mul(1_000)));
        let known = Known {
            // No issuer's name, since those are addresses: no provider can say that somebody is this user.
            issuer: "exchange".to_owned(),
            subject: name.clone(),
            username: name.clone(),
            identities: Vec::new(),
            groups: Vec::new(),
            scopes: scopes.scopes(),
            expires,
        };
        Granted { known, name: format!("exchanged by the rule {name}"), lifetime_s: *lifetime_s }
    }
}
