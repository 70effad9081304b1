//! The ways in which a place in an executable says where something else is.

use crate::arm64;

/// How a place says where its target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Four bytes: the distance from `base` bytes after their beginning.
    Distance,
    /// Four bytes: the distance from the address `base`.
    Offset,
    /// Four bytes: the distance from the address `base`, in words of four bytes.
    Words,
    /// Four bytes: the distance back from their beginning.
    Back,
    /// Eight bytes: the address.
    Pointer,
    /// An aarch64 instruction.
    Instruction(arm64::Form),
}

impl Kind {
    /// The bytes of such a place.
    pub(crate) fn len(self) -> u32 {
        if self == Self::Pointer { 8 } else { 4 }
    }

    /// A number for each kind, below 10.
    pub(crate) fn number(self) -> usize {
        match self {
            Self::Distance => 0,
            Self::Offset => 1,
            Self::Words => 2,
            Self::Back => 3,
            Self::Pointer => 4,
            Self::Instruction(form) => 5 + form as usize,
        }
    }

    /// The bits that depend on the address.
    pub(crate) fn mask(self) -> u64 {
        match self {
            Self::Pointer => u64::MAX,
            Self::Instruction(form) => form.mask().into(),
            Self::Distance | Self::Offset | Self::Words | Self::Back => u32::MAX.into(),
        }
    }

    /// What stands at the address `here` if the target is `target`; `word` is what stood in such a place before.
    pub(crate) fn body(self, word: u64, here: u32, base: u32, target: u32) -> u64 {
        match self {
            Self::Pointer => target.into(),
            Self::Distance => target.wrapping_sub(here.wrapping_add(base)).into(),
            Self::Offset => target.wrapping_sub(base).into(),
            Self::Words => (target.wrapping_sub(base) / 4).into(),
            Self::Back => here.wrapping_sub(target).into(),
            Self::Instruction(form) => form.retarget(word as u32, here.into(), target.into()).into(),
        }
    }
}
