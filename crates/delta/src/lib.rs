//! A small patch between two byte strings, and back again.
