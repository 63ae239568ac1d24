//! The index beside a session: `FILE.idx`, a SQLite database of where its flows stand and what was found in them.
//!
//! ```text
//! FILE (the truth) -> walk from where the index ends -> flow, finding, lines, pack
//! ```
//!
//! It can be thrown away at any time. Where it is missing, damaged, of another version or of another file it is built anew; where
//! the session has grown, what is new is added. It holds what the session holds masked (its lines), and no bodies.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, Transaction, params, params_from_iter};
use serde_json::Value;

use crate::replay::Question;
use crate::session::flow::Bodies;
use crate::session::store::{About, Damage, Place, Position, Scan, SessionError, Told, check, walk};

/// `dvlg`: no database but ours bears it.
const APPLICATION: i32 = i32::from_be_bytes(*b"dvlg");
/// Another number, another layout: an index of an older one is built anew.
const VERSION: i64 = 3;
/// How long another process may be at it.
const BUSY: Duration = Duration::from_secs(10);

const LAYOUT: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE flow (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, started INTEGER, ended INTEGER,
        host TEXT, port INTEGER, secure INTEGER, method TEXT, path TEXT, client TEXT, verdict TEXT, bytes_sent INTEGER,
        request_at INTEGER, request_length INTEGER, end_at INTEGER, end_length INTEGER,
        bodies TEXT);
    CREATE INDEX flow_host ON flow (host);
    CREATE TABLE lines (flow INTEGER NOT NULL, at INTEGER NOT NULL, length INTEGER NOT NULL);
    CREATE INDEX lines_flow ON lines (flow);
    CREATE TABLE pack (number INTEGER PRIMARY KEY, at INTEGER NOT NULL, length INTEGER NOT NULL);
    CREATE TABLE finding (
        flow INTEGER NOT NULL, kind TEXT NOT NULL, host TEXT, severity TEXT, action TEXT, value_hmac TEXT,
        line TEXT NOT NULL);
    CREATE INDEX finding_flow ON finding (flow);
    CREATE INDEX finding_kind ON finding (kind, flow);
    CREATE INDEX finding_value ON finding (value_hmac);
    CREATE TABLE question (
        flow INTEGER PRIMARY KEY, method TEXT NOT NULL, host TEXT NOT NULL, path TEXT NOT NULL, exactly BLOB NOT NULL,
        asked BLOB NOT NULL);
";

/// Why a session cannot be looked up.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    #[error("its index cannot be used")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0} is no index of divulge, and is left alone")]
    Foreign(PathBuf),
}

/// What is looked for. Globs as in rules: `*` stands for anything.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub host: Option<String>,
    pub kind: Option<String>,
    /// Digests of a value, any of them.
    pub values: Vec<String>,
}

/// A flow as the index knows it.
#[derive(Clone, Debug, Default)]
pub struct FlowRow {
    /// From 0, in the order of the session.
    pub index: usize,
    pub id: String,
    pub started: Option<u64>,
    pub host: String,
    pub method: String,
    pub path: String,
    pub verdict: String,
    pub bytes_sent: u64,
    /// How often each kind that was asked for was found.
    pub kinds: Vec<(String, u64)>,
}

pub struct Index {
    database: Connection,
}

/// Where the index of a session stands.
pub fn path_of(session: &Path) -> PathBuf {
    let mut name = OsString::from(session);
    name.push(".idx");
    name.into()
}

/// Whether a file is an index of ours, or nothing yet.
fn is_ours(mut file: &File) -> io::Result<bool> {
    let mut head = Vec::new();
    Read::take(&mut file, 100).read_to_end(&mut head)?;
    Ok(head.is_empty() || (head.starts_with(b"SQLite format 3\0") && head.get(68..72) == Some(b"dvlg")))
}

/// Takes the index away: the session is another one now. What is not ours stays.
pub fn forget(session: &Path) -> io::Result<()> {
    let index = path_of(session);
    match File::open(&index) {
        Ok(file) if !is_ours(&file)? => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut journal = index.clone().into_os_string();
    journal.push("-journal");
    for file in [index, journal.into()] {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

impl Index {
    /// The index of a session, made to fit it. In memory where it cannot be written beside it.
    pub fn of(session: &Path) -> Result<Self, IndexError> {
        let mut file = File::open(session)?;
        check(&mut file)?;
        let mut built = Self::beside(session, &mut file);
        if let Err(IndexError::Sqlite(error)) = &built {
            tracing::debug!(session = %session.display(), %error, "the index is built anew");
            built = forget(session).map_err(IndexError::from).and_then(|()| Self::beside(session, &mut file));
        }
        match built {
            Ok(index) => Ok(index),
            Err(IndexError::Session(error)) => Err(error.into()),
            Err(error) => {
                if let IndexError::Foreign(_) = &error {
                    tracing::warn!("{error}");
                }
                tracing::debug!(session = %session.display(), %error, "the index is kept in memory");
                let mut index = Self { database: Connection::open_in_memory()? };
                index.follow(&mut file)?;
                Ok(index)
            }
        }
    }

    fn beside(session: &Path, file: &mut File) -> Result<Self, IndexError> {
        let path = path_of(session);
        let mut options = OpenOptions::new();
        options.create(true).read(true).write(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        if !is_ours(&options.open(&path)?)? {
            return Err(IndexError::Foreign(path));
        }
        let database = Connection::open(&path)?;
        database.busy_timeout(BUSY)?;
        // Pages that are damaged are told from sound ones before anything is believed.
        let sound: String = database.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if sound != "ok" {
            return Err(rusqlite::Error::InvalidParameterName(sound).into());
        }
        let mut index = Self { database };
        index.follow(file)?;
        Ok(index)
    }

    /// Takes in what the session has and the index has not: all or nothing.
    fn follow(&mut self, file: &mut File) -> Result<(), IndexError> {
        let transaction = self.database.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut position = match noted(&transaction)? {
            Some(position) if position.holds(file)? => position,
            _ => {
                clear(&transaction)?;
                Position::default()
            }
        };
        let mut failed = None;
        let damage = walk(file, &mut position, &mut |place, told| {
            if failed.is_none() {
                failed = put(&transaction, place, told).err();
            }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let damage = damage.map_or(Value::Null, |damage| serde_json::json!([damage.offset, damage.reason]));
        for (name, value) in [
            ("end", position.end.to_string()),
            ("records", position.records.to_string()),
            ("chain", position.chain()),
            ("damage", damage.to_string()),
        ] {
            set(&transaction, name, &value)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Where everything stands, without the session being read.
    pub fn scan(&self) -> Result<Scan, IndexError> {
        let mut scan = Scan::default();
        let about = get(&self.database, "about")?.and_then(|text| serde_json::from_str::<About>(&text).ok());
        scan.about = about.unwrap_or_default();
        scan.position = noted(&self.database)?.unwrap_or_default();
        scan.length = scan.position.end;
        scan.damage = get(&self.database, "damage")?
            .and_then(|text| serde_json::from_str::<(u64, String)>(&text).ok())
            .map(|(offset, reason)| Damage { offset, reason });
        let place = |row: &rusqlite::Row<'_>, at: usize| -> rusqlite::Result<Option<Place>> {
            Ok(row.get::<_, Option<i64>>(at)?.zip(row.get(at + 1)?).map(|(offset, length)| (offset as u64, length)))
        };
        let mut flows = self.database.prepare(
            "SELECT number, id, request_at, request_length, end_at, end_length, bodies FROM flow ORDER BY number",
        )?;
        let mut lines = self.database.prepare("SELECT at, length FROM lines WHERE flow = ? ORDER BY at")?;
        let mut rows = flows.query([])?;
        while let Some(row) = rows.next()? {
            let id: String = row.get(1)?;
            let flow = scan.flow(id);
            flow.request = place(row, 2)?;
            flow.end = place(row, 4)?;
            flow.bodies = row.get::<_, Option<String>>(6)?.as_deref().and_then(Bodies::named);
            let mut of_flow = lines.query([row.get::<_, i64>(0)?])?;
            while let Some(row) = of_flow.next()? {
                flow.lines.extend(place(row, 0)?);
            }
        }
        let mut packs = self.database.prepare("SELECT at, length FROM pack ORDER BY number")?;
        let mut rows = packs.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(place) = place(row, 0)? {
                scan.put(place, Told::Pack);
            }
        }
        Ok(scan)
    }

    pub fn damage(&self) -> Result<Option<Damage>, IndexError> {
        let said = get(&self.database, "damage")?.and_then(|text| serde_json::from_str::<(u64, String)>(&text).ok());
        Ok(said.map(|(offset, reason)| Damage { offset, reason }))
    }

    /// The lines of findings that fit, in the order of the session.
    pub fn findings(&self, query: &Query, each: &mut dyn FnMut(&str)) -> Result<u64, IndexError> {
        let (conditions, values) = self.conditions(query)?;
        let sql = format!("SELECT finding.line FROM finding WHERE {conditions} ORDER BY finding.flow, finding.rowid");
        let mut statement = self.database.prepare(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            each(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?);
            count += 1;
        }
        Ok(count)
    }

    /// The flows to a host, or all; where a kind is asked for, those in which it was found.
    pub fn flows(&self, query: &Query) -> Result<Vec<FlowRow>, IndexError> {
        let (conditions, values) = self.conditions(query)?;
        let mut found = self.database.prepare(&format!(
            "SELECT finding.flow, finding.kind, count(*) FROM finding WHERE {conditions} GROUP BY 1, 2 ORDER BY 1, 2"
        ))?;
        let mut kinds: std::collections::HashMap<i64, Vec<(String, u64)>> = std::collections::HashMap::new();
        let mut rows = found.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let count: i64 = row.get(2)?;
            kinds.entry(row.get(0)?).or_default().push((row.get(1)?, count as u64));
        }
        let mut flows = self.database.prepare(
            "SELECT number, id, started, host, method, path, verdict, bytes_sent FROM flow
             WHERE request_at IS NOT NULL OR method IS NOT NULL ORDER BY number",
        )?;
        let text = |row: &rusqlite::Row<'_>, at| row.get::<_, Option<String>>(at).map(Option::unwrap_or_default);
        let mut out = Vec::new();
        let mut rows = flows.query([])?;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            let host = text(row, 3)?;
            let kinds = kinds.remove(&number).unwrap_or_default();
            let elsewhere = query.host.as_ref().is_some_and(|glob| !crate::config::glob_fits(glob, &host));
            if elsewhere || (kinds.is_empty() && (query.kind.is_some() || !query.values.is_empty())) {
                continue;
            }
            out.push(FlowRow {
                index: (number - 1) as usize,
                id: row.get(1)?,
                started: row.get::<_, Option<i64>>(2)?.map(|at| at as u64),
                host,
                method: text(row, 4)?,
                path: text(row, 5)?,
                verdict: text(row, 6)?,
                bytes_sent: row.get::<_, Option<i64>>(7)?.unwrap_or_default() as u64,
                kinds,
            });
        }
        Ok(out)
    }

    /// What each recorded request asks, if that was noted for all of them.
    pub fn questions(&self) -> Result<Option<Vec<Question>>, IndexError> {
        if get(&self.database, "questions")? != get(&self.database, "end")? {
            return Ok(None);
        }
        let mut statement =
            self.database.prepare("SELECT flow, method, host, path, exactly, asked FROM question ORDER BY flow")?;
        let read = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Question> {
            Ok(Question {
                index: (row.get::<_, i64>(0)? - 1) as usize,
                method: row.get(1)?,
                host: row.get(2)?,
                path: row.get(3)?,
                exactly: row.get(4)?,
                asked: row.get(5)?,
            })
        };
        Ok(Some(statement.query_map([], read)?.collect::<rusqlite::Result<_>>()?))
    }

    pub fn note_questions(&mut self, list: &[Question]) -> Result<(), IndexError> {
        let transaction = self.database.transaction()?;
        if let Some(end) = get(&transaction, "end")? {
            set(&transaction, "questions", &end)?;
        }
        {
            let mut insert = transaction.prepare("INSERT OR REPLACE INTO question VALUES (?, ?, ?, ?, ?, ?)")?;
            for one in list {
                insert.execute(params![
                    one.index as i64 + 1,
                    one.method,
                    one.host,
                    one.path,
                    one.exactly,
                    one.asked
                ])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// What a query comes to in SQL: globs are resolved among the names that are there.
    fn conditions(&self, query: &Query) -> Result<(String, Vec<Sql>), IndexError> {
        let mut conditions = vec!["1".to_owned()];
        let mut values: Vec<Sql> = Vec::new();
        for (column, glob) in [("host", &query.host), ("kind", &query.kind)] {
            let Some(glob) = glob else { continue };
            let mut statement = self.database.prepare(&format!("SELECT DISTINCT {column} FROM finding"))?;
            let names = statement.query_map([], |row| row.get::<_, Option<String>>(0))?;
            let mut fitting = Vec::new();
            for name in names {
                fitting.extend(name?.filter(|name| crate::config::glob_fits(glob, name)).map(Sql::from));
            }
            conditions.push(among(&format!("finding.{column}"), fitting.len()));
            values.extend(fitting);
        }
        if !query.values.is_empty() {
            conditions.push(among("finding.value_hmac", query.values.len()));
            values.extend(query.values.iter().cloned().map(Sql::from));
        }
        Ok((conditions.join(" AND "), values))
    }
}

fn among(column: &str, count: usize) -> String {
    format!("{column} IN ({})", vec!["?"; count].join(", "))
}

fn noted(database: &Connection) -> rusqlite::Result<Option<Position>> {
    let version: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version != VERSION {
        return Ok(None);
    }
    let number =
        |name| -> rusqlite::Result<Option<u64>> { Ok(get(database, name)?.and_then(|text| text.parse().ok())) };
    let (end, records, chain) = (number("end")?, number("records")?, get(database, "chain")?);
    let all = end.zip(records).zip(chain);
    Ok(all.and_then(|((end, records), chain)| Position::noted(end, records, &chain)))
}

fn get(database: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    database.query_row("SELECT value FROM meta WHERE name = ?", [name], |row| row.get(0)).optional()
}

fn set(database: &Connection, name: &str, value: &str) -> rusqlite::Result<usize> {
    database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", [name, value])
}

/// Everything goes, whatever is there; then the layout of this version.
fn clear(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let tables: Vec<String> = {
        let mut statement = transaction.prepare("SELECT name FROM sqlite_master WHERE type = 'table'")?;
        statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
    };
    for table in tables {
        transaction.execute(&format!("DROP TABLE \"{}\"", table.replace('"', "\"\"")), [])?;
    }
    transaction.execute_batch(LAYOUT)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)
}

fn put(database: &Connection, (at, length): Place, told: Told) -> rusqlite::Result<()> {
    let at = at as i64;
    match told {
        Told::About(about) => {
            let text = serde_json::to_string(&about).unwrap_or_default();
            set(database, "about", &text)?;
        }
        // An erased one keeps its number.
        Told::Pack | Told::Erased { pack: true } => {
            database.prepare_cached("INSERT INTO pack (at, length) VALUES (?, ?)")?.execute(params![at, length])?;
        }
        Told::Request { flow, at: started, host, port, secure, bodies } => {
            let started = started.map(|at| at as i64);
            let sql = "INSERT INTO flow (id, started, host, port, secure, request_at, request_length, bodies)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO UPDATE SET started = ?2, host = ?3,
                       port = ?4, secure = ?5, request_at = ?6, request_length = ?7, bodies = ?8";
            let bodies = bodies.map(Bodies::name);
            database.prepare_cached(sql)?.execute(params![flow, started, host, port, secure, at, length, bodies])?;
        }
        Told::End { flow, at: ended } => {
            let ended = ended.map(|at| at as i64);
            let sql = "INSERT INTO flow (id, ended, end_at, end_length) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT (id) DO UPDATE SET ended = ?2, end_at = ?3, end_length = ?4";
            database.prepare_cached(sql)?.execute(params![flow, ended, at, length])?;
        }
        Told::Lines { flow, lines } => {
            let sql = "INSERT INTO flow (id) VALUES (?1) ON CONFLICT (id) DO UPDATE SET id = ?1 RETURNING number";
            let number: i64 = database.prepare_cached(sql)?.query_row([flow], |row| row.get(0))?;
            database.prepare_cached("INSERT INTO lines VALUES (?, ?, ?)")?.execute(params![number, at, length])?;
            for line in lines {
                put_line(database, number, &line)?;
            }
        }
        Told::Erased { pack: false } | Told::Other => {}
    }
    Ok(())
}

fn put_line(database: &Connection, flow: i64, line: &str) -> rusqlite::Result<()> {
    let Ok(value) = serde_json::from_str::<Value>(line) else { return Ok(()) };
    let text = |name: &str| value[name].as_str();
    if let Some(kind) = text("kind") {
        let sql = "INSERT INTO finding VALUES (?, ?, ?, ?, ?, ?, ?)";
        let (host, severity, action) = (text("host"), text("severity"), text("action"));
        let row = params![flow, kind, host, severity, action, text("value_hmac"), line];
        database.prepare_cached(sql)?.execute(row)?;
    } else if text("type") == Some("flow") {
        let sql = "UPDATE flow SET host = coalesce(host, ?2), method = ?3, path = ?4, client = ?5, verdict = ?6,
                   bytes_sent = ?7 WHERE number = ?1";
        let (host, method, path, client) = (text("host"), text("method"), text("path"), text("client"));
        let row = params![flow, host, method, path, client, text("verdict"), value["bytes_sent"].as_i64()];
        database.prepare_cached(sql)?.execute(row)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
