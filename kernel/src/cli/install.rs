//! `codriver install` and `codriver uninstall`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use codriver_install::{DEFAULT_NAME, Location};

#[derive(Debug, Args)]
pub struct InstallArguments {
    #[command(flatten)]
    place: Place,
    /// The kernel's name
    #[arg(long, default_value = DEFAULT_NAME)]
    name: String,
}

#[derive(Debug, Args)]
pub struct UninstallArguments {
    #[command(flatten)]
    place: Place,
    /// The kernel's name
    #[arg(long, default_value = DEFAULT_NAME)]
    name: String,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct Place {
    /// For this user (the default)
    #[arg(long)]
    user: bool,
    /// For the active Python environment
    #[arg(long)]
    sys_prefix: bool,
    /// For the environment at this folder
    #[arg(long, value_name = "FOLDER")]
    prefix: Option<PathBuf>,
}

impl Place {
    fn location(&self) -> Location {
        match &self.prefix {
            Some(prefix) => Location::Prefix(prefix.clone()),
            None if self.sys_prefix => Location::SysPrefix,
            None => Location::User,
        }
    }
}

pub fn install(arguments: &InstallArguments) -> anyhow::Result<ExitCode> {
    let executable = std::env::current_exe().context("cannot tell where this program is")?;
    let folder = codriver_install::install(&arguments.place.location(), &arguments.name, &executable)?;
    println!("installed the kernel {} in {}", arguments.name, folder.display());
    println!("it starts {}; install again when that moves", executable.display());
    Ok(ExitCode::SUCCESS)
}

pub fn uninstall(arguments: &UninstallArguments) -> anyhow::Result<ExitCode> {
    let folder = codriver_install::uninstall(&arguments.place.location(), &arguments.name)?;
    println!("removed {}", folder.display());
    Ok(ExitCode::SUCCESS)
}
