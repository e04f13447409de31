//! What an endpoint runs for whom, whatever its service says: its own configuration decides.

use super::Manager;
use crate::id::{Hash, UserId};
use crate::task::{Failure, FailureCode};
use crate::wire::Assign;
use std::collections::BTreeSet;

/// What the configuration allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allows {
    /// Bodies of functions by their hash, which a body must have to be taken; none: any.
    pub functions: BTreeSet<Hash>,
    /// It takes calls of others than its owner.
    pub guests: bool,
    /// Its owner, if that is known.
    pub owner: Option<UserId>,
}

impl Manager {
    /// Why this call is not run here; `None`: it is.
    pub(super) fn not_allowed(&self, assign: &Assign) -> Option<Failure> {
        let Allows { functions, guests, owner } = &self.config.allows;
        let text = if !functions.is_empty() && !functions.contains(&assign.hash) {
            format!(
                "The endpoint runs {} functions only (endpoint.allowed_functions), and this one, whose body's hash is {}, is \
                 none of them. Call one that it runs, or ask its owner to add this hash.",
                functions.len(),
                assign.hash
            )
        } else if !guests && owner.is_some_and(|owner| owner != assign.user) {
            "The endpoint runs functions without a sandbox, and so for its owner only. Ask him to start it with \
             sandbox.runtime = \"bwrap\", or use another endpoint."
                .to_owned()
        } else {
            return None;
        };
        Some(Failure::new(FailureCode::NotAllowed, text))
    }
}
