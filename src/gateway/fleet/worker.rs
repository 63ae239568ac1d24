//! `divulge sink`: takes lines from the stream and gives them to a sink. Any number of workers of one name share the work.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::{self, AckKind};
use futures_util::StreamExt;

use super::{connect, publisher::stream_name};
use crate::gateway::sinks::{NatsAddress, Sink, SinkAddress, SinkError, SinkParts};

/// Lines that are given to the sink at once.
const BATCH: usize = 500;
/// How long a batch may take to fill.
const FILL: Duration = Duration::from_millis(500);
/// After this time without a receipt a line is given to another worker.
const RECEIPT: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct WorkerParts {
    pub from: NatsAddress,
    pub to: SinkAddress,
    /// Workers of one name share the lines; those of another get all of them as well.
    pub name: String,
    pub parts: SinkParts,
}

pub struct Worker {
    consumer: PullConsumer,
    sink: Sink,
}

impl Worker {
    pub async fn open(settings: WorkerParts) -> Result<Self, SinkError> {
        let WorkerParts { from, to, name, parts } = settings;
        let sink = Sink::new(&to, &parts).map_err(SinkError::of)?;
        let context = jetstream::new(connect(&from, &Arc::clone(&parts.tls)).await?);
        let stream = context.get_stream(stream_name(&from.subject)).await.map_err(SinkError::of)?;
        let wanted = pull::Config {
            durable_name: Some(name.clone()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: RECEIPT,
            max_ack_pending: (BATCH * 16) as i64,
            ..pull::Config::default()
        };
        let consumer = stream.get_or_create_consumer(&name, wanted).await.map_err(SinkError::of)?;
        Ok(Self { consumer, sink })
    }

    /// Moves one batch, and says of how many lines it was.
    pub async fn step(&mut self) -> Result<usize, SinkError> {
        let mut batch =
            self.consumer.batch().max_messages(BATCH).expires(FILL).messages().await.map_err(SinkError::of)?;
        let mut messages = Vec::new();
        while let Some(message) = batch.next().await {
            messages.push(message.map_err(SinkError::of)?);
        }
        if messages.is_empty() {
            return Ok(0);
        }
        let lines: Vec<String> =
            messages.iter().map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect();
        if let Err(error) = self.sink.send(&lines).await {
            for message in &messages {
                // At once for another worker; where that fails, after the time without a receipt.
                let _ = message.ack_with(AckKind::Nak(Some(Duration::from_secs(1)))).await;
            }
            return Err(error);
        }
        for message in &messages {
            message.ack().await.map_err(SinkError::of)?;
        }
        Ok(lines.len())
    }
}
