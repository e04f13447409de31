//! Patterns of the configuration: a text, with `*` at one of its ends for anything.

use serde::Deserialize;

/// A text with `*` at its begin, at its end, or alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(String);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let inner = text.strip_prefix('*').or_else(|| text.strip_suffix('*')).unwrap_or(&text);
        if text.is_empty() || inner.contains('*') {
            return Err(format!(
                "'{text}' is no pattern: it is a text with one '*' at its begin or its end at most"
            ));
        }
        Ok(Self(text))
    }
}

impl Pattern {
    pub(super) fn matches(&self, text: &str) -> bool {
        match (self.0.strip_prefix('*'), self.0.strip_suffix('*')) {
            (Some(end), _) => text.ends_with(end),
            (None, Some(begin)) => text.starts_with(begin),
            (None, None) => self.0 == text,
        }
    }

    /// The rest of a pattern that begins with `word`.
    pub(super) fn after(&self, word: &str) -> Option<Self> {
        self.0.strip_prefix(word).map(|rest| Self(rest.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_at_one_end() {
        let matches =
            |pattern: &str, text: &str| Pattern::try_from(pattern.to_owned()).unwrap().matches(text);
        assert!(matches("*@lab.org", "ann@lab.org") && !matches("*@lab.org", "ann@lab.org.evil.com"));
        assert!(
            !matches("*@lab.org", "ann@evil-lab.org")
                && matches("*", "")
                && matches("repo:lab/*", "repo:lab/x")
        );
        assert!(matches("ann", "ann") && !matches("ann", "anna") && !matches("ann", "Ann"));
        for bad in ["", "**", "a*b", "*a*"] {
            Pattern::try_from(bad.to_owned()).unwrap_err();
        }
    }
}
