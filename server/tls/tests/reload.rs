//! Replaced files.

use super::*;

#[tokio::test]
async fn unusable_files_keep_last_good_ones() {
    let files = TestFiles::new();
    let port = files.port().await;
    let first = port.connect(None).await.expect("accepted").server;
    let reloads = |outcome: &str| port.metric(&format!("reloads_total{{what=\"grpc.tls\",outcome=\"{outcome}\"}}"));
    assert_eq!(port.tls.look(), LookOutcome::Unchanged);
    assert_eq!((reloads("loaded"), port.metric("reload_last_successful{")), (1.0, 1.0));

    // Written one after the other: the pair does not match in between.
    let next = files.authority.issue(&["localhost"], 2020..2081);
    files.write("cert_file", &next.certificate);
    for _ in 0..3 {
        let LookOutcome::Failed(errors) = port.tls.look() else { panic!("it does not match") };
        assert!(errors.to_string().contains("does not match"), "{errors}");
    }
    assert_eq!((reloads("failed"), port.metric("reload_last_successful{")), (1.0, 0.0), "reported once");
    assert!(port.metric("reload_last_failure_timestamp_seconds") > 1.7e9);
    assert_eq!(port.connect(None).await.expect("accepted").server, first, "the last good one stays");

    files.write("key_file", &next.key);
    assert_eq!(port.tls.look(), LookOutcome::Reloaded);
    assert_eq!((reloads("loaded"), port.metric("reload_last_successful{")), (2.0, 1.0));
    assert_eq!(port.connect(None).await.expect("accepted").server, certificates(&next.certificate)[0]);
    assert_eq!(port.metric("tls_certificate_expiry_timestamp_seconds"), 3_502_915_200.0, "2081-01-01");
    assert_eq!(port.tls.look(), LookOutcome::Unchanged);
}

/// Each kind of file that cannot be used changes nothing, and the good files end the failure.
#[tokio::test]
async fn failure_ends_with_good_files() {
    let files = TestFiles::new();
    let port = files.port().await;
    let good = std::fs::read(files.dir.path().join("cert_file")).expect("it exists");
    let expired = files.authority.issue(&["localhost"], 2020..2021).certificate;
    for content in [&b""[..], b"x", &good[..good.len() / 2], expired.as_bytes()] {
        files.write("cert_file", content);
        assert!(matches!(port.tls.look(), LookOutcome::Failed(_)));
        port.connect(None).await.expect("the last good one stays");
        files.write("cert_file", &good);
        assert_eq!(port.tls.look(), LookOutcome::Unchanged);
        assert_eq!(port.metric("reload_last_successful{"), 1.0);
    }
}

/// An expired pair that matches is unusable too: clients would refuse it.
#[tokio::test]
async fn expired_pair_does_not_replace_valid_one() {
    let files = TestFiles::new();
    let port = files.port().await;
    files.write_pair(&files.authority.issue(&["localhost"], 2020..2021));
    let LookOutcome::Failed(errors) = port.tls.look() else { panic!("it has expired") };
    assert!(errors.to_string().contains("expired"), "{errors}");
    port.connect(None).await.expect("the valid one stays");
}

/// A certificate that expires while it is in use is reported, although no file changes.
#[tokio::test]
async fn expiry_of_certificate_in_use_is_reported() {
    let files = TestFiles::new();
    files.write_pair(&files.authority.issue(&["localhost"], 2020..2021));
    let port = files.port().await;
    assert_eq!(port.metric("reload_last_successful{"), 0.0);
    assert!(matches!(port.tls.look(), LookOutcome::Failed(_)));
    files.write_pair(&files.authority.issue(&["localhost"], VALID));
    assert_eq!(port.tls.look(), LookOutcome::Reloaded);
    port.connect(None).await.expect("valid");
}

#[tokio::test]
async fn ca_and_revocation_list_are_reloaded() {
    let (old, new) = (Authority::new(), Authority::new());
    let mut files = TestFiles::with_client_auth(ClientAuth::Required, &old);
    files.config.crl_files = vec![files.write("crl", old.revocation_list(&[], VALID))];
    let port = files.port().await;
    let (before, after) = (old.issue(&["client"], VALID), new.issue(&["client"], VALID));
    let accepts = async |identity: &Identity| port.connect(Some(identity)).await.is_ok();
    assert_eq!((accepts(&before).await, accepts(&after).await), (true, false));

    files.write("crl", old.revocation_list(&[&before], VALID));
    assert_eq!(port.tls.look(), LookOutcome::Reloaded);
    assert!(!accepts(&before).await, "revoked");

    files.write("client_ca_file", new.pem());
    files.write("crl", new.revocation_list(&[], 2020..2085));
    assert_eq!(port.tls.look(), LookOutcome::Reloaded);
    assert_eq!((accepts(&before).await, accepts(&after).await), (false, true));
    assert_eq!(port.metric("tls_crl_expiry_timestamp_seconds"), 3_629_145_600.0, "2085-01-01");
}

/// A Secret of Kubernetes is replaced by renaming a symlink to its directory.
#[tokio::test]
async fn replaced_symlink_of_directory_is_found() {
    let mut files = TestFiles::new();
    let root = files.dir.path().to_owned();
    for (name, years) in [("one", VALID), ("two", 2020..2082)] {
        let (dir, identity) = (root.join(name), files.authority.issue(&["localhost"], years));
        std::fs::create_dir(&dir).expect("the directory is ours");
        std::fs::write(dir.join("cert"), identity.certificate).expect("the directory is ours");
        std::fs::write(dir.join("key"), identity.key).expect("the directory is ours");
    }
    let point_to = |target: &str| {
        std::os::unix::fs::symlink(target, root.join("..next")).expect("the directory is ours");
        std::fs::rename(root.join("..next"), root.join("..data")).expect("the directory is ours");
    };
    point_to("one");
    files.config.cert_file = Some(root.join("..data/cert"));
    files.config.key_file = Some(root.join("..data/key"));
    let port = files.port().await;
    assert_eq!(port.tls.look(), LookOutcome::Unchanged);
    point_to("two");
    assert_eq!(port.tls.look(), LookOutcome::Reloaded);
}
