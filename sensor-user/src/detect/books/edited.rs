//! An engine's own files: written by others, and by the engine where a container comes to come back by itself and nobody
//! was seen asking for it.

use sensor_common::record::kind;

use super::super::containers::weigh;
use super::super::detector::Detector;
use super::super::file::Case;
use super::super::finding::{Finding, Who};
use super::super::rules;
use crate::event::content::{Expected, FileContent, Found, Want};
use crate::event::user::WatchClass;
use crate::lineage::Lineage;
use crate::subject::container::books::{Book, Booked, changes, id_of};
use crate::subject::container::service::{ContainerService, Source};

/// Requests to engines that are remembered.
const ASKED_MAX: usize = 128;
/// A request accounts for what its engine writes for so long, in nanoseconds: an image may be pulled in between.
const ASKED_NS: u64 = 300_000_000_000;

/// What was asked of an engine.
#[derive(Debug)]
pub(super) struct Ask {
    at: u64,
    service: ContainerService,
}

/// A container that came to come back by itself.
#[derive(Debug)]
pub(super) struct Named {
    id: String,
    who: Who,
    at: u64,
    booked: Booked,
}

impl Detector {
    /// Notes that somebody was seen asking an engine for a container that comes back, on a command line or through its
    /// API: what the engine then writes is no finding of its own.
    pub(in crate::detect) fn engine_asked(&mut self, now: u64, service: &ContainerService) {
        if self.books.asked.len() == ASKED_MAX {
            self.books.asked.pop_front();
        }
        self.books.asked.push_back(Ask { at: now, service: service.clone() });
    }

    /// Whether it is an engine's process that writes the engine's own file.
    pub(in crate::detect) fn is_engines_own(
        &self,
        who: Option<Who>,
        class: WatchClass,
        lineage: &Lineage,
    ) -> bool {
        class == WatchClass::EngineState
            && who.is_none_or(|who| {
                let own = self.engine(who.handle, lineage);
                own.is_some_and(|tool| WRITERS.contains(&tool.name)) && !lineage.is_foreign(who.task.mnt_ns)
                    || own.is_some() && super::is_engines_service(who.handle, lineage)
            })
    }

    /// An engine wrote a container's file: does it come back now, and did it before?
    pub(in crate::detect) fn note_engine_write(&mut self, case: &Case<'_>) {
        let record = &case.event.record;
        let finished =
            matches!(record.header.kind, kind::FILE_CLOSE_WRITE | kind::FILE_RENAME | kind::FILE_LINK);
        let Some(who) = case.who.filter(|_| finished) else { return };
        if Book::of(case.path) != Some(Book::DockerHostConfig) || id_of(case.path).is_none() {
            return;
        }
        self.books.writes.insert(case.path.to_vec(), (who, record.header.boottime_ns));
        let inode = record.object.inode;
        let expected = if inode == 0 { Expected::Present } else { Expected::Inode(inode) };
        self.wants.push(Want::File { path: case.path.to_vec(), expected });
    }

    /// A file of an engine's that was there at the start, or was written since. Whether it is one; `edited` receives
    /// findings that wait for it.
    pub(in crate::detect) fn take_engine_file(&mut self, content: &FileContent) -> bool {
        let Some(book) = Book::of(&content.path) else { return false };
        let (Some(id), Found::Regular(file)) = (id_of(&content.path), &content.found) else { return true };
        if !matches!(book, Book::DockerConfig | Book::DockerHostConfig) {
            return true;
        }
        let before = self.books.known.get(id).map(|known| ContainerService::clone(known));
        let mut booked = Booked { service: before.clone().unwrap_or_default(), ..Booked::default() };
        let understood = booked.read(book, id, &file.content);
        if let Some(findings) = self.awaiting.get_mut(&content.path) {
            for finding in findings.iter_mut().map(super::super::file::Awaiting::finding) {
                compare(finding, before.as_ref(), understood.then_some(&booked));
            }
        }
        if !understood {
            return true;
        }
        "docker".clone_into(&mut booked.service.engine);
        let service = booked.service(Source::State);
        let newly = before.as_ref().is_none_or(|before| before.restart_policy != service.restart_policy);
        self.books.known.insert(id.to_owned(), Box::new(service.clone()));
        if let Some((who, at)) = self.books.writes.remove(&content.path) {
            if service.comes_back() && newly {
                self.name(id, who, at, &content.path);
            }
        }
        true
    }

    /// Has both files read: one has the policy, the other the name.
    fn name(&mut self, id: &str, who: Who, at: u64, path: &[u8]) {
        let directory = path.strip_suffix(b"/hostconfig.json").unwrap_or(path);
        let paths = [&b"/config.v2.json"[..], b"/hostconfig.json"].map(|name| [directory, name].concat());
        let survey = self.effects.next_id();
        self.wants.push(Want::Survey { id: survey, paths: paths.to_vec() });
        self.books.named.insert(survey, Named { id: id.to_owned(), who, at, booked: Booked::default() });
    }

    pub(super) fn take_named(&mut self, survey: u64, content: &FileContent) -> bool {
        let Some(named) = self.books.named.get_mut(&survey) else { return false };
        if let (Some(book), Some(file)) = (Book::of(&content.path), content.found.regular()) {
            named.booked.read(book, &named.id, &file.content);
        }
        true
    }

    pub(super) fn named_read(
        &mut self,
        now: u64,
        survey: u64,
        lineage: &mut Lineage,
        out: &mut impl FnMut(Finding),
    ) {
        let Some(named) = self.books.named.remove(&survey) else { return };
        let mut service = named.booked.service(Source::State);
        // The container may be gone by now, and its files with it.
        if !service.comes_back() {
            return;
        }
        if !named.booked.identity.is_empty() {
            lineage.containers_mut().insert(&named.id, named.booked.identity.clone());
            self.books.identified.push(named.id.clone());
        }
        self.books.known.insert(named.id.clone(), Box::new(service.clone()));
        if self.was_asked(now, &service) {
            return;
        }
        "keep".clone_into(&mut service.verb);
        let subject =
            format!("{} {}", service.name.as_deref().unwrap_or(named.id.as_str()), service.restart_policy);
        let mut finding =
            Finding::new(&rules::RESTART_POLICY_SET, named.at, "file_rename", subject).by(Some(named.who));
        weigh(&service, &mut finding);
        finding.reason(0, "the engine's own files say so; nobody on this machine was seen asking for it");
        finding.container_service = Some(service);
        out(finding);
    }

    /// Whether a request that was seen accounts for what the engine wrote.
    fn was_asked(&self, now: u64, written: &ContainerService) -> bool {
        let mut asks = self.books.asked.iter().rev();
        asks.any(|ask| {
            let (asked, age) = (&ask.service, now.saturating_sub(ask.at));
            let same = |asked: &Option<String>, written: &Option<String>| match (asked, written) {
                (Some(asked), Some(written)) => asked == written,
                _ => true,
            };
            let named = asked.name.is_none() || same(&asked.name, &written.name);
            let imaged = asked.verb == "update" || same(&asked.image, &written.image);
            age < ASKED_NS && asked.restart_policy == written.restart_policy && named && imaged
        })
    }
}

/// Programs that keep such files.
const WRITERS: [&str; 7] = ["dockerd", "containerd", "podman", "buildah", "crio", "conmon", "k3s"];

/// Says what differs.
fn compare(finding: &mut Finding, before: Option<&ContainerService>, after: Option<&Booked>) {
    let Some(booked) = after else {
        return finding.reason(0, "it is nothing that the engine would read");
    };
    let after = booked.service(Source::State);
    let told = before.map(|before| changes(before, &after));
    if told.as_ref().is_some_and(Vec::is_empty) {
        finding.reason(-20, "it says what it said before");
    } else {
        weigh(&after, finding);
    }
    match (told, &mut finding.unit) {
        (Some(told), Some(unit)) => unit.changes = told,
        (None, _) => finding.reason(0, "what it said before is not known"),
        (Some(_), None) => {}
    }
    finding.container_service =
        Some(ContainerService { verb: "keep".to_owned(), engine: "docker".to_owned(), ..after });
}
