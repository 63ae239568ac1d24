//! One request as a `curl` command that sends the same, safe to paste whatever was captured.
//!
//! Nothing of the capture is ever spelled outside of quotes. All but printable ASCII is escaped: a terminal acts on control
//! characters even inside quotes, and a shell in another character set may take a quote for half of a character.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::flow::{BodyState, Exchange};
use super::http;

/// The command, for bash, zsh and ksh.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Curl {
    pub command: String,
    /// What of the request the command does not say.
    pub left_out: Vec<&'static str>,
}

/// Why there is no command.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CurlError {
    #[error("the host is neither a name nor an address")]
    Host,
    #[error("the request line cannot be read")]
    RequestLine,
}

/// Fields that curl puts in by itself, always or with a body; each is taken out where the request has none.
const BY_ITSELF: [(&str, bool); 4] =
    [("user-agent", true), ("accept", true), ("content-type", false), ("expect", false)];

/// Longer bodies go through a pipe: Linux takes no argument of more than 128 KiB.
const MOST_ARGUMENT: usize = 64 * 1024;

pub fn curl(exchange: &Exchange) -> Result<Curl, CurlError> {
    let request = &exchange.request;
    let mut left_out = Vec::new();
    let authority = format!("{}:{}", exchange.host, exchange.port);
    // No `@`, no space, nothing that ends the host early.
    http::authority(authority.as_bytes()).ok_or(CurlError::Host)?;
    let (method, target, _) = http::request_line(request);
    let visible = |text: &[u8]| !text.is_empty() && text.iter().all(|byte| (0x21..0x7f).contains(byte));
    if !method.iter().all(|&byte| http::is_token_byte(byte)) || !visible(method) || !visible(target) {
        return Err(CurlError::RequestLine);
    }

    let mut words: Vec<String> = Vec::new();
    let default = if exchange.secure { 443 } else { 80 };
    let port = if exchange.port == default { String::new() } else { format!(":{}", exchange.port) };
    let base = format!("{}://{}{port}", if exchange.secure { "https" } else { "http" }, exchange.host);
    // curl takes a URL apart and puts it together again; what it might spell anew is given apart.
    let plain = target.starts_with(b"/")
        && !target.starts_with(b"//")
        && target.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte));
    match plain {
        true => words.push(quoted(&[base.as_bytes(), target].concat())),
        false => {
            words.push(quoted(format!("{base}/").as_bytes()));
            words.push(format!("--request-target {}", quoted(target)));
        }
    }
    // Neither brackets nor dots of a path mean anything to it then.
    words.push("--globoff --path-as-is".to_owned());
    let body = &request.body;
    words.push(match method {
        // With --request HEAD it would wait for a body.
        b"HEAD" if body.is_empty() => "--head".to_owned(),
        _ => format!("--request {}", quoted(method)),
    });

    let mut length = false;
    for (name, value) in request.fields() {
        // curl reads `@` at the start of an argument as the name of a file, and a line end as the next field.
        if name.is_empty()
            || !name.iter().all(|&byte| http::is_token_byte(byte))
            || value.iter().any(|byte| b"\r\n\0".contains(byte))
        {
            left_out.push("a field that is none");
            continue;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            // It counts by itself.
            length = true;
            continue;
        }
        if name.eq_ignore_ascii_case(b"host")
            && value.eq_ignore_ascii_case(&base.as_bytes()[base.find("://").map_or(0, |at| at + 3)..])
        {
            continue;
        }
        let line = match value.is_empty() {
            // `name:` would take the field out.
            true => [name, b";"].concat(),
            false => [name, b": ", value].concat(),
        };
        words.push(format!("--header {}", quoted(&line)));
    }
    let with_body = length || !body.is_empty();
    for (name, always) in BY_ITSELF {
        if (always || with_body) && request.field(name).is_none() {
            words.push(format!("--header {}", quoted(format!("{name}:").as_bytes())));
        }
    }
    if !request.trailers.is_empty() {
        left_out.push("the trailers");
    }

    let mut pipe = String::new();
    if body.contains(&0) {
        // No argument and no variable of a shell holds a NUL.
        pipe = format!("printf %s {} | base64 -d | ", quoted(STANDARD.encode(body).as_bytes()));
    } else if body.len() > MOST_ARGUMENT {
        pipe = format!("printf %s {} | ", quoted(body));
    }
    if !pipe.is_empty() {
        words.push("--data-binary @-".to_owned());
    } else if with_body {
        words.push(format!("--data-raw {}", quoted(body)));
    }
    match request.body_state {
        BodyState::Whole => {}
        BodyState::Cut => left_out.push("the body beyond what was kept"),
        BodyState::Masked => left_out.push("what was masked in the request"),
        BodyState::Omitted { .. } => left_out.push("the body, which was not kept"),
    }
    if !exchange.messages.is_empty() {
        left_out.push("the messages of the WebSocket");
    }
    let mut command = String::new();
    for what in &left_out {
        command.push_str(&format!("# Left out: {what}.\n"));
    }
    command.push_str(&pipe);
    command.push_str("curl ");
    command.push_str(&words.join(" \\\n  "));
    command.push('\n');
    Ok(Curl { command, left_out })
}

/// One word of a shell.
fn quoted(text: &[u8]) -> String {
    if text.iter().all(|&byte| (0x20..0x7f).contains(&byte) && byte != b'\'') {
        return format!("'{}'", String::from_utf8_lossy(text));
    }
    // Three octal digits: hexadecimal ones run on into what follows in some shells. The exclamation mark is for the
    // history of an interactive bash, which does not know these quotes in every version.
    let mut word = "$'".to_owned();
    for &byte in text {
        match byte {
            b'\n' => word.push_str("\\n"),
            b'\\' => word.push_str("\\\\"),
            b'\'' => word.push_str("\\'"),
            b'!' => word.push_str("\\041"),
            0x20..0x7f => word.push(char::from(byte)),
            _ => word.push_str(&format!("\\{byte:03o}")),
        }
    }
    word.push('\'');
    word
}

#[cfg(test)]
mod tests {
    use super::{CurlError, curl, quoted};
    use crate::session::flow::{BodyState, Exchange, Message};

    fn exchange(head: &str, body: &[u8]) -> Exchange {
        let request = Message { head: head.to_owned().into(), body: body.to_vec().into(), ..Message::default() };
        Exchange { host: "api.example.com".into(), port: 443, secure: true, request, ..Exchange::default() }
    }

    #[test]
    fn a_command_reads_as_a_person_would_write_it() {
        let made = curl(&exchange(
            "POST /v1?a=b HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\nUser-Agent: t\r\nX-Empty:\r\nContent-Length: 9\r\n\r\n",
            b"{\"a\":\n1}",
        ))
        .unwrap();
        assert_eq!(
            made.command,
            "curl 'https://api.example.com/v1?a=b' \\\n  --globoff --path-as-is \\\n  --request 'POST' \\\n  \
             --header 'Content-Type: application/json' \\\n  --header 'User-Agent: t' \\\n  --header 'X-Empty;' \\\n  \
             --header 'accept:' \\\n  --header 'expect:' \\\n  --data-raw $'{\"a\":\\n1}'\n"
        );
        assert_eq!(made.left_out, [""; 0]);
    }

    #[test]
    fn words_are_quoted_whatever_is_in_them() {
        assert_eq!(quoted(b"$(id) `id` \"\\ ~ *"), "'$(id) `id` \"\\ ~ *'");
        assert_eq!(quoted(b"it's !x"), "$'it\\'s \\041x'");
        assert_eq!(quoted(b"\x1b[2J\r\n\xc3\xbc7"), "$'\\033[2J\\015\\n\\303\\2747'");
        assert_eq!(quoted(b""), "''");
    }

    #[test]
    fn what_cannot_be_said_is_named_or_refused() {
        let mut one = exchange("GET / HTTP/1.1\r\n@/etc/passwd: x\r\nX: a\rb\r\n\r\n", b"");
        one.request.body_state = BodyState::Masked;
        let made = curl(&one).unwrap();
        assert_eq!(made.left_out, ["a field that is none", "a field that is none", "what was masked in the request"]);
        assert!(!made.command.contains("passwd"), "{}", made.command);
        for host in ["a.example.com/$(id)", "me@a.example.com", "-o", "a b", ""] {
            let one = Exchange { host: host.into(), ..exchange("GET / HTTP/1.1\r\n\r\n", b"") };
            assert_eq!(curl(&one).err(), (host != "-o").then_some(CurlError::Host), "{host}");
        }
        assert_eq!(curl(&exchange("", b"")), Err(CurlError::RequestLine));
        assert_eq!(curl(&exchange("GE\u{1b}T / HTTP/1.1\r\n\r\n", b"")), Err(CurlError::RequestLine));
    }
}
