//! Reading the configuration out of its sources.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use thiserror::Error;
use toml::de::DeTable;

use super::merge::{self, Layers, Leaf, Origin};
use super::nearest::nearest;
use super::{Backend, Config, LogLevel, MetricsAddress, Output};

/// Bytes that a configuration file may have.
const FILE_MAX: u64 = 1 << 20;
/// Files that conf.d may have.
const FILES_MAX: usize = 1024;
/// Beginning of the variables that are settings.
const VARIABLE: &str = "SVCSENSOR_";
/// Variables that begin so, and are for other ends: the program object under test, and tests that must not skip.
const NO_SETTINGS: [&str; 2] = ["SVCSENSOR_OBJECT", "SVCSENSOR_REQUIRE_TOOLS"];

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file or directory.
    #[error("{path}: cannot be read: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A value or key.
    #[error("{origin}: {}{problem}{}", key_prefix(key), hint_suffix(hint.as_deref()))]
    Invalid {
        /// Where it stands.
        origin: Origin,
        /// Dotted, with the index of a list's element; empty where the file is no TOML.
        key: String,
        /// What is wrong.
        problem: String,
        /// What was probably meant.
        hint: Option<String>,
    },
}

fn key_prefix(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}

fn hint_suffix(hint: Option<&str>) -> String {
    hint.map_or_else(String::new, |hint| format!("; did you mean `{hint}`?"))
}

/// Settings given as flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Overrides {
    /// Where alerts go; may be repeated, or a list with commas (key `output`, by default journal)
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FORM")]
    pub output: Vec<Output>,
    /// How the kernel is watched (key `backend`, by default auto)
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,
    /// How much the daemon says of itself, on standard error (key `log_level`, by default info)
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
    /// Address and port of /metrics, /livez and /readyz, or `none` (key `metrics.address`, by default 127.0.0.1:9543)
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics_address: Option<MetricsAddress>,
    /// journald's socket for native messages (key `journal.socket`, by default /run/systemd/journal/socket)
    #[arg(long, value_name = "PATH")]
    pub journal_socket: Option<PathBuf>,
}

impl Overrides {
    fn table(&self) -> toml::Table {
        let mut layers = Layers::default();
        let mut set = |key: &str, value: Result<toml::Value, toml::ser::Error>| {
            let value = value.expect("enums and strings always become TOML");
            layers.set(key, Leaf { value, origins: Vec::new() });
        };
        if !self.output.is_empty() {
            set("output", toml::Value::try_from(&self.output));
        }
        if let Some(backend) = self.backend {
            set("backend", toml::Value::try_from(backend));
        }
        if let Some(level) = self.log_level {
            set("log_level", toml::Value::try_from(level));
        }
        if let Some(address) = self.metrics_address {
            set("metrics.address", toml::Value::try_from(address));
        }
        if let Some(socket) = &self.journal_socket {
            set("journal.socket", Ok(toml::Value::String(socket.to_string_lossy().into_owned())));
        }
        layers.to_table()
    }
}

/// What is read, in order. Later ones win.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Files that may be missing.
    pub optional: Vec<PathBuf>,
    /// A directory, which may be missing, of `*.toml` in the order of their names.
    pub directory: Option<PathBuf>,
    /// A file that must be there.
    pub required: Option<PathBuf>,
    /// Variables; those that do not begin with `SVCSENSOR_` count for nothing.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags.
    pub overrides: Overrides,
}

impl Sources {
    /// Those of this machine: /usr/lib, /etc, conf.d and the environment; with `file` only that file and the
    /// environment.
    #[must_use]
    pub fn host(file: Option<PathBuf>, overrides: Overrides) -> Self {
        let environment = std::env::vars_os().collect();
        if file.is_some() {
            return Self { required: file, environment, overrides, ..Self::default() };
        }
        Self {
            optional: ["/usr/lib/svcsensor/config.toml", "/etc/svcsensor/config.toml"]
                .map(PathBuf::from)
                .into(),
            directory: Some(PathBuf::from("/etc/svcsensor/conf.d")),
            required: None,
            environment,
            overrides,
        }
    }
}

/// A configuration, and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// What the administrator should know, and that kept nothing from being read.
    pub warnings: Vec<String>,
    pub(super) layers: Layers,
}

/// Reads all sources and checks what they give together.
///
/// # Errors
/// [`ConfigError`] of the first file that cannot be read, or of the first key or value that is not valid.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut layers = built_in();
    let known = known_keys();
    let mut warnings = Vec::new();

    let mut files: Vec<(PathBuf, bool)> = sources.optional.iter().map(|path| (path.clone(), false)).collect();
    if let Some(directory) = &sources.directory {
        files.extend(drop_ins(directory)?.into_iter().map(|path| (path, false)));
    }
    files.extend(sources.required.iter().map(|path| (path.clone(), true)));
    for (path, required) in files {
        match read(&path, &mut warnings) {
            Ok(text) => add_file(&mut layers, &known, path, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => {}
            Err(source) => return Err(ConfigError::Read { path, source }),
        }
    }
    add_environment(&mut layers, &known, &sources.environment, &mut warnings)?;
    layers.set_all(sources.overrides.table(), &|_| vec![Origin::CommandLine]);

    let config = Config::deserialize(layers.to_table())
        .map_err(|error| invalid(Origin::CommandLine, String::new(), error.message(), &known))?;
    config.check().map_err(|(key, problem)| {
        let (list, index) = key.split_once('[').unwrap_or((&key, "0"));
        let index = index.trim_end_matches(']').parse().unwrap_or(0);
        let origin = layers.get(list).map_or(Origin::BuiltIn, |leaf| leaf.origin(index).clone());
        ConfigError::Invalid { origin, key, problem, hint: None }
    })?;
    warnings.extend(config.exception.iter().filter_map(super::Exception::warning));
    Ok(Loaded { config, warnings, layers })
}

fn built_in() -> Layers {
    let table = toml::Table::try_from(Config::default()).expect("the defaults are tables, lists and scalars");
    let mut layers = Layers::default();
    layers.set_all(table, &|_| vec![Origin::BuiltIn]);
    layers
}

/// Dotted keys of all settings, and those of the tables in lists (`watch.paths.class`).
fn known_keys() -> Vec<String> {
    let mut config = Config::default();
    // An empty list would not tell what its tables have.
    config.watch.extra.clone_from(&config.watch.paths);
    let some = || Some(String::new());
    config.exception = vec![super::Exception {
        expires: some(),
        rule: some(),
        path: some(),
        unit: some(),
        sha256: some(),
        exe: some(),
        image: some(),
        package: some(),
        ..super::Exception::default()
    }];
    let table = toml::Table::try_from(config).expect("the defaults are tables, lists and scalars");
    let mut known = Vec::new();
    for (key, value) in merge::leaves(table) {
        if let Some(element) = value.as_array().and_then(|list| list.first()?.as_table()) {
            known.extend(element.keys().map(|inner| format!("{key}.{inner}")));
        }
        known.push(key);
    }
    known
}

fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let unreadable = |source| ConfigError::Read { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|extension| extension == "toml") && !hidden {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            return Err(unreadable(io::Error::other(format!("it has more than {FILES_MAX} files"))));
        }
    }
    files.sort();
    Ok(files)
}

/// Symlinks are followed (Kubernetes and NixOS hand files out that way), but nothing that could make us wait is read.
fn read(path: &Path, warnings: &mut Vec<String>) -> io::Result<String> {
    let file: File =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let own = rustix::process::geteuid().as_raw();
    if metadata.mode() & 0o022 != 0 || (metadata.uid() != 0 && metadata.uid() != own) {
        warnings.push(format!(
            "{}: others than root can write it, and switch detection off by it",
            path.display()
        ));
    }
    let mut text = String::new();
    file.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        return Err(io::Error::other(format!("it is larger than {FILE_MAX} bytes")));
    }
    Ok(text)
}

fn add_file(layers: &mut Layers, known: &[String], path: PathBuf, text: &str) -> Result<(), ConfigError> {
    let path = Arc::new(path);
    let at = |offset| Origin::File(Arc::clone(&path), merge::line_of(text, offset));
    let failed = |error: &toml::de::Error, table: Option<&DeTable<'_>>| {
        let offset = error.span().map_or(0, |span| span.start);
        let key = table.map(|table| merge::key_at(table, offset)).unwrap_or_default();
        invalid(at(offset), key, error.message(), known)
    };
    let spanned = DeTable::parse(text).map_err(|error| failed(&error, None))?;
    let spanned = spanned.get_ref();
    // Each file is checked by itself, so that an error has the line at which it stands.
    toml::from_str::<Config>(text).map_err(|error| failed(&error, Some(spanned)))?;
    let table: toml::Table = toml::from_str(text).map_err(|error| failed(&error, Some(spanned)))?;
    layers.set_all(table, &|key| merge::offsets(spanned, key).into_iter().map(at).collect());
    Ok(())
}

/// `SVCSENSOR_METRICS_ADDRESS` is `metrics.address`. A string stands as it is, a list of strings may be separated by
/// commas, everything else is written as in TOML.
///
/// A variable that is no setting is only warned of: Kubernetes makes some of its own for every service
/// (`SVCSENSOR_SERVICE_HOST`), and so do the project's tools.
fn add_environment(
    layers: &mut Layers,
    known: &[String],
    variables: &[(OsString, OsString)],
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let mut variables: Vec<_> = variables
        .iter()
        .filter_map(|(name, value)| {
            let name = name.to_str()?;
            (name.starts_with(VARIABLE) && !NO_SETTINGS.contains(&name))
                .then(|| (name.to_owned(), value.clone()))
        })
        .collect();
    variables.sort();
    for (name, value) in variables {
        let key = layers.iter().map(|(key, _)| key.to_owned()).find(|key| variable_name(key) == name);
        let Some(key) = key else {
            warnings.push(format!("${name}: no such setting, it counts for nothing"));
            continue;
        };
        let origin = Origin::Environment(name);
        let Some(text) = value.to_str() else {
            return Err(invalid(origin, key, "is no UTF-8", known));
        };
        let is_text = |value: &toml::Value| value.is_str();
        let value = match layers.get(&key).map(|leaf| &leaf.value) {
            Some(toml::Value::String(_)) => toml::Value::String(text.to_owned()),
            Some(toml::Value::Array(list))
                if list.iter().all(is_text) && !list.is_empty() && !text.starts_with('[') =>
            {
                text.split(',').map(|word| toml::Value::from(word.trim())).collect::<Vec<_>>().into()
            }
            _ => toml::from_str::<toml::Table>(&format!("value = {text}"))
                .ok()
                .and_then(|mut table| table.remove("value"))
                .ok_or_else(|| invalid(origin.clone(), key.clone(), "is no TOML value", known))?,
        };
        Config::deserialize(merge::nested(&key, value.clone()))
            .map_err(|error| invalid(origin.clone(), key.clone(), error.message(), known))?;
        layers.set(&key, Leaf { value, origins: vec![origin] });
    }
    Ok(())
}

fn variable_name(key: &str) -> String {
    format!("{VARIABLE}{}", key.replace('.', "_").to_uppercase())
}

/// serde names what it did not expect, and what it did, in backquotes: "unknown field `a`, expected `b` or `c`".
fn invalid(origin: Origin, key: String, message: &str, known: &[String]) -> ConfigError {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let (problem, hint) = if message.starts_with("unknown field") {
        let name = quoted.next().unwrap_or_default();
        let key = key_without_indices(&key);
        let full = if key.rsplit('.').next() == Some(name) { key } else { format!("{key}.{name}") };
        ("there is no such key".to_owned(), nearest(&full, known.iter().map(String::as_str)))
    } else if message.starts_with("unknown variant") {
        let name = quoted.next().unwrap_or_default();
        let choices: Vec<&str> = quoted.collect();
        (format!("`{name}` is none of {}", choices.join(", ")), nearest(name, choices))
    } else {
        (message.lines().collect::<Vec<_>>().join(" "), None)
    };
    let hint = hint.map(str::to_owned);
    ConfigError::Invalid { origin, key, problem, hint }
}

fn key_without_indices(key: &str) -> String {
    let mut plain = String::new();
    let mut inside = false;
    for character in key.chars() {
        match character {
            '[' => inside = true,
            ']' => inside = false,
            other if !inside => plain.push(other),
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests;
