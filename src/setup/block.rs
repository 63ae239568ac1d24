//! A block of lines in a file of variables or a shell's profile, between two marks.

const BEGIN: &str = "# >>> divulge: removed by `divulge uninstall` >>>";
const END: &str = "# <<< divulge <<<";

/// The text with `lines` as its block: in the place of an older one, else at the end.
pub fn set(text: &str, lines: &str) -> String {
    let block = format!("{BEGIN}\n{}\n{END}\n", lines.trim_end());
    match place(text) {
        Some((start, end)) => [&text[..start], &block, &text[end..]].concat(),
        None if text.is_empty() || text.ends_with('\n') => [text, &block].concat(),
        None => [text, "\n", &block].concat(),
    }
}

/// The lines of the block.
#[cfg(test)]
fn get(text: &str) -> Option<&str> {
    let (start, end) = place(text)?;
    text[start..end].strip_prefix(BEGIN)?.strip_prefix('\n')?.trim_end().strip_suffix(END)
}

/// The text without its block.
pub fn remove(text: &str) -> String {
    place(text).map_or_else(|| text.to_owned(), |(start, end)| [&text[..start], &text[end..]].concat())
}

fn place(text: &str) -> Option<(usize, usize)> {
    let start = text.find(BEGIN)?;
    let end = start + text[start..].find(END)? + END.len();
    Some((start, if text[end..].starts_with('\n') { end + 1 } else { end }))
}

#[cfg(test)]
mod tests {
    use super::{get, remove, set};

    #[test]
    fn a_block_is_set_replaced_and_removed() {
        for text in ["", "A=1\n", "# mine\nA=1\n\n"] {
            let once = set(text, "B=2");
            assert_eq!((get(&once), remove(&once).as_str()), (Some("B=2\n"), text));
            assert_eq!(set(&once, "B=2"), once);
            assert_eq!(remove(&set(&once, "C=3\nD=4")), text);
        }
        // A line that was not ended gets its end, and keeps it.
        assert_eq!(remove(&set("A=1", "B=2")), "A=1\n");
        assert_eq!(get("nothing"), None);
    }
}
