//! What must hold of restored answers for any bytes: no panic, no hang, and cuts change nothing.
//!
//! The first byte of an input chooses family and carrier (`@` to `C` events, `D` to `G` a document), the second how
//! the rest is cut into pieces.

use std::sync::Arc;

use divulge::engine::pseudonym::{Carrier, Family, Guard, Pair, RestoreLimits, RestoreStats, Restorer, Table};

/// Restores `pieces`: what went out, what is counted, and how many texts came to an end.
fn restored(
    table: &Arc<Table>,
    family: Family,
    carrier: Carrier,
    pieces: impl Iterator<Item = impl AsRef<[u8]>>,
) -> (Vec<u8>, RestoreStats, usize) {
    let guard = Guard::same_host(["api.example.com".to_owned()]);
    let mut restorer = Restorer::new(table.clone(), family, carrier, guard, RestoreLimits::default());
    let mut out = Vec::new();
    for piece in pieces {
        restorer.push(piece.as_ref(), &mut out);
    }
    restorer.finish(&mut out);
    assert_eq!(restorer.held(), 0, "nothing waits after the end");
    (out, restorer.stats(), restorer.take_notes().len())
}

pub fn restore(data: &[u8]) {
    let [settings, cut, bytes @ ..] = data else { return };
    let family = [Family::Anthropic, Family::Chat, Family::Responses, Family::Gemini][usize::from(settings & 3)];
    let carrier = if settings & 4 == 0 { Carrier::Events } else { Carrier::Document };
    let pair =
        |kind: &str, real: &str, pseudo: &str| Pair { kind: kind.into(), real: real.into(), pseudo: pseudo.into() };
    let table = Arc::new(Table::new(vec![
        pair("user.name", "ann", "zovakemuta"),
        pair("host.name", "B\u{fc}\"ro", "qilodesa"),
        pair("net.ip.local", "10.0.0.1", "10.20.30.140"),
    ]));
    let size = usize::from(cut % 64) + 1;
    let whole = restored(&table, family, carrier, std::iter::once(bytes));
    let cut = restored(&table, family, carrier, bytes.chunks(size));
    assert!(whole == cut, "a cut changes what goes out");
    if whole.1.restored == 0 && whole.1.added == 0 && carrier == Carrier::Events {
        assert_eq!(whole.0.len(), bytes.len(), "what is only held back comes whole");
    }
    let nobody = Arc::new(Table::new(Vec::new()));
    let (out, stats, _) = restored(&nobody, family, carrier, bytes.chunks(size));
    assert_eq!(out, bytes, "without pairs all bytes pass");
    assert_eq!((stats.restored, stats.unrestored, stats.added), (0, 0, 0));
}
