//! Digests of the body that stand in the head, made without any key: they follow an edit.
//!
//! ```text
//! content-digest: sha-256=:X48E9q…=:        RFC 9530, and repr-digest likewise
//! digest: SHA-256=X48E9q…=                  RFC 3230
//! content-md5: Q2hlY2s…==                   RFC 1864
//! ```
//!
//! One that did not fit the body as it came says nothing about it and stays as it is. So does what is made with a key,
//! whatever it covers: nobody but its maker can make it again.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::splice::Splice;
use crate::wire::head::RequestHead;

/// The splices of all digests in `head` that fitted `before`, so that they fit `after`.
pub(super) fn follow(head: &RequestHead, before: &[u8], after: &[u8]) -> Vec<Splice> {
    let mut out = Vec::new();
    for field in head.fields() {
        let name = head.bytes(field.name).to_ascii_lowercase();
        let listed = match &name[..] {
            b"content-md5" => false,
            b"content-digest" | b"repr-digest" | b"digest" => true,
            _ => continue,
        };
        let Ok(value) = std::str::from_utf8(head.bytes(field.value)) else { continue };
        let places = if listed { of_list(value) } else { vec![("md5", trimmed(value, 0..value.len()))] };
        for (algorithm, place) in places {
            let written = &value[place.clone()];
            if digest(algorithm, before).is_some_and(|fits| fits == written)
                && let Some(fitting) = digest(algorithm, after)
            {
                let start = field.value.start as usize;
                out.push(Splice::length(start + place.start..start + place.end, fitting.into_bytes()));
            }
        }
    }
    out
}

/// The members of a list: names of algorithms and where the base64 of each digest stands, without colons.
fn of_list(value: &str) -> Vec<(&str, Range<usize>)> {
    let mut out = Vec::new();
    let mut at = 0;
    for member in value.split(',') {
        let start = at;
        at += member.len() + 1;
        let Some((name, text)) = member.split_once('=') else { continue };
        let mut place = trimmed(value, start + name.len() + 1..start + member.len());
        // Parameters of a member (RFC 8941, 3.1.2) come behind it.
        if let Some(end) = text.find(';') {
            place = trimmed(value, start + name.len() + 1..start + name.len() + 1 + end);
        }
        let text = &value[place.clone()];
        if let Some(inner) = text.strip_prefix(':').and_then(|text| text.strip_suffix(':')) {
            place = place.start + 1..place.start + 1 + inner.len();
        }
        out.push((name.trim(), place));
    }
    out
}

fn trimmed(value: &str, range: Range<usize>) -> Range<usize> {
    let text = &value[range.clone()];
    let start = range.start + (text.len() - text.trim_start().len());
    start..start + text.trim().len()
}

/// In base64; none for algorithms that are not known.
fn digest(algorithm: &str, bytes: &[u8]) -> Option<String> {
    let digest = match algorithm.to_ascii_lowercase().as_str() {
        "sha-256" => Sha256::digest(bytes).to_vec(),
        "sha-512" => Sha512::digest(bytes).to_vec(),
        "sha" => Sha1::digest(bytes).to_vec(),
        "md5" => Md5::digest(bytes).to_vec(),
        _ => return None,
    };
    Some(STANDARD.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::{digest, follow, of_list};
    use crate::wire::head::RequestHead;

    #[test]
    fn a_digest_that_fitted_fits_again_and_another_stays() {
        let (before, after) = (b"{\"a\":1}".as_slice(), b"{\"a\":2}".as_slice());
        let (sha, sha512, md5) = (digest("sha-256", before), digest("sha-512", before), digest("md5", before));
        let (sha, sha512, md5) = (sha.unwrap(), sha512.unwrap(), md5.unwrap());
        let list = format!("sha-512=:{sha512}:, sha-256=:{sha}:;x=1, unixsum=:abc=:");
        let old = format!("SHA-256={sha},sha=AAAA");
        let fields = [
            ("content-digest", list.as_str()),
            ("digest", &old),
            ("content-md5", &md5),
            ("repr-digest", "sha-256=:AAAA:"),
        ];
        let fields = fields.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let head = RequestHead::from_parts("POST", "/", fields);
        let splices = follow(&head, before, after);
        let changed: Vec<(String, String)> = splices
            .iter()
            .map(|splice| {
                let was = String::from_utf8_lossy(&head.raw()[splice.range.clone()]).into_owned();
                (was, String::from_utf8_lossy(&splice.bytes).into_owned())
            })
            .collect();
        let expected = ["sha-512", "sha-256", "sha-256", "md5"]
            .map(|algorithm| (digest(algorithm, before).unwrap(), digest(algorithm, after).unwrap()));
        assert_eq!(changed, expected);
    }

    #[test]
    fn members_of_a_list_are_told_apart() {
        let value = "sha-256=:AB==: , md5=CD==;q=1";
        let found: Vec<_> = of_list(value).into_iter().map(|(name, place)| (name, &value[place])).collect();
        assert_eq!(found, [("sha-256", "AB=="), ("md5", "CD==")]);
    }
}
