//! Key files: nobody else reads them, nothing overwrites them.

use bursa_fabric::{KeyFileError, KeyPair, PublicKey};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_saved_key_is_private_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let keys = KeyPair::generate().unwrap();
    keys.save(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let loaded = KeyPair::load(&path).unwrap();
    assert_eq!(loaded.public, keys.public);
    let again = dir.path().join("again");
    loaded.save(&again).unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());
}

#[test]
fn a_key_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let keys = KeyPair::generate().unwrap();
    keys.save(&path).unwrap();
    let error = KeyPair::generate().unwrap().save(&path).unwrap_err();
    assert!(matches!(error, KeyFileError::Exists { .. }), "{error}");
    assert_eq!(KeyPair::load(&path).unwrap().public, keys.public);
    let nowhere = dir.path().join("no/key");
    assert!(matches!(keys.save(&nowhere), Err(KeyFileError::Io { .. })));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    KeyPair::generate().unwrap().save(&path).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o601, 0o660, 0o777] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = KeyPair::load(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Open { mode: seen, .. } if seen == mode), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    KeyPair::load(&path).unwrap();
}

#[test]
fn a_damaged_file_says_so_and_tells_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    KeyPair::generate().unwrap().save(&one).unwrap();
    KeyPair::generate().unwrap().save(&two).unwrap();
    let (one, two) = (fs::read_to_string(one).unwrap(), fs::read_to_string(two).unwrap());
    let mixed = format!("{}\n{}\n", one.lines().next().unwrap(), two.lines().nth(1).unwrap());
    let secret = &two.lines().nth(1).unwrap()["secret ".len()..];
    let pieces =
        ["".into(), one[..60].into(), "public x\nsecret y\n".into(), mixed, "\u{fffd}".repeat(9_000)];
    for piece in pieces.iter().map(String::as_bytes).chain([&[0xff_u8, 0xfe][..]]) {
        let _ = fs::remove_file(&path);
        fs::write(&path, piece).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let error = KeyPair::load(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Damaged { .. }), "{error}");
        assert!(!error.to_string().contains(secret));
    }
    assert!(matches!(KeyPair::load(dir.path()), Err(KeyFileError::Damaged { .. })));
    assert!(matches!(KeyPair::load(&dir.path().join("none")), Err(KeyFileError::Io { .. })));
}

#[test]
fn a_public_key_is_text_in_json() {
    let key = KeyPair::generate().unwrap().public;
    let text = serde_json::to_string(&key).unwrap();
    assert_eq!(text, format!("\"{key}\""));
    assert_eq!(serde_json::from_str::<PublicKey>(&text).unwrap(), key);
    assert!(serde_json::from_str::<PublicKey>("\"short\"").is_err());
}
