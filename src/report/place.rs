//! Places and paths with what changes from request to request left open, so that two of them can be compared.

use std::borrow::Cow;

/// A location with its positions in lists left open and without byte windows: `body!json:/events/*/id`.
///
/// What bears a number as a name keeps it: path segments, parts of a token, fields of a protobuf message. Names that are
/// themselves identifiers are `{id}`.
pub fn pattern(location: &str) -> String {
    let mut out = String::with_capacity(location.len());
    // Names spell `!` and `@` as `~2` and `~3`, so these two are always marks.
    for (index, step) in location.split('!').enumerate() {
        let step = step.split('@').next().unwrap_or(step);
        if index > 0 {
            out.push('!');
        }
        let (label, rest) = match step.split_once(':') {
            Some((label, rest)) => (label, Some(rest)),
            None => (step, None),
        };
        out.push_str(label);
        let Some(rest) = rest else { continue };
        out.push(':');
        for (at, segment) in rest.split('/').enumerate() {
            if at > 0 {
                out.push('/');
                out.push_str(&open(label, segment));
            } else {
                // Before the first `/` stands nothing.
                out.push_str(segment);
            }
        }
    }
    out
}

fn open<'a>(label: &str, segment: &'a str) -> Cow<'a, str> {
    match label {
        "path" | "jwt" => segment.into(),
        "ws" | "lines" | "frame" | "event" => "*".into(),
        // The k-th repeat of a field is the field.
        "pb" => segment.split('.').next().unwrap_or(segment).into(),
        "header" | "trailer" => match segment.split_once('[') {
            Some((name, _)) => format!("{name}[*]").into(),
            None => segment.into(),
        },
        _ if is_number(segment) => "*".into(),
        _ if is_id(segment) => "{id}".into(),
        _ => segment.into(),
    }
}

/// A path with its ids, digests and numbers left open: `/v1/sessions/{id}/events`. Segments in which a value was found are
/// `…` already, and are open too.
pub fn path_template(path: &str) -> String {
    let segment = |segment: &str| {
        let piece = |piece: &str| match is_number(piece) || is_id(piece) || piece.contains('…') {
            true => "{id}".to_owned(),
            false => piece.to_owned(),
        };
        // `/models/x:generate`: a verb behind the name.
        segment.split(':').map(piece).collect::<Vec<_>>().join(":")
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a name is drawn rather than given: a UUID, a digest, a long mixture of letters and digits, an address.
pub fn is_id(name: &str) -> bool {
    const SHORTEST_DIGEST: usize = 8;
    const SHORTEST_MIXTURE: usize = 12;
    if name.contains('@') || name.contains("~3") || name.contains("%40") {
        return true;
    }
    let hex: Vec<u8> = name.bytes().filter(|&byte| byte != b'-').collect();
    let is_hex = !hex.is_empty() && hex.iter().all(u8::is_ascii_hexdigit);
    let digits = hex.iter().filter(|byte| byte.is_ascii_digit()).count();
    if is_hex && (name.len() == 36 && hex.len() == 32 || hex.len() == name.len() && hex.len() >= SHORTEST_DIGEST) {
        return digits > 0 && (digits < hex.len() || hex.len() == 32);
    }
    name.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| {
        let bytes = part.as_bytes();
        let turns = bytes.windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count();
        part.len() >= SHORTEST_MIXTURE && turns >= 4
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_open_and_names_stay() {
        for (location, expected) in [
            ("body!gzip!json:/events/12/env/kernel@3-9", "body!gzip!json:/events/*/env/kernel"),
            ("header:/x-device[2]!b64!json:/a", "header:/x-device[*]!b64!json:/a"),
            ("path:/3", "path:/3"),
            ("ws:/41!json:/t", "ws:/*!json:/t"),
            ("body!frame:/0!gzip!pb:/1/5.3/7", "body!frame:/*!gzip!pb:/1/5/7"),
            ("header:/authorization!jwt:/1!json:/sub", "header:/authorization!jwt:/1!json:/sub"),
            ("body!json:/files/9f86d081884c7d65/size", "body!json:/files/{id}/size"),
            ("body!lines:/7!json:/a~1b/0", "body!lines:/*!json:/a~1b/*"),
            ("query!form:/tz", "query!form:/tz"),
            ("body!json:/mail/ann~3example.com", "body!json:/mail/{id}"),
            ("head", "head"),
        ] {
            assert_eq!(pattern(location), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_said_to_be_a_place_has_a_pattern_that_is_its_own(text in "[a-z0-9/:!@~{}*.é…\\[\\]-]{0,60}") {
            let once = pattern(&text);
            proptest::prop_assert_eq!(pattern(&once), once.clone());
            let path = path_template(&text);
            proptest::prop_assert_eq!(path_template(&path), path.clone());
        }
    }

    #[test]
    fn ids_in_paths_are_open_and_versions_and_models_are_not() {
        for (path, expected) in [
            ("/v1/messages", "/v1/messages"),
            (
                "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
                "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
            ),
            ("/models/claude-sonnet-4-20250514", "/models/claude-sonnet-4-20250514"),
            ("/org/9f86d081-884c-4d65-9a2f-eaa0c55ad015/x", "/org/{id}/x"),
            ("/u/12345/…/y", "/u/{id}/{id}/y"),
            ("/s/sess_01JD3K9QW7ZX5T2M8R/e", "/s/{id}/e"),
            ("/blob/9f86d081884c7d65", "/blob/{id}"),
            ("/feedback/decade", "/feedback/decade"),
            ("", ""),
        ] {
            assert_eq!(path_template(path), expected);
        }
    }
}
