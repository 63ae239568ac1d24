//! Zone and language.

use super::{Facts, Machine};

/// `tz.iana`, `tz.offset`, `tz.abbr`; on Windows `tz.windows`.
pub(super) fn zone(machine: &Machine<'_>, facts: &mut Facts) {
    // A zone may be set for the process alone; the machine's own is read by clients all the same.
    if let Some(zone) = machine.variable("TZ") {
        facts.add("tz.iana", zone_name(zone.trim_start_matches(':')));
    }
    if let Ok(target) = std::fs::read_link(machine.path("/etc/localtime")) {
        facts.add("tz.iana", zone_name(&target.to_string_lossy()));
    }
    facts.add("tz.iana", machine.read("/etc/timezone").unwrap_or_default());
    if cfg!(windows) {
        facts.add("tz.windows", machine.ask("tzutil", &["/g"]).unwrap_or_default());
        return;
    }
    let Some(now) = machine.ask("date", &["+%z %Z"]) else { return };
    let (offset, abbreviation) = now.split_once(' ').unwrap_or((&now, ""));
    if let (Some(hours), Some(minutes)) = (offset.get(..3), offset.get(3..5)) {
        facts.add("tz.offset", format!("{hours}:{minutes}"));
    }
    // Zones without an abbreviation print their offset.
    if abbreviation.starts_with(|c: char| c.is_ascii_alphabetic()) {
        facts.add("tz.abbr", abbreviation);
    }
}

/// `Asia/Shanghai` of `/usr/share/zoneinfo/posix/Asia/Shanghai`; rules such as `CST-8` are kept.
fn zone_name(text: &str) -> &str {
    let name = text.rsplit_once("zoneinfo/").map_or(text, |(_, name)| name);
    name.trim_start_matches("posix/").trim_start_matches("right/")
}

const VARIABLES: [&str; 9] =
    ["LC_ALL", "LANG", "LC_CTYPE", "LC_MESSAGES", "LC_TIME", "LC_NUMERIC", "LC_MONETARY", "LC_COLLATE", "LC_PAPER"];

/// `locale.posix`, `locale.bcp47`, `locale.country`, `locale.keyboard`.
pub(super) fn locale(machine: &Machine<'_>, facts: &mut Facts) {
    let mut locales: Vec<String> = VARIABLES.iter().filter_map(|name| machine.variable(name)).collect();
    for file in ["/etc/locale.conf", "/etc/default/locale"] {
        let text = machine.read(file).unwrap_or_default();
        locales.extend(VARIABLES.iter().filter_map(|name| assigned(&text, name)));
    }
    if cfg!(target_os = "macos") {
        locales.extend(machine.ask("defaults", &["read", "-g", "AppleLocale"]));
    }
    if let Some(list) = machine.variable("LANGUAGE") {
        locales.extend(list.split(':').map(str::to_owned));
    }
    for locale in &locales {
        // `C` and `POSIX` say nothing of anybody.
        if !matches!(locale.as_str(), "C" | "POSIX") {
            facts.add("locale.posix", locale);
        }
        if let Some((tag, country)) = language_tag(locale) {
            facts.add("locale.bcp47", tag);
            facts.add("locale.country", country.unwrap_or_default());
        }
    }
    let keyboard = machine.read("/etc/default/keyboard").unwrap_or_default();
    facts.add_all("locale.keyboard", assigned(&keyboard, "XKBLAYOUT").unwrap_or_default().split(','));
    let console = machine.read("/etc/vconsole.conf").unwrap_or_default();
    facts.add("locale.keyboard", assigned(&console, "KEYMAP").unwrap_or_default());
}

/// `zh-CN` and `CN` of `zh_CN.UTF-8`; a script from the modifier (`sr_RS@latin`) is left out.
fn language_tag(locale: &str) -> Option<(String, Option<String>)> {
    let name = locale.split(['.', '@']).next()?;
    let (language, country) = match name.split_once(['_', '-']) {
        Some((language, country)) => (language, Some(country)),
        None => (name, None),
    };
    let is_language = (2..=3).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_lowercase());
    if !is_language {
        return None;
    }
    Some(match country {
        Some(country) => (format!("{language}-{}", country.replace('_', "-")), Some(country.to_owned())),
        None => (language.to_owned(), None),
    })
}

/// The value of `NAME=value` or `NAME="value"` in a shell-like settings file.
pub(super) fn assigned(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let value = line.trim().strip_prefix("export ").unwrap_or(line.trim()).strip_prefix(name)?.strip_prefix('=')?;
        Some(value.trim().trim_matches(['"', '\'']).to_owned())
    })
}
