//! Tests of homes on a real file system.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn device() -> Device {
    Device {
        cluster: ClusterId([1; 16]),
        account: AccountId([2; 16]),
        account_name: "anna".to_owned(),
        root: NodeId([3; 16]),
        device: DeviceId([4; 16]),
        directory: vec!["directory.example:7400".to_owned()],
        statement_key: [5; 32],
        ca_fingerprint: [6; 32],
    }
}

fn credentials() -> Credentials {
    Credentials { authority: vec![1], certificate: vec![2], private_key: Zeroizing::new(vec![3]) }
}

fn create(path: &Path) -> Result<Home, HomeError> {
    Home::create(path, device(), credentials(), MasterKey([7; 32]))
}

#[test]
fn a_home_comes_back_as_it_was_made_with_private_secrets_and_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/home");
    create(&path).unwrap();
    let home = Home::open(&path).unwrap();
    assert_eq!((home.device, home.master), (device(), MasterKey([7; 32])));
    assert_eq!((home.credentials.authority, home.credentials.certificate), (vec![1], vec![2]));
    assert_eq!(*home.credentials.private_key, [3]);
    for secret in [master::FILE, PRIVATE_KEY] {
        assert_eq!(fs::metadata(path.join(secret)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn nothing_is_overwritten_and_the_error_names_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    create(&empty).unwrap();
    let error = create(&empty).unwrap_err();
    assert!(matches!(&error, HomeError::AlreadyJoined { path } if *path == empty), "{error}");
    let full = folder.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("file"), "mine").unwrap();
    assert!(matches!(create(&full), Err(HomeError::NotEmpty { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_home_that_could_not_be_finished_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    assert!(create(&file).is_err());
    assert!(create(&file.join("below")).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn missing_newer_damaged_and_open_homes_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    let error = Home::open(&path).unwrap_err();
    assert!(error.to_string().ends_with("run: shoal join TICKET"), "{error}");
    create(&path).unwrap();

    fs::set_permissions(path.join(master::FILE), fs::Permissions::from_mode(0o644)).unwrap();
    let error = Home::open(&path).unwrap_err();
    assert!(error.to_string().contains("chmod 600"), "{error}");
    fs::set_permissions(path.join(master::FILE), fs::Permissions::from_mode(0o600)).unwrap();

    for bytes in [&b"SHOALMK1short"[..], &[0; 40], b"SHOALMK10123456789012345678901234567890123"] {
        fs::write(path.join(master::FILE), bytes).unwrap();
        assert!(matches!(Home::open(&path), Err(HomeError::KeyDamaged { path: at }) if at.ends_with(master::FILE)));
    }
    fs::write(path.join(DEVICE), r#"{"format": 2, "anything": []}"#).unwrap();
    assert!(matches!(Home::open(&path), Err(HomeError::Newer { found: 2, .. })));
    for text in ["", "{}", r#"{"format": 1}"#, r#"{"format": 1, "device": {}}"#] {
        fs::write(path.join(DEVICE), text).unwrap();
        assert!(matches!(Home::open(&path), Err(HomeError::Damaged { .. })), "{text}");
    }
}

#[test]
fn a_key_under_a_passphrase_is_locked_until_it_is_unlocked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    create(&path).unwrap();
    let (master, passphrase) = (MasterKey([7; 32]), wrap::tests::passphrase("correct horse"));
    master::replace_at(&path, &master, Some(&passphrase), wrap::tests::CHEAP).unwrap();
    let error = Home::open(&path).unwrap_err();
    assert!(matches!(&error, HomeError::Locked { path: at } if at.ends_with(master::FILE)), "{error}");
    let hour = std::time::Duration::from_secs(3600);
    if let Err(error) = unlocked::unlock(&path, device().device, &master, Clock::System.now(), hour, None) {
        return eprintln!("skipped: {error}");
    }
    assert_eq!(Home::open(&path).unwrap().master, master);
    unlocked::lock(&path).unwrap();
    assert!(matches!(Home::open(&path), Err(HomeError::Locked { .. })));
    fs::remove_file(path.join(master::FILE)).unwrap();
    assert!(matches!(Home::open(&path), Err(HomeError::NoKey { .. })));
    assert_eq!(Identity::open(&path).unwrap().with(master).device, device());
}

#[test]
fn a_renewed_certificate_replaces_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    create(&path).unwrap().replace_certificate(vec![9, 9]).unwrap();
    assert_eq!(Home::open(&path).unwrap().credentials.certificate, [9, 9]);
}

#[test]
fn the_flag_wins_over_the_variable() {
    let (a, b) = (Path::new("a"), OsString::from("b"));
    assert_eq!(locate(Some(a), Some(b.clone())).unwrap(), a);
    assert_eq!(locate(None, Some(b)).unwrap(), Path::new("b"));
    assert!(locate(None, Some(OsString::new())).map_or(true, |path| path.ends_with("shoal")));
}

#[test]
fn golden_text_of_a_home() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    create(&path).unwrap();
    let text = fs::read_to_string(path.join(DEVICE)).unwrap();
    let id = |digit: &str| digit.repeat(16);
    let expected = format!(
        "{{\n  \"format\": 1,\n  \"device\": {{\n    \"cluster\": \"{}\",\n    \"account\": \"{}\",\n    \
         \"account_name\": \"anna\",\n    \"root\": \"{}\",\n    \"device\": \"{}\",\n    \"directory\": [\n      \
         \"directory.example:7400\"\n    ],\n    \"statement_key\": \"{}\",\n    \"ca_fingerprint\": \"{}\"\n  }}\n}}",
        id("01"),
        id("02"),
        id("03"),
        id("04"),
        "05".repeat(32),
        "06".repeat(32),
    );
    assert_eq!(text, expected);
    let master = fs::read(path.join(master::FILE)).unwrap();
    assert_eq!(master, [b"SHOALMK1".as_slice(), &[7; 32]].concat());
}
