//! Runs as they are made, in a file beside the result: an experiment that was broken off goes on from there.
//!
//! One line of JSON for each, compressed by itself, so that what was written whole can be read whatever came after.
//! Credentials are masked in what runs have sent before it comes here.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::probe::design::{Axis, Condition};
use crate::probe::evidence::Phase;
use crate::probe::experiment::Run;
use crate::probe::factor::Factor;

/// What the runs of a file are about.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct About {
    pub schema: u32,
    pub command: Vec<String>,
    pub factors: Vec<Factor>,
    pub axis: Axis,
    /// All else that decides what a run is like.
    pub surroundings: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Entry {
    About(About),
    Run(Box<Run>, Vec<String>),
    Failed(Condition, Phase, String),
}

/// What a file holds.
pub struct Kept {
    pub about: About,
    pub runs: Vec<(Run, Vec<String>)>,
    pub failed: Vec<(Condition, Phase, String)>,
}

#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    #[error("{0}: cannot be read")]
    Read(String, #[source] io::Error),
    #[error("{0}: holds no runs of a probe")]
    Foreign(String),
}

/// Most bytes of one entry.
const LONGEST: u32 = 1 << 30;

pub struct Writer(File);

impl Writer {
    /// Begins a file, its owner's alone.
    pub fn begin(path: &Path, about: &About) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut writer = Self(options.open(path)?);
        writer.write(&Entry::About(about.clone()))?;
        Ok(writer)
    }

    /// Goes on behind the last whole entry.
    pub fn resume(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut end = 0;
        let mut reader = BufReader::new(&mut file);
        while next(&mut reader)?.is_some() {
            end = reader.stream_position()?;
        }
        drop(reader);
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        Ok(Self(file))
    }

    pub fn run(&mut self, run: &Run, lines: &[String]) -> io::Result<()> {
        self.write(&Entry::Run(Box::new(run.clone()), lines.to_vec()))
    }

    pub fn failed(&mut self, condition: &Condition, phase: Phase, why: &str) -> io::Result<()> {
        self.write(&Entry::Failed(condition.clone(), phase, why.to_owned()))
    }

    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let packed = zstd::bulk::compress(&serde_json::to_vec(entry)?, 3)?;
        let length = u32::try_from(packed.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&packed);
        self.0.write_all(&bytes)
    }
}

/// The next entry, compressed; none at the end, or where what follows is torn.
fn next(reader: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match reader.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
        return Ok(None);
    }
    let mut packed = Vec::new();
    let read = reader.take(u64::from(length)).read_to_end(&mut packed)?;
    Ok((read == length as usize).then_some(packed))
}

pub fn read(path: &Path) -> Result<Kept, KeptError> {
    let name = path.display().to_string();
    let unread = |error| KeptError::Read(name.clone(), error);
    let foreign = || KeptError::Foreign(name.clone());
    let mut reader = BufReader::new(File::open(path).map_err(unread)?);
    let mut kept: Option<Kept> = None;
    while let Some(packed) = next(&mut reader).map_err(unread)? {
        let mut text = Vec::new();
        let decoder = zstd::stream::Decoder::new(&packed[..]).map_err(|_| foreign())?;
        decoder.take(u64::from(LONGEST)).read_to_end(&mut text).map_err(|_| foreign())?;
        let entry: Entry = serde_json::from_slice(&text).map_err(|_| foreign())?;
        match (entry, &mut kept) {
            (Entry::About(about), None) if about.schema == 1 => {
                kept = Some(Kept { about, runs: Vec::new(), failed: Vec::new() });
            }
            (Entry::Run(run, lines), Some(kept)) => kept.runs.push((*run, lines)),
            (Entry::Failed(condition, phase, why), Some(kept)) => kept.failed.push((condition, phase, why)),
            _ => return Err(foreign()),
        }
    }
    kept.ok_or_else(foreign)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::observation::Observation;

    #[test]
    fn what_was_written_whole_is_read_back_and_gone_on_from() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.runs");
        let factors = vec![Factor::parse("tz=UTC,Asia/Tokyo").unwrap()];
        let about =
            About { schema: 1, command: vec!["true".into()], factors, axis: Axis::One, surroundings: String::new() };
        let run = Run { condition: Condition::base(1), phase: Phase::Base, observation: Observation::default() };
        let mut writer = Writer::begin(&path, &about).unwrap();
        writer.run(&run, &["a line".into()]).unwrap();
        // A torn entry is what a kill leaves.
        writer.0.write_all(&[0, 0, 1, 0, 7]).unwrap();
        drop(writer);
        let mut writer = Writer::resume(&path).unwrap();
        writer.failed(&Condition::base(1), Phase::Screen, "hung").unwrap();
        let kept = read(&path).unwrap();
        assert_eq!((kept.about, kept.runs.len(), kept.runs[0].1.len(), kept.failed.len()), (about, 1, 1, 1));
        std::fs::write(&path, "something else").unwrap();
        assert!(matches!(read(&path), Err(KeptError::Foreign(_))));
    }
}
