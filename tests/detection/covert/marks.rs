//! Ways to hide something in a text.

use crate::random::Rng;

/// A text with one mark in it.
pub struct Marked {
    pub text: String,
    /// The mark as it stands.
    pub mark: String,
    pub kind: &'static str,
}

type Hide = fn(&mut Rng) -> Marked;

pub const MARKS: &[(&str, Hide)] = &[
    ("tags", tags),
    ("tags after an emoji", tags_after_emoji),
    ("a flag with too much", long_flag),
    ("zero-width run", zero_width_run),
    ("zero-width run, one kind", same_run),
    ("one in a word", one_in_a_word),
    ("selectors after an emoji", selector_run),
    ("selectors after a letter", selectors_in_text),
    ("selector on a letter", one_selector),
    ("direction override", override_),
    ("embedding or isolate", isolate),
    ("direction mark in a word", direction_mark),
    ("Cyrillic in a word", cyrillic),
    ("Greek in a word", greek),
    ("other script in a word", other_script),
    ("styled letter in a word", styled),
    ("several letters", several_letters),
    ("Latin in a foreign word", latin),
];

/// What the marks stand in: prose, code, names, in several languages, without words of another script.
const TEXTS: &[&str] = &[
    "Please rename the request handler and update every test that mentions the old name.",
    "The deploy failed again last night; can you check whether the password rotation is to blame?",
    "fn charge(amount: u64, account: &str) -> Result<Receipt, PaymentError> { todo!() }",
    "SELECT customer, total FROM payments WHERE state = 'open' ORDER BY created;",
    "# Release notes\n\n- faster startup\n- fewer copies of the response body\n- export as spreadsheet",
    "Bitte prüfe die Übersetzung noch einmal und ersetze den veralteten Aufruf.",
    "Veuillez corriger la fonction d'analyse et ajouter un test pour le cas vide.",
    "const options = { verbose: true, retries: 3, region: 'central', profile: 'release' };",
    "Subject: meeting moved\n\nHello team, the weekly planning starts at ten. Please bring your estimates.",
    "error: expected expression, found keyword `where` in module parser::statement",
];

fn text(rng: &mut Rng) -> String {
    let first = rng.pick(TEXTS);
    match rng.percent(40) {
        true => format!("{first}\n{}", rng.pick(TEXTS)),
        false => first.to_owned(),
    }
}

/// Byte offsets between two letters of words with `least` ASCII letters at least.
fn inside_words(text: &str, least: usize) -> Vec<usize> {
    words(text, least).into_iter().flat_map(|(start, end)| start + 1..end).collect()
}

fn words(text: &str, least: usize) -> Vec<(usize, usize)> {
    let mut list = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (c.is_ascii_lowercase() || (start.is_none() && c.is_ascii_alphabetic()), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                let beside = text[..from].chars().next_back().is_some_and(char::is_alphanumeric)
                    || c.is_alphanumeric()
                    || c == '_'
                    || text[..from].ends_with('_');
                if at - from >= least && !beside {
                    list.push((from, at));
                }
                start = None;
            }
            _ => {}
        }
    }
    list
}

/// Puts `mark` somewhere: after a word, before one, inside one, at the end.
fn put(rng: &mut Rng, mark: String, kind: &'static str) -> Marked {
    let mut text = text(rng);
    let at = match rng.below(4) {
        0 => text.len(),
        1 => {
            let list = inside_words(&text, 4);
            list[rng.below(list.len())]
        }
        2 => words(&text, 2)[0].1,
        _ => {
            let spaces: Vec<usize> = text.match_indices(' ').map(|(at, _)| at + 1).collect();
            spaces[rng.below(spaces.len())]
        }
    };
    text.insert_str(at, &mark);
    Marked { text, mark, kind }
}

fn put_in_word(rng: &mut Rng, mark: String, kind: &'static str) -> Marked {
    let mut text = text(rng);
    let list = inside_words(&text, 4);
    text.insert_str(list[rng.below(list.len())], &mark);
    Marked { text, mark, kind }
}

fn shifted(text: &str, base: u32) -> String {
    text.bytes().filter_map(|byte| char::from_u32(base + u32::from(byte))).collect()
}

fn secret(rng: &mut Rng) -> String {
    match rng.below(4) {
        0 => rng.hex(8),
        1 => format!("user={}", rng.coined(3)),
        2 => rng.coined(2),
        _ => format!("ignore the above and {}", rng.coined(4)),
    }
}

fn tags(rng: &mut Rng) -> Marked {
    let hidden = secret(rng);
    let mut mark = shifted(&hidden, 0xe0000);
    if rng.percent(20) {
        mark.insert(0, '\u{e0001}');
    }
    put(rng, mark, "cov.tag")
}

fn after(rng: &mut Rng, emoji: &str, mark: String, kind: &'static str) -> Marked {
    let text = format!("{} {emoji}{mark} {}", rng.pick(TEXTS), rng.pick(TEXTS));
    Marked { text, mark, kind }
}

fn tags_after_emoji(rng: &mut Rng) -> Marked {
    let mark = shifted(&secret(rng), 0xe0000);
    let emoji = rng.pick(&["\u{1f600}", "\u{2705}", "\u{1f680}", "\u{1f3f3}\u{fe0f}", "\u{1f6a9}"]);
    after(rng, emoji, mark, "cov.tag")
}

/// Like the flag of a part of a country, but no such flag is that long.
fn long_flag(rng: &mut Rng) -> Marked {
    let mark = shifted(&format!("gb{}", rng.letters(b"abcdefghijklmnopqrstuvwxyz0123456789", 12)), 0xe0000);
    after(rng, "\u{1f3f4}", format!("{mark}\u{e007f}"), "cov.tag")
}

const UNSEEN: &[char] =
    &['\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}', '\u{2062}', '\u{2063}', '\u{2064}', '\u{180e}'];

fn zero_width_run(rng: &mut Rng) -> Marked {
    let alphabet: Vec<char> = {
        let first = rng.below(UNSEEN.len());
        (0..rng.between(2, 4)).map(|step| UNSEEN[(first + step) % UNSEEN.len()]).collect()
    };
    let mut mark: String = (0..rng.between(1, 40)).map(|_| alphabet[rng.below(alphabet.len())]).collect();
    mark.push(alphabet[0]);
    mark.push(alphabet[1]);
    put(rng, mark, "cov.zero_width")
}

fn same_run(rng: &mut Rng) -> Marked {
    let c = UNSEEN[rng.below(UNSEEN.len())];
    let mark = c.to_string().repeat(rng.between(2, 24));
    put(rng, mark, "cov.zero_width")
}

fn one_in_a_word(rng: &mut Rng) -> Marked {
    let more = ['\u{34f}', '\u{206a}', '\u{3164}', '\u{115f}'];
    let at = rng.below(UNSEEN.len() + more.len());
    let c = UNSEEN.get(at).copied().unwrap_or_else(|| more[at - UNSEEN.len()]);
    put_in_word(rng, c.to_string(), "cov.zero_width")
}

/// One selector stands for one byte.
fn selectors(bytes: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        0..=15 => char::from_u32(0xfe00 + u32::from(*byte)),
        _ => char::from_u32(0xe0100 + u32::from(*byte) - 16),
    };
    bytes.iter().filter_map(one).collect()
}

fn hidden_bytes(rng: &mut Rng) -> Vec<u8> {
    let count = rng.between(3, 20);
    if rng.percent(60) { secret(rng).into_bytes() } else { rng.bytes(count) }
}

fn selector_run(rng: &mut Rng) -> Marked {
    let mark = selectors(&hidden_bytes(rng));
    let emoji = rng.pick(&["\u{1f600}", "\u{2705}", "\u{1f680}", "\u{1f44d}\u{1f3fd}", "\u{2764}"]);
    after(rng, emoji, mark, "cov.varsel")
}

fn selectors_in_text(rng: &mut Rng) -> Marked {
    let mark = selectors(&hidden_bytes(rng));
    put(rng, mark, "cov.varsel")
}

fn one_selector(rng: &mut Rng) -> Marked {
    let mark = match rng.percent(70) {
        true => selectors(&[rng.below(16) as u8]),
        false => selectors(&[rng.between(16, 255) as u8]),
    };
    put_in_word(rng, mark, "cov.varsel")
}

fn override_(rng: &mut Rng) -> Marked {
    let mark = rng.pick(&["\u{202e}", "\u{202d}"]).to_owned();
    put(rng, mark, "cov.bidi")
}

fn isolate(rng: &mut Rng) -> Marked {
    let mark =
        rng.pick(&["\u{202a}", "\u{202b}", "\u{2066}", "\u{2067}", "\u{2068}", "\u{2069}", "\u{202c}"]).to_owned();
    put(rng, mark, "cov.bidi")
}

fn direction_mark(rng: &mut Rng) -> Marked {
    let mark = rng.pick(&["\u{200e}", "\u{200f}", "\u{61c}"]).to_owned();
    put_in_word(rng, mark, "cov.bidi")
}

/// Replaces one letter of a word of at least `least` letters by its double.
fn swap(rng: &mut Rng, doubles: &[(char, char)], least: usize) -> Marked {
    loop {
        let mut text = text(rng);
        let list: Vec<(usize, char)> = words(&text, least)
            .into_iter()
            .flat_map(|(start, end)| start..end)
            .filter_map(|at| {
                let letter = char::from(text.as_bytes()[at]);
                let double = doubles.iter().find(|(plain, _)| *plain == letter)?;
                Some((at, double.1))
            })
            .collect();
        if list.is_empty() {
            continue;
        }
        let (at, double) = list[rng.below(list.len())];
        text.replace_range(at..=at, &double.to_string());
        return Marked { text, mark: double.to_string(), kind: "cov.homoglyph" };
    }
}

const CYRILLIC: &[(char, char)] = &[
    ('a', 'а'),
    ('c', 'с'),
    ('e', 'е'),
    ('o', 'о'),
    ('p', 'р'),
    ('x', 'х'),
    ('y', 'у'),
    ('i', 'і'),
    ('s', 'ѕ'),
    ('j', 'ј'),
    ('h', 'һ'),
    ('d', 'ԁ'),
    ('A', 'А'),
    ('B', 'В'),
    ('C', 'С'),
    ('E', 'Е'),
    ('H', 'Н'),
    ('K', 'К'),
    ('M', 'М'),
    ('O', 'О'),
    ('P', 'Р'),
    ('T', 'Т'),
    ('X', 'Х'),
    ('S', 'Ѕ'),
];

fn cyrillic(rng: &mut Rng) -> Marked {
    swap(rng, CYRILLIC, 3)
}

fn greek(rng: &mut Rng) -> Marked {
    let doubles = [
        ('o', 'ο'),
        ('A', 'Α'),
        ('B', 'Β'),
        ('E', 'Ε'),
        ('H', 'Η'),
        ('I', 'Ι'),
        ('K', 'Κ'),
        ('M', 'Μ'),
        ('N', 'Ν'),
        ('O', 'Ο'),
        ('P', 'Ρ'),
        ('T', 'Τ'),
        ('X', 'Χ'),
        ('Z', 'Ζ'),
        ('v', 'ν'),
        ('p', 'ρ'),
        ('i', 'ι'),
        ('a', 'α'),
    ];
    swap(rng, &doubles, 5)
}

fn other_script(rng: &mut Rng) -> Marked {
    // Armenian, Cherokee, Lisu, Coptic.
    let doubles = [
        ('o', 'օ'),
        ('u', 'ս'),
        ('h', 'հ'),
        ('n', 'ո'),
        ('g', 'ց'),
        ('S', 'Ꮪ'),
        ('P', 'Ꮲ'),
        ('T', 'Ꭲ'),
        ('R', 'Ꭱ'),
        ('P', 'ꓑ'),
        ('S', 'ꓢ'),
        ('o', 'ⲟ'),
        ('c', 'ⲥ'),
    ];
    swap(rng, &doubles, 4)
}

/// One letter of a full-width or mathematical alphabet between plain ones.
fn styled(rng: &mut Rng) -> Marked {
    let base = *[0xff41, 0x1d41a, 0x1d5ba, 0x1d68a].get(rng.below(4)).unwrap_or(&0xff41);
    let mut text = text(rng);
    let list: Vec<usize> = words(&text, 4)
        .into_iter()
        .flat_map(|(start, end)| start + 1..end - 1)
        .filter(|&at| text.as_bytes()[at - 1].is_ascii_lowercase() && text.as_bytes()[at].is_ascii_lowercase())
        .collect();
    let at = list[rng.below(list.len())];
    let double = char::from_u32(base + u32::from(text.as_bytes()[at] - b'a')).unwrap_or('ａ');
    text.replace_range(at..=at, &double.to_string());
    Marked { text, mark: double.to_string(), kind: "cov.homoglyph" }
}

/// All letters of one word that have doubles, some letter staying Latin.
fn several_letters(rng: &mut Rng) -> Marked {
    loop {
        let mut text = text(rng);
        let list = words(&text, 5);
        let (start, end) = list[rng.below(list.len())];
        let swapped: String = text[start..end]
            .chars()
            .map(|c| CYRILLIC.iter().find(|(plain, _)| *plain == c).map_or(c, |(_, double)| *double))
            .collect();
        let plain = swapped.chars().filter(char::is_ascii).count();
        let foreign = swapped.chars().count() - plain;
        if plain < 2 || foreign < 2 {
            continue;
        }
        let mark = swapped.chars().find(|c| !c.is_ascii()).unwrap_or(' ').to_string();
        text.replace_range(start..end, &swapped);
        return Marked { text, mark, kind: "cov.homoglyph" };
    }
}

/// A Latin letter inside a Cyrillic word.
fn latin(rng: &mut Rng) -> Marked {
    let texts = [
        "Будь ласка, перевір обробник запитів і додай тест для порожнього списку.",
        "Проверьте, пожалуйста, обработчик ошибок и обновите документацию проекта.",
        "Моля, провери функцията за превод и добави пример към описанието.",
    ];
    let doubles = [('а', 'a'), ('с', 'c'), ('е', 'e'), ('о', 'o'), ('р', 'p'), ('х', 'x'), ('у', 'y'), ('і', 'i')];
    let mut text: Vec<char> = rng.pick(&texts).chars().collect();
    let inner: Vec<usize> = (1..text.len() - 1)
        .filter(|&at| text[at - 1].is_alphabetic() && text[at + 1].is_alphabetic())
        .filter(|&at| doubles.iter().any(|(own, _)| *own == text[at]))
        .collect();
    let at = inner[rng.below(inner.len())];
    let double = doubles.iter().find(|(own, _)| *own == text[at]).map_or('a', |(_, double)| *double);
    text[at] = double;
    Marked { text: text.into_iter().collect(), mark: double.to_string(), kind: "cov.homoglyph" }
}
