//! What goes into the store and what comes out of it, as plain data.

use super::shares::Shared;
use super::users::NewToken;
use crate::policy::{Share, With};
use crate::scope::Scopes;
use bursa_core::container::Container;
use bursa_core::hub::{Answer, Op, RequestId, Token};
use bursa_core::id::{ContainerId, EndpointId, FunctionId, GroupId, Hash, TaskId, UserId};
use bursa_core::resources::Resources;
use bursa_core::task::{Failure, TaskState};
use bursa_core::time::Wall;
use bursa_core::timings::Timings;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One write: of the hub, or of the registry.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    /// The hub's; answered by its token.
    Hub(Token, Op),
    /// The registry's; answered by the request that waits.
    Registry(RequestId, Change),
}

/// Writes that share a transaction.
pub(crate) type Batch = Vec<Write>;

/// What came of one write; in the order of the writes.
#[derive(Debug)]
pub(crate) enum Done {
    /// Of a hub's write.
    Hub(Token, Result<Answer, String>),
    /// Of a registry's write.
    Registry(RequestId, Result<Changed, String>),
}

impl Done {
    pub(super) const fn is_ok(&self) -> bool {
        !matches!(self, Self::Hub(_, Err(_) | Ok(Answer::Refused { .. })) | Self::Registry(_, Err(_)))
    }
}

/// A change of the registry.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Registers a function and its body.
    AddFunction {
        function: FunctionId,
        user_no: i64,
        name: String,
        description: String,
        python: String,
        hash: Hash,
        body: Bytes,
        container: Option<ContainerId>,
        now: Wall,
    },
    /// Registers a container.
    AddContainer { container: Container, user_no: i64, name: String, description: String, now: Wall },
    /// Hides a container: it stays for accepted tasks.
    DeleteContainer { container: ContainerId, user_no: i64 },
    /// Hides a function: its body stays for accepted tasks.
    DeleteFunction { function: FunctionId, user_no: i64 },
    /// Registers an endpoint.
    AddEndpoint {
        endpoint: EndpointId,
        user_no: i64,
        name: String,
        description: String,
        public_key: String,
        now: Wall,
    },
    /// Lets an endpoint's key in no longer: it may be registered again with another.
    RevokeKey { endpoint: EndpointId, user_no: i64 },
    /// Adds a user with a first token.
    AddUser { user: UserId, name: String, admin: bool, service: bool, token: NewToken, now: Wall },
    /// Ends or gives back a user's access, makes him an administrator or not.
    SetUser { user_no: i64, active: Option<bool>, admin: Option<bool> },
    /// Somebody came with this identity, of whom its issuer says that he is in these groups; at first sight he becomes the
    /// user `user`.
    SeeIdentity {
        user: UserId,
        issuer: String,
        subject: String,
        username: String,
        groups: Vec<String>,
        now: Wall,
    },
    /// From now on this identity is that user.
    LinkIdentity { user_no: i64, issuer: String, subject: String, username: String },
    /// This identity is that user no longer: who comes with it is a new one.
    UnlinkIdentity { user_no: i64, issuer: String, subject: String },
    /// Makes a token.
    AddToken { user_no: i64, token: NewToken, now: Wall },
    /// Revokes a token of this user; `None`: whose ever it is.
    DeleteToken { token: [u8; 16], user_no: Option<i64> },
    /// Notes when a token was used.
    UseToken { hash: [u8; 32], now: Wall },
    /// Shares a thing, or shares it otherwise than before.
    Share { object: Shared, share: Share, now: Wall },
    /// Shares a thing with somebody no longer.
    Unshare { object: Shared, with: With },
    /// The only functions that an endpoint runs; none: any.
    AllowFunctions { endpoint: EndpointId, functions: BTreeSet<FunctionId> },
    /// Adds to the only functions that an endpoint runs.
    AllowMore { endpoint: EndpointId, functions: BTreeSet<FunctionId> },
    /// Takes one of them away: without the last one it runs any.
    AllowLess { endpoint: EndpointId, function: FunctionId },
    /// Makes a group of users; `claim`: of whom this issuer says so is in it.
    AddGroup { group: [u8; 16], user_no: i64, name: String, claim: Option<(String, String)>, now: Wall },
    /// Removes a group of users, and what is shared with it.
    DeleteGroup { group_no: i64 },
    /// Adds a user to a group.
    AddMember { group_no: i64, user_no: i64 },
    /// Takes a user out of a group.
    RemoveMember { group_no: i64, user_no: i64 },
    /// Sets a secret of a user.
    SetSecret { user_no: i64, name: String, sealed: Vec<u8>, now: Wall },
    /// Removes one.
    DeleteSecret { user_no: i64, name: String },
    /// His calls of this function have it, at these endpoints beside his own.
    GrantSecret { user_no: i64, name: String, function: FunctionId, hash: Hash, endpoints: Vec<EndpointId> },
    /// They have it no longer.
    RevokeSecret { user_no: i64, name: String, function: FunctionId },
    /// Removes memoized results of a user, named by their rows.
    ClearMemo { ids: Vec<i64> },
    /// Writes nothing of interest: shows whether the store can write.
    Probe,
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Changed {
    /// It is done.
    Done,
    /// There is no such thing of this user.
    NotFound,
    /// Somebody or something else has this name.
    Taken,
    /// He is the only administrator who is left.
    LastAdmin,
    /// This user.
    User(Arc<UserRow>),
    /// The endpoint's key is let in no longer: this one.
    KeyRevoked { endpoint: EndpointId, public_key: String },
    /// An endpoint.
    Endpoint(Added),
    /// So many were removed.
    Removed(usize),
    /// Calls of these bodies by this user have other secrets from now on; `false`: none.
    Secrets { user: UserId, others: Vec<(Hash, bool)> },
    /// There are as many as there may be.
    Full,
    /// With it there would be so many bytes, which are too many.
    TooLarge(usize),
    /// So many were added.
    Added(usize),
    /// There would be so many, and that is too many: nothing was added.
    TooMany(usize),
}

/// What came of registering an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is new.
    New { endpoint: EndpointId, public_key: String },
    /// It was there with the same owner and key.
    Same,
    /// The id is taken: by another key or user.
    IdTaken,
    /// This key was revoked.
    Revoked,
    /// The id was deleted.
    Deleted,
    /// The key belongs to another endpoint.
    KeyTaken,
    /// The service has as many endpoints as it may have.
    Full,
}

/// A payload: in the row, or in the file of this hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Here(Bytes),
    File(Hash),
}

impl Content {
    /// Bytes of it in memory.
    pub(crate) fn here(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            Self::File(_) => 0,
        }
    }
}

/// A user, as far as decisions need him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserRow {
    pub(crate) no: i64,
    pub(crate) user: UserId,
    pub(crate) name: String,
    /// May do what an administrator may. Of who asks: his token has that scope too.
    pub(crate) admin: bool,
    /// His tokens are valid.
    pub(crate) active: bool,
    /// A program's account, not a person's.
    pub(crate) service: bool,
    pub(crate) created: Wall,
    /// Numbers of the groups that he is in; read for who asks only.
    pub(crate) groups: Vec<i64>,
}

/// A group of users.
#[derive(Debug, Clone)]
pub(crate) struct GroupRow {
    pub(crate) no: i64,
    pub(crate) group: [u8; 16],
    pub(crate) name: String,
    /// Who made it.
    pub(crate) user_no: i64,
    /// An issuer, and what it says of everybody who is in it.
    pub(crate) claim: Option<(String, String)>,
    pub(crate) created: Wall,
}

/// Who a user is elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct IdentityRow {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) username: String,
}

/// A token, without its secret.
#[derive(Debug, Clone)]
pub(crate) struct TokenRow {
    pub(crate) token: [u8; 16],
    pub(crate) name: String,
    pub(crate) created: Wall,
    pub(crate) scopes: Scopes,
    pub(crate) expires: Option<Wall>,
    /// At most a minute before its last use.
    pub(crate) used: Option<Wall>,
}

/// A secret, without its value, and whose calls have it: functions, and endpoints beside the user's own.
#[derive(Debug, Clone)]
pub(crate) struct SecretRow {
    pub(crate) user_no: i64,
    pub(crate) name: String,
    pub(crate) created: Wall,
    pub(crate) updated: Wall,
    pub(crate) grants: Vec<(FunctionId, Vec<EndpointId>)>,
}

/// A secret that calls of one body have.
#[derive(Debug, Clone)]
pub(crate) struct Granted {
    pub(crate) user_no: i64,
    pub(crate) name: String,
    pub(crate) sealed: Vec<u8>,
    /// Where, beside the user's own.
    pub(crate) endpoints: Vec<EndpointId>,
}

/// A registered function, apart from its body.
#[derive(Debug, Clone)]
pub(crate) struct FunctionRow {
    pub(crate) no: i64,
    pub(crate) user_no: i64,
    pub(crate) function: FunctionId,
    pub(crate) hash: Hash,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) python: String,
    /// Where it is called unless the call says otherwise.
    pub(crate) container: Option<ContainerId>,
    pub(crate) size: u64,
    pub(crate) registered: Wall,
}

/// A registered container.
#[derive(Debug, Clone)]
pub(crate) struct ContainerRow {
    pub(crate) no: i64,
    pub(crate) user_no: i64,
    pub(crate) container: Container,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) registered: Wall,
}

/// A registered endpoint.
#[derive(Debug, Clone)]
pub(crate) struct EndpointRow {
    pub(crate) no: i64,
    pub(crate) user_no: i64,
    pub(crate) endpoint: EndpointId,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) registered: Wall,
    /// Its manager's key; `None` while it is revoked.
    pub(crate) public_key: Option<String>,
}

/// A task as accepted, and its end if it has one.
#[derive(Debug, Clone)]
pub(crate) struct TaskRow {
    pub(crate) id: i64,
    pub(crate) task: TaskId,
    pub(crate) group: GroupId,
    pub(crate) function: FunctionId,
    pub(crate) endpoint: EndpointId,
    pub(crate) container: Option<ContainerId>,
    pub(crate) resources: Option<Resources>,
    pub(crate) submitted: Wall,
    /// `None` while live.
    pub(crate) state: Option<TaskState>,
    /// In listings only; elsewhere it is in `end`.
    pub(crate) ended: Option<Wall>,
    pub(crate) end: Option<EndRow>,
}

/// How a task ended.
#[derive(Debug, Clone)]
pub(crate) struct EndRow {
    pub(crate) ended: Wall,
    pub(crate) run_ns: u64,
    pub(crate) timings: Timings,
    pub(crate) starts: u32,
    pub(crate) failure: Option<Failure>,
    pub(crate) output: Bytes,
    pub(crate) payload: Content,
    pub(crate) memo: Option<Memoized>,
}

/// A task's part in memoization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memoized {
    /// Later calls may have its result.
    Stored,
    /// Its result is that of an earlier call: it was sent nowhere.
    Hit,
}

impl Memoized {
    /// The word used in REST, SDK and CLI.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Hit => "hit",
        }
    }
}

/// Memoized results of a user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MemoSums {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) hits: u64,
}

/// Which memoized results are meant.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MemoFilter {
    pub(crate) function: Option<Hash>,
    pub(crate) endpoint: Option<EndpointId>,
}

/// What is said of a result whose payload file is gone.
pub(crate) const RESULT_GONE: &str = "the task ended, and the file of its result is gone from the service's store; \
                                      submit it again, or have the service's host bring the file back";

/// One result as the stream pushes it.
#[derive(Debug, Clone)]
pub(crate) struct ResultRow {
    /// Its number among its user's.
    pub(crate) n: u64,
    pub(crate) task: TaskId,
    pub(crate) state: TaskState,
    pub(crate) payload: Content,
    pub(crate) failure: Option<Failure>,
    pub(crate) output: Bytes,
    pub(crate) memo: Option<Memoized>,
}

/// Which tasks a listing shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct TaskFilter {
    /// Only live ones, or only those that ended so.
    pub(crate) state: Option<Option<TaskState>>,
    pub(crate) endpoint: Option<EndpointId>,
    pub(crate) function: Option<FunctionId>,
    pub(crate) group: Option<GroupId>,
}

/// One page of a listing: rows with numbers below `before`, newest first, at most `limit`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    pub(crate) before: Option<u64>,
    pub(crate) limit: usize,
}
