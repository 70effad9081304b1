//! Keeps pieces, trees and state on a Disk; does the engine's jobs; survives crashes.
