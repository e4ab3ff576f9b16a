//! The configuration: what can be set, its defaults and its bounds.
//!
//! Later sources win: /usr/lib/svcsensor/config.toml, /etc/svcsensor/config.toml, /etc/svcsensor/conf.d/*.toml in the
//! order of their names, variables `SVCSENSOR_SECTION_KEY`, flags. [`load`] reads them.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::lineage;
use crate::proof::approval::Keys;

pub mod dump;
mod exception;
pub mod load;
mod merge;
mod nearest;
pub mod watch;

pub use exception::Exception;
pub use load::{ConfigError, Loaded, Overrides, Sources};
pub use watch::{Watch, WatchPath};

/// JSON schema (draft 2020-12) of a configuration file.
pub const SCHEMA: &str = include_str!("../../assets/config.schema.json");

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(title = "svcsensor configuration"))]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where alerts go; several at once are possible.
    pub output: Vec<Output>,
    /// How the kernel is watched.
    pub backend: Backend,
    /// How much the daemon says of itself, on standard error.
    pub log_level: LogLevel,
    /// What is watched.
    pub watch: Watch,
    /// The journal output.
    pub journal: Journal,
    /// Prometheus.
    pub metrics: Metrics,
    /// Bounds of memory.
    pub limits: Limits,
    /// What this machine starts by itself.
    pub inventory: Inventory,
    /// What is expected.
    pub approvals: Approvals,
    /// Findings that are expected. The lists of all files add up.
    pub exception: Vec<Exception>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            output: vec![Output::Journal],
            backend: Backend::Auto,
            log_level: LogLevel::Info,
            watch: Watch::default(),
            journal: Journal::default(),
            metrics: Metrics::default(),
            limits: Limits::default(),
            inventory: Inventory::default(),
            approvals: Approvals::default(),
            exception: Vec::new(),
        }
    }
}

/// Section `[inventory]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Inventory {
    /// Whether one is kept. Without it what changes while the sensor does not run is not noticed.
    pub enabled: bool,
    /// Where: a directory that is root's alone. Approvals lie below it as well.
    pub directory: PathBuf,
}

impl Default for Inventory {
    fn default() -> Self {
        Self { enabled: true, directory: PathBuf::from(crate::proof::inventory::store::DIRECTORY) }
    }
}

/// Section `[approvals]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Approvals {
    /// Folder of signed files: `NAME.toml`, beside it `NAME.toml.minisig`.
    pub directory: PathBuf,
    /// Public keys of minisign whose signatures count: the second line of the `.pub` file.
    pub keys: Vec<String>,
}

impl Default for Approvals {
    fn default() -> Self {
        Self { directory: PathBuf::from(crate::proof::approval::SIGNED), keys: Vec::new() }
    }
}

/// A form in which alerts leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// For people, on standard output.
    Pretty,
    /// One ECS document a line, on standard output.
    Jsonl,
    /// To journald.
    Journal,
}

/// How the kernel is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The best that this kernel allows.
    Auto,
    /// BPF programs on LSM hooks.
    Lsm,
    /// BPF programs on the entry of the LSM hooks' functions.
    Fentry,
    /// fanotify(7), with BPF for processes only.
    Fanotify,
}

/// How much the daemon says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Failures.
    Error,
    /// And what may become one.
    Warn,
    /// And what changes.
    Info,
    /// And why.
    Debug,
    /// And each step.
    Trace,
}

/// Section `[journal]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    /// journald's socket for native messages.
    pub socket: PathBuf,
    /// Entries that are kept while journald does not take them.
    #[cfg_attr(test, schemars(range(min = 1, max = 65_536)))]
    pub queue_entries: u32,
    /// Bytes that are kept while journald does not take them.
    #[cfg_attr(test, schemars(range(min = 65_536, max = 67_108_864)))]
    pub queue_bytes: u32,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/systemd/journal/socket"),
            queue_entries: 1024,
            queue_bytes: 4 << 20,
        }
    }
}

/// Section `[metrics]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Address and port of /metrics, /livez and /readyz; `none` for no server.
    #[cfg_attr(test, schemars(with = "String"))]
    pub address: MetricsAddress,
}

/// An address to listen on, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsAddress(pub Option<SocketAddr>);

impl Default for MetricsAddress {
    fn default() -> Self {
        Self(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9543))))
    }
}

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(None));
        }
        let address = text.parse().map_err(|_| {
            format!("`{text}` is no address with a port, like 127.0.0.1:9543 or [::1]:9543, and not `none`")
        })?;
        Ok(Self(Some(address)))
    }
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(formatter),
            None => formatter.write_str("none"),
        }
    }
}

impl Serialize for MetricsAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MetricsAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Section `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Processes that are remembered while they run or running ones descend from them.
    #[cfg_attr(test, schemars(range(min = 256, max = 1_048_576)))]
    pub process_table_entries: u32,
    /// Bytes of the ring buffer between kernel and daemon; a power of two.
    #[cfg_attr(test, schemars(range(min = 65_536, max = 268_435_456)))]
    pub ring_buffer_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            process_table_entries: lineage::Limits::default().processes as u32,
            ring_buffer_bytes: sensor_common::limits::RING_BYTES as u32,
        }
    }
}

impl Config {
    /// Checks what the types do not: the first problem as the key and what is wrong with it.
    ///
    /// # Errors
    /// Key (of an element of a list with its index: `watch.extra[2]`) and problem.
    pub fn check(&self) -> Result<(), (String, String)> {
        let bounds: [(&str, u32, u32, u32); 4] = [
            ("journal.queue_entries", self.journal.queue_entries, 1, 1 << 16),
            ("journal.queue_bytes", self.journal.queue_bytes, 1 << 16, 1 << 26),
            ("limits.process_table_entries", self.limits.process_table_entries, 1 << 8, 1 << 20),
            ("limits.ring_buffer_bytes", self.limits.ring_buffer_bytes, 1 << 16, 1 << 28),
        ];
        for (key, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                return Err((key.to_owned(), format!("{value} is not between {least} and {most}")));
            }
        }
        if !self.limits.ring_buffer_bytes.is_power_of_two() {
            // bpf(2), BPF_MAP_TYPE_RINGBUF.
            let problem = format!("{} is no power of two", self.limits.ring_buffer_bytes);
            return Err(("limits.ring_buffer_bytes".to_owned(), problem));
        }
        if self.output.is_empty() {
            return Err(("output".to_owned(), "must name at least one of pretty, jsonl, journal".to_owned()));
        }
        for (position, output) in self.output.iter().enumerate() {
            if self.output[..position].contains(output) {
                return Err((format!("output[{position}]"), "is there already".to_owned()));
            }
        }
        // sun_path has 108 bytes, one of them the NUL (unix(7)).
        let socket = self.journal.socket.as_os_str().len();
        if !self.journal.socket.is_absolute() || socket > 107 {
            let problem = "must be an absolute path of at most 107 bytes".to_owned();
            return Err(("journal.socket".to_owned(), problem));
        }
        for (key, directory) in [
            ("inventory.directory", &self.inventory.directory),
            ("approvals.directory", &self.approvals.directory),
        ] {
            if !directory.is_absolute() {
                return Err((key.to_owned(), "must be an absolute path".to_owned()));
            }
        }
        Keys::parse(&self.approvals.keys)
            .map_err(|(position, problem)| (format!("approvals.keys[{position}]"), problem))?;
        if self.exception.len() > exception::EXCEPTIONS_MAX {
            let problem = format!("has more than {} elements", exception::EXCEPTIONS_MAX);
            return Err(("exception".to_owned(), problem));
        }
        for (position, one) in self.exception.iter().enumerate() {
            let key = || format!("exception[{position}]");
            one.approval().map_err(|problem| (key(), problem))?;
            if self.exception[..position].iter().any(|other| other.name == one.name) {
                return Err((key(), format!("there is another of the name {}", one.name)));
            }
        }
        for (list, paths) in [("watch.paths", &self.watch.paths), ("watch.extra", &self.watch.extra)] {
            for (position, entry) in paths.iter().enumerate() {
                entry.check().map_err(|problem| {
                    (format!("{list}[{position}]"), format!("path {:?} {problem}", entry.path))
                })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        type Change = fn(&mut Config);
        let broken: [(&str, Change); 9] = [
            ("journal.queue_entries", |config| config.journal.queue_entries = 0),
            ("journal.queue_bytes", |config| config.journal.queue_bytes = u32::MAX),
            ("journal.socket", |config| config.journal.socket = PathBuf::from("socket")),
            ("journal.socket", |config| {
                config.journal.socket = PathBuf::from(format!("/{}", "x".repeat(107)));
            }),
            ("limits.process_table_entries", |config| config.limits.process_table_entries = 255),
            ("limits.ring_buffer_bytes", |config| config.limits.ring_buffer_bytes = (1 << 20) + 1),
            ("output", |config| config.output.clear()),
            ("output[1]", |config| config.output = vec![Output::Jsonl, Output::Jsonl]),
            ("watch.paths[0]", |config| config.watch.paths[0].path = "etc".to_owned()),
        ];
        for (key, change) in broken {
            let mut config = Config::default();
            change(&mut config);
            assert_eq!(config.check().unwrap_err().0, key);
        }
    }

    #[test]
    fn metrics_addresses_are_read_and_written_alike() {
        for text in ["none", "127.0.0.1:9543", "[::1]:80"] {
            assert_eq!(text.parse::<MetricsAddress>().unwrap().to_string(), text);
        }
        assert!("localhost".parse::<MetricsAddress>().unwrap_err().contains("localhost"));
        assert_eq!(MetricsAddress::default().to_string(), "127.0.0.1:9543");
    }

    #[test]
    fn the_committed_schema_is_the_types_own() {
        let generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
        let schema = generator.into_root_schema_for::<Config>().to_value();
        crate::test_support::check_generated("config.schema.json", &schema);
    }

    #[test]
    fn the_schema_takes_the_defaults_and_refuses_unknown_keys() {
        let validator = jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
        let mut config = serde_json::to_value(Config::default()).unwrap();
        assert!(validator.is_valid(&config));
        config["journal"]["sokket"] = "x".into();
        assert!(!validator.is_valid(&config));
    }
}
