use proptest::prelude::*;

use super::*;
use crate::config::WatchPath;
use crate::event::user::WatchClass;

fn sources(directory: &Path) -> Sources {
    Sources {
        optional: vec![directory.join("vendor.toml"), directory.join("etc.toml")],
        directory: Some(directory.join("conf.d")),
        ..Sources::default()
    }
}

fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("conf.d")).unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// The error of one file, without the path of the temporary directory.
fn error_of(text: &str) -> String {
    let directory = written(&[("etc.toml", text)]);
    let error = load(&sources(directory.path())).unwrap_err().to_string();
    error.replace(&format!("{}/", directory.path().display()), "")
}

#[test]
fn without_any_source_the_defaults_are_in_force() {
    let loaded = load(&Sources::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.warnings.is_empty());
    let missing = load(&sources(Path::new("/nonexistent"))).unwrap();
    assert_eq!(missing.config, Config::default());
}

#[test]
fn later_sources_win() {
    let directory = written(&[
        ("vendor.toml", "backend = 'lsm'\n[journal]\nqueue_entries = 1\nqueue_bytes = 100_000\n"),
        ("etc.toml", "[journal]\nqueue_entries = 2\n"),
        ("conf.d/20-b.toml", "journal.queue_entries = 4\nlog_level = 'debug'\n"),
        ("conf.d/10-a.toml", "journal.queue_entries = 3\n"),
        ("conf.d/.hidden.toml", "journal.queue_entries = 9\n"),
        ("conf.d/notes.txt", "not TOML at all"),
    ]);
    let mut sources = sources(directory.path());
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.config.backend, Backend::Lsm);
    assert_eq!((loaded.config.journal.queue_entries, loaded.config.journal.queue_bytes), (4, 100_000));
    assert_eq!(loaded.config.log_level, LogLevel::Debug);

    sources.environment = vec![
        ("SVCSENSOR_JOURNAL_QUEUE_ENTRIES".into(), "5".into()),
        ("SVCSENSOR_OUTPUT".into(), "jsonl, journal".into()),
        ("SVCSENSOR_LOG_LEVEL".into(), "warn".into()),
        ("SVCSENSOR_METRICS_ADDRESS".into(), "none".into()),
        ("HOME".into(), "/root".into()),
    ];
    sources.overrides.log_level = Some(LogLevel::Trace);
    let config = load(&sources).unwrap().config;
    assert_eq!(config.journal.queue_entries, 5);
    assert_eq!(config.output, [Output::Jsonl, Output::Journal]);
    assert_eq!(config.metrics.address, MetricsAddress(None));
    assert_eq!(config.log_level, LogLevel::Trace);
}

#[test]
fn every_flag_arrives() {
    let overrides = Overrides {
        output: vec![Output::Pretty],
        backend: Some(Backend::Fanotify),
        log_level: Some(LogLevel::Error),
        metrics_address: Some(MetricsAddress(None)),
        journal_socket: Some(PathBuf::from("/tmp/socket")),
    };
    let config = load(&Sources { overrides, ..Sources::default() }).unwrap().config;
    let mut expected = Config {
        output: vec![Output::Pretty],
        backend: Backend::Fanotify,
        log_level: LogLevel::Error,
        ..Config::default()
    };
    expected.metrics.address = MetricsAddress(None);
    expected.journal.socket = PathBuf::from("/tmp/socket");
    assert_eq!(config, expected);
}

#[test]
fn watch_lists_are_replaced_and_extended() {
    let directory = written(&[
        ("vendor.toml", "[[watch.extra]]\npath = '/a'\nclass = 'system-unit'\n"),
        ("etc.toml", "[watch]\npaths = [{ path = '/only', class = 'rc-local' }]\nhomes = false\n"),
        ("conf.d/a.toml", "watch.extra = [{ path = '/b', class = 'user-unit' }]\n"),
    ]);
    let watch = load(&sources(directory.path())).unwrap().config.watch;
    let path = |path: &str, class| WatchPath { path: path.to_owned(), class };
    assert_eq!(watch.paths, [path("/only", WatchClass::RcLocal)]);
    assert_eq!(watch.extra, [path("/a", WatchClass::SystemUnit), path("/b", WatchClass::UserUnit)]);
    assert!(!watch.homes);
}

#[test]
fn errors_name_file_line_key_and_what_was_meant() {
    for (text, expected) in [
        ("\n\noutptu = ['pretty']\n", "etc.toml:3: outptu: there is no such key; did you mean `output`?"),
        (
            "[journal]\nsocket = '/x'\nqueue_entrys = 2\n",
            "etc.toml:3: journal.queue_entrys: there is no such key; did you mean `journal.queue_entries`?",
        ),
        ("address = 'none'\n", "etc.toml:1: address: there is no such key; did you mean `metrics.address`?"),
        ("[jurnal]\nx = 1\n", "etc.toml:1: jurnal: there is no such key"),
        (
            "backend = 'lsmm'\n",
            "etc.toml:1: backend: `lsmm` is none of auto, lsm, fentry, fanotify; did you mean `lsm`?",
        ),
        (
            "[[watch.extra]]\npath = '/x'\nclass = 'rc-local'\n[[watch.extra]]\npath = '/y'\nclas = 'rc-local'\n",
            "etc.toml:6: watch.extra[1].clas: there is no such key; did you mean `watch.extra.class`?",
        ),
        (
            "watch.extra = [\n  { path = '/x', class = 'rc-local' },\n  { path = 'y', class = 'rc-local' },\n]\n",
            "etc.toml:3: watch.extra[1]: path \"y\" must begin with / or ~/",
        ),
        (
            "[journal]\nqueue_entries = 'many'\n",
            "etc.toml:2: journal.queue_entries: invalid type: string \"many\", expected u32",
        ),
        (
            "[journal]\n\nqueue_entries = 0\n",
            "etc.toml:3: journal.queue_entries: 0 is not between 1 and 65536",
        ),
        (
            "[metrics]\naddress = 'localhost:1'\n",
            "etc.toml:2: metrics.address: `localhost:1` is no address with a port, like 127.0.0.1:9543 or [::1]:9543, \
             and not `none`",
        ),
    ] {
        assert_eq!(error_of(text), expected, "{text}");
    }
    assert!(error_of("a = 1\nb = = 2\n").starts_with("etc.toml:2: "));
    assert!(
        error_of("[[watch.extra]]\npath = '/x'\n")
            .starts_with("etc.toml:1: watch.extra[0]: missing field `class`")
    );
}

#[test]
fn bad_variables_are_named_and_unknown_ones_warned_of() {
    let with = |name: &str, value: &str| {
        load(&Sources { environment: vec![(name.into(), value.into())], ..Sources::default() })
    };
    for (name, value, expected) in [
        (
            "SVCSENSOR_BACKEND",
            "fentri",
            "$SVCSENSOR_BACKEND: backend: `fentri` is none of auto, lsm, fentry, fanotify; did you mean `fentry`?",
        ),
        (
            "SVCSENSOR_JOURNAL_QUEUE_ENTRIES",
            "x y",
            "$SVCSENSOR_JOURNAL_QUEUE_ENTRIES: journal.queue_entries: is no TOML value",
        ),
        (
            "SVCSENSOR_WATCH_HOMES",
            "1",
            "$SVCSENSOR_WATCH_HOMES: watch.homes: invalid type: integer `1`, expected a boolean",
        ),
        (
            "SVCSENSOR_LIMITS_RING_BUFFER_BYTES",
            "100000",
            "$SVCSENSOR_LIMITS_RING_BUFFER_BYTES: limits.ring_buffer_bytes: 100000 is no power of two",
        ),
    ] {
        assert_eq!(with(name, value).unwrap_err().to_string(), expected);
    }
    let loaded = with("SVCSENSOR_SERVICE_HOST", "10.0.0.1").unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings, ["$SVCSENSOR_SERVICE_HOST: no such setting, it counts for nothing"]);
    let watch = with("SVCSENSOR_WATCH_EXTRA", "[{ path = '/x', class = 'rc-local' }]").unwrap().config.watch;
    assert_eq!(watch.extra[0].path, "/x");
}

#[test]
fn what_is_no_plain_file_is_refused_without_waiting() {
    let directory = written(&[]);
    let fifo = directory.path().join("etc.toml");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(load(&sources(directory.path())).unwrap_err().to_string().ends_with("it is no regular file"));
    fs::remove_file(&fifo).unwrap();
    fs::write(&fifo, " ".repeat(FILE_MAX as usize + 1)).unwrap();
    assert!(load(&sources(directory.path())).unwrap_err().to_string().contains("larger than"));
    fs::write(&fifo, b"\xff").unwrap();
    assert!(load(&sources(directory.path())).is_err());
    let missing = Sources { required: Some(directory.path().join("none.toml")), ..Sources::default() };
    assert!(matches!(load(&missing), Err(ConfigError::Read { .. })));
}

#[test]
fn a_file_that_others_can_write_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let directory = written(&[("etc.toml", "")]);
    let path = directory.path().join("etc.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(load(&sources(directory.path())).unwrap().warnings.is_empty());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(load(&sources(directory.path())).unwrap().warnings.len(), 1);
}

#[test]
fn a_dump_names_origins_and_gives_the_same_configuration_again() {
    let directory = written(&[
        ("vendor.toml", "[[watch.extra]]\npath = '/a'\nclass = 'system-unit'\n"),
        ("etc.toml", "\nbackend = 'lsm'\n[journal]\nsocket = \"/run/a\\\"b\\\\c\"\n"),
        ("conf.d/a.toml", "watch.extra = [{ path = '/b', class = 'user-unit' }]\n"),
    ]);
    let mut sources = sources(directory.path());
    sources.environment = vec![("SVCSENSOR_LOG_LEVEL".into(), "debug".into())];
    sources.overrides.metrics_address = Some(MetricsAddress(None));
    let loaded = load(&sources).unwrap();
    let dump = loaded.dump();
    assert_eq!(toml::from_str::<Config>(&dump).unwrap(), loaded.config, "{dump}");
    let short = dump.replace(&format!("{}/", directory.path().display()), "");
    for line in [
        "backend = \"lsm\"  # etc.toml:2",
        "log_level = \"debug\"  # $SVCSENSOR_LOG_LEVEL",
        "address = \"none\"  # command line",
        "queue_entries = 1024  # built in",
        "paths = [  # built in",
        "    { class = \"system-unit\", path = \"/a\" },  # vendor.toml:1",
        "    { class = \"user-unit\", path = \"/b\" },  # conf.d/a.toml:1",
    ] {
        assert!(short.lines().any(|own| own == line), "{line} is not in\n{short}");
    }
}

proptest! {
    #[test]
    fn no_file_makes_loading_panic(text in "([a-z_.]{1,9} ?=? ?|\\[\\[?|\\]\\]?|watch|extra|paths|'|\"|\\n|\\{|\\}|,|[0-9é\\x00])*") {
        let mut layers = built_in();
        let known = known_keys();
        let _ = add_file(&mut layers, &known, PathBuf::from("x"), &text);
    }

    #[test]
    fn no_variable_makes_loading_panic(
        at in any::<proptest::sample::Index>(),
        value in "(\\[|\\]|\\{|\\}|,|=|'|\"|\\n|path|class|lsm|none|[0-9é.:_]){0,12}",
    ) {
        let mut layers = built_in();
        let known = known_keys();
        let variables = [(variable_name(&known[at.index(known.len())]).into(), value.into())];
        let _ = add_environment(&mut layers, &known, &variables, &mut Vec::new());
    }

    #[test]
    fn addresses_come_back(address in any::<([u8; 4], u16)>(), other in "[0-9a-f.:\\[\\]é]{0,20}") {
        let metrics = MetricsAddress(Some(address.into()));
        prop_assert_eq!(metrics.to_string().parse(), Ok(metrics));
        if let Ok(read) = other.parse::<MetricsAddress>() {
            prop_assert_eq!(read.to_string().parse(), Ok(read));
        }
    }
}
