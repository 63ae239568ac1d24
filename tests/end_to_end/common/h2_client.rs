//! A client for HTTP/2, on the `h2` crate.

use std::fmt;
use std::future::poll_fn;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::task::JoinHandle;

use super::{HOST, Route};

/// Fields in the order in which the library gives them: each name's values stand together.
pub type Fields = Vec<(String, Vec<u8>)>;

/// One connection.
pub struct Http2 {
    send: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

/// A response as the client saw it.
#[derive(Default)]
pub struct Answer {
    /// The statuses and fields of 1xx responses.
    pub interim: Vec<(u16, Fields)>,
    pub status: u16,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// How the stream was cut, if it was.
    pub error: Option<String>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |fields: &Fields| -> Vec<String> {
            fields.iter().map(|(name, value)| format!("{name}: {}", super::show(value))).collect()
        };
        let interim: Vec<u16> = self.interim.iter().map(|(status, _)| *status).collect();
        write!(f, "{interim:?} {} {:?} ", self.status, list(&self.fields))?;
        write!(f, "{:?} {:?} {:?}", super::show(&self.body), list(&self.trailers), self.error)
    }
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Http2 {
    pub async fn connect(route: &Route) -> Self {
        let wire = route.tls(&["h2"]).await;
        Self::over(wire).await
    }

    /// HTTP/2 on a TLS connection that is there already.
    pub async fn over(wire: super::Wire) -> Self {
        assert_eq!(wire.alpn.as_deref(), Some("h2"), "HTTP/2 was not agreed on");
        let (stream, _) = wire.into_parts();
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(1 << 20)
            .initial_connection_window_size(1 << 22)
            .max_header_list_size(1 << 20)
            .handshake::<_, Bytes>(stream)
            .await
            .expect("the connection preface is exchanged");
        Self { send, driver: tokio::spawn(connection) }
    }

    /// Starts a request; `end` says that it has no body.
    pub async fn open(&mut self, request: Request<()>, end: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let mut ready = self.send.clone().ready().await.expect("the connection takes requests");
        ready.send_request(request, end).expect("the request is well formed")
    }

    /// A whole exchange. No body and no trailers end the request with its head.
    pub async fn exchange(&mut self, request: Request<()>, body: Option<&[u8]>, trailers: Option<HeaderMap>) -> Answer {
        let bare = body.is_none() && trailers.is_none();
        let (response, mut send) = self.open(request, bare).await;
        let upload = async {
            if let Some(body) = body
                && push(&mut send, Bytes::copy_from_slice(body), trailers.is_none()).await.is_err()
            {
                return;
            }
            if let Some(trailers) = trailers {
                let _ = send.send_trailers(trailers);
            }
        };
        let (answer, ()) = tokio::join!(answer(response), upload);
        answer
    }

    /// True once the upstream's willingness to take extended CONNECT (RFC 8441) is known.
    pub async fn takes_extended_connect(&mut self) -> bool {
        for _ in 0..100 {
            if self.send.is_extended_connect_protocol_enabled() {
                return true;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        false
    }

    /// Drops the connection as a killed client would.
    pub fn kill(self) {
        self.driver.abort();
    }
}

/// A request to [`HOST`] with these fields.
pub fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(format!("https://{HOST}{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request")
}

/// Collects a response until it ends or is cut.
pub async fn answer(mut response: ResponseFuture) -> Answer {
    let mut answer = Answer::default();
    while let Some(interim) = poll_fn(|context| response.poll_informational(context)).await {
        match interim {
            Ok(interim) => answer.interim.push((interim.status().as_u16(), list(interim.headers()))),
            Err(error) => {
                answer.error = Some(error.to_string());
                return answer;
            }
        }
    }
    let head: Response<RecvStream> = match response.await {
        Ok(head) => head,
        Err(error) => {
            answer.error = Some(error.to_string());
            return answer;
        }
    };
    answer.status = head.status().as_u16();
    answer.fields = list(head.headers());
    let mut body = head.into_body();
    while let Some(data) = next_data(&mut body).await {
        match data {
            Ok(data) => answer.body.extend_from_slice(&data),
            Err(error) => {
                answer.error = Some(error.to_string());
                return answer;
            }
        }
    }
    match body.trailers().await {
        Ok(trailers) => answer.trailers = trailers.as_ref().map(list).unwrap_or_default(),
        Err(error) => answer.error = Some(error.to_string()),
    }
    answer
}

/// The next piece of a body; its window is given back at once.
pub async fn next_data(body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let data = body.data().await?;
    if let Ok(data) = &data {
        let _ = body.flow_control().release_capacity(data.len());
    }
    Some(data)
}

/// Sends `data` as the other side's window allows.
pub async fn push(send: &mut SendStream<Bytes>, mut data: Bytes, end: bool) -> Result<(), h2::Error> {
    if data.is_empty() {
        return send.send_data(data, end);
    }
    while !data.is_empty() {
        send.reserve_capacity(data.len());
        match poll_fn(|context| send.poll_capacity(context)).await {
            Some(Ok(granted)) => {
                let piece = data.split_to(granted.min(data.len()));
                let last = data.is_empty();
                send.send_data(piece, end && last)?;
            }
            Some(Err(error)) => return Err(error),
            None => return Err(h2::Reason::CANCEL.into()),
        }
    }
    Ok(())
}

pub fn list(headers: &HeaderMap) -> Fields {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}
