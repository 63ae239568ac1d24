//! One file per command: reads the options, calls the room that does it, prints the result.

use std::error::Error;
use std::path::PathBuf;

use etcetera::BaseStrategy;

pub mod ca;
pub mod system_proxy;

/// Where CA, sessions and aliases are kept.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct StateOption {
    /// Folder of the CA, sessions and aliases [default: $XDG_DATA_HOME/divulge]
    #[arg(long, value_name = "DIR", env = "DIVULGE_STATE")]
    pub state: Option<PathBuf>,
}

impl StateOption {
    pub fn folder(&self) -> Result<PathBuf, String> {
        match &self.state {
            Some(folder) => Ok(folder.clone()),
            None => etcetera::choose_base_strategy()
                .map(|base| base.data_dir().join("divulge"))
                .map_err(|_| "there is no home folder (HOME is not set): name one with --state DIR".to_owned()),
        }
    }
}

/// An error and what caused it, in one line.
pub(crate) fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
