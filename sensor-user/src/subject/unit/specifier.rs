//! Specifiers: `%i` and its like (systemd.unit(5); src/core/unit-printf.c, src/shared/specifier.c).

use super::super::service::Scope;
use super::name::{Name, unescape, unescape_path};

/// Longest result of one expansion, in bytes: as long as the longest line. A name of 255 bytes may be asked for half a
/// million times in one value.
pub const EXPANDED_MAX: usize = super::syntax::LINE_MAX;

/// What is known where a unit's specifiers are expanded.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The unit's name. Where it has aliases, that of its file.
    pub name: Name<'a>,
    /// Whose manager.
    pub scope: Scope,
    /// Home directory of the manager's user, where known. Root's for the system manager.
    pub home: Option<&'a [u8]>,
    /// User id of the manager.
    pub uid: Option<u32>,
    /// The unit's file (`%y`), where there is one.
    pub fragment: Option<&'a [u8]>,
}

/// Which specifiers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// In names of other units.
    Names,
    /// Everywhere else.
    Full,
}

/// An expanded text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The text. A specifier whose value is only known on the machine stays as it was written.
    pub text: Vec<u8>,
    /// Whether one stayed.
    pub unresolved: bool,
}

/// Why a text cannot be expanded: the service manager passes over the assignment, or refuses the unit for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such specifier.
    #[error("there is no specifier %{}", char::from(*.0))]
    Unknown(u8),
    /// The name's part cannot be unescaped, or there is no unit file.
    #[error("%{} has no value here", char::from(*.0))]
    Valueless(u8),
    /// Longer than [`EXPANDED_MAX`].
    #[error("the expanded text is too long")]
    TooLong,
}

/// What a specifier stands for.
enum Value<'a> {
    Known(std::borrow::Cow<'a, [u8]>),
    /// It depends on the machine.
    Unresolved,
    Absent,
    Unknown,
}

/// `text` with its specifiers replaced.
///
/// # Errors
/// See [`Refused`].
pub fn expand(text: &[u8], table: Table, context: &Context<'_>) -> Result<Expanded, Refused> {
    let mut out = Expanded { text: Vec::with_capacity(text.len()), unresolved: false };
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.text.push(byte);
            continue;
        }
        match bytes.next() {
            // A stray one at the end stays.
            None | Some(b'%') => out.text.push(b'%'),
            Some(letter) if letter.is_ascii_alphanumeric() => match context.value(letter, table) {
                Value::Known(value) => out.text.extend_from_slice(&value),
                Value::Unresolved => {
                    out.text.extend_from_slice(&[b'%', letter]);
                    out.unresolved = true;
                }
                Value::Absent => return Err(Refused::Valueless(letter)),
                Value::Unknown => return Err(Refused::Unknown(letter)),
            },
            Some(other) => out.text.extend_from_slice(&[b'%', other]),
        }
        if out.text.len() > EXPANDED_MAX {
            return Err(Refused::TooLong);
        }
    }
    Ok(out)
}

impl<'a> Context<'a> {
    fn value(&self, letter: u8, table: Table) -> Value<'a> {
        let name = self.name;
        let known = |text: &'a [u8]| Value::Known(text.into());
        let maybe = |text: Option<Vec<u8>>| text.map_or(Value::Absent, |text| Value::Known(text.into()));
        match letter {
            b'i' => known(name.instance.unwrap_or_default()),
            b'j' => known(name.last_component()),
            b'n' => known(name.whole),
            b'N' => known(name.stem()),
            b'p' => known(name.prefix),
            b'u' | b'g' if self.uid == Some(0) => known(b"root"),
            b'u' | b'g' | b'G' => Value::Unresolved,
            b'U' => {
                self.uid.map_or(Value::Unresolved, |uid| Value::Known(uid.to_string().into_bytes().into()))
            }
            b'a' | b'A' | b'b' | b'B' | b'H' | b'l' | b'q' | b'm' | b'M' | b'o' | b'v' | b'w' | b'W' => {
                Value::Unresolved
            }
            _ if table == Table::Names => Value::Unknown,
            b'I' => maybe(unescape(name.instance.unwrap_or_default())),
            b'J' => maybe(unescape(name.last_component())),
            b'P' => maybe(unescape(name.prefix)),
            b'f' => maybe(unescape_path(name.instance.unwrap_or(name.prefix))),
            b'y' => self.fragment.map_or(Value::Absent, known),
            b'Y' => self.fragment.map_or(Value::Absent, |path| {
                known(&path[..path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)])
            }),
            b'T' => known(b"/tmp"),
            b'V' => known(b"/var/tmp"),
            b'h' => self.home.map_or(Value::Unresolved, known),
            b'd' => self.below(&[b"/run"], Some(b"/run/user/"), &[b"/credentials/", name.whole]),
            b't' => self.below(&[b"/run"], Some(b"/run/user/"), &[]),
            b'S' => self.below(&[b"/var/lib"], None, &[b"/.local/state"]),
            b'C' => self.below(&[b"/var/cache"], None, &[b"/.cache"]),
            b'L' => self.below(&[b"/var/log"], None, &[b"/.local/state/log"]),
            b'E' => self.below(&[b"/etc"], None, &[b"/.config"]),
            b'D' => self.below(&[b"/usr/share"], None, &[b"/.local/share"]),
            b's' | b'c' | b'r' | b'R' => Value::Unresolved,
            _ => Value::Unknown,
        }
    }

    /// A directory of the system manager, or of a user's: below the home, or below `runtime` and the user id. `below`
    /// is the user's part; with `runtime` it counts for both.
    fn below(&self, system: &[&[u8]], runtime: Option<&[u8]>, below: &[&[u8]]) -> Value<'a> {
        let base = match (self.scope, runtime) {
            (Scope::System, Some(_)) => return Value::Known([system, below].concat().concat().into()),
            (Scope::System, None) => return Value::Known(system.concat().into()),
            (Scope::User, Some(runtime)) => {
                self.uid.map(|uid| [runtime, uid.to_string().as_bytes()].concat())
            }
            (Scope::User, None) => self.home.map(<[u8]>::to_vec),
        };
        base.map_or(Value::Unresolved, |base| Value::Known([&base[..], &below.concat()].concat().into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn system(name: &str) -> Context<'_> {
        Context {
            name: Name::parse(name.as_bytes()).unwrap(),
            scope: Scope::System,
            home: Some(b"/root"),
            uid: Some(0),
            fragment: Some(b"/etc/systemd/system/x.service"),
        }
    }

    fn say(text: &str, context: &Context<'_>) -> String {
        match expand(text.as_bytes(), Table::Full, context) {
            Ok(out) => format!(
                "{}{}",
                String::from_utf8_lossy(&out.text),
                if out.unresolved { " (unresolved)" } else { "" }
            ),
            Err(refused) => format!("!{refused}"),
        }
    }

    #[test]
    fn names_and_directories() {
        let context = system("a-b\\x2dc@tmp-x.service");
        for (text, expected) in [
            ("%n %N", "a-b\\x2dc@tmp-x.service a-b\\x2dc@tmp-x"),
            ("%p %P %j %J", "a-b\\x2dc a/b-c b\\x2dc b-c"),
            ("%i|%I|%f", "tmp-x|tmp/x|/tmp/x"),
            ("%t %S %C %L %E %D", "/run /var/lib /var/cache /var/log /etc /usr/share"),
            ("%h %u %U %T %V", "/root root 0 /tmp /var/tmp"),
            ("%d", "/run/credentials/a-b\\x2dc@tmp-x.service"),
            ("%y %Y", "/etc/systemd/system/x.service /etc/systemd/system"),
            ("100%% %- %", "100% %- %"),
            ("%m/%n", "%m/a-b\\x2dc@tmp-x.service (unresolved)"),
            ("%x", "!there is no specifier %x"),
        ] {
            assert_eq!(say(text, &context), expected, "{text}");
        }
    }

    #[test]
    fn a_users_manager_has_its_own_directories() {
        let context = Context {
            scope: Scope::User,
            home: Some(b"/home/u"),
            uid: Some(1000),
            fragment: None,
            ..system("x.service")
        };
        assert_eq!(
            say("%t %S %C %L %E %h %U", &context),
            "/run/user/1000 /home/u/.local/state /home/u/.cache /home/u/.local/state/log /home/u/.config /home/u 1000"
        );
        assert_eq!(say("%y", &context), "!%y has no value here");
        let unknown = Context { home: None, uid: None, ..context };
        assert_eq!(say("%t%S%U", &unknown), "%t%S%U (unresolved)");
        assert_eq!(say("<%i>", &unknown), "<>");
    }

    #[test]
    fn names_of_units_know_fewer() {
        let context = system("x@y.service");
        assert_eq!(expand(b"%i", Table::Names, &context).unwrap().text, b"y");
        assert_eq!(expand(b"%t", Table::Names, &context), Err(Refused::Unknown(b't')));
    }

    #[test]
    fn an_expansion_is_bounded() {
        assert_eq!(
            say(&"%n".repeat(EXPANDED_MAX / 4), &system("abcdefg.service")),
            "!the expanded text is too long"
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[%a-zA-Z0-9 -]{0,60}") {
            let _ = (say(&text, &system("a-@\\x.service")), say(&text, &system("-.mount")));
        }

        #[test]
        fn what_has_no_percent_is_kept(text in "[ -$&-~]{0,60}") {
            prop_assert_eq!(say(&text, &system("x.service")), text);
        }
    }
}
