use proptest::prelude::*;

use super::super::name::Name;
use super::*;
use crate::subject::service::Scope;

fn context() -> Context<'static> {
    Context {
        name: Name::parse(b"evil@tmp-x.service").unwrap(),
        scope: Scope::System,
        home: Some(b"/root"),
        uid: Some(0),
        fragment: None,
    }
}

/// `prefixes path|arg|arg; ...!why`
fn say(value: &str) -> String {
    let parsed = parse(value.as_bytes(), &context());
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut said: Vec<String> = parsed
        .commands
        .iter()
        .map(|command| {
            let flags = command.flags;
            let prefixes: String = [
                (flags.ignore_failure, "-"),
                (flags.own_argv0, "@"),
                (flags.no_variables, ":"),
                (flags.privileged, "+"),
                (flags.keep_user, "!"),
                (flags.ambient, "!!"),
                (flags.shell, "|"),
            ]
            .iter()
            .filter_map(|(set, prefix)| set.then_some(*prefix))
            .collect();
            let argv: Vec<String> = command.argv.iter().map(|argument| lossy(argument)).collect();
            format!("{prefixes}{} [{}]", lossy(&command.path), argv.join("|"))
        })
        .collect();
    if let Some(wrong) = parsed.wrong {
        said.push(format!("{}{wrong}", if parsed.fatal { "!!" } else { "!" }));
    }
    said.join(" ")
}

#[test]
fn command_lines() {
    for (value, expected) in [
        ("/bin/sh -c 'id > /tmp/x'", "/bin/sh [/bin/sh|-c|id > /tmp/x]"),
        ("@/bin/sh [kworker/0:1] -c id", "@/bin/sh [[kworker/0:1]|-c|id]"),
        ("-:+/bin/x", "-:+/bin/x [/bin/x]"),
        ("!!/bin/x", "!!/bin/x [/bin/x]"),
        ("!/bin/x", "!/bin/x [/bin/x]"),
        ("|-/bin/x", "-|/bin/x [/bin/x]"),
        ("/bin/a 1 ; /bin/b 2 ;", "/bin/a [/bin/a|1] /bin/b [/bin/b|2]"),
        ("; /bin/a", "/bin/a [/bin/a]"),
        (r"/bin/a \; b;c ';' d", "/bin/a [/bin/a|;|b;c|;|d]"),
        ("//bin/./sh", "/bin/sh [//bin/./sh]"),
        ("sh -c id", "sh [sh|-c|id]"),
        (r"\x2fbin\x2fsh \055c", "/bin/sh [/bin/sh|-c]"),
        ("/%I %n", "/tmp/x [/tmp/x|evil@tmp-x.service]"),
        (r"/bin/grep \d+", r"/bin/grep [/bin/grep|\d+]"),
        ("", ""),
        ("'open", ""),
    ] {
        assert_eq!(say(value), expected, "{value}");
    }
}

#[test]
fn wrong_ones_are_fatal_unless_a_failure_is_ignored() {
    for (value, expected) in [
        ("bin/sh", "!!the program is neither an absolute path nor a name"),
        ("bin/%H", "!!the program is neither an absolute path nor a name"),
        ("-bin/sh", "!the program is neither an absolute path nor a name"),
        ("/bin/", "!!the program is neither an absolute path nor a name"),
        (r#""/bin/a\"b""#, "!!the program is neither an absolute path nor a name"),
        ("++/bin/sh", "!!the program is neither an absolute path nor a name"),
        ("/bin/sh 'x", "!!unbalanced quotes"),
        ("/bin/a ; /bin/b 'x", "/bin/a [/bin/a] !!unbalanced quotes"),
        ("/bin/sh %x", "!!there is no specifier %x"),
        ("-", "!there is no program"),
        ("@/bin/sh", "!!there is no program"),
    ] {
        assert_eq!(say(value), expected, "{value}");
    }
}

#[test]
fn variables_are_replaced() {
    let pair = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    let environment = [pair("A", "old"), pair("A", "1 '2 3'"), pair("P", "/tmp/x"), pair("E", "")];
    for (value, expected) in [
        ("/x $A", "/x|1|2 3"),
        ("/x ${A} a${P}b", "/x|1 '2 3'|a/tmp/xb"),
        ("/x a$A $E $U ${U} $$A $${A}", "/x|a$A||$A|${A}"),
        (":/x $A ${A}", "/x|$A|${A}"),
        ("/x ${A:-b} ${A $", "/x|${A:-b}|${A"),
    ] {
        let parsed = parse(value.as_bytes(), &context());
        let arguments = parsed.commands[0].arguments(&environment);
        assert_eq!(String::from_utf8(arguments.join(&b'|')).unwrap(), expected, "{value}");
    }
}

#[test]
fn commands_and_arguments_are_bounded() {
    let parsed = parse("/bin/a ; ".repeat(COMMANDS_MAX + 1).as_bytes(), &context());
    assert_eq!((parsed.commands.len(), parsed.wrong), (COMMANDS_MAX, Some(Wrong::TooMany)));
    let parsed = parse(format!("/bin/a{}", " b".repeat(ARGUMENTS_MAX)).as_bytes(), &context());
    assert_eq!(parsed.wrong, Some(Wrong::TooMany));
    let huge = (b"A".to_vec(), vec![b'x'; 1024]);
    let parsed = parse(format!("/bin/a{}", " ${A}${A}${A}".repeat(4000)).as_bytes(), &context());
    let arguments = parsed.commands[0].arguments(&[huge]);
    assert!(arguments.iter().map(Vec::len).sum::<usize>() < 2 * COMMAND_MAX);
}

proptest! {
    #[test]
    fn no_bytes_panic(value in proptest::collection::vec(any::<u8>(), 0..200)) {
        for command in parse(&value, &context()).commands {
            prop_assert!(!command.argv.is_empty());
            let _ = command.arguments(&[(b"A".to_vec(), value.clone())]);
        }
    }

    #[test]
    fn marks_in_any_order(value in "[-@:+!|/a%$;{}A\"'\\\\ ]{0,40}") {
        let parsed = parse(value.as_bytes(), &context());
        prop_assert!(!parsed.fatal || parsed.wrong.is_some());
    }

    #[test]
    fn quoted_arguments_survive(list in proptest::collection::vec("[ -$&-~]{0,12}", 0..6)) {
        let quoted: Vec<String> = list.iter()
            .map(|word| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")))
            .collect();
        let parsed = parse(format!(":/bin/x {}", quoted.join(" ")).as_bytes(), &context());
        let argv: Vec<String> = parsed.commands[0].arguments(&[]).into_iter()
            .map(|argument| String::from_utf8(argument).unwrap()).skip(1).collect();
        prop_assert_eq!(argv, list);
    }
}
