//! A map keyed by users, of which there are few at a time: a sorted list, which for one user costs one comparison.

use crate::id::UserId;

/// What each of some users has.
#[derive(Debug)]
pub(crate) struct ByUser<T>(Vec<(UserId, T)>);

impl<T> Default for ByUser<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> ByUser<T> {
    /// Where the user is, or would be.
    fn find(&self, user: &UserId) -> Result<usize, usize> {
        match self.0.as_slice() {
            [(only, _)] if only == user => Ok(0),
            all => all.binary_search_by(|(known, _)| known.cmp(user)),
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, user: &UserId) -> Option<&T> {
        self.find(user).ok().map(|at| &self.0[at].1)
    }

    pub(crate) fn get_mut(&mut self, user: &UserId) -> Option<&mut T> {
        self.find(user).ok().map(|at| &mut self.0[at].1)
    }

    /// What the user has, which is nothing yet if he was not there.
    pub(crate) fn entry(&mut self, user: UserId) -> &mut T
    where
        T: Default,
    {
        let at = self.find(&user).unwrap_or_else(|at| {
            self.0.insert(at, (user, T::default()));
            at
        });
        &mut self.0[at].1
    }

    /// Changes what the user has, if he is there; he goes if that leaves `true`.
    pub(crate) fn change(&mut self, user: &UserId, change: impl FnOnce(&mut T) -> bool) {
        if let Ok(at) = self.find(user)
            && change(&mut self.0[at].1)
        {
            self.0.remove(at);
        }
    }

    /// The only user and what he has.
    pub(crate) const fn only(&self) -> Option<&(UserId, T)> {
        match self.0.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// In the order of the users.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(UserId, T)> + Clone {
        self.0.iter()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> + Clone {
        self.0.iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.0.retain(|(_, value)| keep(value));
    }
}

impl<T> IntoIterator for ByUser<T> {
    type Item = (UserId, T);
    type IntoIter = std::vec::IntoIter<(UserId, T)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
