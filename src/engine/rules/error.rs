//! Why a rule file is refused: where, what is wrong there, and what is expected instead.

use std::fmt;
use std::ops::Range;

/// `rules/mine/x.toml:4: unknown kind "id.devise"; expected one of …`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuleError {
    pub file: String,
    /// From 1.
    pub line: usize,
    pub problem: String,
    pub expected: String,
}

impl RuleError {
    pub(crate) fn at(source: Source<'_>, span: Range<usize>, problem: impl Into<String>, expected: &str) -> Self {
        Self {
            file: source.name.to_owned(),
            line: source.line(span.start),
            problem: problem.into(),
            expected: expected.to_owned(),
        }
    }

    /// What the TOML reader says, in our form: its message already names the keys or the type it expects.
    pub(crate) fn of_toml(source: Source<'_>, error: &toml::de::Error, expected: &str) -> Self {
        let problem = error.message().trim().replace('\n', ", ");
        Self::at(source, error.span().unwrap_or(0..0), problem, expected)
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.problem)?;
        if !self.expected.is_empty() {
            write!(f, "; expected {}", self.expected)?;
        }
        Ok(())
    }
}

impl std::error::Error for RuleError {}

/// One file's text, for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub name: &'a str,
    pub text: &'a str,
}

impl Source<'_> {
    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        1 + before.iter().filter(|&&byte| byte == b'\n').count()
    }
}
