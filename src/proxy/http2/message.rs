//! Heads between the two worlds: `h2`'s parts as the head that the engine reads, its edits as a request, and
//! our own answers.

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri};

use super::super::error::error_body;
use super::super::intake::Intake;
use super::super::told;
use super::download::Broken;
use crate::engine::Refusal;
use crate::wire::body::Trailers;
use crate::wire::control;
use crate::wire::head::{HeadEdit, RequestHead};
use crate::wire::limits::Limits;

/// What is wrong with a request that `h2` lets pass (RFC 9113, sections 8.2.1 and 8.3.1).
pub(super) fn malformed(parts: &http::request::Parts) -> Option<&'static str> {
    let (uri, connect) = (&parts.uri, parts.method == http::Method::CONNECT);
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Some("user information in :authority");
    }
    if uri.path().is_empty() && !connect {
        return Some("no :path");
    }
    if uri.path() == "*" && parts.method != http::Method::OPTIONS {
        return Some("a :path that only OPTIONS may have");
    }
    // Without an authority the library drops the scheme once it is read.
    if uri.authority().is_some() && uri.scheme_str().is_none_or(str::is_empty) && !connect {
        return Some("an empty :scheme");
    }
    if !uri.path_and_query().is_none_or(|path| path.as_str().is_ascii()) {
        return Some("a :path beyond ASCII");
    }
    fault(&parts.headers)
}

/// What no head of HTTP/2 may hold, as none of HTTP/1.1 may.
fn fault(fields: &HeaderMap) -> Option<&'static str> {
    if let Err(error) =
        control::length_of(fields.get_all(http::header::CONTENT_LENGTH).iter().map(HeaderValue::as_bytes))
    {
        return Some(error.reason);
    }
    if fields.keys().any(|name| control::looks_like_framing(name.as_str().as_bytes())) {
        return Some("a framing field spelled with an underscore");
    }
    padded(fields).then_some("white space around a value")
}

/// What is wrong with the head of a response that `h2` lets pass (RFC 9110, section 8.6; RFC 9113, sections 8.2.1 and 8.6).
pub(super) fn malformed_response(status: StatusCode, fields: &HeaderMap) -> Option<&'static str> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Some("a switch of protocols in HTTP/2");
    }
    let length = fields.get(http::header::CONTENT_LENGTH).map(HeaderValue::as_bytes);
    if (status.is_informational() || status == StatusCode::NO_CONTENT) && length.is_some_and(|length| length != b"0") {
        return Some("a body announced with a status that has none");
    }
    fault(fields)
}

/// What trailers may not hold.
pub(super) fn malformed_trailers(fields: &HeaderMap) -> Option<&'static str> {
    if fields.keys().any(|name| control::forbidden_in_trailers(name.as_str().as_bytes())) {
        return Some("a field among the trailers that belongs into the head");
    }
    padded(fields).then_some("white space around the value of a trailer")
}

/// Whether a value begins or ends with white space: no value of HTTP/2 does, and whoever spells it as HTTP/1.1
/// further on loses it.
fn padded(fields: &HeaderMap) -> bool {
    let white = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    fields.values().map(HeaderValue::as_bytes).any(|value| white(value.first()) || white(value.last()))
}

/// The head spelled as HTTP/1.1, `:authority` as its first field `host`.
pub(super) fn head_of(parts: &http::request::Parts) -> RequestHead {
    let target = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    let authority = parts.uri.authority().map(|a| (&b"host"[..], a.as_str().as_bytes()));
    let fields = parts.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    RequestHead::from_parts(parts.method.as_str(), target, authority.into_iter().chain(fields))
}

/// The request as it goes on: the client's, with the edits of its head.
pub(super) fn outgoing(
    parts: http::request::Parts,
    protocol: Option<h2::ext::Protocol>,
    head: &RequestHead,
    edits: &[HeadEdit],
) -> Result<http::Request<()>, Broken> {
    let failed = |_| Broken::Withheld(Refusal { reason: "edit", message: "an edit gave no valid field".into() });
    let mut request = http::Request::new(());
    *request.method_mut() = parts.method;
    *request.headers_mut() = parts.headers;
    *request.uri_mut() = parts.uri;
    *request.version_mut() = http::Version::HTTP_2;
    if request.uri().authority().is_none() && request.method() != http::Method::CONNECT {
        // A request with `Host` alone: the client library needs the authority in the URI.
        let host = request.headers().get(http::header::HOST).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let uri = Uri::builder()
            .scheme("https")
            .authority(host)
            .path_and_query(head.target())
            .build()
            .map_err(|_| failed(()))?;
        *request.uri_mut() = uri;
    }
    if let Some(protocol) = protocol {
        request.extensions_mut().insert(protocol);
    }
    if edits.is_empty() {
        return Ok(request);
    }
    let target_edits: Vec<&HeadEdit> = edits.iter().filter(|edit| head.target_span().contains(edit.span)).collect();
    if !target_edits.is_empty() {
        let path = apply(head, head.target_span(), &target_edits);
        let mut uri = request.uri().clone().into_parts();
        uri.path_and_query = Some(http::uri::PathAndQuery::try_from(path).map_err(|_| failed(()))?);
        *request.uri_mut() = Uri::from_parts(uri).map_err(|_| failed(()))?;
    }
    let skip = usize::from(request.uri().authority().is_some() && head.fields().len() > request.headers().len());
    let mut headers = HeaderMap::with_capacity(request.headers().len());
    for field in &head.fields()[skip..] {
        let touching: Vec<&HeadEdit> = edits.iter().filter(|edit| field.line.contains(edit.span)).collect();
        if touching.iter().any(|edit| edit.span == field.line && edit.bytes.is_empty()) {
            continue;
        }
        let name = HeaderName::from_bytes(&apply(head, field.name, &touching)).map_err(|_| failed(()))?;
        let mut value = HeaderValue::from_bytes(&apply(head, field.value, &touching)).map_err(|_| failed(()))?;
        value.set_sensitive(request.headers().get(&name).is_some_and(HeaderValue::is_sensitive));
        headers.append(name, value);
    }
    *request.headers_mut() = headers;
    Ok(request)
}

/// The bytes of `span` with the edits inside it applied.
fn apply(head: &RequestHead, span: crate::wire::span::Span, edits: &[&HeadEdit]) -> Vec<u8> {
    let raw = head.raw();
    let mut out = Vec::with_capacity(span.len());
    let mut at = span.start as usize;
    for edit in edits.iter().filter(|edit| span.contains(edit.span)) {
        out.extend_from_slice(&raw[at..edit.span.start as usize]);
        out.extend_from_slice(&edit.bytes);
        at = edit.span.end as usize;
    }
    out.extend_from_slice(&raw[at..span.end as usize]);
    out
}

/// The trailers that may leave, as the engine judges them.
pub(super) fn judged(intake: &mut Intake, trailers: Option<HeaderMap>) -> Result<Option<HeaderMap>, Refusal> {
    let Some(trailers) = trailers else { return Ok(None) };
    let mut raw = BytesMut::new();
    for (name, value) in &trailers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            raw.extend_from_slice(part);
        }
    }
    let raw = raw.freeze();
    let judged = intake.trailers(&raw)?;
    if judged == raw {
        return Ok(Some(trailers));
    }
    let failed = || Refusal { reason: "edit", message: "an edit gave no valid trailer".into() };
    let limits = Limits { trailer_bytes: judged.len() + 64, ..Limits::default() };
    let read = Trailers::read(&judged, &limits).ok_or_else(failed)?;
    let mut edited = HeaderMap::with_capacity(trailers.len());
    for (name, value) in read.iter() {
        let name = HeaderName::from_bytes(name).map_err(|_| failed())?;
        edited.append(name, HeaderValue::from_bytes(value).map_err(|_| failed())?);
    }
    Ok(Some(edited))
}

pub(super) fn interim(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response
}

pub(super) fn answer(respond: &mut SendResponse<Bytes>, status: u16, word: &str, message: &str) {
    send_answer(
        respond,
        status,
        &[("x-divulge-error", word), ("content-type", "application/json")],
        error_body(word, message),
    );
}

/// The refusal in the shape of the API: gRPC and Connect have their own.
pub(super) fn withheld(respond: &mut SendResponse<Bytes>, intake: &Intake, refusal: &Refusal) {
    let kind = intake.request().head.get("content-type").unwrap_or_default();
    let reference = &intake.told().reference();
    if kind.starts_with(b"application/grpc") {
        let message: String = refusal.message.chars().filter(|c| (' '..='~').contains(c) && *c != '%').collect();
        let headers = [
            ("content-type", "application/grpc"),
            ("grpc-status", "7"),
            ("grpc-message", &message),
            ("x-divulge-block", refusal.reason),
            (told::FLOW, reference),
        ];
        return send_answer(respond, 200, &headers, Vec::new());
    }
    if kind.starts_with(b"application/connect+") {
        let error = serde_json::json!({"error": {"code": "permission_denied", "message": format!("divulge: {}", refusal.message)}});
        let body = crate::wire::envelope::encode(2, error.to_string().as_bytes());
        let kind = String::from_utf8_lossy(kind).into_owned();
        return send_answer(
            respond,
            200,
            &[("content-type", &kind), ("x-divulge-block", refusal.reason), (told::FLOW, reference)],
            body.to_vec(),
        );
    }
    let (content_type, body) = refusal.body(Refusal::shape_for(intake.request()));
    let headers = [("x-divulge-block", refusal.reason), (told::FLOW, reference), ("content-type", content_type)];
    send_answer(respond, 403, &headers, body);
}

fn send_answer(respond: &mut SendResponse<Bytes>, status: u16, headers: &[(&str, &str)], body: Vec<u8>) {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            response.headers_mut().append(name, value);
        }
    }
    if let Ok(mut stream) = respond.send_response(response, body.is_empty())
        && !body.is_empty()
    {
        let _ = stream.send_data(body.into(), true);
    }
    // The request's unread rest is reset (NO_ERROR) when its stream is dropped; a reset here would take the
    // answer with it.
}
