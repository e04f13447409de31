//! Claims about a token, signed or told by introspection, and the checks that both need.

use super::short;
use bursa_core::limits;
use bursa_core::time::Wall;
use serde_json::{Map, Value};

/// The claims of one token.
#[derive(Debug, Clone)]
pub(super) struct Claims(pub(super) Map<String, Value>);

impl Claims {
    /// The claim `name` as text. A dotted name that is no claim itself leads into objects: `realm_access.roles`.
    fn find(&self, name: &str) -> Option<&Value> {
        self.0.get(name).or_else(|| {
            let mut parts = name.split('.');
            let first = self.0.get(parts.next()?)?;
            parts.try_fold(first, |value, part| value.get(part))
        })
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.find(name)?.as_str()
    }

    /// The texts of a claim that may be one or a list of them.
    pub(super) fn texts(&self, name: &str) -> Vec<&str> {
        match self.find(name) {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// The scopes: words of `scope`, or a list in `scope` or `scp`.
    pub(super) fn scopes(&self) -> Vec<&str> {
        let given = [self.texts("scope"), self.texts("scp")].concat();
        given.into_iter().flat_map(str::split_whitespace).collect()
    }

    /// A claim as a rule compares it: text, number or truth value.
    pub(super) fn plain(&self, name: &str) -> Option<String> {
        match self.find(name)? {
            Value::String(text) => Some(text.clone()),
            value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
            _ => None,
        }
    }

    /// A moment in seconds; one that is no number is an error, never "not given".
    fn time(&self, name: &str) -> Result<Option<Wall>, String> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| (0.0..1e12).contains(seconds));
        let seconds = seconds.ok_or_else(|| format!("its token has a claim '{name}' that is no time"))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range, as just seen")]
        Ok(Some(Wall((seconds * 1e3) as u64)))
    }

    /// That the token is from `issuer`, for `audience`, and valid now; answers when it ends.
    pub(super) fn check(&self, issuer: &str, audience: &str, now: Wall) -> Result<Wall, String> {
        if self.text("iss") != Some(issuer) {
            let other = short(self.text("iss").unwrap_or_default());
            return Err(format!("its token is from '{other}', not from '{issuer}'"));
        }
        self.check_use(audience, now)
    }

    /// The same where the issuer is known by whom was asked.
    pub(super) fn check_use(&self, audience: &str, now: Wall) -> Result<Wall, String> {
        if !self.texts("aud").contains(&audience) {
            let others = short(&self.texts("aud").join(", "));
            return Err(format!("its token is for '{others}', not for '{audience}'"));
        }
        let ends = self.time("exp")?.ok_or("its token has no end ('exp')")?;
        if ends <= now {
            return Err("its token has expired".to_owned());
        }
        let begins = self.time("nbf")?.unwrap_or_default();
        if begins.0 > now.0.saturating_add(limits::IDENTITY_SKEW_MS) {
            return Err("its token is not valid yet ('nbf'); compare the clocks".to_owned());
        }
        Ok(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(value: Value) -> Claims {
        Claims(value.as_object().unwrap().clone())
    }

    #[test]
    fn each_claim_that_is_wrong_or_missing_refuses() {
        let good = json!({"iss": "https://i", "aud": ["x", "us"], "exp": 100, "nbf": 40.5});
        let now = Wall(50_000);
        assert_eq!(claims(good.clone()).check("https://i", "us", now), Ok(Wall(100_000)));
        for (name, value, why) in [
            ("iss", json!("https://i/"), "from 'https://i/', not from"),
            ("aud", json!("them"), "for 'them', not for 'us'"),
            ("aud", json!(["us2", 1]), "not for 'us'"),
            ("exp", json!(50), "expired"),
            ("exp", json!("100"), "no time"),
            ("exp", json!(null), "no time"),
            ("exp", json!(-1), "no time"),
            ("nbf", json!(81), "not valid yet"),
            ("nbf", json!("never"), "no time"),
        ] {
            let mut bad = good.clone();
            bad[name] = value.clone();
            let refused = claims(bad).check("https://i", "us", now).unwrap_err();
            assert!(refused.contains(why), "{name} = {value}: {refused}");
        }
        for name in ["iss", "aud", "exp"] {
            let mut without = good.clone();
            without.as_object_mut().unwrap().remove(name);
            claims(without).check("https://i", "us", now).unwrap_err();
        }
    }

    #[test]
    fn names_with_dots_are_claims_first_and_then_ways() {
        let claims =
            claims(json!({"a.b": ["x"], "a": {"b": "no", "c": ["y", "z"]}, "scp": ["q"], "scope": "p r"}));
        assert_eq!(claims.texts("a.b"), ["x"]);
        assert_eq!(claims.texts("a.c"), ["y", "z"]);
        assert_eq!(claims.scopes(), ["p", "r", "q"]);
    }
}
