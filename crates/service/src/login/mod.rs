//! Logins of programs that know Globus Auth: codes that a page gives out, and the key that says who logged in.

mod codes;
mod signer;

pub(crate) use codes::{Asked, Codes, challenge_of};
pub(crate) use signer::Signer;

/// What the names of tokens begin with that logins made: so are they counted.
pub(crate) const NAMED: &str = "login: ";
