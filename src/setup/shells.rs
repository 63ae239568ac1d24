//! Variables as shells and others read them.

use clap::ValueEnum;

/// Who reads the variables.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Shell {
    /// sh, bash, zsh and their like
    Sh,
    Fish,
    Powershell,
    /// Windows' cmd.exe
    Cmd,
    /// A file of NAME="value" lines
    Dotenv,
    /// Options of docker run
    Docker,
}

impl Shell {
    /// The shell that the user works with, as far as the environment tells.
    pub fn of(name: Option<&str>) -> Self {
        let name = name.unwrap_or_default();
        match name.rsplit(['/', '\\']).next().unwrap_or_default() {
            "fish" => Self::Fish,
            "pwsh" | "powershell" | "powershell.exe" => Self::Powershell,
            "" if cfg!(windows) => Self::Powershell,
            _ => Self::Sh,
        }
    }

    fn line(self, name: &str, value: &str) -> String {
        match self {
            Self::Sh => format!("export {name}='{}'", value.replace('\'', "'\\''")),
            Self::Fish => format!("set -gx {name} '{}'", value.replace('\\', "\\\\").replace('\'', "\\'")),
            Self::Powershell => format!("$env:{name} = '{}'", value.replace('\'', "''")),
            Self::Cmd => format!("set \"{name}={}\"", value.replace('%', "%%")),
            Self::Dotenv => {
                format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$"))
            }
            Self::Docker => format!("--env '{name}={}'", value.replace('\'', "'\\''")),
        }
    }

    fn unset(self, name: &str) -> String {
        match self {
            Self::Sh => format!("unset {name}"),
            Self::Fish => format!("set -e {name}"),
            Self::Powershell => format!("Remove-Item Env:{name} -ErrorAction SilentlyContinue"),
            Self::Cmd => format!("set \"{name}=\""),
            Self::Dotenv | Self::Docker => String::new(),
        }
    }
}

/// The lines that set them.
pub fn variables(shell: Shell, list: &[(String, String)]) -> String {
    list.iter().map(|(name, value)| shell.line(name, value) + "\n").collect()
}

/// The lines that take them back.
pub fn unset(shell: Shell, list: &[(String, String)]) -> String {
    list.iter().map(|(name, _)| shell.unset(name)).filter(|line| !line.is_empty()).map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::{Shell, unset, variables};

    #[test]
    fn values_are_quoted_for_each_shell() {
        let list = [("A".to_owned(), "it's \"$HOME\" 5%\\x".to_owned())];
        for (shell, expected) in [
            (Shell::Sh, "export A='it'\\''s \"$HOME\" 5%\\x'\n"),
            (Shell::Fish, "set -gx A 'it\\'s \"$HOME\" 5%\\\\x'\n"),
            (Shell::Powershell, "$env:A = 'it''s \"$HOME\" 5%\\x'\n"),
            (Shell::Cmd, "set \"A=it's \"$HOME\" 5%%\\x\"\n"),
            (Shell::Dotenv, "A=\"it's \\\"\\$HOME\\\" 5%\\\\x\"\n"),
            (Shell::Docker, "--env 'A=it'\\''s \"$HOME\" 5%\\x'\n"),
        ] {
            assert_eq!(variables(shell, &list), expected);
        }
        assert_eq!(unset(Shell::Sh, &list), "unset A\n");
        assert_eq!(Shell::of(Some("/usr/bin/fish")), Shell::Fish);
        assert_eq!(Shell::of(Some("/bin/zsh")), Shell::Sh);
    }
}
