//! What of the machine a room must show so that a command runs in it: the program, wherever it is installed, and what is
//! installed with it; never a home folder as a whole.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::layout::Shown;
use super::mounts::SYSTEM;

/// Folders below a home that version managers and installers keep programs in, and programs alone.
const INSTALLATIONS: [&str; 16] = [
    ".pyenv",
    ".nvm",
    ".asdf/installs",
    ".asdf/shims",
    ".volta",
    ".rbenv",
    ".nodenv",
    ".local/share/mise/installs",
    ".local/share/mise/shims",
    ".sdkman",
    ".bun/bin",
    ".bun/install",
    ".deno/bin",
    ".rustup",
    ".fnm",
    ".local/share/fnm",
];

/// Entries of one folder of commands that are looked at for links.
const MOST_LINKS: usize = 2000;

/// The paths that `command` and the programs on `path` need, beside the system's folders.
pub fn needed(path: &OsStr, command: &[OsString], home: Option<&Path>) -> Vec<Shown> {
    let mut found = Found { paths: BTreeSet::new(), home: home.map(Path::to_owned) };
    for folder in std::env::split_paths(path) {
        found.folder_of_commands(&folder);
    }
    if let Some(program) = command.first().map(Path::new) {
        if program.components().count() > 1 {
            found.program(&absolute(program));
        } else if let Some(on_path) = find(program, path) {
            found.program(&on_path);
        }
    }
    for argument in command.iter().skip(1) {
        let argument = Path::new(argument);
        if argument.is_absolute() && argument.is_file() {
            found.add(argument);
        }
    }
    found.into_shown()
}

/// A path that is to be seen besides, at its own place and at that of what it links to.
pub fn shown(path: &Path, writable: bool) -> Vec<Shown> {
    let mut found = vec![Shown { path: path.to_owned(), at: path.to_owned(), writable }];
    if let Ok(real) = path.canonicalize()
        && real != path
    {
        found.push(Shown { path: real.clone(), at: real, writable });
    }
    found
}

/// The list without what stands in a folder of the list anyway.
pub fn without_covered(list: Vec<Shown>) -> Vec<Shown> {
    let own_place = |one: &Shown| one.path == one.at;
    let covers = |(at, above): (usize, &Shown), (index, one): (usize, &Shown)| {
        at != index
            && own_place(above)
            && own_place(one)
            && one.at.starts_with(&above.at)
            && (above.writable || !one.writable)
            && (one.at != above.at || at < index || (above.writable && !one.writable))
    };
    let numbered = || list.iter().enumerate();
    numbered().filter(|&one| !numbered().any(|above| covers(above, one))).map(|(_, one)| one.clone()).collect()
}

/// The file that a shell would run for `program`.
pub fn find(program: &Path, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

struct Found {
    paths: BTreeSet<PathBuf>,
    home: Option<PathBuf>,
}

impl Found {
    fn folder_of_commands(&mut self, folder: &Path) {
        if !folder.is_absolute() || !folder.is_dir() {
            return;
        }
        if let Some(installation) = self.installation(folder) {
            return self.add(&installation);
        }
        if !is_system(folder) {
            self.add(folder);
            self.beside(folder);
        }
        if is_system(folder) && !folder.starts_with("/usr/local") && !folder.starts_with("/opt") {
            return;
        }
        for entry in fs::read_dir(folder).into_iter().flatten().flatten().take(MOST_LINKS) {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                self.program(&entry.path());
            }
        }
    }

    /// A program, what it links to, and what is installed around that.
    fn program(&mut self, program: &Path) {
        let Ok(real) = program.canonicalize() else { return };
        if !is_system(program) {
            self.add(program);
        }
        if is_system(&real) {
            return;
        }
        if let Some(installation) = self.installation(&real) {
            return self.add(&installation);
        }
        if let Some(modules) = modules_around(&real) {
            return self.add(&modules);
        }
        match real.parent() {
            Some(folder) if folder.file_name().is_some_and(|name| name == "bin") => {
                self.add(&real);
                self.beside(folder);
            }
            _ => self.add(&real),
        }
    }

    /// What programs of `…/bin` read of `…`.
    fn beside(&mut self, folder: &Path) {
        let Some(top) = folder.parent().filter(|_| folder.file_name().is_some_and(|name| name == "bin")) else {
            return;
        };
        if self.is_home_or_above(top) {
            return;
        }
        for name in ["lib", "lib64", "libexec", "node_modules", "pyvenv.cfg", "package.json"] {
            let path = top.join(name);
            if path.exists() {
                self.add(&path);
            }
        }
    }

    fn installation(&self, path: &Path) -> Option<PathBuf> {
        let home = self.home.as_ref()?;
        INSTALLATIONS.iter().map(|name| home.join(name)).find(|folder| path.starts_with(folder))
    }

    fn is_home_or_above(&self, path: &Path) -> bool {
        self.home.as_ref().is_some_and(|home| home.starts_with(path))
    }

    fn add(&mut self, path: &Path) {
        if !self.is_home_or_above(path) && !is_system(path) {
            self.paths.insert(path.to_owned());
        }
    }

    fn into_shown(self) -> Vec<Shown> {
        self.paths.iter().flat_map(|path| shown(path, false)).filter(|one| !is_system(&one.path)).collect()
    }
}

/// Whether the path is in a folder that every room shows.
pub fn is_system(path: &Path) -> bool {
    let mut parts = path.components();
    parts.next() == Some(Component::RootDir)
        && parts.next().and_then(|top| top.as_os_str().to_str()).is_some_and(|top| SYSTEM.contains(&top))
}

/// The outermost `node_modules` around a file.
fn modules_around(path: &Path) -> Option<PathBuf> {
    path.ancestors()
        .filter(|folder| folder.file_name().is_some_and(|name| name == "node_modules"))
        .last()
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_installed_below_the_home_is_shown_and_the_home_is_not() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        let modules = home.join(".cache/clients/one/lib/node_modules");
        fs::create_dir_all(modules.join("client")).unwrap();
        fs::write(modules.join("client/cli.js"), "").unwrap();
        let commands = home.join(".cache/clients/one/bin");
        fs::create_dir_all(&commands).unwrap();
        std::os::unix::fs::symlink("../lib/node_modules/client/cli.js", commands.join("client")).unwrap();
        fs::write(home.join(".secret"), "").unwrap();

        let shown = needed(commands.as_os_str(), &["client".into()], Some(&home));
        let paths: Vec<&Path> = shown.iter().map(|one| one.path.as_path()).collect();
        assert!(paths.contains(&commands.as_path()), "{paths:?}");
        assert!(paths.iter().any(|path| modules.starts_with(path)), "{paths:?}");
        assert!(paths.iter().all(|path| !home.starts_with(path) && !path.ends_with(".secret")), "{paths:?}");
        assert!(shown.iter().all(|one| !one.writable));
    }

    #[test]
    fn what_stands_in_a_folder_of_the_list_is_shown_once() {
        let one = |path: &str, writable| Shown { path: path.into(), at: path.into(), writable };
        let home = Shown { path: "/data/home".into(), at: "/home/a".into(), writable: true };
        let list = vec![
            home.clone(),
            one("/home/a/tool", false),
            one("/home/a/tool/bin/x", false),
            one("/home/a/tool", false),
            one("/work", false),
            one("/work/here", true),
        ];
        let expected = vec![home, one("/home/a/tool", false), one("/work", false), one("/work/here", true)];
        assert_eq!(without_covered(list), expected);
    }

    #[test]
    fn the_system_is_shown_anyway() {
        assert!(needed(OsStr::new("/usr/bin:/bin"), &["sh".into()], None).is_empty());
    }
}
