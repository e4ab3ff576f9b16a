//! One sentence that says what happened.

use std::fmt::Write as _;

use super::held::Incident;
use crate::detect::rules;
use crate::lineage::actor::{Actor, Process, Requester, User};
use crate::subject::adjacent;
use crate::subject::container::service::{ContainerService, Source};
use crate::subject::service::{File, Unit, UnitPart};

/// The sentence: who, did what, where; and who probably asked for it.
///
/// Names come from whoever acts, so control characters, and what would turn the direction of writing, are escaped.
pub fn summary(incident: &Incident, collapsed: u64) -> String {
    let finding = &incident.finding;
    let mut text = if let Some(sentence) = &finding.sentence {
        sentence.clone()
    } else if finding.rule.id == rules::RECORDS_LOST.id {
        let records = if finding.quantity == 1 { "record was" } else { "records were" };
        format!("{} {} {records} lost", finding.quantity, finding.subject)
    } else {
        format!("{} {}", actor(incident), deed(incident))
    };
    if let Some(client) = &incident.actor.on_behalf_of {
        let name = requester(client);
        let _infallible = match &client.request {
            Some(request) => write!(text, ", asked by {name} {request}"),
            None => write!(text, ", probably for {name}"),
        };
    }
    if collapsed > 0 {
        let times = if collapsed == 1 { "time" } else { "times" };
        let _infallible = write!(text, " (and {collapsed} more {times})");
    }
    printable(&text)
}

fn actor(incident: &Incident) -> String {
    if incident.finding.who.is_none() {
        return "somebody unseen".to_owned();
    }
    let Actor { process, login_user, container, .. } = &incident.actor;
    let mut text = person(process, login_user.as_ref());
    if let Some(container) = container {
        let _infallible = write!(text, " in container {}", container.title());
    }
    text
}

fn person(process: &Process, login: Option<&User>) -> String {
    let name = if process.name.is_empty() { "a process" } else { &process.name };
    let mut text = format!("{name} (pid {}, {}", process.pid, user(&process.user));
    if let Some(login) = login {
        let _infallible = write!(text, ", login {}", user(login));
    }
    text.push(')');
    text
}

fn requester(client: &Requester) -> String {
    client
        .processes
        .first()
        .map_or_else(|| "a client".to_owned(), |process| person(process, client.login_user.as_ref()))
}

fn user(user: &User) -> String {
    user.name.clone().unwrap_or_else(|| format!("uid {}", user.id))
}

fn deed(incident: &Incident) -> String {
    let finding = &incident.finding;
    if let Some(service) = finding.container_service.as_ref().filter(|_| finding.file.is_none()) {
        let what = match &service.name {
            Some(name) if service.verb == "create volume" => name.clone(),
            Some(name) if finding.rule.id == rules::SWARM_SERVICE_CREATED.id => format!("service {name}"),
            _ => container(service),
        };
        let mut text = match service.source {
            Source::State => format!("keeps {what}"),
            Source::Bundle => format!("started {what} (known to no engine)"),
            _ => format!("asked {} to {} {what}", service.engine, service.verb),
        };
        let given = given(service);
        if !given.is_empty() {
            let _infallible = write!(text, " with {given}");
        }
        return text;
    }
    if finding.rule.id == rules::CONTAINER_UNBOOKED.id {
        return match finding.subject.strip_prefix("container ") {
            Some(id) => format!("runs as container {}, which no engine knows", id.get(..12).unwrap_or(id)),
            None => format!("runs {} as a container that no engine knows", finding.subject),
        };
    }
    if finding.rule.id == rules::KUBELET_STARTED.id {
        return format!("started a kubelet, {}", finding.subject);
    }
    let asks = [&rules::REQUEST_FROM_CONTAINER, &rules::MANAGER_ENVIRONMENT_SET, &rules::UNIT_MOUNTED_INTO];
    if asks.iter().any(|rule| rule.id == finding.rule.id) {
        return format!("asked a service manager {}", finding.subject);
    }
    if finding.rule.id == rules::ENGINE_EXPOSED.id {
        return format!("lets {}", finding.subject);
    }
    let asks = [&rules::SWARM_CHANGED, &rules::ENGINE_PLUGIN_ADDED, &rules::ENGINE_REQUEST_FROM_CONTAINER];
    if asks.iter().any(|rule| rule.id == finding.rule.id) {
        return format!("asked {}", finding.subject);
    }
    if let (Some(unit), true) = (&finding.unit, finding.rule.id == rules::SERVICE_UNEXPLAINED.id) {
        return format!("runs as {}, of which there is no unit file", unit.name);
    }
    let (Some(file), Some(unit)) = (&finding.file, &finding.unit) else {
        return format!("touched {}", finding.subject);
    };
    if finding.rule.id == rules::UNIT_CHANGED_UNSEEN.id {
        return format!("runs as {} because of {}, which nobody was seen writing", unit.name, file.path);
    }
    let (directory, leaf) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let directory = if directory.is_empty() { "/" } else { directory };
    let what = what(unit, leaf, directory);
    let verb = verb(incident);
    let mut text = match finding.rule.id {
        id if id == rules::UNIT_ENABLED.id => format!("{verb} {what}"),
        id if id == rules::DIRECTORY_MOUNTED_OVER.id || id == rules::DIRECTORY_REPLACED.id => {
            format!("{verb} {}", file.path)
        }
        _ => format!("{verb} {what} in {directory}"),
    };
    if let Some(target) = &file.target {
        let _infallible = write!(text, " (a link to {target})");
    } else if let Some(other) = origin(incident, file) {
        let _infallible = write!(text, " ({other})");
    }
    if let Some(service) = finding.container_service.as_ref().filter(|service| service.image.is_some()) {
        let given = given(service);
        let with = if given.is_empty() { "" } else { " with " };
        let _infallible = write!(text, ", which runs {}{with}{given}", container(service));
    }
    text
}

/// What a sentence calls a container.
fn container(service: &ContainerService) -> String {
    match (&service.name, &service.image) {
        (Some(name), _) => format!("container {name}"),
        (None, Some(image)) if service.verb == "update" => format!("container {image}"),
        (None, Some(image)) => format!("a container of {image}"),
        (None, None) => "a container".to_owned(),
    }
}

/// What it is given, and whether it comes back.
fn given(service: &ContainerService) -> String {
    let access = service.access.options().collect::<Vec<_>>().join(" ");
    let policy = format!("restart policy {}", service.restart_policy);
    let given =
        [Some(policy).filter(|_| service.comes_back()), Some(access).filter(|access| !access.is_empty())];
    given.into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

fn origin(incident: &Incident, file: &File) -> Option<String> {
    let other = file.other_path.as_ref()?;
    match incident.finding.action {
        "file_rename" if incident.finding.event_type == "deletion" => Some(format!("to {other}")),
        "file_rename" => Some(format!("from {other}")),
        "file_link" => Some(format!("a hard link to {other}")),
        _ => Some(format!("through {other}")),
    }
}

fn verb(incident: &Incident) -> &'static str {
    let finding = &incident.finding;
    match finding.rule.id {
        id if id == rules::UNIT_ENABLED.id => "enabled",
        id if id == rules::UNIT_MASKED.id || id == rules::STARTUP_ENTRY_MASKED.id => "masked",
        id if id == rules::UNIT_ATTRIBUTES.id || id == rules::STARTUP_ENTRY_ATTRIBUTES.id => {
            "changed mode or owner of"
        }
        id if id == rules::DIRECTORY_MOUNTED_OVER.id => "mounted something on",
        id if id == rules::DIRECTORY_REPLACED.id => "replaced or moved",
        _ => match finding.action {
            "mount" => "mounted something on",
            "file_unlink" => "removed",
            "file_rename" if finding.event_type == "deletion" => "moved away",
            "file_rename" => "moved into place",
            "file_symlink" | "file_link" => "linked",
            "file_attribute" => "made executable",
            "file_open_write" | "file_create" if !incident.actions.contains(&"file_close_write") => {
                "opened for writing"
            }
            "file_truncate" if incident.actions.len() == 1 => "truncated",
            "file_mmap_write" => "mapped for writing",
            "file_found" => "made",
            _ => "wrote",
        },
    }
}

fn what(unit: &Unit, leaf: &str, directory: &str) -> String {
    let name = &unit.name;
    match unit.part {
        UnitPart::Fragment | UnitPart::Alias => format!("unit {name}"),
        UnitPart::DropIn if !name.contains('.') => format!("drop-in {leaf} of every {name}"),
        UnitPart::DropIn => format!("drop-in {leaf} of {name}"),
        UnitPart::DependencyLink => {
            format!("unit {name} in {}", directory.rsplit('/').next().unwrap_or_default())
        }
        UnitPart::Generator => format!("generator {name}"),
        UnitPart::EnvironmentGenerator => format!("environment generator {name}"),
        UnitPart::InitScript => format!("init script {name}"),
        UnitPart::RunlevelLink => format!("runlevel link {leaf}"),
        UnitPart::RcLocal => leaf.to_owned(),
        UnitPart::Directory => format!("directory {leaf}"),
        UnitPart::EngineState if name != leaf => {
            format!("{leaf} of container {}", name.get(..12).unwrap_or(name))
        }
        UnitPart::Program => format!("program {leaf} of a service"),
        UnitPart::Other => format!("file {leaf}"),
        part => match adjacent::of_part(part) {
            Some(kind) if name == leaf => format!("{} {name}", kind.noun),
            Some(kind) => format!("{leaf} of {} {name}", kind.noun),
            None => format!("file {leaf}"),
        },
    }
}

/// `text` on one line, whatever stands in it.
pub fn printable(text: &str) -> String {
    let hidden = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if hidden(letter) {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_the_line() {
        assert_eq!(printable("a\nb\u{1b}[0m\u{202e}c ü 語"), "a\\nb\\u{1b}[0m\\u{202e}c ü 語");
    }
}
