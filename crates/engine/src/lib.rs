//! Decides everything a node decides, through its doors, without I/O.
