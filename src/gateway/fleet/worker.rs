//! `divulge sink`: takes lines from the stream and gives them to a sink. Any number of workers of one name share the work.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::{self, AckKind};
use futures_util::StreamExt;

use super::{connect, publisher::stream_name};
use crate::gateway::sinks::{NatsAddress, Sink, SinkAddress, SinkError, SinkParts};

/// Lines that are given to the sink at once, and how long they may take to come together.
const BATCH: (usize, Duration) = (500, Duration::from_millis(500));
/// Where each batch makes files.
const LARGE_BATCH: (usize, Duration) = (4000, Duration::from_secs(20));
#[derive(Clone)]
pub struct WorkerParts {
    pub from: NatsAddress,
    pub to: SinkAddress,
    /// Workers of one name share the lines; those of another get all of them as well.
    pub name: String,
    /// What is there is enough for a batch.
    pub hurry: bool,
    /// After this time without a receipt a line is given to another worker.
    pub ack_wait: Duration,
    pub parts: SinkParts,
}

pub struct Worker {
    consumer: PullConsumer,
    sink: Sink,
    batch: (usize, Duration),
}

impl Worker {
    pub async fn open(settings: WorkerParts) -> Result<Self, SinkError> {
        let WorkerParts { from, to, name, hurry, ack_wait, parts } = settings;
        let mut batch = if matches!(to, SinkAddress::Parquet(_)) { LARGE_BATCH } else { BATCH };
        if hurry {
            batch.1 = BATCH.1;
        }
        // A batch that comes together more slowly would be given to others meanwhile.
        batch.1 = batch.1.min(ack_wait / 3);
        let sink = Sink::new(&to, &parts).map_err(SinkError::of)?;
        let context = jetstream::new(connect(&from, &Arc::clone(&parts.tls)).await?);
        let stream = context.get_stream(stream_name(&from.subject)).await.map_err(SinkError::of)?;
        let wanted = pull::Config {
            durable_name: Some(name.clone()),
            ack_policy: AckPolicy::Explicit,
            ack_wait,
            max_ack_pending: (LARGE_BATCH.0 * 4) as i64,
            ..pull::Config::default()
        };
        let consumer = stream.get_or_create_consumer(&name, wanted).await.map_err(SinkError::of)?;
        Ok(Self { consumer, sink, batch })
    }

    /// Moves one batch, and says of how many lines it was.
    pub async fn step(&mut self) -> Result<usize, SinkError> {
        let (most, patience) = self.batch;
        let mut batch =
            self.consumer.batch().max_messages(most).expires(patience).messages().await.map_err(SinkError::of)?;
        let mut messages = Vec::new();
        while let Some(message) = batch.next().await {
            messages.push(message.map_err(SinkError::of)?);
        }
        if messages.is_empty() {
            return Ok(0);
        }
        let mut lines: Vec<String> =
            messages.iter().map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect();
        let moved = lines.len();
        let again: Vec<Option<SystemTime>> = messages.iter().map(delivered_before).collect();
        let sent = match self.sink.leave_out(&mut lines, &again) {
            Ok(()) => self.sink.send(&lines).await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            for message in &messages {
                // At once for another worker; where that fails, after the time without a receipt.
                let _ = message.ack_with(AckKind::Nak(Some(Duration::from_secs(1)))).await;
            }
            return Err(error);
        }
        for message in &messages {
            message.ack().await.map_err(SinkError::of)?;
        }
        Ok(moved)
    }
}

/// Of a line that was given to a worker before, perhaps to one that had written it and was killed: when it came to the stream.
fn delivered_before(message: &jetstream::Message) -> Option<SystemTime> {
    let info = message.info().ok()?;
    (info.delivered > 1).then(|| info.published.into())
}
