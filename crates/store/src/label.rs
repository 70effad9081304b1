//! The label that SELinux goes by, of what is laid out beside a path.
//!
//! The kernel gives what is made in a directory that directory's label. So nothing here labels files one by one: when a directory at the path is
//! adopted, its label becomes that of the directory of releases, before anything is made in it, and all that is laid out there has it. Where
//! nothing stood at the path, the label is what the policy or an operator has given the directory of releases, or the one above it.

use crate::disk::{Disk, Name};
use std::io;

/// The extended attribute that holds it.
const LABEL: &[u8] = b"security.selinux";

/// Gives a directory the label of another one, where that has any.
pub(crate) fn copy<D: Disk>(disk: &D, (from, model): (&D::Dir, &Name), (to, name): (&D::Dir, &Name)) -> io::Result<()> {
    let Some(label) = disk.attribute(from, model, LABEL)? else { return Ok(()) };
    match disk.attribute(to, name, LABEL)?.as_ref() == Some(&label) {
        true => Ok(()),
        false => disk.set_attribute(to, name, LABEL, &label),
    }
}
