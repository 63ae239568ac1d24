//! Where the walk stands, kept as borrowed pieces until somebody asks for a [`Location`].

use std::cell::OnceCell;
use std::fmt::Write;
use std::sync::Arc;

use crate::engine::location::{Location, Root, Step, write_name};
use crate::engine::visit::{Place, Segment};

/// The innermost part of the place: what the walk is in the middle of.
#[derive(Clone, Copy)]
pub(super) enum Tail<'a> {
    /// All of the layer.
    Whole,
    Method,
    Path(u32),
    Header {
        name: &'a str,
        repeat: u32,
    },
    Trailer(&'a str),
    Cookie(&'a str),
    Form(&'a str),
    /// A header inside the body.
    Field(&'a str),
    Multipart(&'a str),
    Json(&'a [Segment<'a>]),
    MsgPack(&'a [Segment<'a>]),
    /// Field numbers with their repeat, and the same as segments.
    Pb(&'a [PbStep], &'a [Segment<'a>]),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct PbStep {
    pub field: u32,
    pub repeat: u32,
}

impl Tail<'_> {
    /// The root that this tail stands for, if it is one.
    pub fn root(&self) -> Option<Root> {
        match *self {
            Tail::Method => Some(Root::Head),
            Tail::Path(segment) => Some(Root::Path(segment)),
            Tail::Trailer(name) => Some(Root::Trailer(name.into())),
            Tail::Header { name, repeat } => Some(Root::Header { name: name.into(), repeat }),
            _ => None,
        }
    }

    pub fn step(&self) -> Option<Step> {
        match *self {
            Tail::Cookie(name) => Some(Step::Cookie(name.into())),
            Tail::Form(name) => Some(Step::Form(name.into())),
            Tail::Field(name) => Some(Step::Header(name.into())),
            Tail::Multipart(name) => Some(Step::Multipart(name.into())),
            Tail::Json(segments) => Some(Step::Json(pointer(segments))),
            Tail::MsgPack(segments) => Some(Step::MsgPack(pointer(segments))),
            Tail::Pb(path, _) => Some(Step::Pb(pb_path(path))),
            _ => None,
        }
    }
}

fn pointer(segments: &[Segment<'_>]) -> Arc<str> {
    // As long as it will be, unless a name has escapes: it is made for every finding.
    let length = |segment: &Segment<'_>| match *segment {
        Segment::Name(name) => name.len(),
        Segment::Index(index) => index.checked_ilog10().unwrap_or_default() as usize + 1,
    };
    let mut out = String::with_capacity(segments.iter().map(|segment| 1 + length(segment)).sum());
    for segment in segments {
        out.push('/');
        // Writing to a string cannot fail.
        let _ = match *segment {
            Segment::Name(name) => write_name(name, &mut out),
            Segment::Index(index @ 0..10) => out.write_char(char::from(b'0' + index as u8)),
            Segment::Index(index) => write!(out, "{index}"),
        };
    }
    out.into()
}

fn pb_path(path: &[PbStep]) -> Arc<str> {
    let mut out = String::with_capacity(path.len() * 3);
    for step in path {
        let _ = match step.repeat {
            0 => write!(out, "/{}", step.field),
            repeat => write!(out, "/{}.{repeat}", step.field),
        };
    }
    out.into()
}

pub(super) struct Here<'a> {
    root: &'a Root,
    steps: &'a [Step],
    tail: Tail<'a>,
    single: [Segment<'a>; 1],
    /// The step of the tail, once it was asked for.
    step: OnceCell<Option<Step>>,
}

impl<'a> Here<'a> {
    pub fn new(root: &'a Root, steps: &'a [Step], tail: Tail<'a>) -> Self {
        let single = match tail {
            Tail::Cookie(name)
            | Tail::Form(name)
            | Tail::Field(name)
            | Tail::Multipart(name)
            | Tail::Trailer(name)
            | Tail::Header { name, .. } => Segment::Name(name),
            Tail::Path(segment) => Segment::Index(segment.into()),
            _ => Segment::Index(0),
        };
        Self { root, steps, tail, single: [single], step: OnceCell::new() }
    }
}

impl Place for Here<'_> {
    fn location(&self) -> Location {
        // Room for the tail, and for a window in it.
        let mut steps = Vec::with_capacity(self.steps.len() + 2);
        steps.extend_from_slice(self.steps);
        steps.extend(self.step.get_or_init(|| self.tail.step()).clone());
        Location { root: self.tail.root().unwrap_or_else(|| self.root.clone()), steps }
    }

    fn pointer(&self) -> &[Segment<'_>] {
        match self.tail {
            Tail::Json(segments) | Tail::MsgPack(segments) | Tail::Pb(_, segments) => segments,
            Tail::Whole | Tail::Method => &[],
            _ => &self.single,
        }
    }

    fn depth(&self) -> usize {
        self.steps.len() + usize::from(!matches!(self.tail, Tail::Whole) && self.tail.root().is_none())
    }
}

type Chunk = Box<[OnceCell<Box<str>>]>;

/// Decoded names that live as long as the document they stand in. Most names are slices of it; those with
/// escapes are kept here.
#[derive(Default)]
pub(crate) struct Names {
    chunks: [OnceCell<Chunk>; 28],
    used: std::cell::Cell<usize>,
}

impl Names {
    /// Keeps `name`; beyond a quarter of a thousand million names the empty one stands for it.
    pub fn keep(&self, name: Box<str>) -> &str {
        let index = self.used.get();
        self.used.set(index + 1);
        // Chunk k holds 16 << k names, so a name's place follows from its number.
        let chunk = ((index / 16 + 1).ilog2()) as usize;
        let first = 16 * ((1 << chunk) - 1);
        let slot = self
            .chunks
            .get(chunk)
            .and_then(|cell| cell.get_or_init(|| vec![OnceCell::new(); 16 << chunk].into()).get(index - first));
        slot.map_or("", |slot| slot.get_or_init(|| name))
    }
}
