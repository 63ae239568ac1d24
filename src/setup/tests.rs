//! Files of a home folder, set up and taken back.

use std::fs;
use std::path::{Path, PathBuf};

use super::plan::Place;
use super::{ASSISTANTS, Assistant, Journal, SetupError, Undone, changes};

struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(home.state()).unwrap();
        home
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join("home").join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), text).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn place(&self) -> Place {
        Place {
            home: self.at(""),
            config: self.at(".config"),
            proxy: "127.0.0.1:8080".parse().unwrap(),
            bundle: self.state().join("trust/bundle.pem"),
            script: self.state().join("trust/env.sh"),
        }
    }

    fn set_up(&self, ids: &[&str]) {
        let assistants: Vec<&Assistant> = ids.iter().map(|id| Assistant::named(id).unwrap()).collect();
        let mut journal = Journal::open(&self.state()).unwrap();
        for change in changes(&assistants, &self.place()).unwrap() {
            journal.make(&change).unwrap();
        }
    }

    fn undo(&self, ids: &[&str]) -> Vec<Undone> {
        let ids: Vec<String> = ids.iter().map(|&id| id.to_owned()).collect();
        let told = Journal::open(&self.state()).unwrap().undo(&ids, false).unwrap();
        told.into_iter().map(|(_, undone)| undone).collect()
    }

    /// Every file below with its text.
    fn files(&self) -> Vec<(PathBuf, String)> {
        fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => {
                        found.push((entry.path(), "folder".to_owned()));
                        walk(&entry.path(), found);
                    }
                    false => found.push((entry.path(), fs::read_to_string(entry.path()).unwrap())),
                }
            }
        }
        let mut found = Vec::new();
        walk(self.folder.path(), &mut found);
        found.sort();
        found
    }
}

const SETTINGS: &str =
    "{\n    // mine\n    \"http.proxy\": \"http://old.example:3128\",\n    \"editor.fontSize\": 13,\n}\n";

#[test]
fn every_assistant_is_set_up_and_leaves_nothing_behind() {
    for full in [false, true] {
        let home = Home::new();
        fs::create_dir_all(home.at("")).unwrap();
        if full {
            home.put(".claude/settings.json", "{\"env\": {\"A\": \"1\"}, \"model\": \"x\"}");
            home.put(".codex/.env", "A=1");
            home.put(".bashrc", "alias ll='ls -l'\n");
            home.put(".config/fish/config.fish", "");
            home.put(".config/Code/User/settings.json", SETTINGS);
        }
        let before = home.files();
        let ids: Vec<&str> = ASSISTANTS.iter().map(|assistant| assistant.id).collect();
        for id in &ids {
            home.set_up(&[id]);
        }
        let set = home.files();
        // Again changes nothing.
        home.set_up(&ids);
        assert_eq!(home.files(), set);
        assert!(home.text(".claude/settings.json").contains("\"HTTPS_PROXY\": \"http://127.0.0.1:8080\""));
        assert!(home.text(".codex/.env").contains("SSL_CERT_FILE="));
        assert!(home.text(".config/Code/User/settings.json").contains("\"http.proxy\": \"http://127.0.0.1:8080\""));
        assert!(home.text(".profile").contains("trust/env.sh"));
        let undone = home.undo(&[]);
        assert!(undone.iter().all(|undone| matches!(undone, Undone::Restored | Undone::Removed)), "{undone:?}");
        assert_eq!(home.files(), before);
    }
}

#[test]
fn what_others_changed_since_stays() {
    let home = Home::new();
    home.put(".config/Code/User/settings.json", SETTINGS);
    home.put(".claude/settings.json", "{}");
    home.set_up(&["copilot", "claude-code", "codex"]);
    let edited =
        home.text(".config/Code/User/settings.json").replace("\"editor.fontSize\": 13", "\"editor.fontSize\": 15");
    home.put(".config/Code/User/settings.json", &edited);
    let claude = home.text(".claude/settings.json").replacen('{', "{\n  \"model\": \"x\",", 1);
    home.put(
        ".claude/settings.json",
        &claude.replace("\"NODE_USE_ENV_PROXY\": \"1\"", "\"NODE_USE_ENV_PROXY\": \"0\""),
    );
    fs::remove_file(home.at(".codex/.env")).unwrap();
    let undone = home.undo(&["copilot", "claude-code", "codex"]);
    assert!(undone.contains(&Undone::TakenOut) && undone.contains(&Undone::Gone), "{undone:?}");
    assert!(undone.contains(&Undone::Changed(vec!["env.NODE_USE_ENV_PROXY".to_owned()])), "{undone:?}");
    assert_eq!(home.text(".config/Code/User/settings.json"), SETTINGS.replace("13", "15"));
    let left: serde_json::Value = serde_json::from_str(&home.text(".claude/settings.json")).unwrap();
    assert_eq!(left, serde_json::json!({"model": "x", "env": {"NODE_USE_ENV_PROXY": "0"}}));
}

#[test]
fn a_file_that_others_need_stays_until_they_go() {
    let home = Home::new();
    home.put(".profile", "umask 022\n");
    home.set_up(&["opencode", "shell"]);
    assert_eq!(home.undo(&["opencode"]), [Undone::StillNeeded(vec!["shell".to_owned()])]);
    assert!(home.text(".profile").contains("divulge"));
    assert_eq!(home.undo(&["shell"]), [Undone::Restored]);
    assert_eq!(home.text(".profile"), "umask 022\n");
    assert!(!home.state().join("setup.json").exists() && !home.state().join("backups").exists());
}

#[test]
fn what_cannot_be_changed_safely_is_said_and_left() {
    let home = Home::new();
    home.put(".claude/settings.json", "[1, 2]");
    let error = changes(&[Assistant::named("claude-code").unwrap()], &home.place()).unwrap_err();
    assert!(matches!(error, SetupError::Form { .. }) && error.to_string().contains("by hand"), "{error}");
    fs::write(home.state().join("setup.json"), "{\"version\": 7, \"files\": []}").unwrap();
    let error = Journal::open(&home.state()).err().unwrap();
    assert!(error.to_string().contains("version 7"), "{error}");
}

#[test]
fn the_mode_and_the_link_of_a_file_stay() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    home.put("dotfiles/claude.json", "{}");
    fs::set_permissions(home.at("dotfiles/claude.json"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir_all(home.at(".claude")).unwrap();
    std::os::unix::fs::symlink(home.at("dotfiles/claude.json"), home.at(".claude/settings.json")).unwrap();
    home.set_up(&["claude-code"]);
    assert!(home.text("dotfiles/claude.json").contains("HTTPS_PROXY"));
    assert!(fs::symlink_metadata(home.at(".claude/settings.json")).unwrap().is_symlink());
    assert_eq!(fs::metadata(home.at("dotfiles/claude.json")).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(home.undo(&[]), [Undone::Restored]);
    assert_eq!(home.text("dotfiles/claude.json"), "{}");
}
