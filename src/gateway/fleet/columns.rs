//! Lines into Parquet files, in folders by date, group and host as Hive names them.
//!
//! ```text
//! FOLDER/date=2026-11-27/group=dev/host=api.example.com/<digest of the ids>.parquet
//! ```
//!
//! A file is written in a folder that readers pass over, synced and moved to its place: what is there is whole. A batch that
//! comes twice makes the same files again. A line that the stream delivers once more is looked for in the files that were written
//! since it came to the stream, of whatever worker, and left out where it is there already.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parquet::basic::Compression;
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use serde_json::Value;
use sha2::{Digest, Sha256};

use tempfile::NamedTempFile;

use crate::engine::line::hex;
use crate::gateway::sinks::SinkError;
use crate::report::clock;

/// What a file holds. Date, group and host are in the names of its folders alone, as readers expect.
const SCHEMA: &str = "\
message divulge {
    required binary id (STRING);
    required int64 time (TIMESTAMP(MILLIS,true));
    required binary type (STRING);
    required binary session (STRING);
    required binary flow (STRING);
    optional binary client (STRING);
    optional binary user_id (STRING);
    optional binary kind (STRING);
    optional binary location (STRING);
    optional binary severity (STRING);
    optional binary action (STRING);
    optional binary verdict (STRING);
    required binary line (JSON);
}";
/// Members of the lines that the optional columns hold, in their order.
const OPTIONAL: [&str; 7] = ["client", "user", "kind", "location", "severity", "action", "verdict"];
/// What stands for no value in the name of a folder.
const NONE: &str = "__HIVE_DEFAULT_PARTITION__";
/// Names of folders are cut here; with the digest of all of it they stay apart.
const LONGEST_NAME: usize = 180;
/// Where files are until they are whole.
const UNFINISHED: &str = ".unfinished";
/// What has lain there for so long is of a worker that was killed: no file takes that long.
const ABANDONED: Duration = Duration::from_secs(3600);

/// How far the clock of the stream may be from that of the files.
const CLOCKS: Duration = Duration::from_secs(900);
/// Ids that are read at once.
const LARGEST_READ: usize = 4096;

/// Where the files are.
pub struct Folder(PathBuf);

impl Folder {
    /// Removes what workers that were killed have left unfinished.
    pub fn new(path: PathBuf) -> Self {
        for entry in fs::read_dir(path.join(UNFINISHED)).into_iter().flatten().flatten() {
            let age = entry.metadata().and_then(|found| found.modified()).ok().and_then(|time| time.elapsed().ok());
            if age.is_some_and(|age| age > ABANDONED) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Self(path)
    }

    /// All of `lines` are on the disk when it returns.
    pub fn send(&self, lines: &[String]) -> Result<(), SinkError> {
        let mut parts: BTreeMap<PathBuf, Vec<Row<'_>>> = BTreeMap::new();
        let mut ids = HashSet::new();
        for line in lines {
            let Some(row) = Row::of(line) else {
                // It would be the same the next time, and hold up all that follow.
                tracing::error!("a line of the stream is no finding of divulge, and is left out");
                continue;
            };
            if row.text("id").is_some_and(|id| ids.insert(id.to_owned())) {
                parts.entry(row.folder()).or_default().push(row);
            }
        }
        parts.iter().try_for_each(|(folder, rows)| self.write(folder, rows).map_err(SinkError::of))
    }

    /// Those among `lines`, each with the time since when it may have been written, whose ids are in the files.
    pub fn written(&self, lines: &[(&str, SystemTime)]) -> Result<HashSet<String>, SinkError> {
        let mut parts: BTreeMap<PathBuf, (SystemTime, HashSet<String>)> = BTreeMap::new();
        for (line, since) in lines {
            let Some(row) = Row::of(line) else { continue };
            let (first, ids) = parts.entry(row.folder()).or_insert_with(|| (*since, HashSet::new()));
            *first = (*first).min(*since);
            ids.extend(row.text("id").map(str::to_owned));
        }
        let mut found = HashSet::new();
        for (folder, (since, wanted)) in parts {
            for file in files_since(&self.0.join(folder), since).map_err(SinkError::of)? {
                let ids = ids_of(&file).map_err(|error| SinkError::of(format!("{}: {error}", file.display())))?;
                found.extend(ids.into_iter().filter(|id| wanted.contains(id)));
            }
        }
        Ok(found)
    }

    fn write(&self, folder: &Path, rows: &[Row<'_>]) -> Result<(), ParquetError> {
        let mut ids = Sha256::new();
        rows.iter().filter_map(|row| row.text("id")).for_each(|id| ids.update(format!("{id}\n")));
        let name = format!("{}.parquet", hex(&ids.finalize()[..16]));
        let unfinished = self.0.join(UNFINISHED);
        made(&unfinished)?;
        // For its owner alone; removed when something fails.
        let mut file = NamedTempFile::new_in(&unfinished)?;
        fill(file.as_file_mut(), rows)?;
        file.as_file().sync_all()?;
        let place = self.0.join(folder);
        let new = !place.is_dir();
        made(&place)?;
        file.persist(place.join(name)).map_err(|error| error.error)?;
        // The name is on the disk when its folder is, and a new folder when the one around it is.
        let around = place.ancestors().take_while(|path| path.starts_with(&self.0));
        around.take(if new { usize::MAX } else { 1 }).try_for_each(synced)?;
        Ok(())
    }
}

/// The files of a folder that were written at `since` or later, as far as two clocks agree.
fn files_since(folder: &Path, since: SystemTime) -> io::Result<Vec<PathBuf>> {
    let since = since.checked_sub(CLOCKS).unwrap_or(SystemTime::UNIX_EPOCH);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|name| name == "parquet") && entry.metadata()?.modified()? >= since {
            files.push(path);
        }
    }
    Ok(files)
}

/// The first column of a file. One that was put together with others meanwhile, and is gone, holds nothing.
fn ids_of(path: &Path) -> Result<Vec<String>, ParquetError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let reader = SerializedFileReader::new(file)?;
    let mut ids = Vec::new();
    for group in 0..reader.num_row_groups() {
        let mut column = get_typed_column_reader::<ByteArrayType>(reader.get_row_group(group)?.get_column_reader(0)?);
        let mut values = Vec::new();
        while column.read_records(LARGEST_READ, None, None, &mut values)?.0 > 0 {}
        ids.extend(values.iter().map(|id| String::from_utf8_lossy(id.data()).into_owned()));
    }
    Ok(ids)
}

struct Row<'a> {
    line: &'a str,
    value: Value,
    time: i64,
}

impl<'a> Row<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let time = clock::millis(value["time"].as_str()?)?;
        let whole = ["id", "session", "flow"].iter().all(|name| value[name].is_string());
        whole.then_some(Self { line, value, time })
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.value[name].as_str()
    }

    fn folder(&self) -> PathBuf {
        // The clock has read it: ten characters, of one byte each.
        let date = self.text("time").and_then(|time| time.get(..10));
        [("date", date), ("group", self.text("group")), ("host", self.text("host"))]
            .into_iter()
            .map(|(name, value)| format!("{name}={}", value.filter(|text| !text.is_empty()).map_or(NONE.into(), named)))
            .collect()
    }
}

/// `text` as a part of the name of a folder, spelled as readers undo it.
fn named(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let spell = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    let mut name: String = text.bytes().map(spell).collect();
    if name.len() > LONGEST_NAME {
        name.truncate(LONGEST_NAME);
        name.truncate(name.rfind('%').filter(|at| at + 3 > LONGEST_NAME).unwrap_or(LONGEST_NAME));
        name.push_str(&format!("-{}", hex(&Sha256::digest(text.as_bytes())[..8])));
    }
    name
}

/// Elsewhere folders cannot be opened, and names are on the disk when they are made.
#[cfg(unix)]
fn synced(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn synced(_: &Path) -> io::Result<()> {
    Ok(())
}

fn made(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

fn fill(file: &mut File, rows: &[Row<'_>]) -> Result<(), ParquetError> {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    let kind = |row: &Row<'_>| row.text("type").unwrap_or("finding").to_owned();
    let required = |name: &'static str| move |row: &Row<'_>| row.text(name).unwrap_or_default().to_owned();
    texts(group.next_column()?, rows, required("id"))?;
    if let Some(mut column) = group.next_column()? {
        let times: Vec<i64> = rows.iter().map(|row| row.time).collect();
        column.typed::<Int64Type>().write_batch(&times, None, None)?;
        column.close()?;
    }
    texts(group.next_column()?, rows, kind)?;
    texts(group.next_column()?, rows, required("session"))?;
    texts(group.next_column()?, rows, required("flow"))?;
    for name in OPTIONAL {
        let Some(mut column) = group.next_column()? else { continue };
        let there: Vec<Option<&str>> = rows.iter().map(|row| row.text(name)).collect();
        let levels: Vec<i16> = there.iter().map(|value| i16::from(value.is_some())).collect();
        let values: Vec<ByteArray> = there.into_iter().flatten().map(ByteArray::from).collect();
        column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
        column.close()?;
    }
    texts(group.next_column()?, rows, |row| row.line.to_owned())?;
    group.close()?;
    writer.close()?;
    Ok(())
}

fn texts(
    column: Option<SerializedColumnWriter<'_>>,
    rows: &[Row<'_>],
    of: impl Fn(&Row<'_>) -> String,
) -> Result<(), ParquetError> {
    let Some(mut column) = column else { return Ok(()) };
    let values: Vec<ByteArray> = rows.iter().map(|row| ByteArray::from(of(row).into_bytes())).collect();
    column.typed::<ByteArrayType>().write_batch(&values, None, None)?;
    column.close()
}

#[cfg(test)]
mod tests {
    use super::{Folder, named};

    #[test]
    fn a_name_from_the_wire_stays_one_folder() {
        assert_eq!(named("api.example.com"), "api.example.com");
        assert_eq!(named("../a/b=c%d é"), "..%2Fa%2Fb%3Dc%25d%20%C3%A9");
        let long = format!("a{}", "é".repeat(200));
        let (one, other) = (named(&long), named(&format!("{long}e")));
        assert!(one.len() < 255 && one != other, "{one}");
        let (escapes, _) = one[1..].rsplit_once('-').unwrap();
        assert!(escapes.split('%').skip(1).all(|code| code.len() == 2), "no half of an escape: {one}");
    }

    #[test]
    fn a_line_that_is_none_holds_nothing_up_and_a_batch_that_comes_twice_is_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let line = |id: &str, host: &str| {
            format!(
                r#"{{"id":"{id}","time":"2026-11-27T06:00:00.000Z","session":"s","flow":"1","host":"{host}","kind":"a.b"}}"#
            )
        };
        let mut lines =
            vec![line("1", "a.example.com"), "no JSON".into(), line("2", "../x"), line("3", "a.example.com")];
        lines.push(lines[0].clone());
        for _ in 0..2 {
            Folder::new(folder.path().to_owned()).send(&lines).unwrap();
        }
        let group = folder.path().join("date=2026-11-27/group=__HIVE_DEFAULT_PARTITION__");
        let hosts: Vec<_> = std::fs::read_dir(&group).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(hosts.len(), 2, "{hosts:?}");
        for host in hosts {
            assert_eq!(std::fs::read_dir(&host).unwrap().count(), 1, "{host:?}");
        }
        assert_eq!(std::fs::read_dir(folder.path().join(super::UNFINISHED)).unwrap().count(), 0);
    }

    #[test]
    fn what_is_in_files_that_were_written_since_is_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let line = |id: usize, host: &str| {
            format!(r#"{{"id":"{id}","time":"2026-11-27T06:00:00.000Z","session":"s","flow":"1","host":"{host}"}}"#)
        };
        let lines: Vec<String> = (0..9000).map(|id| line(id, ["a.example.com", "b.example.com"][id % 2])).collect();
        let files = Folder::new(folder.path().to_owned());
        lines[..6000].chunks(2000).for_each(|batch| files.send(batch).unwrap());
        let now = std::time::SystemTime::now();
        let ask = |since| files.written(&lines.iter().map(|line| (line.as_str(), since)).collect::<Vec<_>>()).unwrap();
        let known = ask(now);
        assert_eq!(known.len(), 6000);
        assert!((0..6000).all(|id| known.contains(&id.to_string())));
        // Of another host it is another folder's, and files that are older than the line do not hold it.
        let elsewhere = line(1, "c.example.com");
        assert!(files.written(&[(&elsewhere, now)]).unwrap().is_empty());
        assert!(ask(now + super::CLOCKS * 2).is_empty());
    }
}
