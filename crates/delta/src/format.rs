//! The bytes of a patch, as `docs/patch-format.md` draws them: a header, and windows, each with the body of some engine.
//!
//! Reading takes no memory: it only finds where the bodies are and what is declared. Nothing declared is believed here;
//! [`crate::apply`] compares it with its budget.

/// The version of the format that this crate writes. It applies this one and all before it.
pub const FORMAT_VERSION: u8 = 2;

/// The version of tree patches ([`crate::tree`]) that this crate writes and applies.
pub const TREE_FORMAT_VERSION: u8 = 1;

const MAGIC: &[u8; 4] = b"tdgp";

/// Bytes that are not a patch, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It does not begin like a patch.
    #[error("it does not begin like a patch")]
    Magic,
    /// It is in another version of the format.
    #[error("it is in format version {0}, and this program applies versions 1 to {FORMAT_VERSION}")]
    Version(u8),
    /// It is a tree patch in another version of that format.
    #[error("it is a tree patch in format version {0}, and this program applies version {version}", version = TREE_FORMAT_VERSION)]
    TreeVersion(u8),
    /// It does not make each wanted file once.
    #[error("it does not make each file once")]
    Files,
    /// A part of it was made by an engine that there is not.
    #[error("it was made by engine {0}, which this program does not have")]
    Engine(u8),
    /// It ends too early, or goes on after its end.
    #[error("it ends too early, or goes on after its end")]
    Length,
    /// A number has more than 64 bits, or is not in its shortest form.
    #[error("a number has more than 64 bits, or is not in its shortest form")]
    Number,
    /// A stream is not what it declares.
    #[error("a compressed stream does not have its declared length")]
    Stream,
    /// The lengths of its streams contradict the length of its result.
    #[error("its lengths contradict each other")]
    Sums,
    /// An instruction copies from outside the old bytes.
    #[error("it copies from outside the old bytes")]
    OutOfRange,
    /// It was made from an executable, and the old bytes are none.
    #[error("it was made from an executable, and the old bytes are none")]
    NoExecutable,
    /// An instruction makes no bytes, or a window too few.
    #[error("an instruction makes no bytes, or a window too few")]
    Idle,
}

/// What a patch says of itself before it is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declared {
    /// The length of the old bytes.
    pub old_len: u64,
    /// The length of the new bytes.
    pub new_len: u64,
}

impl Declared {
    /// Reads the beginning of a patch.
    pub fn of(patch: &[u8]) -> Result<Self, Malformed> {
        Ok(Patch::read(patch)?.declared)
    }
}

/// By what a body is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// [`crate::packed`].
    Packed = 0,
    /// [`crate::plain`].
    Plain = 1,
    /// [`crate::prefixed`].
    Prefixed = 2,
    /// [`crate::executable`].
    Executable = 3,
    /// [`crate::sparse`].
    Sparse = 4,
}

impl Engine {
    fn of(byte: u8) -> Result<Self, Malformed> {
        [Self::Packed, Self::Plain, Self::Prefixed, Self::Executable, Self::Sparse]
            .into_iter()
            .find(|engine| *engine as u8 == byte)
            .ok_or(Malformed::Engine(byte))
    }
}

/// How the next bytes of new are made of a part of old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window<'a> {
    pub(crate) new_len: u64,
    /// Where the part of old begins.
    pub(crate) old_start: u64,
    pub(crate) old_len: u64,
    pub(crate) engine: Engine,
    pub(crate) body: &'a [u8],
}

impl Window<'_> {
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        [self.new_len, self.old_start, self.old_len].into_iter().for_each(|number| put_number(to, number));
        to.push(self.engine as u8);
        put_number(to, self.body.len() as u64);
        to.extend_from_slice(self.body);
    }
}

/// A patch: what it declares, and its windows, which are read one by one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patch<'a> {
    pub(crate) declared: Declared,
    version: u8,
    rest: &'a [u8],
}

impl<'a> Patch<'a> {
    pub(crate) fn read(patch: &'a [u8]) -> Result<Self, Malformed> {
        let rest = patch.strip_prefix(MAGIC).ok_or(Malformed::Magic)?;
        let (&version, rest) = rest.split_first().ok_or(Malformed::Length)?;
        if !(1..=FORMAT_VERSION).contains(&version) {
            return Err(Malformed::Version(version));
        }
        let mut numbers = Numbers(rest);
        let declared = Declared { old_len: numbers.next()?, new_len: numbers.next()? };
        Ok(Self { declared, version, rest: numbers.0 })
    }

    /// The beginning of a patch, to which its windows are written.
    pub(crate) fn begin(declared: Declared) -> Vec<u8> {
        let mut patch = [MAGIC.as_slice(), &[FORMAT_VERSION]].concat();
        put_number(&mut patch, declared.old_len);
        put_number(&mut patch, declared.new_len);
        patch
    }

    /// Whether there is nothing behind the windows that were read.
    pub(crate) fn is_read(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next window, which makes at most `left` bytes of new.
    pub(crate) fn window(&mut self, left: u64) -> Result<Window<'a>, Malformed> {
        match self.version {
            // Version 1 is one packed body, and has one when there is nothing to make, too.
            1 => {
                let Declared { old_len, new_len } = self.declared;
                let body = std::mem::take(&mut self.rest);
                Ok(Window { new_len, old_start: 0, old_len, engine: Engine::Packed, body })
            }
            _ => self.next_window(left),
        }
    }

    /// Whether a window must come before new has `left` bytes less.
    pub(crate) fn has_window(&self, left: u64) -> bool {
        left > 0 || self.version == 1 && !self.is_read()
    }

    fn next_window(&mut self, left: u64) -> Result<Window<'a>, Malformed> {
        let mut numbers = Numbers(self.rest);
        let (new_len, old_start, old_len) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let (&engine, rest) = numbers.0.split_first().ok_or(Malformed::Length)?;
        let mut numbers = Numbers(rest);
        let len = usize::try_from(numbers.next()?).map_err(|_| Malformed::Length)?;
        let (body, rest) = numbers.0.split_at_checked(len).ok_or(Malformed::Length)?;
        self.rest = rest;
        let inside = old_start.checked_add(old_len).is_some_and(|end| end <= self.declared.old_len);
        match (new_len, inside) {
            (0, _) => Err(Malformed::Idle),
            _ if new_len < left && new_len < LEAST_WINDOW => Err(Malformed::Idle),
            (_, false) => Err(Malformed::OutOfRange),
            _ if new_len > left => Err(Malformed::Sums),
            _ => Ok(Window { new_len, old_start, old_len, engine: Engine::of(engine)?, body }),
        }
    }
}

/// Every window costs something whatever its length (tables of models, old bytes that are taken apart), so those before the last one make
/// so much at least; tests cut finer.
const LEAST_WINDOW: u64 = if cfg!(test) { 1 << 10 } else { 1 << 20 };

/// Reads LEB128 numbers in their shortest form.
#[derive(Debug)]
pub(crate) struct Numbers<'a>(pub(crate) &'a [u8]);

impl Numbers<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn next(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(Malformed::Length)?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits || byte == 0 && shift > 0 {
                return Err(Malformed::Number);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed::Number)
    }
}

pub(crate) fn put_number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_reads_as_it_was_written() {
        let declared = Declared { old_len: 300, new_len: 3000 };
        let mut patch = Patch::begin(declared);
        let window = |new_len, body| Window { new_len, old_start: 100, old_len: 200, engine: Engine::Plain, body };
        let windows = [window(2000, &b"abc"[..]), window(1000, b"")];
        windows.iter().for_each(|window| window.write(&mut patch));
        let mut read = Patch::read(&patch).expect("just written");
        assert_eq!((read.declared, Declared::of(&patch)), (declared, Ok(declared)));
        assert_eq!([read.window(3000), read.window(1000)], windows.map(Ok));
        assert!(read.is_read() && !read.has_window(0));
        let two = |patch: &[u8]| -> Result<bool, Malformed> {
            let mut read = Patch::read(patch)?;
            read.window(3000)?;
            read.window(1000)?;
            Ok(read.is_read())
        };
        assert_eq!(two(&patch), Ok(true));
        (0..patch.len()).for_each(|cut| assert!(two(&patch[..cut]).is_err(), "{cut}"));
        assert_eq!(two(&[&patch[..], b"x"].concat()), Ok(false));
    }

    #[test]
    fn c12_windows_that_make_no_sense_are_refused() {
        let refused = |new_len, old_start, old_len, engine| {
            let mut patch = Patch::begin(Declared { old_len: 300, new_len: 30 });
            Window { new_len, old_start, old_len, engine: Engine::Plain, body: b"" }.write(&mut patch);
            let at = patch.len() - 2;
            patch[at] = engine;
            Patch::read(&patch).and_then(|mut patch| patch.window(30)).err()
        };
        assert_eq!(refused(30, 0, 300, 1), None);
        assert_eq!(refused(0, 0, 300, 1), Some(Malformed::Idle));
        assert_eq!(refused(29, 0, 300, 1), Some(Malformed::Idle), "every window costs something");
        assert_eq!(refused(31, 0, 300, 1), Some(Malformed::Sums));
        assert_eq!(refused(30, 1, 300, 1), Some(Malformed::OutOfRange));
        assert_eq!(refused(30, u64::MAX, 2, 1), Some(Malformed::OutOfRange));
        assert_eq!(refused(30, 0, 300, 77), Some(Malformed::Engine(77)));
    }

    #[test]
    fn c4_another_version_is_refused_by_name() {
        let mut patch = Patch::begin(Declared { old_len: 0, new_len: 0 });
        patch[4] = 3;
        let error = Declared::of(&patch).expect_err("version 3");
        assert_eq!(error, Malformed::Version(3));
        assert_eq!(error.to_string(), "it is in format version 3, and this program applies versions 1 to 2");
        patch[4] = 0;
        assert_eq!(Declared::of(&patch), Err(Malformed::Version(0)));
        patch[0] = b'x';
        assert_eq!(Declared::of(&patch), Err(Malformed::Magic));
    }

    #[test]
    fn numbers_have_one_form() {
        for number in [0, 127, 128, 1 << 35, u64::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            assert_eq!(Numbers(&bytes).next(), Ok(number));
        }
        assert_eq!(Numbers(&[0x80, 0]).next(), Err(Malformed::Number));
        assert_eq!(Numbers(&[0xff; 10]).next(), Err(Malformed::Number));
    }
}
