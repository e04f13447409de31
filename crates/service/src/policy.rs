//! Who may do what: one function, pure, that says no to all it does not know.
//!
//! What a user may not see does not exist for him: callers answer both cases with the same `not-found`.

use crate::store::UserRow;
use bursa_core::id::FunctionId;

/// What somebody wants to do with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Know that it exists, and what its record says.
    See,
    /// Call a function and read its body, submit to an endpoint, run in a container, read the results of a group's tasks.
    Use,
    /// Say what an endpoint allows, revoke its key, cancel tasks, choose the members of a group.
    Change,
    /// Say who else may.
    Share,
    /// Remove it: a token is revoked.
    Delete,
}

impl Action {
    #[cfg(test)]
    const ALL: [Self; 5] = [Self::See, Self::Use, Self::Change, Self::Share, Self::Delete];
}

/// On what.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Object<'a> {
    Function(&'a Access),
    Container(&'a Access),
    Endpoint(&'a Access),
    /// A group of tasks, with their results.
    Tasks(&'a Access),
    /// A token of this user.
    Token(i64),
    /// A group of users: who made it, and its number.
    Group {
        owner: i64,
        no: i64,
    },
    /// A secret of this user.
    Secret(i64),
    /// All users, and what only administrators see.
    Users,
}

/// Whose a thing is and with whom it is shared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) owner: i64,
    pub(crate) shares: Vec<Share>,
}

/// With whom a thing is shared, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) with: With,
    pub(crate) role: Role,
    pub(crate) terms: Terms,
}

/// Somebody, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum With {
    User(i64),
    Group(i64),
    Everybody,
}

/// What a share lets do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    User,
    Admin,
}

/// Within which bounds a share of an endpoint lets it be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// These functions only; empty: any.
    pub(crate) functions: Vec<FunctionId>,
    /// So many core-milliseconds in each period, of all who come by this share together.
    pub(crate) core_ms: Option<(u64, Period)>,
    /// So many tasks that have not ended, for each user.
    pub(crate) at_once: Option<u32>,
}

/// After what time a share's core-hours begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Period {
    Day,
    /// From Monday.
    Week,
}

impl Access {
    /// The shares that this user comes by.
    pub(crate) fn shares_of<'a>(&'a self, user: &'a UserRow) -> impl Iterator<Item = &'a Share> {
        self.shares.iter().filter(|share| match share.with {
            With::User(no) => no == user.no,
            With::Group(no) => user.groups.contains(&no),
            With::Everybody => true,
        })
    }

    fn role(&self, user: &UserRow) -> Option<Role> {
        self.shares_of(user).map(|share| share.role).max()
    }
}

/// Whether `user` may do this.
pub(crate) fn may(user: &UserRow, action: Action, object: Object<'_>) -> bool {
    use Action::{Change, Delete, See, Share, Use};
    match object {
        Object::Function(of) | Object::Container(of) => match action {
            _ if of.owner == user.no => true,
            See | Use => of.role(user).is_some() || (action == See && user.admin),
            Change | Share => of.role(user) == Some(Role::Admin),
            Delete => user.admin,
        },
        Object::Endpoint(of) => match action {
            _ if of.owner == user.no => true,
            See => of.role(user).is_some() || user.admin,
            Use => of.role(user).is_some(),
            Change => of.role(user) == Some(Role::Admin) || user.admin,
            Share => of.role(user) == Some(Role::Admin),
            Delete => user.admin,
        },
        // Results are nobody's business but of those whom their user names.
        Object::Tasks(of) => match action {
            _ if of.owner == user.no => true,
            See | Use => of.role(user).is_some(),
            Change | Share | Delete => false,
        },
        Object::Token(owner) => match action {
            See | Change => owner == user.no,
            Delete => owner == user.no || user.admin,
            Use | Share => false,
        },
        Object::Group { owner, no } => match action {
            See => owner == user.no || user.admin || user.groups.contains(&no),
            Change | Delete => owner == user.no || user.admin,
            Use | Share => false,
        },
        Object::Secret(owner) => owner == user.no,
        Object::Users => user.admin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Action::{Change, Delete, See, Use};
    use bursa_core::id::UserId;
    use bursa_core::time::Wall;

    const OWNER: i64 = 1;
    const GROUP: i64 = 7;

    fn user(no: i64, groups: &[i64], admin: bool) -> UserRow {
        let (user, name) = (UserId::from_bytes([0; 16]), String::new());
        let groups = groups.to_vec();
        UserRow { no, user, name, admin, active: true, service: false, created: Wall(0), groups }
    }

    fn shared(with: With, role: Role) -> Access {
        Access { owner: OWNER, shares: vec![Share { with, role, terms: Terms::default() }] }
    }

    fn allowed(user: &UserRow, object: Object<'_>) -> Vec<Action> {
        Action::ALL.into_iter().filter(|action| may(user, *action, object)).collect()
    }

    /// Each kind of person against each kind of object, shared with nobody, for use, and for administration.
    #[test]
    fn the_table() {
        let owner = user(OWNER, &[], false);
        let stranger = user(2, &[GROUP + 1], false);
        let named = user(3, &[], false);
        let member = user(4, &[5, GROUP], false);
        let admin = user(6, &[], true);
        let all = Action::ALL.as_slice();

        let private = Access { owner: OWNER, shares: Vec::new() };
        for (object, of_admin) in [
            (Object::Function(&private), &[See, Delete][..]),
            (Object::Container(&private), &[See, Delete]),
            (Object::Endpoint(&private), &[See, Change, Delete]),
            (Object::Tasks(&private), &[]),
        ] {
            assert_eq!(allowed(&owner, object), all, "{object:?}");
            for nobody in [&stranger, &named, &member] {
                assert_eq!(allowed(nobody, object), [], "{object:?}");
            }
            assert_eq!(allowed(&admin, object), of_admin, "{object:?}");
        }

        let to_all = shared(With::Everybody, Role::User);
        let kinds: [fn(&Access) -> Object<'_>; 4] = [
            |of| Object::Function(of),
            |of| Object::Container(of),
            |of| Object::Endpoint(of),
            |of| Object::Tasks(of),
        ];
        for kind in kinds {
            for (with, who) in [(With::User(3), &named), (With::Group(GROUP), &member)] {
                let (uses, administers) = (shared(with, Role::User), shared(with, Role::Admin));
                assert_eq!(allowed(who, kind(&uses)), [See, Use], "{uses:?}");
                let of_role = match kind(&administers) {
                    Object::Tasks(_) => &[See, Use][..],
                    _ => &[See, Use, Change, Action::Share],
                };
                assert_eq!(allowed(who, kind(&administers)), of_role, "{administers:?}");
                for access in [&uses, &administers] {
                    assert_eq!(allowed(&stranger, kind(access)), [], "{access:?}");
                    assert_eq!(allowed(&owner, kind(access)), all);
                }
            }
            assert_eq!(allowed(&stranger, kind(&to_all)), [See, Use]);
        }
        // A number of one kind is none of another.
        assert_eq!(
            allowed(&user(GROUP, &[], false), Object::Function(&shared(With::Group(GROUP), Role::User))),
            []
        );
        assert_eq!(allowed(&user(8, &[3], false), Object::Function(&shared(With::User(3), Role::User))), []);

        let group = Object::Group { owner: OWNER, no: GROUP };
        for (who, token, of_group, secret, users) in [
            (&owner, &[See, Change, Delete][..], &[See, Change, Delete][..], all, &[][..]),
            (&stranger, &[], &[], &[], &[]),
            (&member, &[], &[See], &[], &[]),
            (&admin, &[Delete], &[See, Change, Delete], &[], all),
        ] {
            assert_eq!(allowed(who, Object::Token(OWNER)), token);
            assert_eq!(allowed(who, group), of_group);
            assert_eq!(allowed(who, Object::Secret(OWNER)), secret);
            assert_eq!(allowed(who, Object::Users), users);
        }
    }
}
