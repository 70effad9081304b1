//! Where things are when nobody says where: root keeps them where services do, others in their own home.

use crate::failure::{Failure, Kind};
use std::path::{Path, PathBuf};

/// The home of a node.
pub(crate) fn node() -> Result<PathBuf, Failure> {
    match rustix::process::geteuid().is_root() {
        true => Ok(PathBuf::from("/var/lib/tiding")),
        false => Ok(own("--home")?.join(".local/share/tiding")),
    }
}

/// The home of an operator: the keys that say what may run.
pub(crate) fn operator() -> Result<PathBuf, Failure> {
    Ok(own("--operator-home")?.join(".config/tiding"))
}

/// The same path whatever the working directory becomes.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::new(Kind::Usage, format!("`{}` is no path", path.display()))
            .because(error)
            .next("give an absolute path, for example /var/lib/tiding")
    })
}

/// What this machine is called, made into a name that a node may have.
pub(crate) fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    crate::parse::name_from(Path::new(name.trim()))
}

/// Who is at the keyboard.
pub(crate) fn user_name() -> String {
    let named = std::env::var_os("USER").and_then(|user| crate::parse::name_from(Path::new(&user)));
    named.unwrap_or_else(|| "operator".to_owned())
}

fn own(flag: &str) -> Result<PathBuf, Failure> {
    std::env::home_dir().filter(|home| home.is_absolute()).ok_or_else(|| {
        Failure::new(Kind::Usage, "the environment does not say where your home is").next(format!("give {flag} DIR"))
    })
}
