//! What real clients sent (tests/fixtures/engine-api).

use sensor_common::record::IpcRecord;

use super::super::service::ContainerService;
use super::*;
use crate::event::decode::{Event, decode};
use crate::event::encode::encode_send;
use crate::subject::http::Http;
use crate::subject::stream::Streams;

/// Reads a recording, sent in writes of so many bytes.
fn requests(engine: &str, bytes: &[u8], size: usize) -> Vec<EngineRequest> {
    let mut streams: Streams<Http> = Streams::new(1);
    let mut out = Vec::new();
    for piece in bytes.chunks(size) {
        let record = encode_send(&IpcRecord::default(), piece);
        let Ok(Event::Ipc(event)) = decode(&record) else { panic!("a send") };
        streams.feed(&event, &mut |request| out.extend(read(engine, &request)));
    }
    assert_eq!(streams.stats().lost, 0);
    out
}

/// The one request that changes something, however the bytes are cut.
fn one(engine: &str, bytes: &[u8]) -> EngineRequest {
    let whole = requests(engine, bytes, 16 << 10);
    assert_eq!(whole, requests(engine, bytes, 7));
    let [request] = whole.as_slice() else { panic!("{whole:?}") };
    assert!(!request.incomplete);
    request.clone()
}

fn told(service: &ContainerService) -> (&str, &str, Vec<&str>) {
    let name = service.name.as_deref().or(service.image.as_deref()).unwrap_or_default();
    (name, &service.restart_policy, service.access.options().collect())
}

#[test]
fn docker_create() {
    let bytes = include_bytes!("../../../../tests/fixtures/engine-api/docker-20.10.24-create.http");
    let request = one("docker", bytes);
    let service = &request.services[0];
    let access = [
        "--pid=host",
        "--network=host",
        "--cap-add=SYS_ADMIN",
        "-v /:/host",
        "--device=/dev/null",
        "--mount=type=bind,source=/etc,target=/m",
        "--privileged",
    ];
    assert_eq!(told(service), ("keeper", "on-failure:3", access.to_vec()));
    assert_eq!(service.command, ["/bin/sh", "-c", "id"]);
    assert_eq!((service.image.as_deref(), service.user.as_deref()), (Some("box"), Some("0:0")));
    assert_eq!(request.volumes, ["data"]);
}

#[test]
fn docker_update_volume_and_service() {
    let bytes = include_bytes!("../../../../tests/fixtures/engine-api/docker-20.10.24-update.http");
    assert_eq!(told(&one("docker", bytes).services[0]), ("keeper", "always", vec![]));
    let bytes = include_bytes!("../../../../tests/fixtures/engine-api/docker-20.10.24-volume.http");
    let request = one("docker", bytes);
    assert_eq!(told(&request.services[0]), ("evil", "", vec!["-v /"]));
    assert_eq!((request.verb, request.target.as_deref()), (Verb::Volume, Some("/")));
    let bytes = include_bytes!("../../../../tests/fixtures/engine-api/docker-20.10.24-service.http");
    let access = vec!["--mount=type=bind,source=/,target=/host"];
    assert_eq!(told(&one("docker", bytes).services[0]), ("agent", "any", access));
}

#[test]
fn podman_create_and_play() {
    let bytes = include_bytes!("../../../../tests/fixtures/engine-api/podman-4.3.1-create.http");
    let request = one("podman", bytes);
    let access = [
        "--pid=host",
        "--network=host",
        "--device=/dev/null",
        "--mount=type=bind,source=/etc,target=/m",
        "--mount=type=bind,source=/,target=/host",
        "--privileged",
    ];
    assert_eq!(told(&request.services[0]), ("keeper", "always", access.to_vec()));
    assert_eq!(request.volumes, ["data"]);
    let bytes = include_bytes!("../../../../tests/fixtures/engine-api/podman-4.3.1-play.http");
    assert_eq!(told(&one("podman", bytes).services[0]), ("keeper", "always", vec![]));
}
