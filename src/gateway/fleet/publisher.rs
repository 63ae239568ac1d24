//! Lines into a stream. The id of each is its message id, so that the stream itself drops what comes twice.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use serde_json::Value;

use super::connect;
use crate::gateway::sinks::{NatsAddress, SinkError};

/// For so long the stream remembers ids: longer than any retry of a batch takes.
const DUPLICATES: Duration = Duration::from_secs(3600);

pub struct Publisher {
    to: NatsAddress,
    tls: Arc<rustls::ClientConfig>,
    stream: Option<jetstream::Context>,
}

impl Publisher {
    pub fn new(to: NatsAddress, tls: Arc<rustls::ClientConfig>) -> Self {
        Self { to, tls, stream: None }
    }

    /// All of the lines are in the stream when it returns.
    pub async fn send(&mut self, lines: &[String]) -> Result<(), SinkError> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.open().await?,
        };
        let mut receipts = Vec::with_capacity(lines.len());
        for line in lines {
            let mut message = PublishMessage::build().payload(Bytes::copy_from_slice(line.as_bytes()));
            if let Some(id) = serde_json::from_str::<Value>(line).ok().as_ref().and_then(|line| line["id"].as_str()) {
                message = message.message_id(id);
            }
            receipts.push(stream.send_publish(self.to.subject.clone(), message).await.map_err(SinkError::of)?);
        }
        for receipt in receipts {
            receipt.await.map_err(SinkError::of)?;
        }
        self.stream = Some(stream);
        Ok(())
    }

    /// The stream, made where there is none of its name. One that is there stays as it is.
    async fn open(&self) -> Result<jetstream::Context, SinkError> {
        let context = jetstream::new(connect(&self.to, &self.tls).await?);
        let wanted = stream::Config {
            name: stream_name(&self.to.subject),
            subjects: vec![self.to.subject.clone()],
            duplicate_window: DUPLICATES,
            num_replicas: self.to.replicas,
            ..stream::Config::default()
        };
        context.get_or_create_stream(wanted).await.map_err(SinkError::of)?;
        Ok(context)
    }
}

/// `divulge.findings` is kept in the stream `DIVULGE_FINDINGS`.
pub(super) fn stream_name(subject: &str) -> String {
    subject.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}
