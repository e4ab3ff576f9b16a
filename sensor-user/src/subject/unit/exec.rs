//! Command lines: `ExecStart=` and its siblings (systemd.service(5), "COMMAND LINES"; `config_parse_exec`,
//! src/core/load-fragment.c; `replace_env_argv`, src/basic/env-util.c).

use super::specifier::{self, Context, Table};
use super::syntax::is_blank;
use super::words::{Rules, lenient_word, skip_blanks, words};

/// Most commands that are read of one assignment.
pub const COMMANDS_MAX: usize = 256;

/// Most arguments that are read of one command.
pub const ARGUMENTS_MAX: usize = 4096;

/// Most bytes of one command, all arguments together.
pub const COMMAND_MAX: usize = 1024 * 1024;

/// The prefixes of a command (systemd.service(5), table "Special executable prefixes").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a prefix of its own")]
pub struct Flags {
    /// `-`: a failure counts as success.
    pub ignore_failure: bool,
    /// `@`: the second word is argv\[0\].
    pub own_argv0: bool,
    /// `:`: no variables.
    pub no_variables: bool,
    /// `+`: as root, outside the sandbox.
    pub privileged: bool,
    /// `!`: the user is not changed, the sandbox is.
    pub keep_user: bool,
    /// `!!`: as `!`, where the kernel has no ambient capabilities.
    pub ambient: bool,
    /// `|`: by the user's shell (systemd 258; refused before).
    pub shell: bool,
}

impl Flags {
    /// Takes the prefixes off `word`, each once.
    fn take(word: &mut &[u8]) -> Self {
        let mut flags = Self::default();
        while let Some((prefix, rest)) = word.split_first() {
            let elevated = flags.privileged || flags.ambient;
            let flag = match prefix {
                b'-' if !flags.ignore_failure => &mut flags.ignore_failure,
                b'@' if !flags.own_argv0 => &mut flags.own_argv0,
                b':' if !flags.no_variables => &mut flags.no_variables,
                b'|' if !flags.shell => &mut flags.shell,
                b'+' if !elevated && !flags.keep_user => &mut flags.privileged,
                b'!' if !elevated && !flags.keep_user => &mut flags.keep_user,
                b'!' if !elevated => {
                    flags.keep_user = false;
                    &mut flags.ambient
                }
                _ => break,
            };
            *flag = true;
            *word = rest;
        }
        flags
    }
}

/// A command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The program: an absolute path without doubled slashes, or a name that is looked up.
    pub path: Vec<u8>,
    /// Its arguments, from argv\[0\].
    pub argv: Vec<Vec<u8>>,
    /// Its prefixes.
    pub flags: Flags,
    /// Whether a specifier stayed, for only the machine knows its value.
    pub unresolved: bool,
}

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A specifier.
    #[error("{0}")]
    Specifier(#[from] specifier::Refused),
    /// No program.
    #[error("there is no program")]
    Empty,
    /// Neither an absolute path nor a name; or with control characters, quotes or a backslash; or a directory's.
    #[error("the program is neither an absolute path nor a name")]
    Program,
    /// Quotes.
    #[error("unbalanced quotes")]
    Quotes,
    /// More than [`COMMANDS_MAX`], [`ARGUMENTS_MAX`] or [`COMMAND_MAX`].
    #[error("too many commands or arguments")]
    TooMany,
}

/// What an assignment comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The commands before the first wrong one.
    pub commands: Vec<Command>,
    /// Why the rest is not run.
    pub wrong: Option<Wrong>,
    /// Whether the service manager refuses the whole unit for it, or stops reading the drop-in.
    pub fatal: bool,
}

/// Reads the value of an assignment.
pub fn parse(value: &[u8], context: &Context<'_>) -> Parsed {
    let mut parsed = Parsed::default();
    let mut rest = value;
    loop {
        // Quotes that do not close in the first word are passed over, elsewhere they are an error.
        let Ok(Some(first)) = lenient_word(&mut rest, Rules::COMMAND) else { return parsed };
        if first == b";" {
            continue;
        }
        let mut program = &first[..];
        let flags = Flags::take(&mut program);
        if parsed.commands.len() == COMMANDS_MAX {
            return Parsed { wrong: Some(Wrong::TooMany), ..parsed };
        }
        match command(program, flags, &mut rest, context) {
            Ok((command, more)) => {
                parsed.commands.push(command);
                if !more {
                    return parsed;
                }
            }
            Err(wrong) => {
                let fatal = !flags.ignore_failure && wrong != Wrong::TooMany;
                return Parsed { wrong: Some(wrong), fatal, ..parsed };
            }
        }
    }
}

/// One command, and whether another follows.
fn command(
    program: &[u8],
    flags: Flags,
    rest: &mut &[u8],
    context: &Context<'_>,
) -> Result<(Command, bool), Wrong> {
    let path = specifier::expand(program, Table::Full, context)?;
    check_program(&path.text, path.unresolved)?;
    let mut command = Command { flags, unresolved: path.unresolved, ..Command::default() };
    let mut size = path.text.len();
    if !flags.own_argv0 {
        command.argv.push(path.text.clone());
    }
    command.path = simplify(&path.text);
    let mut more = false;
    while !rest.is_empty() {
        let ends = |at: usize| rest.get(at).is_none_or(|byte| is_blank(*byte));
        if rest[0] == b';' && ends(1) {
            *rest = skip_blanks(&rest[1..]);
            more = true;
            break;
        }
        // Not to be confused with `"\;"` and others, which give the same word.
        let argument = if rest.starts_with(b"\\;") && ends(2) {
            *rest = skip_blanks(&rest[2..]);
            b";".to_vec()
        } else {
            let Some(word) = lenient_word(rest, Rules::COMMAND).map_err(|_| Wrong::Quotes)? else { break };
            let expanded = specifier::expand(&word, Table::Full, context)?;
            command.unresolved |= expanded.unresolved;
            expanded.text
        };
        size += argument.len();
        if size > COMMAND_MAX || command.argv.len() == ARGUMENTS_MAX {
            return Err(Wrong::TooMany);
        }
        command.argv.push(argument);
    }
    if command.argv.is_empty() {
        return Err(Wrong::Empty);
    }
    Ok((command, more))
}

fn check_program(path: &[u8], unresolved: bool) -> Result<(), Wrong> {
    if path.is_empty() {
        return Err(Wrong::Empty);
    }
    let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let safe = !path.iter().any(|byte| byte.is_ascii_control() || b"\"'\\".contains(byte));
    let parts = path.split(|byte| *byte == b'/').all(|part| part.len() <= 255) && path.len() < 4096;
    // What the path begins with may be such a specifier.
    let named = path[0] == b'/' || (unresolved && path[0] == b'%') || !path.contains(&b'/');
    // `path_implies_directory`, src/basic/path-util.c.
    if safe && parts && named && !matches!(last, b"" | b"." | b"..") { Ok(()) } else { Err(Wrong::Program) }
}

/// A path without doubled slashes and `.` (`path_simplify`, src/basic/path-util.c).
pub fn simplify(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for (at, part) in path.split(|byte| *byte == b'/').enumerate() {
        if at > 0 && (part.is_empty() || part == b".") {
            continue;
        }
        if at > 0 {
            out.push(b'/');
        }
        out.extend_from_slice(part);
    }
    if out.is_empty() && path.first() == Some(&b'/') {
        out.push(b'/');
    }
    out
}

impl Command {
    /// The arguments with the variables of `environment` in them, later ones before earlier ones. Unknown variables
    /// are nothing, as they are to the service manager: give all that is known.
    pub fn arguments(&self, environment: &[(Vec<u8>, Vec<u8>)]) -> Vec<Vec<u8>> {
        if self.flags.no_variables {
            return self.argv.clone();
        }
        let value = |name: &[u8]| {
            environment.iter().rev().find(|(known, _)| known == name).map(|(_, value)| &value[..])
        };
        let mut out = Vec::with_capacity(self.argv.len());
        let mut size = 0;
        for argument in &self.argv {
            let room = ARGUMENTS_MAX.saturating_sub(out.len());
            match argument
                .strip_prefix(b"$")
                .filter(|name| !name.starts_with(b"{") && !name.starts_with(b"$"))
            {
                Some(name) => {
                    out.extend(words(value(name).unwrap_or_default(), Rules::VARIABLE, room).0);
                }
                None => out.push(replaced(argument, value)),
            }
            size += out.last().map_or(0, Vec::len);
            if size > COMMAND_MAX || out.len() >= ARGUMENTS_MAX {
                break;
            }
        }
        out
    }
}

/// `${NAME}` replaced, `$$` made one; everything else is kept (`replace_env_full`).
fn replaced<'a>(text: &[u8], value: impl Fn(&[u8]) -> Option<&'a [u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'$' {
            out.push(*byte);
            continue;
        }
        match after.first() {
            Some(b'$') => {
                out.push(b'$');
                rest = &after[1..];
            }
            Some(b'{') => match after.iter().position(|byte| matches!(byte, b'}' | b':')) {
                Some(end) if after[end] == b'}' => {
                    out.extend_from_slice(value(&after[1..end]).unwrap_or_default());
                    rest = &after[end + 1..];
                }
                _ => out.push(b'$'),
            },
            _ => out.push(b'$'),
        }
        if out.len() > COMMAND_MAX {
            break;
        }
    }
    out
}

#[cfg(test)]
#[path = "exec_tests.rs"]
mod tests;
