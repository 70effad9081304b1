//! Hangs the real world on the doors: sockets and TLS, files, timers, the control API.
