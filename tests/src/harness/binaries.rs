//! Where the three programs are. Built once a run, in the profile of whoever asks, since a package's tests do not build other
//! packages' binaries.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();

/// The path of `shoal-directory`, `shoal-peer` or `shoal`.
///
/// `SHOAL_BIN_DIR` names a folder with ready ones; otherwise cargo builds them.
///
/// # Errors
/// When they can't be built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let folder = FOLDER.get_or_init(|| build().map_err(|e| format!("{e:#}")));
    match folder {
        Ok(folder) => Ok(folder.join(name)),
        Err(e) => bail!("{e}"),
    }
}

fn build() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("SHOAL_BIN_DIR") {
        return Ok(PathBuf::from(folder));
    }
    let folder = own_folder()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--locked", "--bins"])
        .args(["-p", "directory", "-p", "peer", "-p", "client", "-p", "tests"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stdin(Stdio::null());
    // With the tests themselves, so that all crates have the features that they were built with for these: else they are built again.
    // What the cargo around us has set would make build scripts run again, and so all that depends on them. What the user has set of
    // profiles stays: another profile is another build of everything.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_")) {
        let name = name.to_string_lossy();
        if !matches!(&*name, "CARGO_HOME" | "CARGO_TARGET_DIR") && !name.starts_with("CARGO_PROFILE_") {
            command.env_remove(&*name);
        }
    }
    if folder.ends_with("release") {
        command.arg("--release");
    }
    if let Some(target) = folder.parent() {
        command.arg("--target-dir").arg(target);
    }
    let status =
        command.status().context("cannot run cargo to build the programs; set SHOAL_BIN_DIR to where they are")?;
    if !status.success() {
        bail!("cargo could not build the programs");
    }
    Ok(folder)
}

/// `target/debug` or `target/release`, from where this very program runs.
fn own_folder() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let mut folder = exe.parent().context("a program lies in a folder")?;
    if folder.ends_with("deps") {
        folder = folder.parent().context("deps lies in the target folder")?;
    }
    Ok(folder.to_owned())
}
