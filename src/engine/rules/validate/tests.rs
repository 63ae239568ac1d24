use super::*;

#[test]
fn each_validator_takes_what_it_names_and_leaves_what_looks_alike() {
    let table: &[(&str, &[&str], &[&str])] = &[
        (
            "iana_zone",
            &["Asia/Shanghai", "america/new_york", "Etc/GMT-8", ":Europe/Kyiv"],
            &["UTC", "Etc/UTC", "Asia/Nowhere", "", "src/main"],
        ),
        ("windows_zone", &["China Standard Time", "W. Europe Standard Time"], &["UTC", "Standard Time"]),
        (
            "utc_offset",
            &["+08:00", "-0330", "+8", "UTC+8", "GMT-05:00", "UTC +5:45"],
            &["Z", "+00:00", "8", "+25:00", "+08:07", "+1.2"],
        ),
        ("offset_minutes", &["480", "-300", "345", "28800"], &["0", "7", "1700000000", "x"]),
        (
            "offset_time",
            &["2026-11-22T20:29:12.138+08:00", "2026-11-22 20:29:12 -0500"],
            &["2026-11-22T20:29:12Z", "2026-11-22", "2026-11-22T20:29:12+00:00"],
        ),
        ("bcp47", &["zh-CN", "en", "zh-Hans-CN", "de_DE", "es-419"], &["xx-XX", "english", "de-ZZ", "C", ""]),
        (
            "jwt",
            &["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"],
            &["eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln", "eyJhbGciOiJIUzI1NiJ9.bm8.c2ln", "a.b.c"],
        ),
        ("basic", &["ZGVwbG95Oms3UW0yWnI5"], &["cmVxdWlyZWQ=", "not base64"]),
        (
            "bech32",
            &["A12UEL5L", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw"],
            &["A12UEL5M", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxq", "nothing"],
        ),
        ("posix_locale", &["zh_CN.UTF-8", "de_DE@euro", "pt_BR"], &["C.UTF-8", "POSIX", "en", "zh_cn.UTF-8"]),
        ("country", &["CN", "de"], &["UK", "XX", "CHN"]),
        ("accept_language", &["zh-CN,zh;q=0.9,en;q=0.8", "de"], &["*", "gzip, br"]),
        (
            "ip:private",
            &["10.1.2.3", "192.168.0.7", "fd12::1", "fe80::1%eth0", "100.64.0.1"],
            &["127.0.0.1", "8.8.8.8", "1.2.3", "::1"],
        ),
        ("ip:public", &["8.8.4.4", "2606:4700::1111"], &["10.0.0.1", "0.0.0.1", "255.255.255.0", "1.2.3.4.5"]),
        (
            "mac",
            &["a4:83:e7:12:34:56", "A4-83-E7-12-34-56", "a483.e712.3456"],
            &["00:00:00:00:00:00", "12:30:45", "a4:83:e7:12:34"],
        ),
        (
            "uuid",
            &["7c9e6679-7425-40de-944b-e07fc1f90ae7", "7C9E6679742540DE944BE07FC1F90AE7"],
            &["00000000-0000-0000-0000-000000000000", "7c9e6679-7425"],
        ),
        ("uuid:4", &["7c9e6679-7425-40de-944b-e07fc1f90ae7"], &["7c9e6679-7425-10de-944b-e07fc1f90ae7"]),
        ("hex:64", &["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"], &["9f86", &"0".repeat(64)]),
        ("machine_id", &["4c4c4544004a36108033b4c04f4e5a31"], &["4c4c", &"f".repeat(32)]),
        (
            "home_path",
            &["/home/ann", "/Users/ann/p", "C:\\Users\\ann\\p", "C:/Users/ann", "/c/Users/ann", "file:///home/ann/x"],
            &["/home/user/p", "/Users/<you>", "/home/$USER", "/etc/passwd", "/home/"],
        ),
        ("path", &["/srv/p", "C:\\p q", "~/p"], &["//host/x", "a/b", "/"]),
        ("email", &["ann@mail.example.com"], &["git@host", "a@b", "@x.com", "noreply@example.com"]),
        ("version", &["1.2", "v20.11.1", "6.8.0-45-generic"], &["1", "x.y", "20261122T10"]),
        ("os_name", &["Linux 6.8", "darwin", "Windows 11", "macOS"], &["linuxes", "the system"]),
        ("arch", &["x64", "aarch64"], &["x65"]),
        ("shell", &["bash", "/bin/zsh", "C:\\Windows\\System32\\cmd.exe", "PowerShell 7.4"], &["shell", "seashell"]),
        (
            "token",
            &["user-8f3a2c9d", "01HV5Z8Q4B7X"],
            &["short", "1.2.3-beta", "aaaaaaaa", "plainword", "https://a.example/1"],
        ),
        (
            "password",
            &[
                "3F2xsSO8RcPa!a!",
                "67343801a2008c98b4e7b71fe7d2f410",
                "Island5943@jasper",
                "kPjOanyM6IT/Mug5z+3XgLIekCNnzqy+3aCUO1qy",
            ],
            &[
                "password1",
                "hmacSha256",
                "get_token2()",
                "base64.b16encode",
                "&HpkeKey2aB3c",
                "user.password2",
                "20260101",
                "prod/api-fZ3Mt4",
                "1.2.3-beta",
                "https://a1.example/b2",
            ],
        ),
        ("host", &["ann-laptop", "ws17.corp.example"], &["localhost", "10.0.0.1", "a b", "1"]),
    ];
    let mut wrong = Vec::new();
    for (name, taken, left) in table {
        let validator = Validator::parse(name).unwrap_or_else(|| panic!("{name} is no validator"));
        wrong.extend(
            taken.iter().filter(|value| !validator.accepts(value)).map(|value| format!("{name} leaves {value:?}")),
        );
        wrong.extend(
            left.iter().filter(|value| validator.accepts(value)).map(|value| format!("{name} takes {value:?}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn validators_take_any_text_without_panic() {
    for value in [
        "",
        "é",
        "+é",
        "2026-11-22T20:29é+08:00",
        "/home/é",
        "C:\\Users\\é",
        "\u{0}",
        "::",
        "%",
        "@",
        "+é0:00",
        "c\u{301}:/Users/",
    ] {
        for name in NAMES.split(',').map(str::trim).filter(|name| !name.contains(['N', 'M'])) {
            let validator = Validator::parse(name).unwrap_or_else(|| panic!("{name} is listed but not known"));
            validator.accepts(value);
        }
    }
}

#[test]
fn ranges_that_make_no_sense_are_not_known() {
    for name in ["hex", "hex:x", "hex:9-2", "uuid:44", "ip:office", "path:x", "nothing"] {
        assert!(Validator::parse(name).is_none(), "{name}");
    }
}
