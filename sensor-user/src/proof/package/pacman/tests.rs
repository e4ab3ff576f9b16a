//! On what pacman wrote (see the README in `fixture`).

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::tests::told;
use super::super::{Digest, Manager, Packages};
use super::{local, mtree};
use crate::source::content::Root;

const PACKAGE: &str = "var/lib/pacman/local/one-2:1.5-3";

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/proof/package/pacman/fixture");
    fs::read(folder.join(name)).unwrap()
}

fn tree() -> (TempDir, impl Fn(&str) -> PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().to_owned();
    let at = move |path: &str| base.join(path);
    for path in [PACKAGE, "usr/lib/systemd/system", "etc"] {
        fs::create_dir_all(at(path)).unwrap();
    }
    for name in ["desc", "files", "mtree"] {
        fs::write(at(PACKAGE).join(name), fixture(name)).unwrap();
    }
    fs::write(at("var/lib/pacman/local/ALPM_DB_VERSION"), "9\n").unwrap();
    fs::write(at("usr/lib/systemd/system/one.service"), "[Service]\nExecStart=/usr/bin/one\n").unwrap();
    std::os::unix::fs::symlink("one.service", at("usr/lib/systemd/system/alias.service")).unwrap();
    fs::write(at("etc/one.conf"), "a=2\n").unwrap();
    fs::write(at("usr/lib/a file"), "x").unwrap();
    (directory, at)
}

#[test]
fn files_and_links_are_proved_by_mtree() {
    let (directory, at) = tree();
    let mut packages = Packages::open(Arc::new(Root::open(directory.path().to_str().unwrap()).unwrap()));
    let status = packages.status().remove(0);
    assert_eq!((status.manager, status.packages, status.problems), (Manager::Pacman, 1, vec![]));
    for (path, expected) in [
        ("/usr/lib/systemd/system/one.service", "proved one 2:1.5-3"),
        ("/usr/lib/systemd/system/alias.service", "proved one 2:1.5-3"),
        ("/usr/lib/a file", "proved one 2:1.5-3"),
        ("/etc/one.conf", "modified one true"),
        ("/usr/lib", "claimed one"),
        ("/usr/bin", "unowned"),
    ] {
        assert_eq!(told(&mut packages, path), expected, "{path}");
    }
    assert!(matches!(packages.claims(b"/etc/one.conf")[0].digest, Some(Digest::Sha256(_))));
    let script = packages.script(b"/var/lib/pacman/local/one-2:1.5-3/install").unwrap();
    assert_eq!(script.package.unwrap().architecture, "x86_64");
    assert_eq!(packages.script(b"/tmp/alpm_a1B2c3/.INSTALL").unwrap().package, None);

    fs::write(at("var/lib/pacman/db.lck"), "").unwrap();
    assert_eq!(packages.under_way()[0].manager, Manager::Pacman);
    // Of a damaged mtree nothing counts, and the package keeps its claim.
    let sound = fixture("mtree");
    fs::write(at(PACKAGE).join("mtree"), &sound[..sound.len() - 20]).unwrap();
    assert_eq!(told(&mut packages, "/usr/lib/a file"), "claimed one");
    // As pacman upgrades: one directory goes, another comes.
    fs::remove_dir_all(at(PACKAGE)).unwrap();
    assert_eq!(told(&mut packages, "/usr/lib/a file"), "unowned");
    let new = at("var/lib/pacman/local/one-2:1.6-1");
    fs::create_dir(&new).unwrap();
    assert!(told(&mut packages, "/usr/lib/a file").contains("one-2:1.6-1: No such file"));
    for (name, content) in [
        ("desc", &b"%NAME%\none\n\n%VERSION%\n2:1.6-1\n"[..]),
        ("files", b"%FILES%\nusr/lib/a file\n\n"),
        ("mtree", &sound),
    ] {
        fs::write(new.join(name), content).unwrap();
    }
    assert_eq!(told(&mut packages, "/usr/lib/a file"), "proved one 2:1.6-1");
}

#[test]
fn a_bomb_is_not_unpacked() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![b' '; 1 << 20];
    (0..80).for_each(|_| packed.write_all(&zeros).unwrap());
    packed.write_all(b"\n./x link=y\n").unwrap();
    // What is behind 64 MiB is not looked at.
    assert_eq!(mtree::find(&packed.finish().unwrap(), &[b"/x".to_vec()]), None);
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>()) {
        let path = [b"/usr/lib/a file".to_vec()];
        for name in ["desc", "files", "mtree"] {
            let mut text = fixture(name);
            let begin = at.index(text.len());
            text.splice(begin..begin, bytes.iter().copied());
            let _ = (local::package(&text), local::files(&text).count(), local::backups(&text).count());
            let _ = (mtree::find(&text, &path), mtree::find_in(&text, &path));
        }
        let line = [b"./usr/lib/a\\040file ", &bytes[..], b" link=b"].concat();
        let _ = mtree::find_in(&line, &path);
    }
}
