//! Contents that somebody uses, by name: they are not collected until all who use them have ended.
//!
//! Nothing of it is remembered over a restart: whoever used them has ended then, too.

use content::ContentId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many use each content.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pins(Arc<Mutex<BTreeMap<ContentId, usize>>>);

impl Pins {
    /// Whether anybody uses it.
    pub(crate) fn hold(&self, content: ContentId) -> bool {
        self.lock().contains_key(&content)
    }

    /// Somebody begins to use these.
    pub(crate) fn pin(&self, contents: &[ContentId]) -> Pinned {
        let mut users = self.lock();
        contents.iter().for_each(|content| *users.entry(*content).or_default() += 1);
        Pinned { pins: self.clone(), contents: contents.to_vec() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ContentId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While this lives, these contents are not collected.
#[must_use]
#[derive(Debug)]
pub struct Pinned {
    pins: Pins,
    contents: Vec<ContentId>,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut all = self.pins.lock();
        for content in &self.contents {
            if let Some(users) = all.get_mut(content) {
                *users -= 1;
            }
        }
        all.retain(|_, users| *users > 0);
    }
}
