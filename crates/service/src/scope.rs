//! What a token may be used for: each route needs one of these.

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Register, share and delete functions.
    FunctionsRegister,
    /// Look at functions.
    FunctionsRead,
    /// Register, share and delete containers.
    ContainersRegister,
    /// Register, share and delete endpoints.
    EndpointsManage,
    /// Look at endpoints.
    EndpointsRead,
    /// Submit and cancel tasks.
    TasksSubmit,
    /// Look at tasks and take their results.
    TasksRead,
    /// Make and revoke tokens.
    TokensManage,
    /// Change secrets.
    SecretsManage,
    /// Use what an administrator may.
    Admin,
}

impl Scope {
    pub(crate) const ALL: [Self; 10] = [
        Self::FunctionsRegister,
        Self::FunctionsRead,
        Self::ContainersRegister,
        Self::EndpointsManage,
        Self::EndpointsRead,
        Self::TasksSubmit,
        Self::TasksRead,
        Self::TokensManage,
        Self::SecretsManage,
        Self::Admin,
    ];

    /// The word used in REST, SDK, CLI and store.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::FunctionsRegister => "functions:register",
            Self::FunctionsRead => "functions:read",
            Self::ContainersRegister => "containers:register",
            Self::EndpointsManage => "endpoints:manage",
            Self::EndpointsRead => "endpoints:read",
            Self::TasksSubmit => "tasks:submit",
            Self::TasksRead => "tasks:read",
            Self::TokensManage => "tokens:manage",
            Self::SecretsManage => "secrets:manage",
            Self::Admin => "admin",
        }
    }

    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scopes(u16);

impl Scopes {
    pub(crate) const ALL: Self = Self((1 << Scope::ALL.len()) - 1);
    /// What a token has that was made without saying: all but `admin`.
    pub(crate) const USUAL: Self = Self(Self::ALL.0 & !Scope::Admin.bit());

    pub(crate) const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that `other` has not.
    pub(crate) const fn beyond(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn words(self) -> impl Iterator<Item = &'static str> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope)).map(Scope::as_str)
    }

    /// As the store keeps it: words between blanks.
    pub(crate) fn text(self) -> String {
        self.words().collect::<Vec<_>>().join(" ")
    }

    /// From [`text`](Self::text). A word that is not known any more gives nothing.
    pub(crate) fn of_text(text: &str) -> Self {
        text.split_whitespace().filter_map(Scope::named).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_kept_as_words() {
        for scope in Scope::ALL {
            assert_eq!(Scope::named(scope.as_str()), Some(scope));
            assert_eq!(Scopes::of_text(scope.as_str()).words().collect::<Vec<_>>(), [scope.as_str()]);
        }
        assert_eq!(Scopes::of_text(&Scopes::ALL.text()), Scopes::ALL);
        assert_eq!(Scopes::of_text("tasks:read nonsense"), [Scope::TasksRead].into_iter().collect());
        assert!(Scopes::ALL.has(Scope::Admin) && !Scopes::USUAL.has(Scope::Admin));
        assert_eq!(Scopes::ALL.beyond(Scopes::USUAL).text(), "admin");
    }
}
