//! What this kernel and this process may do.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Whether BPF LSM programs would run: without `bpf` in this list they load, attach and never fire.
#[must_use]
pub fn lsm_active() -> bool {
    lsm_list().is_some_and(|list| list.split(',').any(|name| name.trim() == "bpf"))
}

/// The active security modules; `None` where securityfs is not mounted.
#[must_use]
pub fn lsm_list() -> Option<String> {
    std::fs::read_to_string("/sys/kernel/security/lsm").ok()
}

/// Lifts the limit on locked memory, which kernels before 5.11 charge maps to. Later kernels charge the control
/// group, so a failure is not one: where it matters, creating the maps fails with its own error.
pub fn raise_memlock() {
    let unlimited = Rlimit { current: None, maximum: None };
    if let Err(error) = setrlimit(Resource::Memlock, unlimited) {
        tracing::debug!(%error, "cannot lift the limit on locked memory");
    }
}

/// Hands freed heap back to the kernel.
pub fn return_memory() {
    // SAFETY: malloc_trim(3) has no precondition.
    unsafe { libc::malloc_trim(0) };
}

/// Capabilities as capabilities(7) numbers them.
const CAPABILITIES: [(&str, u32); 6] = [
    ("CAP_DAC_READ_SEARCH", 2),
    ("CAP_SYS_PTRACE", 19),
    ("CAP_SYS_ADMIN", 21),
    ("CAP_SYS_RESOURCE", 24),
    ("CAP_PERFMON", 38),
    ("CAP_BPF", 39),
];

/// Names of the capabilities among those that svcsensor uses which this process lacks (proc(5), `CapEff`).
#[must_use]
pub fn missing_capabilities() -> Vec<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    missing_from(&status)
}

fn missing_from(status: &str) -> Vec<&'static str> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    CAPABILITIES.iter().filter(|(_, bit)| effective >> bit & 1 == 0).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn capabilities_are_read_from_status() {
        assert_eq!(missing_from("Name:\tx\nCapEff:\t000001ffffffffff\n"), Vec::<&str>::new());
        assert_eq!(missing_from("CapEff:\t0000000000000000\n").len(), CAPABILITIES.len());
        assert_eq!(missing_from("CapEff:\t000001bfffffffff\n"), ["CAP_PERFMON"]);
    }

    proptest! {
        #[test]
        fn what_cannot_be_read_is_missing(status in "(CapEff:|[0-9a-fxé:\\t\\n ]){0,20}") {
            let known = missing_from(&status).len() < CAPABILITIES.len();
            prop_assert!(!known || status.contains("CapEff:"));
        }
    }
}
