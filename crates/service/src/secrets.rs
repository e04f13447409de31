//! Which calls have which secrets: a user's own, granted to the function that he calls, at endpoints that he trusts.

use crate::amqp::foreign::Foreign;
use crate::store::{Error, Granted, Reader};
use crate::vault::Vault;
use bursa_core::id::{EndpointId, Hash, UserId};
use bursa_core::limits;
use bursa_core::secrets::Secrets;
use bursa_core::task::{Failure, FailureCode};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names that change how programs run, or what this worker is.
const RESERVED: [&str; 7] = ["PATH", "HOME", "SHELL", "IFS", "ENV", "TMPDIR", "USER"];
/// All that begin so.
const RESERVED_PREFIXES: [&str; 7] = ["LD_", "DYLD_", "PYTHON", "BURSA_", "BASH_", "MALLOC_", "SLURM_"];

/// Why a secret cannot have this name; `None`: it can.
pub(crate) fn wrong_name(name: &str) -> Option<String> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let begins = name.bytes().next().is_some_and(|first| is_word(first) && !first.is_ascii_digit());
    if !begins || !name.bytes().all(is_word) || name.len() > limits::SECRET_NAME_BYTES {
        let most = limits::SECRET_NAME_BYTES;
        return Some(format!(
            "it is the name of an environment variable: at most {most} letters, digits and underscores, the first no digit"
        ));
    }
    let reserved =
        RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    reserved.then(|| {
        format!(
            "'{name}' says how programs run or belongs to Bursa, so it cannot be a secret; choose another"
        )
    })
}

/// Whose endpoint a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Own,
    Others,
    /// Of Globus Compute: what it is sent is in the clear in its queues.
    Foreign,
}

impl Place {
    pub(crate) const fn of(is_own: bool, is_foreign: bool) -> Self {
        match (is_own, is_foreign) {
            (_, true) => Self::Foreign,
            (true, false) => Self::Own,
            (false, false) => Self::Others,
        }
    }
}

/// Why a call that has these secrets may not run at this endpoint, and what to do; `None`: it may.
pub(crate) fn refusal(granted: &[Granted], endpoint: &EndpointId, at: Place) -> Option<(String, String)> {
    let allowed = |name: &str| {
        let mut grants = granted.iter().filter(|grant| grant.name == name);
        grants.any(|grant| grant.endpoints.contains(endpoint))
    };
    let name = match at {
        Place::Own => return None,
        Place::Foreign => &granted.first()?.name,
        Place::Others => &granted.iter().find(|grant| !allowed(&grant.name))?.name,
    };
    let why = format!("your secret {name} is granted to this function");
    Some(match at {
        Place::Foreign => (
            format!("{why}, and endpoint {endpoint} is one of Globus Compute, which gives calls no secrets"),
            format!("call it at an endpoint of Bursa, or run `bursa secret revoke {name} --function ID`"),
        ),
        _ => (
            format!("{why}, and endpoint {endpoint} is somebody else's, who could read it"),
            format!(
                "call it at an endpoint of yours, or run `bursa secret grant {name} --function ID --endpoint {endpoint}` if \
                 you trust that one, or `bursa secret revoke {name} --function ID`"
            ),
        ),
    })
}

/// Reads secrets for calls that are about to be sent.
#[derive(Debug)]
pub(crate) struct Lender {
    pub(crate) reader: Arc<Reader>,
    pub(crate) vault: Arc<Vault>,
}

impl Lender {
    /// What calls of functions with this body by this user have at this endpoint, or why they may not run there.
    pub(crate) fn find(
        &self,
        user: &UserId,
        hash: &Hash,
        endpoint: &EndpointId,
    ) -> Result<Result<Secrets, Box<Failure>>, Error> {
        let granted = self.reader.granted(user, hash)?;
        let Some(first) = granted.first() else { return Ok(Ok(Secrets::of([]))) };
        let row = self.reader.endpoint(endpoint)?;
        let is_own = row.as_ref().is_some_and(|row| row.user_no == first.user_no);
        let is_foreign = row.and_then(|row| row.public_key).is_some_and(|key| Foreign::owns(&key));
        let failed = |code, why: String| Ok(Err(Box::new(Failure::new(code, why))));
        if let Some((why, next)) = refusal(&granted, endpoint, Place::of(is_own, is_foreign)) {
            return failed(FailureCode::NotAllowed, format!("{why}; {next}"));
        }
        let mut values = BTreeMap::new();
        for grant in &granted {
            let Some(value) = self.vault.unseal(user, &grant.name, &grant.sealed) else {
                let why = format!(
                    "the secret {} was sealed with another key than that of the service's secrets.key; set it again, or have \
                     that file brought back",
                    grant.name
                );
                return failed(FailureCode::EnvironmentFailed, why);
            };
            values.insert(grant.name.as_str(), value);
        }
        Ok(Ok(Secrets::of(values.iter().map(|(name, value)| (*name, value.as_slice())))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_variables_that_change_nothing_else() {
        for name in ["TOKEN", "_t", "AWS_SECRET_ACCESS_KEY", "PATHS", "a1", &"N".repeat(64)] {
            assert_eq!(wrong_name(name), None, "{name}");
        }
        for name in
            ["", "1A", "A-B", "A B", "A=B", "Ä", "A\0", &"N".repeat(65), "PATH", "LD_PRELOAD", "PYTHONPATH"]
        {
            assert!(wrong_name(name).is_some(), "{name:?}");
        }
        for name in ["BURSA_TOKEN", "HOME", "BASH_ENV", "DYLD_INSERT_LIBRARIES"] {
            assert!(wrong_name(name).unwrap().contains("choose another"), "{name}");
        }
    }

    #[test]
    fn who_could_read_them_gets_them_only_where_that_was_said() {
        let (here, there) = (EndpointId::from_bytes([1; 16]), EndpointId::from_bytes([2; 16]));
        let granted = |name: &str, endpoints: &[EndpointId]| {
            let (name, endpoints) = (name.to_owned(), endpoints.to_vec());
            Granted { user_no: 1, name, sealed: Vec::new(), endpoints }
        };
        let named = |granted: &[Granted], at| {
            refusal(granted, &there, at).map(|(why, next)| format!("{why}; {next}"))
        };
        assert_eq!(named(&[], Place::Others), None);
        assert_eq!(named(&[], Place::Foreign), None);
        assert_eq!(named(&[granted("A", &[])], Place::Own), None);
        assert_eq!(named(&[granted("A", &[here, there])], Place::Others), None);
        // By one of two grants to the same code.
        assert_eq!(named(&[granted("A", &[]), granted("A", &[there])], Place::Others), None);
        let both = [granted("A", &[there]), granted("B", &[here])];
        assert!(named(&both, Place::Others).unwrap().starts_with("your secret B is granted"));
        assert!(named(&both, Place::Foreign).unwrap().contains("Globus Compute"));
    }
}
