use schemars::Schema;
use schemars::transform::Transform as _;
use serde_json::{Value, json};

use super::container::image;
use super::*;
use crate::sink::sample;

fn document(alert: &Alert) -> Value {
    serde_json::from_str(&Document::new(alert).to_json()).unwrap()
}

fn generated_schema() -> Value {
    let generator = schemars::generate::SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<Document<'_>>();
    without_null(&mut schema);
    schemars::transform::RestrictFormats::default().transform(&mut schema);
    schema.to_value()
}

/// An `Option` that is left out when empty is never null, which schemars does not conclude.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(any)) = schema.get_mut("anyOf") {
        any.retain(|choice| *choice != json!({"type": "null"}));
        if let [only] = &any[..] {
            let only = only["$ref"].clone();
            schema.remove("anyOf");
            schema.insert("$ref".to_owned(), only);
        }
    }
    schemars::transform::transform_subschemas(&mut without_null, schema);
}

#[test]
fn the_committed_schema_is_the_types_own() {
    crate::test_support::check_generated("alert.schema.json", &generated_schema());
}

#[test]
fn every_sample_is_valid_against_the_schema() {
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&serde_json::from_str(SCHEMA).unwrap())
        .unwrap();
    for alert in [
        sample::unit_written(),
        sample::container_started(),
        sample::bare(),
        sample::nobody(),
        sample::hostile(),
    ] {
        let document = document(&alert);
        let errors: Vec<String> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{document:#}");
    }

    let mut wrong = document(&sample::unit_written());
    wrong["@timestamp"] = json!("2026-11-30T12:00:00Z");
    assert!(!validator.is_valid(&wrong), "a timestamp without six digits passed");
    let mut wrong = document(&sample::unit_written());
    wrong["svcsensor"]["severity"] = json!("dire");
    assert!(!validator.is_valid(&wrong), "a severity that does not exist passed");
    let mut wrong = document(&sample::unit_written());
    wrong["process"].as_object_mut().unwrap().remove("pid");
    assert!(!validator.is_valid(&wrong), "a process without a pid passed");
    let mut wrong = document(&sample::unit_written());
    wrong["file"]["target_path"] = Value::Null;
    assert!(!validator.is_valid(&wrong), "a null passed");
}

#[test]
fn a_written_unit_is_told_in_ecs_terms() {
    let alert = sample::unit_written();
    let document = document(&alert);
    assert_eq!(document["@timestamp"], "2026-11-30T12:34:56.000007Z");
    assert_eq!(document["message"], alert.summary);
    assert_eq!(document["event"]["kind"], "alert");
    assert_eq!(document["event"]["category"], json!(["configuration", "file"]));
    assert_eq!(document["event"]["type"], json!(["creation"]));
    assert_eq!(document["event"]["action"], "file_create");
    assert_eq!(document["event"]["outcome"], "success");
    assert_eq!(document["event"]["severity"], 73);
    assert_eq!(
        document["threat"],
        json!({
            "framework": "MITRE ATT&CK",
            "technique": {
                "id": ["T1543"],
                "name": ["Create or Modify System Process"],
                "reference": ["https://attack.mitre.org/techniques/T1543/"],
                "subtechnique": {
                    "id": ["T1543.002"],
                    "name": ["Systemd Service"],
                    "reference": ["https://attack.mitre.org/techniques/T1543/002/"],
                },
            },
            "tactic": {
                "id": ["TA0003", "TA0004"],
                "name": ["Persistence", "Privilege Escalation"],
                "reference": [
                    "https://attack.mitre.org/tactics/TA0003/",
                    "https://attack.mitre.org/tactics/TA0004/",
                ],
            },
        })
    );
    assert_eq!(
        document["file"],
        json!({
            "path": "/etc/systemd/system/evil.service", "name": "evil.service", "extension": "service",
            "directory": "/etc/systemd/system", "type": "file", "inode": "4711", "mode": "0644", "uid": "0",
            "size": 123,
        })
    );
    assert_eq!(document["process"]["command_line"], "sh -c 'echo '\\''[Service]'\\'' > evil.service'");
    assert_eq!(document["process"]["args_count"], 3);
    // 2 s before the alert on the boot clock.
    assert_eq!(document["process"]["start"], "2026-11-30T12:34:54.000007Z");
    assert_eq!(document["process"]["user"], json!({"id": "0", "name": "root"}));
    assert_eq!(document["process"]["real_user"], json!({"id": "1000", "name": "ada"}));
    assert_eq!(document["user"]["effective"]["id"], "0");
    let ancestors = document["svcsensor"]["ancestors"].as_array().unwrap();
    assert_eq!(ancestors.len(), alert.actor.ancestors.len());
    assert_eq!(ancestors.last().unwrap()["pid"], 1);
    assert_eq!(document["process"]["parent"], ancestors[0]);
    assert_eq!(document["svcsensor"]["login_user"]["name"], "ada");
    assert_eq!(
        document["svcsensor"]["unit"],
        json!({
            "name": "evil.service", "part": "fragment", "scope": "system",
            "changes": ["it runs /tmp/x"], "signals": ["path.world-writable"],
        })
    );
}

#[test]
fn what_is_not_known_is_absent() {
    let document = document(&sample::bare());
    for absent in ["file", "container"] {
        assert!(document.get(absent).is_none(), "{absent}");
    }
    assert_eq!(document["event"]["category"], json!(["configuration", "process"]));
    assert_eq!(document["event"]["outcome"], "unknown");
    assert!(document["threat"]["technique"].get("subtechnique").is_none());
    assert!(document["process"].get("start").is_none());
    assert!(document["process"].get("args_count").is_none());
    assert!(!document.to_string().contains("null"));

    let document = self::document(&sample::nobody());
    assert!(document.get("process").is_none() && document.get("user").is_none(), "{document:#}");
    assert!(document["svcsensor"].get("process").is_none(), "{document:#}");
}

#[test]
fn a_container_service_is_a_process_that_started() {
    let document = document(&sample::container_started());
    assert_eq!(document["event"]["category"], json!(["process"]));
    assert_eq!(document["event"]["type"], json!(["start"]));
    assert_eq!(document["svcsensor"]["container_service"]["restart_policy"], "always");
    let id = "c0ffee".repeat(10) + "c0ff";
    assert_eq!(
        document["container"],
        json!({
            "id": id,
            "runtime": "docker",
            "name": "agent",
            "image": {
                "name": "registry.example:5000/ci/agent",
                "tag": ["2.1"],
                "hash": {"all": ["sha256:".to_owned() + &"ab".repeat(32)]},
            },
            "labels": {"com.example.tier": "ci"},
        })
    );
    assert_eq!(
        document["orchestrator"],
        json!({
            "type": "kubernetes",
            "namespace": "ci",
            "resource": {"type": "pod", "name": "agent-0", "id": "5f2c9f0e-3f7e-4d3a-9d7a-6b1f6a4c0d11"},
        })
    );
    assert_eq!(document["svcsensor"]["service_account"], "builder");
    assert_eq!(document["svcsensor"]["collapsed"], 4);
    let requester = &document["svcsensor"]["on_behalf_of"];
    assert_eq!(requester["confidence"], "recent-client");
    assert_eq!(requester["processes"][0]["command_line"], "bash -i");
    assert_eq!(requester["login_user"]["name"], "ada");
}

#[test]
fn timestamps_have_six_digits_and_no_wall_clock_costs_an_alert() {
    assert_eq!(timestamp(0), "1970-01-01T00:00:00.000000Z");
    assert_eq!(timestamp(-1), "1969-12-31T23:59:59.999999Z");
    assert!(timestamp(i64::MAX).starts_with("9999-12-"));
    assert!(timestamp(i64::MIN).starts_with("-00999"));
}

#[test]
fn files_have_ecs_names() {
    let of = |path: &str, mode: u32| {
        let file = service::File { path: path.to_owned(), mode, ..Default::default() };
        serde_json::to_value(super::file(&file)).unwrap()
    };
    assert_eq!(of("/init", 0)["directory"], "/");
    assert!(of("/etc/.hidden", 0).get("extension").is_none());
    assert!(of("/etc/a.", 0).get("extension").is_none());
    assert_eq!(of("/etc/a.b.conf", 0)["extension"], "conf");
    assert_eq!(of("/etc/x", 0o04_0755)["type"], "dir");
    assert_eq!(of("/etc/x", 0o10_4755)["mode"], "4755");
    assert!(of("/etc/x", 0).get("size").is_none());
}

#[test]
fn json_steers_no_terminal_and_loses_nothing() {
    let alert = sample::hostile();
    let json = Document::new(&alert).to_json();
    assert!(matches!(crate::sink::text::printable(&json), std::borrow::Cow::Borrowed(_)), "{json}");
    let back: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(back, serde_json::to_value(Document::new(&alert)).unwrap());
    assert_eq!(back["message"], alert.summary);

    let mut alert = sample::bare();
    alert.summary = "a\u{e0001}b".to_owned();
    assert_eq!(document(&alert)["message"], alert.summary, "a character beyond the first plane");
}

#[test]
fn severities_have_one_name_and_ascend() {
    for severity in Severity::ALL {
        assert_eq!(serde_json::to_value(severity).unwrap(), severity.name());
    }
    assert!(Severity::ALL.map(severity_number).is_sorted());
}

#[test]
fn images_are_split_as_references_are() {
    let split = |reference: &str| {
        let identity = actor::ContainerIdentity {
            image: Some(reference.to_owned()),
            ..actor::ContainerIdentity::default()
        };
        let image = image(&identity).expect("a name");
        (image.name.unwrap_or_default().to_owned(), image.tag.concat())
    };
    for (reference, name, tag) in [
        ("nginx", "nginx", ""),
        ("nginx:1.25", "nginx", "1.25"),
        ("host:5000/a/b", "host:5000/a/b", ""),
        ("host:5000/a/b:t@sha256:00", "host:5000/a/b", "t"),
        ("a@sha256:00", "a", ""),
    ] {
        assert_eq!(split(reference), (name.to_owned(), tag.to_owned()), "{reference}");
    }
}
