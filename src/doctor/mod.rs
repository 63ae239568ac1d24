//! What of this machine or of a client will not work behind the proxy, and the exact fix.

pub mod machine;
pub mod processes;
pub mod runtimes;

use serde::Serialize;

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub area: &'static str,
    pub name: String,
    pub state: State,
    pub what: String,
    /// What to do about it, as one would type it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Good,
    /// Not wrong, but good to know.
    Note,
    Bad,
}

impl Check {
    pub fn good(area: &'static str, name: impl Into<String>, what: impl Into<String>) -> Self {
        Self { area, name: name.into(), state: State::Good, what: what.into(), fix: None }
    }

    pub fn note(area: &'static str, name: impl Into<String>, what: impl Into<String>) -> Self {
        Self { state: State::Note, ..Self::good(area, name, what) }
    }

    pub fn bad(area: &'static str, name: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { state: State::Bad, fix: Some(fix.into()), ..Self::good(area, name, what) }
    }

    pub fn with_fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }
}

/// The checks as a table, an area at a time; fixes stand below what they mend.
pub fn render(checks: &[Check], color: bool) -> String {
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or_default();
    let mut out = String::new();
    let mut area = "";
    for check in checks {
        if check.area != area {
            area = check.area;
            out.push_str(&format!("{}{area}\n", if out.is_empty() { "" } else { "\n" }));
        }
        let (mark, code) = match check.state {
            State::Good => ("ok", "32"),
            State::Note => ("note", "33"),
            State::Bad => ("BAD", "31"),
        };
        let mark = if color { format!("\u{1b}[{code}m{mark:<4}\u{1b}[0m") } else { format!("{mark:<4}") };
        out.push_str(&format!("  {mark}  {:<width$}  {}\n", check.name, check.what));
        if let Some(fix) = &check.fix {
            out.push_str(&format!("  {:<width$}        fix: {fix}\n", ""));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Check, render};

    #[test]
    fn a_fix_stands_below_what_it_mends() {
        let checks = [
            Check::good("CA", "validity", "until 2028"),
            Check::bad("CA", "trust", "no store", "divulge ca install"),
            Check::note("clock", "time", "odd"),
        ];
        let expected = "CA\n  ok    validity  until 2028\n  BAD   trust     no store\n                  fix: divulge ca install\n\nclock\n  note  time      odd\n";
        assert_eq!(render(&checks, false), expected);
        assert!(render(&checks, true).contains("\u{1b}[31mBAD \u{1b}[0m"));
    }
}
