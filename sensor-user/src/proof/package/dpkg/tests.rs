//! A small tree with dpkg's books, changed as dpkg does.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use md5::Digest as _;
use rustix::fs::FileType;
use tempfile::TempDir;

use super::super::{Digest, Manager, Packages, Verdict};
use crate::proof::hex;
use crate::source::content::Root;

struct Tree(TempDir);

impl Tree {
    /// With a merged /usr and one package of a unit, a conffile and a link.
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(tree.at("usr/lib")).unwrap();
        symlink("usr/lib", tree.at("lib")).unwrap();
        fs::create_dir_all(tree.at("var/lib/dpkg/updates")).unwrap();
        tree.put("usr/lib/systemd/system/one.service", "[Service]\n");
        tree.put("etc/one.conf", "a=1\n");
        symlink("one.service", tree.at("usr/lib/systemd/system/alias.service")).unwrap();
        let list = "/.\n/lib\n/lib/systemd\n/lib/systemd/system\n/lib/systemd/system/one.service\n/etc/one.conf\n\
            /lib/systemd/system/alias.service\n";
        tree.put("var/lib/dpkg/info/one.list", list);
        let sums = format!("{}  lib/systemd/system/one.service\n", md5("[Service]\n"));
        tree.put("var/lib/dpkg/info/one.md5sums", &sums);
        tree.put("var/lib/dpkg/info/one.postinst", "#!/bin/sh\n");
        tree.put("var/lib/dpkg/status", &stanza("one", "1", "install ok installed", &md5("a=1\n")));
        tree
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn put(&self, path: &str, content: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = path.with_extension("written");
        fs::write(&new, content).unwrap();
        fs::rename(new, path).unwrap();
    }

    fn packages(&self) -> Packages {
        Packages::open(Arc::new(Root::open(self.0.path().to_str().unwrap()).unwrap()))
    }
}

fn md5(content: &str) -> String {
    hex(&md5::Md5::digest(content))
}

fn stanza(name: &str, version: &str, status: &str, conffile: &str) -> String {
    format!(
        "Package: {name}\nStatus: {status}\nArchitecture: amd64\nVersion: {version}\nConffiles:\n \
         /etc/{name}.conf {conffile}\n\n"
    )
}

/// `proved one 1`, `modified one config`, ...
fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Proved { package } => format!("proved {} {}", package.name, package.version),
        Verdict::Modified { package, config } => {
            format!("modified {}{}", package.name, if *config { " config" } else { "" })
        }
        Verdict::Claimed { package } => format!("claimed {}", package.name),
        Verdict::Unowned => "unowned".to_owned(),
        Verdict::Unknown { reason } => format!("unknown {reason}"),
    }
}

fn ask(packages: &mut Packages, path: &str) -> String {
    packages.refresh();
    told(&packages.check(path.as_bytes()).verdict)
}

#[test]
fn content_proves_by_either_name_of_a_merged_usr() {
    let tree = Tree::new();
    let mut packages = tree.packages();
    for path in ["/lib/systemd/system/one.service", "/usr/lib/systemd/system/one.service"] {
        assert_eq!(ask(&mut packages, path), "proved one 1", "{path}");
    }
    assert_eq!(ask(&mut packages, "/etc/one.conf"), "proved one 1");
    assert_eq!(ask(&mut packages, "/usr/lib/systemd/system"), "claimed one");
    tree.put("etc/one.conf", "a=2\n");
    tree.put("usr/lib/systemd/system/two.service", "");
    assert_eq!(ask(&mut packages, "/etc/one.conf"), "modified one config");
    assert_eq!(ask(&mut packages, "/usr/lib/systemd/system/two.service"), "unowned");
    fs::remove_file(tree.at("etc/one.conf")).unwrap();
    let checked = packages.check(b"/etc/one.conf");
    assert_eq!((told(&checked.verdict).as_str(), checked.object), ("modified one config", None));
    // A link where the package has a file.
    fs::remove_file(tree.at("usr/lib/systemd/system/one.service")).unwrap();
    symlink("/tmp/x", tree.at("usr/lib/systemd/system/one.service")).unwrap();
    assert_eq!(ask(&mut packages, "/lib/systemd/system/one.service"), "modified one");
}

#[test]
fn links_are_proved_by_what_they_lead_to() {
    let tree = Tree::new();
    fs::create_dir_all(tree.at("etc/systemd/system/multi-user.target.wants")).unwrap();
    let link = |name: &str, target: &str| symlink(target, tree.at("etc/systemd/system").join(name)).unwrap();
    link("multi-user.target.wants/one.service", "/lib/systemd/system/one.service");
    link("other.service", "/lib/systemd/system/one.service");
    link("masked.service", "/dev/null");
    let mut packages = tree.packages();
    let mut proof = |path: &str| {
        let checked = packages.check(path.as_bytes());
        (told(&checked.verdict), told(&checked.proof(path.as_bytes())))
    };
    let is = |own: &str, with_end: &str| (own.to_owned(), with_end.to_owned());
    let enabled = "/etc/systemd/system/multi-user.target.wants/one.service";
    assert_eq!(proof(enabled), is("unowned", "proved one 1"));
    assert_eq!(proof("/lib/systemd/system/alias.service"), is("claimed one", "proved one 1"));
    // An alias needs the unit's own `Alias=`; a mask is nobody's.
    assert_eq!(proof("/etc/systemd/system/other.service"), is("unowned", "unowned"));
    assert_eq!(proof("/etc/systemd/system/masked.service"), is("unowned", "unowned"));
    let checked = packages.check(enabled.as_bytes());
    assert_eq!(checked.object.unwrap().target.unwrap(), b"/lib/systemd/system/one.service");
    let end = checked.end.unwrap();
    assert_eq!(end.path, b"/usr/lib/systemd/system/one.service");
    assert_eq!(end.checked.object.unwrap().sha256.unwrap(), hex(&sha2::Sha256::digest("[Service]\n")));
}

#[test]
fn a_transaction_is_followed_step_by_step() {
    let tree = Tree::new();
    let mut packages = tree.packages();
    let unit = "/usr/lib/systemd/system/one.service";
    let note = |number: u32, status: &str, version: &str, conffile: &str| {
        let path = format!("var/lib/dpkg/updates/{number:04}");
        tree.put(&path, &stanza("one", version, status, conffile));
    };
    let old = md5("a=1\n");
    tree.put("var/lib/dpkg/tmp.ci/control", "Package: one\nVersion: 2\nArchitecture: amd64\n");
    let sums = format!("{}  lib/systemd/system/one.service\n", md5("[Service]\nUser=x\n"));
    tree.put("var/lib/dpkg/tmp.ci/md5sums", &sums);
    tree.put("usr/lib/systemd/system/one.service.dpkg-new", "[Service]\nUser=x\n");
    // What lies in tmp.ci counts only when the books say that its package is being unpacked.
    tree.put("usr/lib/systemd/system/one.service", "[Service]\nUser=x\n");
    assert_eq!((ask(&mut packages, unit), packages.under_way()), ("modified one".to_owned(), vec![]));
    tree.put("usr/lib/systemd/system/one.service", "[Service]\n");

    note(0, "install reinstreq half-installed", "1", &old);
    assert_eq!(ask(&mut packages, unit), "proved one 1");
    let state = packages.under_way().remove(0);
    assert_eq!((state.manager, state.state.as_str()), (Manager::Dpkg, "half-installed"));
    let new = packages.check_as(format!("{unit}.dpkg-new").as_bytes(), unit.as_bytes());
    assert_eq!(told(&new.verdict), "proved one 2");
    let script = packages.script(b"/var/lib/dpkg/tmp.ci/preinst").unwrap();
    assert_eq!((script.package.unwrap().version.as_str(), script.name.as_str()), ("2", "preinst"));

    tree.put("usr/lib/systemd/system/one.service", "[Service]\nUser=x\n");
    assert_eq!(ask(&mut packages, unit), "proved one 2");
    tree.put("var/lib/dpkg/info/one.list", "/.\n/lib/systemd/system/one.service\n/lib/new\n/etc/one.conf\n");
    tree.put("usr/lib/new", "");
    assert_eq!(ask(&mut packages, "/lib/new"), "claimed one");
    fs::remove_dir_all(tree.at("var/lib/dpkg/tmp.ci")).unwrap();
    tree.put("var/lib/dpkg/info/one.md5sums", &sums);
    assert_eq!(ask(&mut packages, unit), "claimed one");
    note(1, "install ok unpacked", "2", &old);
    assert_eq!(ask(&mut packages, unit), "proved one 2");
    assert_eq!(ask(&mut packages, "/usr/lib/systemd/system/alias.service"), "unowned");

    tree.put("etc/one.conf", "a=3\n");
    assert_eq!(ask(&mut packages, "/etc/one.conf"), "modified one config");
    note(2, "install ok unpacked", "2", &md5("a=3\n"));
    assert_eq!(ask(&mut packages, "/etc/one.conf"), "proved one 2");
    // The journal is merged, and begins anew.
    tree.put("var/lib/dpkg/status", &stanza("one", "2", "install ok installed", &md5("a=3\n")));
    for number in 0..3 {
        fs::remove_file(tree.at(&format!("var/lib/dpkg/updates/{number:04}"))).unwrap();
    }
    assert_eq!((ask(&mut packages, unit), packages.under_way()), ("proved one 2".to_owned(), vec![]));
    note(0, "deinstall ok config-files", "2", &md5("a=3\n"));
    tree.put("var/lib/dpkg/info/one.list", "/etc\n/etc/one.conf\n");
    assert_eq!(ask(&mut packages, unit), "unowned");
    assert_eq!(ask(&mut packages, "/etc/one.conf"), "proved one 2");
    note(1, "purge ok not-installed", "2", "");
    assert_eq!(ask(&mut packages, "/etc/one.conf"), "unowned");
}

#[test]
fn the_index_survives_a_hundred_upgrades() {
    let tree = Tree::new();
    let mut packages = tree.packages();
    for version in 2..100 {
        let list = format!("/.\n/lib/systemd/system/one.service\n/usr/{version}\n");
        tree.put("var/lib/dpkg/info/one.list", &list);
        tree.put("var/lib/dpkg/status", &stanza("one", &version.to_string(), "install ok installed", "-"));
        packages.refresh();
        let owner = |path: String, packages: &mut Packages| packages.claims(path.as_bytes()).pop();
        let claim = owner(format!("/usr/{version}"), &mut packages).expect("the new file is claimed");
        assert_eq!(claim.package.version, version.to_string());
        assert_eq!(owner(format!("/usr/{}", version - 1), &mut packages), None);
    }
    assert!(packages.status()[0].paths < 100, "{:?}", packages.status());
}

#[test]
fn diversions_and_alternatives_are_followed() {
    let tree = Tree::new();
    tree.put("var/lib/dpkg/diversions", "/lib/systemd/system/one.service\n/lib/one.distrib\ntwo\n");
    let two = stanza("two", "7", "install ok installed", "newconffile");
    let one = fs::read_to_string(tree.at("var/lib/dpkg/status")).unwrap();
    tree.put("var/lib/dpkg/status", &(one + &two));
    tree.put("var/lib/dpkg/info/two.list", "/lib/systemd/system/one.service\n/usr/lib/tool.basic\n");
    let sums = format!("{}  lib/systemd/system/one.service\n{0}  usr/lib/tool.basic\n", md5("two\n"));
    tree.put("var/lib/dpkg/info/two.md5sums", &sums);
    tree.put("usr/lib/one.distrib", "[Service]\n");
    tree.put("usr/lib/systemd/system/one.service", "two\n");
    tree.put("usr/lib/tool.basic", "two\n");
    tree.put("var/lib/dpkg/alternatives/tool", "auto\n/usr/lib/tool\n\n/usr/lib/tool.basic\n30\n\n");
    fs::create_dir_all(tree.at("etc/alternatives")).unwrap();
    symlink("/etc/alternatives/tool", tree.at("usr/lib/tool")).unwrap();
    symlink("/usr/lib/tool.basic", tree.at("etc/alternatives/tool")).unwrap();
    let mut packages = tree.packages();
    assert_eq!(ask(&mut packages, "/usr/lib/one.distrib"), "proved one 1");
    assert_eq!(ask(&mut packages, "/usr/lib/systemd/system/one.service"), "proved two 7");
    for link in ["/usr/lib/tool", "/lib/tool", "/etc/alternatives/tool"] {
        let checked = packages.check(link.as_bytes());
        let found = (told(&checked.verdict), told(&checked.proof(link.as_bytes())), checked.alternative);
        assert_eq!(found, ("unowned".into(), "proved two 7".into(), Some("tool".into())), "{link}");
    }
    // The same link beside is none of update-alternatives'.
    symlink("/etc/alternatives/tool", tree.at("usr/lib/fool")).unwrap();
    assert_eq!(packages.check(b"/usr/lib/fool").alternative, None);
}

#[test]
fn a_distrusted_or_damaged_database_proves_nothing() {
    let tree = Tree::new();
    let mut packages = tree.packages();
    let unit = "/usr/lib/systemd/system/one.service";
    packages.distrust(Manager::Dpkg, "its md5sums were edited".to_owned());
    assert_eq!(ask(&mut packages, unit), "unknown its md5sums were edited");
    assert_eq!(ask(&mut packages, "/usr/lib/two"), "unowned");
    assert_eq!(packages.status()[0].distrusted.as_deref(), Some("its md5sums were edited"));

    let mut packages = tree.packages();
    let list = tree.at("var/lib/dpkg/info/one.list");
    let text = fs::read_to_string(&list).unwrap();
    fs::File::create(&list).unwrap().set_len(17 << 20).unwrap();
    // It is found out at the first question that leads there.
    assert!(ask(&mut packages, unit).starts_with("unknown /var/lib/dpkg/info/one.list: longer than"));
    tree.put("var/lib/dpkg/info/one.list", &text);
    tree.put("var/lib/dpkg/updates/0000", &stanza("one", "1", "install ok unpacked", "-"));
    assert_eq!(
        (ask(&mut packages, unit), packages.status()[0].problems.len()),
        ("proved one 1".to_owned(), 0)
    );
    fs::remove_file(tree.at("var/lib/dpkg/updates/0000")).unwrap();

    let status = tree.at("var/lib/dpkg/status");
    fs::remove_file(&status).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &status, FileType::Fifo, 0o600.into(), 0).unwrap();
    let mut packages = tree.packages();
    assert_eq!(ask(&mut packages, unit), "unknown /var/lib/dpkg/status: not a regular file");
    fs::remove_file(&status).unwrap();
    fs::File::create(&status).unwrap().set_len(65 << 20).unwrap();
    assert_eq!(
        ask(&mut packages, unit),
        "unknown /var/lib/dpkg/status: longer than 67108864 bytes, not read"
    );
    fs::write(&status, b"Package: one\0\nStatus: install ok installed\n").unwrap();
    assert!(ask(&mut packages, unit).starts_with("unknown /var/lib/dpkg/status: 1 stanzas"));
    fs::remove_file(&status).unwrap();
    assert_eq!(ask(&mut packages, unit), "unknown there is no package database");
}

#[test]
fn what_changes_while_it_is_read_or_is_too_long_is_unknown() {
    let tree = Tree::new();
    let path = tree.at("usr/lib/systemd/system/one.service");
    let mut file = fs::File::create(&path).unwrap();
    file.set_len(32 << 20).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let done = done.clone();
        move || {
            while !done.load(Ordering::Relaxed) {
                file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(b"[Service]\n")).unwrap();
                // The clock of time stamps ticks every 10 ms at the latest.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let mut packages = tree.packages();
    let told = ask(&mut packages, "/usr/lib/systemd/system/one.service");
    done.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert_eq!(told, "unknown it changed while it was read");
    fs::File::create(&path).unwrap().set_len((512 << 20) + 1).unwrap();
    assert_eq!(
        ask(&mut packages, "/usr/lib/systemd/system/one.service"),
        "unknown longer than 512 MiB, not read"
    );
}

#[test]
fn a_new_architecture_replaces_the_old_one() {
    let tree = Tree::new();
    let mut packages = tree.packages();
    let new = stanza("one", "2", "install ok unpacked", "-").replace("amd64", "all");
    tree.put("var/lib/dpkg/updates/0000", &new);
    packages.refresh();
    let all: Vec<_> = packages.packages().into_iter().map(|package| package.architecture).collect();
    assert_eq!(all, ["all"]);
    tree.put("var/lib/dpkg/updates/0001", &new.replace("Conffiles", "Multi-Arch: same\nConffiles"));
    packages.refresh();
    assert_eq!(
        (packages.packages().len(), packages.claims(b"/lib/systemd/system/one.service").len()),
        (1, 1)
    );
    let script = packages.script(b"/var/cache/debconf/tmp.ci/one.config.aB1x9z").unwrap();
    assert_eq!((script.package.unwrap().version.as_str(), script.name.as_str()), ("2", "config"));
}

#[test]
fn multiarch_names_and_both_instances_are_known() {
    let tree = Tree::new();
    let both = |architecture: &str| {
        format!(
            "Package: lib\nStatus: install ok installed\nArchitecture: {architecture}\nMulti-Arch: same\n\
             Version: 3\n\n"
        )
    };
    tree.put("var/lib/dpkg/status", &(both("amd64") + &both("i386")));
    tree.put("var/lib/dpkg/info/lib:amd64.list", "/usr/lib/x86/l\n/usr/doc\n");
    tree.put("var/lib/dpkg/info/lib:i386.list", "/usr/lib/i386/l\n/usr/doc\n");
    tree.put("var/lib/dpkg/info/lib:i386.md5sums", &format!("{}  usr/lib/i386/l\n", md5("")));
    let mut packages = tree.packages();
    let mut owners = |path: &str| {
        let claims = packages.claims(path.as_bytes());
        let mut all: Vec<_> =
            claims.into_iter().map(|claim| (claim.package.architecture, claim.digest)).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    assert_eq!(owners("/usr/lib/x86/l"), [("amd64".to_owned(), None)]);
    assert_eq!(owners("/lib/i386/l"), [("i386".to_owned(), Some(Digest::Md5(md5(""))))]);
    assert_eq!(owners("/usr/doc").len(), 2);
    let script = packages.script(b"/var/lib/dpkg/info/lib:i386.postinst").unwrap();
    assert_eq!(script.package.unwrap().architecture, "i386");
}
