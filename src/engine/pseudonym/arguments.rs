//! Where in the JSON text of a tool's arguments a byte stands: in a string, a name, a list.

/// What a byte outside of escapes does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// It belongs to a string.
    Text,
    /// The string before it was a name.
    Key,
    /// A string begins that is a value or a name.
    Begin,
    /// A string begins that is one of a list.
    BeginInList,
    /// A list of strings begins.
    List,
    /// A value ends.
    End,
    Other,
}

/// Deeper objects are taken for one.
const DEEPEST: usize = 64;

#[derive(Default)]
pub(super) struct Arguments {
    in_string: bool,
    /// Open lists since the last name, and those of the objects around.
    lists: usize,
    around: Vec<usize>,
}

impl Arguments {
    pub fn next(&mut self, byte: u8) -> Step {
        if self.in_string {
            if byte != b'"' {
                return Step::Text;
            }
            self.in_string = false;
            return if self.lists > 0 { Step::Other } else { Step::End };
        }
        match byte {
            b'"' => {
                self.in_string = true;
                if self.lists > 0 { Step::BeginInList } else { Step::Begin }
            }
            b':' => {
                self.lists = 0;
                Step::Key
            }
            b'[' => {
                self.lists += 1;
                if self.lists == 1 { Step::List } else { Step::Other }
            }
            b']' => {
                self.lists = self.lists.saturating_sub(1);
                if self.lists == 0 { Step::End } else { Step::Other }
            }
            b'{' => {
                let lists = std::mem::take(&mut self.lists);
                if self.around.len() < DEEPEST {
                    self.around.push(lists);
                }
                Step::End
            }
            b'}' => {
                self.lists = self.around.pop().unwrap_or_default();
                Step::End
            }
            _ => Step::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arguments, Step};

    #[test]
    fn each_byte_has_its_step() {
        let mut arguments = Arguments::default();
        let steps: String = r#"{"a":["b",["c"],{"d":"e"},"f"],"g":1}"#
            .bytes()
            .map(|byte| match arguments.next(byte) {
                Step::Text => 't',
                Step::Key => 'k',
                Step::Begin => 'b',
                Step::BeginInList => 'l',
                Step::List => 'L',
                Step::End => 'e',
                Step::Other => '.',
            })
            .collect();
        assert_eq!(steps, "ebtekLlt...lt...ebtekbtee.lt.e.btek.e");
    }
}
