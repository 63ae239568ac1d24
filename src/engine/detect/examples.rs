//! Tells what is written as an example from what is said of a machine.
//!
//! ```text
//! e.g. `pt-BR`                              after a word that says so
//! | key | default | example |               in a table of what can be set
//! Set `TZ=Europe/Berlin` if …               a setting, quoted in a sentence that tells how to make it
//! let user = "dev";                         an assignment in a program
//! ```

use crate::engine::detect::prompt::start_of_line;

/// How far back the head of a table is looked for.
const TABLE: usize = 2048;
/// How far back a word that announces an example stands.
const NEAR: usize = 24;

/// Whether what begins at `start` of `text` is an example of a value, or what a setting has unless it is set.
pub(super) fn is_example(text: &[u8], start: usize) -> bool {
    is_announced(text, start) || is_quoted_in_sentence(text, start) || is_in_table_of_settings(text, start)
}

/// `e.g. Europe/Berlin`, `such as `pt-BR``
fn is_announced(text: &[u8], start: usize) -> bool {
    const WORDS: &[&[u8]] =
        &[b"e.g.", b"e.g.,", b"such as", b"for example", b"for example,", b"i.e.", b"example:", b"like"];
    let near = &text[start.saturating_sub(NEAR)..start];
    let quotes = near.iter().rev().take_while(|byte| matches!(byte, b' ' | b'`' | b'"' | b'\'' | b'(')).count();
    let before = &near[..near.len() - quotes];
    WORDS.iter().any(|word| before.ends_with(word))
}

/// Whether `name=value` is quoted there in the middle of a sentence that says what to do with it.
pub(super) fn is_quoted_in_sentence(text: &[u8], start: usize) -> bool {
    const VERBS: &[&str] = &[
        "set",
        "setting",
        "sets",
        "use",
        "using",
        "export",
        "exporting",
        "pass",
        "passing",
        "add",
        "adding",
        "put",
        "define",
        "try",
        "with",
        "or",
        "and",
        "run",
        "specify",
        "configure",
        "override",
        "via",
        "by",
        "to",
        "as",
    ];
    let line = &text[start_of_line(text, start)..start];
    let Some(open) = memchr::memrchr(b'`', line) else { return false };
    let is_open = memchr::memchr_iter(b'`', line).count() % 2 == 1;
    if !is_open || !line[open..].iter().any(|byte| matches!(byte, b'=' | b':')) {
        return false;
    }
    let Some(words) = line[..open].strip_suffix(b" ") else { return false };
    let last = words.rsplit(|byte| !byte.is_ascii_alphabetic()).next().unwrap_or_default();
    VERBS.iter().any(|verb| last.eq_ignore_ascii_case(verb.as_bytes()))
}

/// Whether the line is the row of a table whose head has a column for defaults or examples.
fn is_in_table_of_settings(text: &[u8], start: usize) -> bool {
    const HEADS: &[&[u8]] =
        &[b"default", b"defaults", b"default value", b"example", b"examples", b"allowed values", b"possible values"];
    let is_row = |line: &[u8]| line.trim_ascii_start().starts_with(b"|");
    let line = start_of_line(text, start);
    if !is_row(&text[line..start]) {
        return false;
    }
    let before = &text[line.saturating_sub(TABLE)..line];
    let head = before.split(|&byte| byte == b'\n').rev().skip(1).take_while(|line| is_row(line)).last();
    let Some(head) = head else { return false };
    head.split(|&byte| byte == b'|').any(|cell| {
        let cell = cell.trim_ascii().to_ascii_lowercase();
        HEADS.contains(&&*cell)
    })
}

/// Whether the value between `before` and `after` is one that a program sets: what is assigned there holds wherever it runs.
pub(super) fn is_assigned(before: &[u8], after: &[u8]) -> bool {
    const KEYWORDS: &[&str] = &[
        "let",
        "const",
        "var",
        "val",
        "static",
        "final",
        "public",
        "private",
        "protected",
        "#define",
        "auto",
        "char",
        "string",
        "String",
        "def",
        "class",
        "readonly",
        "constexpr",
    ];
    let line = before[start_of_line(before, before.len())..].trim_ascii_start();
    let quoted = line.last().filter(|byte| matches!(byte, b'"' | b'\''));
    let first = line.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
    if KEYWORDS.iter().any(|word| first == word.as_bytes()) {
        return true;
    }
    let Some(&quote) = quoted else { return false };
    let name = line[..line.len() - 1].trim_ascii_end();
    let Some(name) = name.strip_suffix(b"=") else { return false };
    // `user = "dev";`
    let ends = after.strip_prefix(&[quote]).is_some_and(|rest| rest.trim_ascii_start().starts_with(b";"));
    // `DEFAULT_SHELL = "/bin/bash"`: a file of settings has no blanks there.
    let constant = name.ends_with(b" ")
        && name.iter().any(u8::is_ascii_uppercase)
        && name.trim_ascii_end().iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_');
    // `name: str = "dev"`
    let typed = memchr::memmem::find(name, b": ").is_some();
    ends || constant || typed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start_of(text: &str) -> (&[u8], usize) {
        (text.as_bytes(), text.find("VALUE").expect("a value"))
    }

    #[test]
    fn examples_are_told_from_what_is_said() {
        for (text, example) in [
            ("a zone, e.g. VALUE", true),
            ("a zone (e.g. `VALUE`)", true),
            ("| key | default | example |\n|---|---|---|\n| `lang` | `C` | x |\n| `locale` | `VALUE` | y |", true),
            ("| Setting | Value |\n|---|---|\n| Locale | VALUE |", false),
            ("| default | x |\n\n| Locale | VALUE |", false),
            ("Set `TZ=VALUE` if your jobs need it.", true),
            ("The machine has `TZ=VALUE` set.", false),
            ("Use `make`, the zone is VALUE", false),
            ("Environment: `TZ=VALUE`", false),
            ("Time zone: VALUE", false),
        ] {
            let (bytes, start) = start_of(text);
            assert_eq!(is_example(bytes, start), example, "{text}");
        }
    }

    #[test]
    fn assignments_of_programs_are_told_from_settings() {
        for (text, assigned) in [
            ("    let user = \"VALUE\";", true),
            ("user = \"VALUE\";", true),
            ("DEFAULT_SHELL = \"VALUE\"", true),
            ("    name: str = \"VALUE\"", true),
            ("static const char *user = \"VALUE\"", true),
            ("user = \"VALUE\"", false),
            ("SHELL=\"VALUE\"", false),
            ("export SHELL=VALUE", false),
            ("\"user\": \"VALUE\",", false),
            ("User: VALUE", false),
        ] {
            let (bytes, start) = start_of(text);
            assert_eq!(is_assigned(&bytes[..start], &bytes[start + 5..]), assigned, "{text}");
        }
    }
}
