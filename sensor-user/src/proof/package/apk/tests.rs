use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::{Digest, Manager, Packages, Verdict};
use super::installed;
use crate::source::content::Root;

/// As apk 2.14 writes it. The checksums are what `openssl sha1 -binary | base64` gives for the script and for the link's target.
const INSTALLED: &[u8] =
    b"C:Q1pGPBHtRCYmcJE5aRCHuFYUWtWOI=\nP:openrc\nV:0.55.1-r2\nA:x86_64\nS:1\nF:etc\nF:etc/init.d\n\
    R:one\na:0:0:755\nZ:Q1omekF2eGfHkruHcdTRuR58ZX7yI=\nR:link\na:0:0:777\nZ:Q1xiHAjLOGBIviAMP6zNXKCV2EHbg=\n\
    F:usr/sbin\nR:plain\n\nP:two\nV:1\nF:usr/sbin\nR:two\nZ:Q1AAAA\n\n";

fn verdict(packages: &mut Packages, path: &str) -> Verdict {
    packages.refresh();
    packages.check(path.as_bytes()).verdict
}

#[test]
fn files_and_links_are_proved_by_their_checksum() {
    let directory = tempfile::tempdir().unwrap();
    let at = |path: &str| directory.path().join(path);
    for path in ["lib/apk/db", "etc/init.d", "usr/sbin"] {
        fs::create_dir_all(at(path)).unwrap();
    }
    fs::write(at("lib/apk/db/installed"), INSTALLED).unwrap();
    fs::write(at("etc/init.d/one"), "#!/sbin/openrc-run\n").unwrap();
    symlink("/usr/sbin/plain", at("etc/init.d/link")).unwrap();
    for name in ["usr/sbin/plain", "usr/sbin/two", "usr/sbin/three"] {
        fs::write(at(name), "").unwrap();
    }
    let mut packages = Packages::open(Arc::new(Root::open(directory.path().to_str().unwrap()).unwrap()));
    let status = packages.status().remove(0);
    assert_eq!((status.manager, status.packages, status.problems.len()), (Manager::Apk, 2, 0));
    for path in ["/etc/init.d/one", "/etc/init.d/link"] {
        let Verdict::Proved { package } = verdict(&mut packages, path) else { panic!("{path} is proved") };
        assert_eq!((package.name.as_str(), package.version.as_str()), ("openrc", "0.55.1-r2"));
    }
    // Without a checksum, or with one that is none.
    for path in ["/usr/sbin/plain", "/usr/sbin/two", "/etc/init.d"] {
        assert!(matches!(verdict(&mut packages, path), Verdict::Claimed { .. }), "{path}");
    }
    assert_eq!(verdict(&mut packages, "/usr/sbin/three"), Verdict::Unowned);
    fs::write(at("etc/init.d/one"), "#!/bin/sh\n").unwrap();
    fs::remove_file(at("etc/init.d/link")).unwrap();
    symlink("/tmp/plain", at("etc/init.d/link")).unwrap();
    for path in ["/etc/init.d/one", "/etc/init.d/link"] {
        assert!(matches!(verdict(&mut packages, path), Verdict::Modified { config: true, .. }), "{path}");
    }
    let script = packages.script(b"/lib/apk/exec/openrc-0.55.1-r2.Q1pGPBHtRC.post-install").unwrap();
    assert_eq!((script.package.unwrap().name.as_str(), script.name.as_str()), ("openrc", "post-install"));
    assert_eq!(packages.script(b"/lib/apk/exec/openrc-0.55.1-r2.sh"), None);

    fs::write(at("lib/apk/db/installed"), [INSTALLED, b"V:1\n"].concat()).unwrap();
    assert!(
        matches!(verdict(&mut packages, "/usr/sbin/three"), Verdict::Unknown { reason } if reason.contains("names no"))
    );
    fs::write(at("lib/apk/db/installed"), "").unwrap();
    assert_eq!(verdict(&mut packages, "/etc/init.d/one"), Verdict::Unowned);
}

proptest! {
    #[test]
    fn any_text_is_read(text in proptest::collection::vec(any::<u8>(), 0..200), middle in 0..INSTALLED.len()) {
        let text = [&INSTALLED[..middle], &text, &INSTALLED[middle..]].concat();
        let mut end = 0;
        for range in installed::paragraphs(&text) {
            prop_assert!(range.start >= end && range.end <= text.len());
            end = range.end;
            let _ = installed::package(&text[range.clone()]);
            installed::files(&text[range], |path, digest| {
                assert!(path.starts_with(b"/"));
                assert!(digest.is_none_or(|digest| matches!(digest, Digest::Sha1(hex) if hex.len() == 40)));
            });
        }
    }
}
