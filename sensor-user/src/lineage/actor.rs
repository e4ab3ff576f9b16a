//! Who acted: what an alert says of a process and its ancestors.

use serde::Serialize;

/// A process as an alert names it.
#[expect(clippy::struct_excessive_bools, reason = "four independent facts, each a field of the alert")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Start on `CLOCK_BOOTTIME`, in nanoseconds.
    pub start_boottime_ns: u64,
    /// Thread name.
    pub name: String,
    /// Path of the executable, as its own mount namespace has it.
    pub executable: String,
    /// The executable is a memfd.
    pub memfd: bool,
    /// The executable has no name in any directory.
    pub deleted: bool,
    /// The arguments.
    pub args: Vec<String>,
    /// `args` is only the beginning.
    pub args_truncated: bool,
    /// Working directory.
    pub working_directory: String,
    /// Real user.
    pub user: User,
    /// Effective user id.
    pub euid: u32,
    /// It is known only by pid: it ended before the sensor learned more.
    pub incomplete: bool,
}

impl Process {
    /// Whether there is one: nobody is known to have acted where records were lost, or where a file was found in place.
    /// Pid 0 is the kernel's idle task, which does nothing that is reported.
    pub fn is_known(&self) -> bool {
        self.pid != 0
    }
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct User {
    /// Numeric id.
    pub id: u32,
    /// Name; `None` where the host's user database has none.
    pub name: Option<String>,
}

/// A container as far as the kernel's evidence tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Container {
    /// 64 hexadecimal digits, as engines write it into the control group's path.
    pub id: String,
    /// `docker`, `podman`, `containerd`, `cri-o`; `None` where the path does not tell.
    pub runtime: Option<String>,
    /// What its engine's files call it; `None` where they were not read, or say nothing.
    pub identity: Option<Box<ContainerIdentity>>,
}

/// What an engine's own files say that a container is. What they do not say is `None` or empty; each text is bounded
/// by [`IDENTITY_TEXT_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ContainerIdentity {
    /// Name given by whoever made it, or by the engine.
    pub name: Option<String>,
    /// The image as it was named: `registry/repository:tag`.
    pub image: Option<String>,
    /// The image's digest or id (`sha256:...`).
    pub digest: Option<String>,
    /// Labels, by key; [`LABELS_MAX`] at most.
    pub labels: Vec<(String, String)>,
    /// Of a Kubernetes pod, or podman's.
    pub pod: Option<String>,
    /// The pod's namespace.
    pub namespace: Option<String>,
    /// The pod's uid.
    pub pod_uid: Option<String>,
    /// The pod's service account.
    pub service_account: Option<String>,
}

/// Bytes of each text of a [`ContainerIdentity`].
pub const IDENTITY_TEXT_MAX: usize = 512;
/// Labels of a [`ContainerIdentity`].
pub const LABELS_MAX: usize = 32;

impl ContainerIdentity {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Bytes on the heap, about: texts with their capacity.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let texts = [
            &self.name,
            &self.image,
            &self.digest,
            &self.pod,
            &self.namespace,
            &self.pod_uid,
            &self.service_account,
        ];
        let labels: usize = self.labels.iter().map(|(key, value)| key.capacity() + value.capacity()).sum();
        texts.into_iter().flatten().map(String::capacity).sum::<usize>()
            + self.labels.capacity() * size_of::<(String, String)>()
            + labels
    }
}

impl Container {
    /// What a sentence calls it: `web (nginx:1.25)`, or the beginning of its id.
    #[must_use]
    pub fn title(&self) -> String {
        let short = self.id.get(..12).unwrap_or(&self.id);
        let Some(identity) = &self.identity else { return short.to_owned() };
        let name = match (&identity.pod, &identity.name) {
            (Some(pod), Some(name)) => format!("{name} of pod {pod}"),
            (_, Some(name)) => name.clone(),
            (Some(pod), None) => format!("{short} of pod {pod}"),
            (None, None) => short.to_owned(),
        };
        match &identity.image {
            Some(image) => format!("{name} ({image})"),
            None => name,
        }
    }
}

/// The process that acted, and everything that stands behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// The process.
    pub process: Process,
    /// Its parent, that one's parent, and so on to PID 1.
    pub ancestors: Vec<Process>,
    /// Ancestors beyond the bound, or of no longer known processes, were left out.
    pub ancestors_truncated: bool,
    /// The user who logged in (audit's loginuid); `None` where nobody did.
    pub login_user: Option<User>,
    /// The audit session.
    pub session: Option<u32>,
    /// The container that it runs in.
    pub container: Option<Container>,
    /// Path of its control group; empty where unknown.
    pub cgroup: String,
    /// The systemd unit that the control group belongs to.
    pub unit: Option<String>,
    /// It runs in another mount namespace than PID 1.
    pub foreign_mount_namespace: bool,
    /// Whose request a service manager probably carried out; `None` where the actor acts for itself, or where
    /// nobody is known.
    pub on_behalf_of: Option<Requester>,
}

/// The client that probably asked a service manager for what it did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requester {
    /// How it was found. `request`: its request was read, and names what was done. `recent-request`: its request was
    /// read, came shortly before, and names something else. `recent-client`: of the service tools that ran at that time,
    /// or had ended less than two seconds before, the one that fits best (it names the unit, else it began last); no
    /// proof.
    pub confidence: &'static str,
    /// What it asked for, in words; `None` where that was not read.
    pub request: Option<String>,
    /// The client, its parent, and so on to PID 1.
    pub processes: Vec<Process>,
    /// Ancestors beyond the bound, or of no longer known processes, were left out.
    pub ancestors_truncated: bool,
    /// The user who logged in, of the client.
    pub login_user: Option<User>,
    /// The container that the client runs in.
    pub container: Option<Container>,
}
