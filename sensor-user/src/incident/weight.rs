//! How much heap an incident holds. What waits is bounded in bytes and not in entries: one process may have sixty-four
//! ancestors with 4 KiB of arguments each, another none.

use super::alert::Approved;
use super::held::Incident;
use crate::detect::score::Reason;
use crate::lineage::actor::{Container, ContainerIdentity, Process, User};

/// What an allocation takes beside its bytes: glibc's header of 8, and rounding to 16.
const ALLOCATION: usize = 16;

/// Bytes that an incident holds, itself included. An estimate to about a tenth.
pub fn weight(incident: &Incident) -> usize {
    let Incident { finding, actor, reasons, actions, approved, proof, .. } = incident;
    let file = finding.file.as_ref().map_or(0, |file| {
        text(&file.path) + option(file.other_path.as_ref(), text) + option(file.target.as_ref(), text)
    });
    let service = finding.container_service.as_ref().map_or(0, |service| {
        text(&service.engine)
            + text(&service.verb)
            + text(&service.restart_policy)
            + option(service.image.as_ref(), text)
            + option(service.name.as_ref(), text)
            + option(service.id.as_ref(), text)
            + option(service.user.as_ref(), text)
            + list(&service.command, text)
            + service
                .access
                .options()
                .map(|option| ALLOCATION + size_of::<String>() + option.len())
                .sum::<usize>()
    });
    let requester = actor.on_behalf_of.as_ref().map_or(0, |client| {
        list(&client.processes, process)
            + option(client.request.as_ref(), text)
            + option(client.login_user.as_ref(), user)
            + option(client.container.as_ref(), container)
    });
    size_of::<Incident>()
        + ALLOCATION
        + text(&finding.subject)
        + option(finding.completes.as_ref(), text)
        + option(finding.sentence.as_ref(), text)
        + option(finding.content_sha256.as_ref(), text)
        + file
        + finding
            .unit
            .as_ref()
            .map_or(0, |unit| text(&unit.name) + list(&unit.changes, text) + list(&unit.signals, |_| 0))
        + service
        + list(&finding.programs, |path| path.capacity() + ALLOCATION)
        + list(&finding.doubts, text)
        + finding.transaction.as_ref().map_or(0, |own| {
            size_of_val(&**own) + ALLOCATION + text(&own.command) + own.script.as_ref().map_or(0, Vec::len)
        })
        + proof.as_ref().map_or(0, |told| {
            // Two packages with three strings each.
            size_of_val(&**told) + 7 * ALLOCATION + text(&told.command) + 256
        })
        + list(&finding.reasons, reason)
        + list(reasons, reason)
        + list(actions, |_| 0)
        + approved.as_ref().map_or(0, |approved| {
            ALLOCATION
                + size_of::<Approved>()
                + text(&approved.name)
                + text(&approved.reason)
                + option(approved.by.as_ref(), text)
        })
        + process(&actor.process)
        + list(&actor.ancestors, process)
        + option(actor.login_user.as_ref(), user)
        + option(actor.container.as_ref(), container)
        + text(&actor.cgroup)
        + option(actor.unit.as_ref(), text)
        + requester
}

fn process(process: &Process) -> usize {
    text(&process.name)
        + text(&process.executable)
        + list(&process.args, text)
        + text(&process.working_directory)
        + user(&process.user)
}

fn user(user: &User) -> usize {
    option(user.name.as_ref(), text)
}

fn container(container: &Container) -> usize {
    let identity = container.identity.as_ref().map_or(0, |identity| {
        ALLOCATION + size_of::<ContainerIdentity>() + identity.heap_bytes() + 8 * ALLOCATION
    });
    text(&container.id) + option(container.runtime.as_ref(), text) + identity
}

fn reason(reason: &Reason) -> usize {
    text(&reason.text)
}

fn option<T>(value: Option<&T>, weight: impl Fn(&T) -> usize) -> usize {
    value.map_or(0, weight)
}

fn text(text: &String) -> usize {
    if text.capacity() == 0 { 0 } else { text.capacity() + ALLOCATION }
}

fn list<T>(items: &Vec<T>, weight: impl Fn(&T) -> usize) -> usize {
    let own = if items.capacity() == 0 { 0 } else { items.capacity() * size_of::<T>() + ALLOCATION };
    own + items.iter().map(weight).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::finding::Finding;
    use crate::detect::rules;
    use crate::lineage::actor::Actor;

    #[test]
    fn arguments_of_ancestors_count_each() {
        let of = |actor: Actor| {
            let finding = Finding::new(&rules::UNIT_WRITTEN, 0, "file_create", "x".to_owned());
            weight(&Incident::new(finding, actor, Vec::new()))
        };
        let ancestor = Process { args: vec!["a".to_owned(); 1000], ..Process::default() };
        let light = of(Actor::default());
        let heavy = of(Actor { ancestors: vec![ancestor; 10], ..Actor::default() });
        let least = 10 * 1000 * (size_of::<String>() + 1 + ALLOCATION);
        assert!((least..least + 10_000).contains(&(heavy - light)), "{heavy} - {light}, at least {least}");
        assert!(light < 4096, "{light}");
    }
}
