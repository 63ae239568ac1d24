//! What requests teach about the clients that send them goes to the engine that audits the next ones.
//!
//! A bounded queue and one thread, beside the traffic. What the queue cannot take is not learned, and nothing
//! is lost by it: the next request of the client says the same.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::engine::{Lesson, Templates};

/// Lessons that wait.
const QUEUE: usize = 64;
/// How long what was learned may be lost by a crash.
const SAVE_EVERY: Duration = Duration::from_secs(300);
/// How many times as long as learning took nothing is learned, so that it takes a tenth of a core at most.
const PAUSE: u32 = 9;
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// A file of the greatest size that is ever written, and half as much again.
const LARGEST: u64 = 64 << 20;

enum Entry {
    Lesson(Box<Lesson>),
    Finish(SyncSender<()>),
}

/// Takes lessons. Cheap to clone; never waits.
#[derive(Clone)]
pub struct Learner {
    queue: SyncSender<Entry>,
}

/// The other end of the queue, until the thread is started.
pub struct Lessons {
    entries: Receiver<Entry>,
}

pub fn queue() -> (Learner, Lessons) {
    let (queue, entries) = mpsc::sync_channel(QUEUE);
    (Learner { queue }, Lessons { entries })
}

impl Learner {
    pub fn learn(&self, lesson: Lesson) {
        if !lesson.is_empty() {
            let _ = self.queue.try_send(Entry::Lesson(Box::new(lesson)));
        }
    }

    /// Waits until what was handed over is learned and kept.
    pub fn finish(&self) {
        let (done, finished) = mpsc::sync_channel(1);
        if self.queue.send(Entry::Finish(done)).is_ok() {
            let _ = finished.recv_timeout(Duration::from_secs(10));
        }
    }
}

impl Lessons {
    /// Learns on a thread of its own, from `templates` on. Each state is handed to `publish`, and kept in `file`
    /// now and then.
    pub fn start(
        self,
        templates: Templates,
        file: Option<PathBuf>,
        publish: impl Fn(Arc<Templates>) + Send + 'static,
    ) -> io::Result<()> {
        let mut desk = Desk { templates, file, saved: Instant::now(), dirty: false };
        std::thread::Builder::new().name("learner".into()).spawn(move || desk.run(&self.entries, publish))?;
        Ok(())
    }
}

struct Desk {
    templates: Templates,
    file: Option<PathBuf>,
    saved: Instant,
    dirty: bool,
}

impl Desk {
    fn run(&mut self, entries: &Receiver<Entry>, publish: impl Fn(Arc<Templates>)) {
        loop {
            let first = match entries.recv_timeout(SAVE_EVERY) {
                Ok(entry) => Some(entry),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return self.save(),
            };
            let begun = Instant::now();
            let mut learned = false;
            let mut waiting = Vec::new();
            // A snapshot that is in use is copied before it changes: once for all that has come in.
            for entry in first.into_iter().chain(std::iter::from_fn(|| entries.try_recv().ok())).take(QUEUE) {
                match entry {
                    Entry::Lesson(lesson) if self.templates.gains_from(&lesson) => {
                        self.templates.learn(*lesson, today());
                        learned = true;
                    }
                    Entry::Lesson(_) => {}
                    Entry::Finish(done) => waiting.push(done),
                }
            }
            if learned {
                self.dirty = true;
                publish(Arc::new(self.templates.clone()));
                // Requests go before: where much is known a lesson costs a copy of it, and several lessons together no more.
                std::thread::sleep((begun.elapsed() * PAUSE).min(LONGEST_PAUSE));
            }
            if !waiting.is_empty() || self.saved.elapsed() >= SAVE_EVERY {
                self.save();
            }
            for done in waiting {
                let _ = done.send(());
            }
        }
    }

    fn save(&mut self) {
        self.saved = Instant::now();
        let Some(file) = self.file.as_deref().filter(|_| self.dirty) else { return };
        self.dirty = false;
        if let Err(error) = write(file, &self.templates.to_json()) {
            tracing::warn!(file = %file.display(), %error, "what was learned about clients cannot be kept");
        }
    }
}

/// Written whole, then put in place: a crash leaves the old file.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".templates-").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// What was kept in `path`. A file that cannot be used is a warning: learning starts anew.
pub fn load(path: &Path) -> Templates {
    let read = || -> io::Result<Templates> {
        if std::fs::metadata(path)?.len() > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
        }
        Templates::from_json(&std::fs::read_to_string(path)?).map_err(io::Error::other)
    };
    match read() {
        Ok(templates) => templates,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Templates::default(),
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "what was learned about clients cannot be read; learning starts anew");
            Templates::default()
        }
    }
}

/// Days since 1970.
fn today() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| (time.as_secs() / 86_400) as u32)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_damaged_file_is_passed_over_and_written_anew() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("templates.json");
        std::fs::write(&file, "{\"format\":1,\"pages\":[[[").expect("the file can be written");
        assert!(load(&file).is_empty());
        assert!(load(&folder.path().join("none")).is_empty());

        let published = Arc::new(Mutex::new(0));
        let (learner, lessons) = queue();
        let count = published.clone();
        let publish = move |templates: Arc<Templates>| *count.lock().unwrap() = templates.requests();
        lessons.start(load(&file), Some(file.clone()), publish).expect("a thread");
        let kept =
            r#"{"format":2,"pages":[{"digest":1,"requests":1,"day":0,"places":[[5,1,0,[[6,1]]]]}],"spellings":{}}"#;
        assert_eq!(Templates::from_json(kept).expect("as it is written").to_json(), kept);
        learner.learn(Lesson::of_form(1, &[(5, "x")]));
        learner.finish();
        assert_eq!(*published.lock().unwrap(), 1);
        assert_eq!(load(&file).requests(), 1);
    }
}
