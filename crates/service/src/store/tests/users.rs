//! Users, identities and tokens.

use super::*;
use crate::scope::{Scope, Scopes};

const TOKEN: [u8; 32] = [8; 32];

fn token(n: u8, expires: Option<Wall>) -> NewToken {
    let scopes = [Scope::TasksRead].into_iter().collect();
    NewToken { token: [n; 16], hash: [n; 32], name: "t".into(), scopes, expires }
}

fn see(
    store: &mut SqliteStore,
    fresh: u8,
    [issuer, subject, username]: [&str; 3],
    groups: &[&str],
) -> Arc<UserRow> {
    let change = Change::SeeIdentity {
        user: UserId::from_bytes([fresh; 16]),
        issuer: issuer.into(),
        subject: subject.into(),
        username: username.into(),
        groups: groups.iter().map(ToString::to_string).collect(),
        now: Wall(9),
    };
    match registry(store, change) {
        Changed::User(user) => user,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_identity_is_one_user_whose_name_was_nobodys() {
    let mut w = world();
    let first = see(&mut w.store, 2, ["https://a", "1", "ann"], &[]);
    assert_eq!((first.user, first.name.as_str(), first.admin), (UserId::from_bytes([2; 16]), "ann", false));
    // Seen again he is the same, whatever he calls himself.
    let again = see(&mut w.store, 3, ["https://a", "1", "owner"], &[]);
    assert_eq!((again.no, again.name.as_str()), (first.no, "ann"));
    // Another who calls himself so gets another name: what is shared with ann is not his.
    let other = see(&mut w.store, 3, ["https://b", "1", "ann"], &[]);
    assert_ne!(other.no, first.no);
    assert_eq!(other.name, "ann (https://b)");
    let thief = see(&mut w.store, 4, ["https://b", "2", "owner"], &[]);
    assert_ne!(thief.no, w.user.no);
    // Linked, it is that user.
    let link = |user_no| Change::LinkIdentity {
        user_no,
        issuer: "https://b".into(),
        subject: "2".into(),
        username: String::new(),
    };
    registry(&mut w.store, link(first.no));
    assert_eq!(see(&mut w.store, 5, ["https://b", "2", "owner"], &[]).no, first.no);
    let reader = Reader::open(&w.paths).unwrap();
    assert_eq!(reader.identities(first.no).unwrap().len(), 2);
    assert_eq!(reader.user("ann").unwrap().map(|user| user.no), Some(first.no));
    assert_eq!(reader.user(&other.user.to_string()).unwrap().map(|user| user.no), Some(other.no));
}

#[test]
fn an_identity_of_which_nothing_is_new_needs_no_write() {
    let mut w = world();
    let ann = see(&mut w.store, 2, ["https://a", "1", "ann"], &["hpc", "lab"]);
    let reader = Reader::open(&w.paths).unwrap();
    let seen = |who: [&str; 3], groups: &[&str]| {
        let groups: Vec<_> = groups.iter().map(ToString::to_string).collect();
        reader.seen(who, &groups).unwrap().map(|user| user.no)
    };
    assert_eq!(seen(["https://a", "1", "ann"], &["lab", "hpc", "lab"]), Some(ann.no));
    for (who, groups) in [
        (["https://a", "1", "anna"], &["hpc", "lab"][..]),
        (["https://a", "1", "ann"], &["hpc"]),
        (["https://a", "1", "ann"], &["hpc", "lab", "root"]),
        (["https://a", "2", "ann"], &["hpc", "lab"]),
        (["https://b", "1", "ann"], &["hpc", "lab"]),
    ] {
        assert_eq!(seen(who, groups), None, "{who:?} {groups:?}");
    }
    registry(&mut w.store, Change::SetUser { user_no: ann.no, active: Some(false), admin: None });
    let user = reader.seen(["https://a", "1", "ann"], &["hpc".into(), "lab".into()]).unwrap().unwrap();
    assert!(!user.active, "known, and not let in");
}

#[test]
fn a_token_gives_its_scopes_to_an_active_user() {
    let mut w = world();
    let add = Change::AddUser {
        user: UserId::from_bytes([2; 16]),
        name: "ann".into(),
        admin: false,
        service: true,
        token: token(8, Some(Wall(50))),
        now: Wall(7),
    };
    assert_eq!(registry(&mut w.store, add.clone()), Changed::Done);
    assert_eq!(registry(&mut w.store, add), Changed::Taken);
    let reader = Reader::open(&w.paths).unwrap();
    let grant = reader.token(&TOKEN).unwrap().unwrap();
    assert!(grant.user.service && !grant.user.admin);
    assert_eq!((grant.scopes.text().as_str(), grant.expires), ("tasks:read", Some(Wall(50))));
    let (known, gone) = (w.store.knows_token(&TOKEN, Wall(49)), w.store.knows_token(&TOKEN, Wall(50)));
    assert_eq!((known.unwrap(), gone.unwrap()), (true, false));

    registry(&mut w.store, Change::UseToken { hash: TOKEN, now: Wall(33) });
    assert_eq!(reader.tokens(grant.user.no).unwrap()[0].used, Some(Wall(33)));
    let set = |active| Change::SetUser { user_no: grant.user.no, active: Some(active), admin: None };
    registry(&mut w.store, set(false));
    assert!(reader.token(&TOKEN).unwrap().is_none());
    registry(&mut w.store, set(true));
    assert!(reader.token(&TOKEN).unwrap().is_some());
    // Of another nobody revokes it but who may revoke any.
    let delete = |user_no| Change::DeleteToken { token: [8; 16], user_no };
    assert_eq!(registry(&mut w.store, delete(Some(w.user.no))), Changed::NotFound);
    assert_eq!(registry(&mut w.store, delete(None)), Changed::Done);
    assert!(reader.token(&TOKEN).unwrap().is_none());
}

#[test]
fn the_last_administrator_stays_one() {
    let mut w = world();
    assert!(w.user.admin, "the first user is one");
    for (active, admin) in [(Some(false), None), (None, Some(false))] {
        let change = Change::SetUser { user_no: w.user.no, active, admin };
        assert_eq!(registry(&mut w.store, change), Changed::LastAdmin);
    }
}

#[test]
fn tokens_of_an_older_store_keep_their_rights() {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::below(dir.path());
    let old = schema::create_old(&paths, 6);
    for no in [1_u8, 2] {
        let id = [no; 16];
        old.execute(
            "INSERT INTO users (user, name, created) VALUES (?1, ?2, 0)",
            params![id.as_slice(), no.to_string()],
        )
        .unwrap();
        let sql = "INSERT INTO tokens (token, hash, user_no, name, created) VALUES (?1, ?2, ?3, 'x', 0)";
        old.execute(sql, params![id.as_slice(), [no; 32].as_slice(), no]).unwrap();
    }
    drop(old);
    drop(SqliteStore::open(&paths, MEMO, Arc::new(Metrics::default())).unwrap());
    let reader = Reader::open(&paths).unwrap();
    let [owner, other] = [1, 2].map(|no| reader.token(&[no; 32]).unwrap().unwrap());
    assert!(owner.user.admin && !other.user.admin);
    assert_eq!((owner.scopes, other.scopes), (Scopes::ALL, Scopes::USUAL));
    assert_eq!(owner.expires, None);
}
