//! Who may do what, in one place: a user sees and uses what is his own. Sharing will be decided here.
//!
//! What a user may not see does not exist for him: callers answer both cases with the same `not-found`.

use crate::store::UserRow;

/// Whether `user` may know of a thing that `owner` (his number) has.
pub(crate) const fn may_see(user: &UserRow, owner: i64) -> bool {
    user.no == owner
}

/// Whether `user` may call a function of `function_owner` on an endpoint of `endpoint_owner`.
pub(crate) const fn may_call(user: &UserRow, function_owner: i64, endpoint_owner: i64) -> bool {
    may_see(user, function_owner) && may_see(user, endpoint_owner)
}

/// Whether `user` may change or delete a thing that `owner` has.
pub(crate) const fn may_change(user: &UserRow, owner: i64) -> bool {
    user.no == owner
}

/// Whether `user` may add users, end their access and their tokens.
pub(crate) const fn may_manage_users(user: &UserRow) -> bool {
    user.admin
}
