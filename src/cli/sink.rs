//! `divulge sink`: a worker that moves findings from the fleet's stream to where they are kept.

use std::process::ExitCode;
use std::time::Duration;

use super::{ConfigFile, INCOMPLETE, WRONG_USAGE, fail, gateway, serve, start_log};
use crate::config::{Options, SettingsError};
use crate::gateway::fleet::{Worker, WorkerParts};
use crate::gateway::sinks::SinkAddress;

/// Between two tries after something failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Takes findings from a stream of NATS JetStream and writes them where they are kept. Any number of workers of one name
/// share the work; what one has taken and not finished goes to another. A line that comes twice is kept once where the
/// other side can tell by its id (PostgreSQL), or the worker in what is written already (Parquet files).
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  divulge sink --from nats://a:4222,b:4222/divulge.findings --to postgres://divulge@db/findings\n  divulge sink --from nats://a:4222 --to file:/var/lib/findings/all.jsonl --name archive\n  divulge sink --from nats://a:4222 --to parquet:/var/lib/findings --name lake"
)]
pub struct Args {
    /// The stream's servers and subject
    #[arg(long, value_name = "URL", env = "DIVULGE_SINK_FROM")]
    from: String,
    /// Where to write: any URL that --sink of serve takes
    #[arg(long, value_name = "URL", env = "DIVULGE_SINK_TO")]
    to: String,
    /// Workers of one name share the lines; those of another get all of them as well
    #[arg(long, value_name = "NAME", default_value = "sink")]
    name: String,
    /// After so long without word from a worker its lines go to another; counts when the first of a name starts
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    ack_wait: u64,
    /// Ends when there is nothing left
    #[arg(long)]
    drain: bool,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    options: Options,
}

pub fn run(args: Args) -> ExitCode {
    let options = match args.options.clone().with_file(args.config.config.as_deref()) {
        Ok(options) => options,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    start_log(&options);
    let settings = match settings(&args, &options) {
        Ok(settings) => settings,
        Err(error) => return fail(WRONG_USAGE, error.as_ref()),
    };
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(async {
            tokio::select! {
                () = work(settings, args.drain) => ExitCode::SUCCESS,
                () = serve::stopped() => ExitCode::SUCCESS,
            }
        }),
        Err(error) => fail(INCOMPLETE, &error),
    }
}

fn settings(args: &Args, options: &Options) -> Result<WorkerParts, Box<dyn std::error::Error>> {
    let SinkAddress::Nats(from) = SinkAddress::parse(&args.from)? else {
        return Err(SettingsError::option("--from", "expected nats://HOST:PORT[,HOST:PORT]/SUBJECT").into());
    };
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if args.name.is_empty() || !args.name.chars().all(fine) {
        return Err(SettingsError::option("--name", "expected letters, digits, - and _").into());
    }
    let to = SinkAddress::parse(&args.to)?;
    Ok(WorkerParts {
        from,
        to,
        name: args.name.clone(),
        hurry: args.drain,
        ack_wait: Duration::from_secs(args.ack_wait),
        parts: gateway::sink_parts(options)?,
    })
}

/// Until there is nothing left, if that is asked for; else for ever.
async fn work(settings: WorkerParts, drain: bool) {
    let mut worker: Option<Worker> = None;
    let mut told = false;
    loop {
        let step = async {
            let open = match worker.take() {
                Some(open) => open,
                None => Worker::open(settings.clone()).await?,
            };
            let moved = worker.insert(open).step().await?;
            Ok::<_, crate::gateway::sinks::SinkError>(moved)
        };
        match step.await {
            Ok(0) if drain => return,
            Ok(_) => told = false,
            Err(error) => {
                worker = None;
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "findings cannot be moved; trying again");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
